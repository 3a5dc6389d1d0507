//! Goes through one log forwards, over rotated files to the one that is written, and on when that
//! is rotated, emptied, or made anew.
//!
//! ```text
//!   rotated ──end──▶ the next rotated ──end──▶ current ──end──▶ waits
//!                          ▲                      │ it is not in its place any more
//!                          └──rotated since──┬────┘ and has been read to the end again
//!                                            └──moved by others──▶ the new current, once it is
//!                                                                  written
//! ```

use std::collections::VecDeque;
use std::io;

use super::part::PartReader;
use super::source::{CurrentFile, Found, Part, Position, Source, id_of};
use crate::logs::file::FileId;
use crate::logs::rotation::{Rotated, Stamp};

/// A place in a log that moves on.
pub(super) struct Cursor {
    pub(super) source: Source,
    /// What was found at first, and is read first.
    queue: VecDeque<Rotated>,
    found: Option<CurrentFile>,
    /// Where to begin in the first file.
    skip: u64,
    reader: Option<PartReader>,
    /// Which file that is, if it is the one that was found in its place.
    current: Option<FileId>,
    /// The last rotated file that is known.
    behind: Option<Stamp>,
    /// The current file is read once more to its end, and then left.
    leaving: bool,
}

impl Cursor {
    /// From this position on.
    pub(super) fn new(source: Source, found: Found, start: Position) -> Self {
        let behind = found.rotated.last().map(|last| last.stamp.clone());
        let mut queue = VecDeque::from(found.rotated);
        queue.retain(|rotated| Part::Rotated(rotated.stamp.clone()) >= start.part);
        Self {
            source,
            queue,
            found: found.current,
            skip: start.offset,
            reader: None,
            current: None,
            behind,
            leaving: false,
        }
    }

    /// Puts the next line there; `None` if there is none for now.
    pub(super) fn next_line(&mut self, line: &mut Vec<u8>) -> io::Result<Option<()>> {
        loop {
            if let Some(found) =
                self.reader.as_mut().map(PartReader::next_line).transpose()?.flatten()
            {
                line.clear();
                line.extend_from_slice(found);
                return Ok(Some(()));
            }
            if self.current.is_some() && !self.leaving {
                if !self.is_to_be_left()? {
                    return Ok(None);
                }
                // It may have been written before it was left by its writer, but after its end
                // was seen.
                self.leaving = true;
                continue;
            }
            let rest = self.take_rest();
            let moved = self.move_on()?;
            if let Some(rest) = rest {
                *line = rest;
                return Ok(Some(()));
            }
            if moved.is_none() {
                return Ok(None);
            }
        }
    }

    /// What the last file ends with, if it is no whole line.
    pub(super) fn take_rest(&mut self) -> Option<Vec<u8>> {
        self.reader.as_mut().and_then(PartReader::take_rest)
    }

    /// Goes past a rotated file that cannot be read to its end. `false` if it is none.
    pub(super) fn skip_part(&mut self) -> bool {
        self.current.is_none() && self.reader.take().is_some()
    }

    /// Whether another one is written instead of the one that is read.
    fn is_to_be_left(&self) -> io::Result<bool> {
        if self.source.current_id() == self.current {
            return Ok(false);
        }
        // An empty one may have been made by whoever has moved the one that is still written.
        let is_written = |current: CurrentFile| current.length > 0;
        Ok(!self.rotated_since()?.is_empty() || self.source.open_current()?.is_some_and(is_written))
    }

    /// Opens the next file. `None` if there is none yet.
    fn move_on(&mut self) -> io::Result<Option<()>> {
        if let Some(next) = self.queue.pop_front() {
            return self.open_rotated(&next).map(Some);
        }
        if let Some(found) = self.found.take() {
            self.open_current(found);
            return Ok(Some(()));
        }
        let mut since = self.rotated_since()?;
        if let Some(id) = self.current.take() {
            // What was just read has a name of its own by now, unless somebody else has moved or
            // removed it. A compressed one is another file.
            let itself = since.iter().position(|rotated| id_of(rotated) == Some(id));
            let packed = since.first().is_some_and(|first| id_of(first).is_none()).then_some(0);
            if let Some(index) = itself.or(packed) {
                self.behind = Some(since[index].stamp.clone());
                since.drain(..=index);
            }
        }
        (self.reader, self.leaving) = (None, false);
        if let Some(next) = since.first() {
            self.behind = Some(next.stamp.clone());
            return self.open_rotated(next).map(Some);
        }
        let current = self.source.open_current()?;
        Ok(current.map(|current| self.open_current(current)))
    }

    fn rotated_since(&self) -> io::Result<Vec<Rotated>> {
        let mut rotated = self.source.rotated()?;
        rotated.retain(|rotated| self.behind.as_ref().is_none_or(|behind| rotated.stamp > *behind));
        Ok(rotated)
    }

    fn open_rotated(&mut self, next: &Rotated) -> io::Result<()> {
        let skip = std::mem::take(&mut self.skip);
        self.reader = None;
        match PartReader::rotated(next) {
            // Its time has come meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            opened => {
                let reader = self.reader.insert(opened?);
                reader.skip(skip)
            }
        }
    }

    fn open_current(&mut self, current: CurrentFile) {
        self.reader = Some(PartReader::plain(current.file, std::mem::take(&mut self.skip)));
        (self.current, self.leaving) = (Some(current.id), false);
    }
}

#[cfg(test)]
mod tests;
