//! The lines of a file from its end on, without reading what is before them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memchr::memrchr;

/// How much is read at once.
const BLOCK: usize = 64 * 1024;
/// A line longer than this is none of ours, and counts as several.
pub(super) const LONGEST_LINE: usize = 1024 * 1024;

/// Goes through a file backwards.
pub(super) struct Backward<'a> {
    file: &'a File,
    /// Where in the file `bytes` begins.
    start: u64,
    /// What was read and not given yet. It ends where the line begins that was given last.
    bytes: Vec<u8>,
}

impl<'a> Backward<'a> {
    /// From `end` on, where a line should end.
    pub(super) fn new(file: &'a File, end: u64) -> Self {
        Self { file, start: end, bytes: Vec::new() }
    }

    /// Where the line before begins, and the line without its newline.
    pub(super) fn next_line(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        loop {
            let whole = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
            let newline = memrchr(b'\n', whole);
            if newline.is_none() && self.start > 0 && self.bytes.len() < LONGEST_LINE {
                self.read_block()?;
                continue;
            }
            if self.bytes.is_empty() {
                return Ok(None);
            }
            let (begin, end) = (newline.map_or(0, |newline| newline + 1), whole.len());
            let line = whole[begin..end].to_vec();
            self.bytes.truncate(begin);
            return Ok(Some((self.start + begin as u64, line)));
        }
    }

    fn read_block(&mut self) -> io::Result<()> {
        let length = self.start.min(BLOCK as u64);
        let mut block = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        match self.file.read_exact_at(&mut block, self.start - length) {
            // It was emptied meanwhile: what there was is gone.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.start = 0,
            Err(error) => return Err(error),
            Ok(()) => {
                block.append(&mut self.bytes);
                self.bytes = block;
                self.start -= length;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines_of(text: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let mut backward = Backward::new(&file, text.len() as u64);
        let mut lines = Vec::new();
        while let Some(line) = backward.next_line().unwrap() {
            lines.push(line);
        }
        lines.reverse();
        lines
    }

    #[test]
    fn lines_are_the_same_from_either_end() {
        let text: String = (0..20_000).map(|n| format!("{}\n", "x".repeat(n % 50))).collect();
        for text in ["", "\n", "one", "one\n", "one\n\ntwo", &text] {
            let mut offset = 0;
            let mut expected = Vec::new();
            for line in text.split_inclusive('\n') {
                expected.push((offset, line.trim_end_matches('\n').as_bytes().to_vec()));
                offset += line.len() as u64;
            }
            assert_eq!(lines_of(text.as_bytes()), expected);
        }
    }

    #[test]
    fn a_file_without_lines_is_read_in_pieces() {
        let text = vec![b'x'; 3 * LONGEST_LINE];
        let lines = lines_of(&text);
        assert!(lines.len() >= 3 && lines.iter().all(|(_, line)| line.len() <= LONGEST_LINE));
        assert_eq!(lines.iter().map(|(_, line)| line.len()).sum::<usize>(), text.len());
    }
}
