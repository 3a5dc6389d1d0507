//! Numbers with units, as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long ago a moment was, given in milliseconds since 1970.
pub(crate) fn age(moment_ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    roughly(now.saturating_sub(Duration::from_millis(moment_ms)))
}

/// A time in its two greatest units.
pub(crate) fn roughly(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// A number of bytes.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = count as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while amount >= 1024.0
        && let Some(next) = units.next()
    {
        (amount, unit) = (amount / 1024.0, Some(next));
    }
    match unit {
        Some(&"B") | None => format!("{count} B"),
        Some(unit) => format!("{amount:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units_and_sizes_one() {
        for (seconds, expected) in
            [(5, "5s"), (65, "1m 5s"), (7260, "2h 1m"), (90_000, "1d 1h"), (864_000, "10d 0h")]
        {
            assert_eq!(roughly(Duration::from_secs(seconds)), expected);
        }
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (50 << 20, "50.0 MiB"),
            (3 << 40, "3.0 TiB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
    }
}
