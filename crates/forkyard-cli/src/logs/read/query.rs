//! Which lines are wanted.

use std::time::{Duration, SystemTime};

use clap::Args;
use regex::bytes::Regex;

use crate::logs::rotation::LogKind;
use crate::logs::stored::Stored;

/// How many lines are shown where nobody says so.
const LINES: usize = 20;

/// What `forkyard logs` can be told.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogsOptions {
    /// The apps whose logs to show; all, if none is named
    pub(crate) apps: Vec<String>,

    /// Go on with what is written from now on
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// How many of the last lines, of all these logs together: a number, or `all`
    /// [default: 20; with --since all]
    #[arg(short = 'n', long, value_name = "N|all", value_parser = parse_lines)]
    pub(crate) lines: Option<Lines>,

    /// Only lines since then: `10m` ago, or 2025-01-02T03:04:05Z
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub(crate) since: Option<SystemTime>,

    /// Only what workers wrote to stdout
    #[arg(long)]
    pub(crate) out: bool,

    /// Only what workers wrote to stderr
    #[arg(long)]
    pub(crate) err: bool,

    /// Only lines whose text matches this regular expression
    #[arg(long, value_name = "REGEX", value_parser = Regex::new)]
    pub(crate) grep: Option<Regex>,

    /// Print each line as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// How many lines from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    All,
    Last(usize),
}

impl LogsOptions {
    pub(super) fn kinds(&self) -> Vec<LogKind> {
        match (self.out, self.err) {
            (false, false) => LogKind::ALL.to_vec(),
            (out, err) => {
                let wanted = [(out, LogKind::Out), (err, LogKind::Err)];
                wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, kind)| kind).collect()
            }
        }
    }

    pub(super) fn lines(&self) -> Lines {
        let unsaid = if self.since.is_some() { Lines::All } else { Lines::Last(LINES) };
        self.lines.unwrap_or(unsaid)
    }

    pub(super) fn wants(&self, line: &[u8]) -> bool {
        let matches = |grep: &Regex| grep.is_match(&Stored::parse(line).text);
        self.grep.as_ref().is_none_or(matches)
    }
}

fn parse_lines(text: &str) -> Result<Lines, String> {
    match text {
        "all" => Ok(Lines::All),
        _ => text.parse().map(Lines::Last).map_err(|_| "write a number, or `all`".into()),
    }
}

/// A time, or how long ago it was.
fn parse_since(text: &str) -> Result<SystemTime, String> {
    let ago = |time: Duration| SystemTime::now().checked_sub(time);
    let since = match humantime::parse_duration(text) {
        Ok(time) => ago(time),
        Err(_) => humantime::parse_rfc3339_weak(text).ok(),
    };
    since.ok_or_else(|| {
        "write how long ago, as in 10m or 2h, or a time as in 2025-01-02T03:04:05Z".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_told_either_way() {
        let time = humantime::parse_rfc3339("2025-01-02T03:04:05Z").unwrap();
        for text in ["2025-01-02T03:04:05Z", "2025-01-02 03:04:05"] {
            assert_eq!(parse_since(text), Ok(time));
        }
        assert!(parse_since("10m").unwrap() < SystemTime::now());
        for wrong in ["", "yesterday", "10"] {
            assert!(parse_since(wrong).unwrap_err().contains("10m"), "{wrong}");
        }
    }

    #[test]
    fn lines_are_a_number_or_all() {
        assert_eq!(parse_lines("7"), Ok(Lines::Last(7)));
        assert_eq!(parse_lines("all"), Ok(Lines::All));
        assert!(parse_lines("-1").is_err());
    }
}
