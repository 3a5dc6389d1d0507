//! One file of a log, read forwards by whole lines.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::read::MultiGzDecoder;
use memchr::memchr;

use super::backward::LONGEST_LINE;
use crate::logs::rotation::{Packing, Rotated};

/// How much is read at once.
const BLOCK: usize = 64 * 1024;

/// A file that is open, and how far it has been read.
pub(super) struct PartReader {
    source: PartSource,
    /// What was read and not given yet.
    bytes: Vec<u8>,
    given: usize,
    /// Where in what the file holds the next line begins.
    offset: u64,
}

enum PartSource {
    Plain { file: File, at: u64 },
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
}

impl PartReader {
    pub(super) fn plain(file: File, at: u64) -> Self {
        Self { offset: at, ..Self::of(PartSource::Plain { file, at }) }
    }

    /// Opens a rotated file. One that is being compressed is there in either form.
    pub(super) fn rotated(rotated: &Rotated) -> io::Result<Self> {
        match (File::open(&rotated.path), rotated.packing) {
            (Ok(file), Packing::Plain) => Ok(Self::plain(file, 0)),
            (Ok(file), Packing::Gzip) => Ok(Self::gzip(file)),
            (Err(error), Packing::Plain) if error.kind() == io::ErrorKind::NotFound => {
                let mut packed = rotated.path.clone().into_os_string();
                packed.push(".gz");
                File::open(packed).map(Self::gzip)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn gzip(file: File) -> Self {
        Self::of(PartSource::Gzip(Box::new(MultiGzDecoder::new(BufReader::new(file)))))
    }

    fn of(source: PartSource) -> Self {
        Self { source, bytes: Vec::new(), given: 0, offset: 0 }
    }

    /// Leaves out the first bytes of what the file holds, uncompressed.
    pub(super) fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.offset += bytes;
        match &mut self.source {
            PartSource::Plain { at, .. } => *at += bytes,
            PartSource::Gzip(decoder) => {
                io::copy(&mut decoder.as_mut().take(bytes), &mut io::sink())?;
            }
        }
        Ok(())
    }

    /// Where the next line begins, in what the file holds uncompressed.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next whole line without its newline, or `None` for now.
    pub(super) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = self.given;
        loop {
            if let Some(newline) = memchr(b'\n', &self.bytes[searched..]) {
                let (begin, end) = (self.given, searched + newline);
                self.given = end + 1;
                self.offset += (end + 1 - begin) as u64;
                return Ok(Some(&self.bytes[begin..end]));
            }
            if self.bytes.len() - self.given >= LONGEST_LINE {
                let begin = std::mem::replace(&mut self.given, self.bytes.len());
                self.offset += (self.bytes.len() - begin) as u64;
                return Ok(Some(&self.bytes[begin..]));
            }
            self.bytes.drain(..std::mem::take(&mut self.given));
            searched = self.bytes.len();
            if self.read_block()? == 0 {
                return Ok(None);
            }
        }
    }

    /// The beginning of a line that will not be gone on with.
    pub(super) fn take_rest(&mut self) -> Option<Vec<u8>> {
        let rest = self.bytes.split_off(self.given);
        self.bytes.clear();
        self.given = 0;
        (!rest.is_empty()).then_some(rest)
    }

    fn read_block(&mut self) -> io::Result<usize> {
        let length = self.bytes.len();
        self.bytes.resize(length + BLOCK, 0);
        let read = match &mut self.source {
            PartSource::Plain { file, at } => read_on(file, at, &mut self.bytes[length..]),
            PartSource::Gzip(decoder) => decoder.read(&mut self.bytes[length..]),
        };
        self.bytes.truncate(length + read.as_ref().map_or(0, |read| *read));
        read
    }
}

/// A file that has become shorter was emptied and is read from its beginning.
fn read_on(file: &File, at: &mut u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = file.read_at(buffer, *at)?;
    if read == 0 && file.metadata()?.len() < *at {
        *at = 0;
        read = file.read_at(buffer, 0)?;
    }
    *at += read as u64;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn next(part: &mut PartReader) -> Option<String> {
        part.next_line().unwrap().map(|line| String::from_utf8(line.to_vec()).unwrap())
    }

    #[test]
    fn lines_come_when_they_are_whole() {
        let mut file = tempfile::tempfile().unwrap();
        let mut part = PartReader::plain(file.try_clone().unwrap(), 0);
        assert_eq!(next(&mut part), None);
        file.write_all(b"one\ntw").unwrap();
        assert_eq!((next(&mut part), next(&mut part)), (Some("one".into()), None));
        file.write_all(b"o\n\nthr").unwrap();
        assert_eq!(next(&mut part).as_deref(), Some("two"));
        assert_eq!(next(&mut part).as_deref(), Some(""));
        assert_eq!(next(&mut part), None);
        assert_eq!(part.take_rest(), Some(b"thr".to_vec()));
        assert_eq!(part.take_rest(), None);
    }

    #[test]
    fn a_file_that_was_emptied_is_read_anew() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        fs::write(&path, "a long line\n").unwrap();
        let mut part = PartReader::plain(File::open(&path).unwrap(), 0);
        assert_eq!(next(&mut part).as_deref(), Some("a long line"));
        fs::write(&path, "new\n").unwrap();
        assert_eq!(next(&mut part).as_deref(), Some("new"));
    }

    #[test]
    fn a_long_line_is_one_line_but_not_an_endless_one() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'x'; 300_000]).unwrap();
        file.write_all(b"\n").unwrap();
        file.write_all(&vec![b'y'; 2 * LONGEST_LINE]).unwrap();
        let mut part = PartReader::plain(file, 0);
        assert_eq!(next(&mut part).unwrap().len(), 300_000);
        assert!(next(&mut part).unwrap().len() < 2 * LONGEST_LINE);
    }
}
