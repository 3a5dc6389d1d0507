//! Empties the logs in a folder, also while they are written.
//!
//! Whoever writes them need not know: files are opened to append, and what is written from then on
//! is the beginning of a file. What is being compressed meanwhile is removed by whoever does that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::truncate;
use super::rotation::{LogKind, Packing, rotated};

/// What was in the logs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Emptied {
    /// The files that are empty or gone.
    pub(crate) files: Vec<PathBuf>,
    /// How much was in them.
    pub(crate) bytes: u64,
}

/// Empties the files that are written, and removes those rotated.
///
/// # Errors
///
/// The first one; the other files are emptied all the same.
pub(crate) fn empty(folder: &Path) -> io::Result<Emptied> {
    let (mut emptied, mut result) = (Emptied::default(), Ok(()));
    let mut note = |path: PathBuf, outcome: io::Result<u64>| match outcome {
        Ok(length) => {
            emptied.bytes += length;
            emptied.files.push(path);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => result = std::mem::replace(&mut result, Ok(())).and(Err(error)),
    };
    for rotated in rotated(folder)? {
        // What a compressed one is being made of may still be there.
        let plain = rotated.path.with_extension("");
        let plain = (rotated.packing == Packing::Gzip).then_some(plain);
        for path in [Some(rotated.path), plain].into_iter().flatten() {
            let removed = remove(&path);
            note(path, removed);
        }
    }
    for path in LogKind::ALL.map(|kind| kind.path(folder)) {
        let emptied = truncate(&path);
        note(path, emptied);
    }
    result.map(|()| emptied)
}

fn remove(path: &Path) -> io::Result<u64> {
    let length = fs::symlink_metadata(path)?.len();
    fs::remove_file(path).map(|()| length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(temp.path().join(name), "text").unwrap();
        }
        temp
    }

    #[test]
    fn what_is_written_is_emptied_and_what_was_is_removed() {
        let ours = [
            "err-20250601T120000.500Z.log.gz",
            "out-20250601T120000.500Z.log",
            "out-20250601T120000.500Z.log.gz",
            "forkyard.log",
            "out.log",
        ];
        let others = ["out.log.1", "out-backup.log", "notes"];
        let temp = folder_with(&[&ours[..], &others].concat());
        let emptied = empty(temp.path()).unwrap();
        let mut files: Vec<_> =
            emptied.files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        files.sort_unstable();
        assert_eq!((files.as_slice(), emptied.bytes), (&ours_sorted(ours)[..], 4 * 5));
        let length = |name: &str| fs::metadata(temp.path().join(name)).map(|file| file.len()).ok();
        assert_eq!(ours.map(length), [None, None, None, Some(0), Some(0)]);
        assert_eq!(others.map(length), [Some(4); 3]);
    }

    fn ours_sorted(mut names: [&str; 5]) -> [&str; 5] {
        names.sort_unstable();
        names
    }

    #[test]
    fn one_that_cannot_be_emptied_keeps_no_other_from_it() {
        let temp = folder_with(&["err.log"]);
        std::os::unix::fs::symlink("/dev/null", temp.path().join("out.log")).unwrap();
        empty(temp.path()).unwrap_err();
        assert_eq!(fs::metadata(temp.path().join("err.log")).unwrap().len(), 0);
    }
}
