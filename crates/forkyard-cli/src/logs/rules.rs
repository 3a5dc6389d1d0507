//! What an app's logs are to be like.

use std::path::PathBuf;
use std::time::Duration;

use crate::args::LogFormat;
use crate::limits::ByteSize;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The primary's own stdout and stderr.
    Streams,
    /// `out.log`, `err.log` and `forkyard.log` in this folder.
    Files(PathBuf),
    /// The system's journal, by its native protocol.
    Journald,
    /// The system's log, by `/dev/log`.
    Syslog,
}

/// Whether rotated files are made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// They stay as they are.
    None,
    /// They become `.log.gz`.
    Gzip,
}

/// What an app's logs are to be like. All but `destination` and `format` concerns files alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogRules {
    /// Where lines go; by default to the primary's own streams.
    pub(crate) destination: Destination,
    /// How lines are written to files; by default as text.
    pub(crate) format: LogFormat,
    /// A file is rotated before it grows beyond this: 64 KiB to 1 TiB, by default 10 MiB.
    pub(crate) max_size: ByteSize,
    /// A file is rotated when its first line is older than this and another one comes: a minute
    /// to a year, by default a day; `None` for never.
    pub(crate) max_age: Option<Duration>,
    /// How many rotated files of each of the three are kept: 0 to 10,000, by default 10. With
    /// `max_size` it says how much room the logs of an app take at the most.
    pub(crate) keep: usize,
    /// Rotated files are removed when they have been rotated this long ago: a minute to ten
    /// years, by default 30 days; `None` for never.
    pub(crate) keep_for: Option<Duration>,
    /// Whether rotated files are made smaller; by default they are.
    pub(crate) compress: Compression,
}

impl Default for LogRules {
    fn default() -> Self {
        Self {
            destination: Destination::Streams,
            format: LogFormat::Text,
            max_size: ByteSize(10 * MIB),
            max_age: Some(DAY),
            keep: 10,
            keep_for: Some(30 * DAY),
            compress: Compression::Gzip,
        }
    }
}

impl LogRules {
    /// Makes sure that all is within its bounds. Says which is not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (least, most) = (ByteSize(64 * KIB), ByteSize(MIB * MIB));
        if !(least..=most).contains(&self.max_size) {
            return Err(format!("the size of a log file is from {least} to {most}"));
        }
        if self.max_age.is_some_and(|age| !(MINUTE..=YEAR).contains(&age)) {
            return Err("the age of a log file is from a minute to a year".into());
        }
        if self.keep > 10_000 {
            return Err("at most 10000 rotated log files are kept".into());
        }
        if self.keep_for.is_some_and(|time| !(MINUTE..=10 * YEAR).contains(&time)) {
            return Err("rotated log files are kept from a minute to ten years".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_bounds() {
        let rules = LogRules::default();
        assert_eq!(rules.check(), Ok(()));
        let endless = LogRules { max_age: None, keep_for: None, keep: 0, ..rules.clone() };
        assert_eq!(endless.check(), Ok(()));
        for (wrong, word) in [
            (LogRules { max_size: ByteSize(1), ..rules.clone() }, "64 KiB"),
            (LogRules { max_size: ByteSize(u64::MAX), ..rules.clone() }, "1 TiB"),
            (LogRules { max_age: Some(Duration::ZERO), ..rules.clone() }, "a minute"),
            (LogRules { keep: 10_001, ..rules.clone() }, "10000"),
            (LogRules { keep_for: Some(YEAR * 11), ..rules }, "ten years"),
        ] {
            let message = wrong.check().unwrap_err();
            assert!(message.contains(word), "{message}");
        }
    }
}
