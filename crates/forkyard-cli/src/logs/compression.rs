//! Makes a rotated file smaller.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Puts `FILE.gz` in the place of `FILE`. There is always one of them that is whole, also after a
/// power failure: the old one goes when the new one is on the disk.
pub(super) fn gzip(path: &Path) -> io::Result<()> {
    let packed = with_ending(path, ".gz");
    let unfinished = with_ending(&packed, ".part");
    let result = write(path, &unfinished);
    if result.is_err() {
        // On a full disk it must not stay.
        let _ = fs::remove_file(&unfinished);
    }
    result?;
    exchange(path, &unfinished, &packed)
}

/// From now on the compressed one is the file, unless the logs have been emptied meanwhile.
fn exchange(path: &Path, unfinished: &Path, packed: &Path) -> io::Result<()> {
    fs::rename(unfinished, packed)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(packed),
        other => other,
    }
}

fn write(path: &Path, unfinished: &Path) -> io::Result<()> {
    let mut source = File::open(path)?;
    let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished)?;
    let mut encoder = GzEncoder::new(target, Compression::default());
    let read = io::copy(&mut source, &mut encoder)?;
    let target = encoder.finish()?;
    let metadata = source.metadata()?;
    if metadata.len() != read {
        return Err(io::Error::other("it is still written"));
    }
    target.set_modified(metadata.modified()?)?;
    target.sync_all()
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn the_small_one_takes_the_place_of_the_large_one() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.log");
        let text = "a line\n".repeat(10_000);
        fs::write(&path, &text).unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        gzip(&path).unwrap();
        let packed = File::open(temp.path().join("a.log.gz")).unwrap();
        let metadata = packed.metadata().unwrap();
        assert!(metadata.len() < 10_000);
        assert_eq!(metadata.modified().unwrap(), modified);
        let mut read = String::new();
        GzDecoder::new(packed).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_removed_meanwhile_does_not_come_back() {
        let temp = tempfile::tempdir().unwrap();
        let file = |name: &str| temp.path().join(name);
        fs::write(file("a.log.gz.part"), "packed").unwrap();
        exchange(&file("a.log"), &file("a.log.gz.part"), &file("a.log.gz")).unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_made_smaller_stays() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.log");
        fs::write(&path, "text").unwrap();
        fs::create_dir(temp.path().join("a.log.gz.part")).unwrap();
        gzip(&path).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"text");
        assert!(!temp.path().join("a.log.gz").exists());
    }
}
