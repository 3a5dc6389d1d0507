//! Which rotated files have had their time.

use std::time::{Duration, SystemTime};

use super::rotation::Rotated;
use super::rules::LogRules;

/// Those that are to be removed: all but the newest of each kind, and what is too old.
pub(super) fn surplus<'a>(
    rotated: &'a [Rotated],
    rules: &LogRules,
    now: SystemTime,
) -> Vec<&'a Rotated> {
    let is_old = |rotated: &Rotated| {
        rules.keep_for.is_some_and(|limit| age(rotated, now).is_some_and(|age| age >= limit))
    };
    let newer = |of: &Rotated| {
        rotated.iter().filter(|other| other.kind == of.kind && other.stamp > of.stamp).count()
    };
    rotated.iter().filter(|rotated| is_old(rotated) || newer(rotated) >= rules.keep).collect()
}

fn age(rotated: &Rotated, now: SystemTime) -> Option<Duration> {
    now.duration_since(rotated.stamp.time()?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::logs::rotation::rotated;

    #[test]
    fn the_newest_of_each_kind_are_kept_and_no_longer_than_allowed() {
        let temp = tempfile::tempdir().unwrap();
        let name = |stem, day: u32| format!("{stem}-202506{day:02}T120000.000Z.log");
        for day in 1..=6 {
            fs::write(temp.path().join(name("out", day)), "").unwrap();
        }
        fs::write(temp.path().join(name("err", 1)), "").unwrap();
        fs::write(temp.path().join(name("err", 6)), "").unwrap();
        let files = rotated(temp.path()).unwrap();
        let now = humantime::parse_rfc3339("2025-06-06T12:00:00Z").unwrap();
        let gone = |keep, days: Option<u64>| {
            let keep_for = days.map(|days| Duration::from_secs(days * 24 * 60 * 60));
            let rules = LogRules { keep, keep_for, ..LogRules::default() };
            let gone = surplus(&files, &rules, now);
            let names = gone.iter().map(|gone| gone.path.file_name().unwrap().to_str().unwrap());
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(gone(6, None).is_empty());
        assert_eq!(gone(4, None), [name("out", 1), name("out", 2)]);
        assert_eq!(gone(6, Some(4)), [name("out", 1), name("out", 2), name("err", 1)]);
        assert_eq!(gone(0, None).len(), 8);
        assert_eq!(gone(9, Some(0)).len(), 8);
    }
}
