//! What log files are called, and how a file makes room for the next one.
//!
//! ```text
//!   out.log ──rename──▶ out-20250102T030405.678Z.log ──gzip──▶ out-20250102T030405.678Z.log.gz
//! ```
//!
//! A rotated file keeps its name, which says when it was rotated: whoever reads or compresses one
//! is not overtaken by the next rotation, and names are in the order of time.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How a compressed file's name ends that is not whole yet.
pub(super) const UNFINISHED: &str = ".log.gz.part";

/// Which of an app's three logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum LogKind {
    /// What workers write to stdout.
    Out,
    /// What workers write to stderr.
    Err,
    /// What the primary has to say.
    Events,
}

impl LogKind {
    pub(crate) const ALL: [Self; 3] = [Self::Out, Self::Err, Self::Events];

    /// What the names of its files begin with.
    fn stem(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
            Self::Events => "forkyard",
        }
    }

    /// The file that is written.
    pub(crate) fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.log", self.stem()))
    }
}

/// When a file was rotated, to the millisecond, as it stands in its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(String);

impl Stamp {
    pub(super) fn of(time: SystemTime) -> Self {
        let text = humantime::format_rfc3339_millis(time).to_string();
        Self(text.replace(['-', ':'], ""))
    }

    fn parse(text: &str) -> Option<Self> {
        let stamp = Self(text.to_owned());
        let time = stamp.time()?;
        // Whatever else can be read as a time is not a name of ours.
        (Self::of(time) == stamp).then_some(stamp)
    }

    /// When that was.
    pub(crate) fn time(&self) -> Option<SystemTime> {
        let text = &self.0;
        let part = |range| text.get(range);
        let date = [part(0..4)?, part(4..6)?, part(6..8)?].join("-");
        // `T` and the hour, the minute, and the second with what is behind it.
        let clock = [part(8..11)?, part(11..13)?, text.get(13..)?].join(":");
        humantime::parse_rfc3339(&format!("{date}{clock}")).ok()
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a rotated file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Packing {
    /// Compressed. First, so that whoever finds a file in both forms takes the whole one.
    Gzip,
    /// As it was written.
    Plain,
}

/// A file that is not written any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rotated {
    pub(crate) kind: LogKind,
    pub(crate) stamp: Stamp,
    pub(crate) packing: Packing,
    pub(crate) path: PathBuf,
}

impl Rotated {
    fn parse(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (name, packing) = match name.strip_suffix(".gz") {
            Some(name) => (name, Packing::Gzip),
            None => (name, Packing::Plain),
        };
        let (stem, stamp) = name.strip_suffix(".log")?.split_once('-')?;
        let kind = LogKind::ALL.into_iter().find(|kind| kind.stem() == stem)?;
        Some(Self { kind, stamp: Stamp::parse(stamp)?, packing, path })
    }
}

/// The rotated files of a folder, the oldest first. Of one that is there in both forms, because
/// it is being compressed, only the compressed one, which is whole.
pub(crate) fn rotated(folder: &Path) -> io::Result<Vec<Rotated>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A link may lead anywhere.
        if entry.file_type()?.is_file() {
            found.extend(Rotated::parse(entry.path()));
        }
    }
    found.sort_by(|a, b| (a.kind, &a.stamp, a.packing).cmp(&(b.kind, &b.stamp, b.packing)));
    found.dedup_by(|later, kept| later.kind == kept.kind && later.stamp == kept.stamp);
    Ok(found)
}

/// Gives the file that is written a name of its own. Behind all that were rotated before, also if
/// the clock was set back meanwhile.
pub(super) fn rotate(kind: LogKind, folder: &Path, now: SystemTime) -> io::Result<()> {
    let last = rotated(folder)?.into_iter().rfind(|rotated| rotated.kind == kind);
    let last = last.and_then(|last| last.stamp.time()).map(|last| last + Duration::from_millis(1));
    let stamp = Stamp::of(last.map_or(now, |last| last.max(now)));
    let name = format!("{}-{stamp}.log", kind.stem());
    fs::rename(kind.path(folder), folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let rotated = rotated(folder).unwrap();
        rotated
            .iter()
            .map(|rotated| rotated.path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn names_are_in_the_order_of_time_even_if_the_clock_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let time = |text| humantime::parse_rfc3339(text).unwrap();
        let noon = time("2025-06-01T12:00:00.500Z");
        for now in [noon, noon, time("2025-06-01T11:00:00Z")] {
            fs::write(LogKind::Out.path(temp.path()), "").unwrap();
            rotate(LogKind::Out, temp.path(), now).unwrap();
        }
        let expected = [500, 501, 502].map(|ms| format!("out-20250601T120000.{ms}Z.log"));
        assert_eq!(names(temp.path()), expected);
        let stamp = Stamp::of(noon);
        assert_eq!((stamp.time(), Stamp::parse(&stamp.0)), (Some(noon), Some(stamp)));
    }

    #[test]
    fn files_of_others_are_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let ours = ["err-20250601T120000.500Z.log.gz", "out-20250601T120000.500Z.log"];
        let others = [
            "out.log.1",
            "out.log",
            "out-backup.log",
            "out-20250601T120000.5Z.log",
            "web-20250601T120000.500Z.log",
            "out-20250601T120000.500Z.log.gz.part",
        ];
        for name in ours.iter().chain(&others) {
            fs::write(temp.path().join(name), "text").unwrap();
        }
        let found = [ours[1], ours[0]];
        assert_eq!(names(temp.path()), found);
    }

    #[test]
    fn of_two_forms_the_whole_one_is_taken() {
        let temp = tempfile::tempdir().unwrap();
        let plain = "out-20250601T120000.500Z.log";
        for name in [plain, &format!("{plain}.gz")] {
            fs::write(temp.path().join(name), "").unwrap();
        }
        assert_eq!(names(temp.path()), [format!("{plain}.gz")]);
    }
}
