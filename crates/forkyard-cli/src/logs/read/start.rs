//! Finds where the last lines begin, from the end of every log backwards.
//!
//! Only places and times are remembered, and of no more lines than are wanted. Which lines are the
//! last of all is decided by their times; of each log they are an end of it, and so there is one
//! place in each from which on everything is shown.

use std::collections::VecDeque;
use std::io;
use std::time::SystemTime;

use super::backward::Backward;
use super::part::PartReader;
use super::query::{Lines, LogsOptions};
use super::source::{Found, Part, Position};
use crate::logs::rotation::{Packing, Rotated};
use crate::logs::stored::time_of;

/// Where to begin in each of these logs.
pub(super) fn starts(found: &[Found], options: &LogsOptions) -> io::Result<Vec<Position>> {
    match (options.lines(), options.since) {
        (Lines::All, None) => Ok(found.iter().map(beginning).collect()),
        (lines, _) => {
            let count = match lines {
                Lines::All => usize::MAX,
                Lines::Last(count) => count,
            };
            last(found, options, count)
        }
    }
}

fn beginning(found: &Found) -> Position {
    let part =
        found.rotated.first().map_or(Part::Current, |first| Part::Rotated(first.stamp.clone()));
    Position { part, offset: 0 }
}

fn end(found: &Found) -> Position {
    let offset = found.current.as_ref().map_or(0, |current| current.length);
    Position { part: Part::Current, offset }
}

fn last(found: &[Found], options: &LogsOptions, count: usize) -> io::Result<Vec<Position>> {
    let mut starts: Vec<_> = found.iter().map(end).collect();
    let mut scans: Vec<_> = found.iter().map(|found| Scan::new(found, options, count)).collect();
    for _ in 0..count {
        let mut latest: Option<(usize, SystemTime)> = None;
        for (index, scan) in scans.iter_mut().enumerate() {
            let time = scan.peek()?.map(|place| place.time);
            if let Some(time) = time.filter(|time| latest.is_none_or(|(_, latest)| *time > latest))
            {
                latest = Some((index, time));
            }
        }
        let Some((index, _)) = latest else { break };
        if let Some(place) = scans[index].head.take() {
            starts[index] = place.position;
        }
    }
    Ok(starts)
}

/// Where a wanted line begins.
#[derive(Clone, Debug)]
struct Place {
    time: SystemTime,
    position: Position,
}

/// Goes through one log backwards.
struct Scan<'a> {
    options: &'a LogsOptions,
    /// How many lines are wanted at the most.
    count: usize,
    head: Option<Place>,
    now: ScanPart<'a>,
    /// Files that are still to come, the latest last.
    rotated: &'a [Rotated],
    /// Of the line before. A line without a time has this one's.
    time: SystemTime,
}

enum ScanPart<'a> {
    Current(Backward<'a>),
    /// Read forwards, from which the wanted lines are known.
    Rotated(VecDeque<Place>),
    None,
}

impl<'a> Scan<'a> {
    fn new(found: &'a Found, options: &'a LogsOptions, count: usize) -> Self {
        let now = found.current.as_ref().map_or(ScanPart::None, |current| {
            ScanPart::Current(Backward::new(&current.file, current.length))
        });
        let (head, time) = (None, SystemTime::now());
        Self { options, count, head, now, rotated: &found.rotated, time }
    }

    /// The wanted line before those that were taken.
    fn peek(&mut self) -> io::Result<Option<&Place>> {
        if self.head.is_none() {
            self.head = self.next()?;
        }
        Ok(self.head.as_ref())
    }

    fn next(&mut self) -> io::Result<Option<Place>> {
        loop {
            match self.next_in_part()? {
                Some(place) if self.is_too_old(place.time) => return Ok(self.end()),
                Some(place) => return Ok(Some(place)),
                None => {}
            }
            let Some((last, before)) = self.rotated.split_last() else { return Ok(self.end()) };
            self.rotated = before;
            // All that is in it was written before it was rotated.
            if last.stamp.time().is_some_and(|time| self.is_too_old(time)) {
                return Ok(self.end());
            }
            self.now = ScanPart::Rotated(self.read(last)?);
        }
    }

    /// Nothing before is wanted.
    fn end(&mut self) -> Option<Place> {
        (self.now, self.rotated) = (ScanPart::None, &[]);
        None
    }

    fn next_in_part(&mut self) -> io::Result<Option<Place>> {
        match &mut self.now {
            ScanPart::None => Ok(None),
            ScanPart::Rotated(places) => Ok(places.pop_back()),
            ScanPart::Current(backward) => {
                while let Some((offset, line)) = backward.next_line()? {
                    self.time = time_of(&line).unwrap_or(self.time);
                    let since = self.options.since;
                    if since.is_some_and(|since| self.time < since) || self.options.wants(&line) {
                        let position = Position { part: Part::Current, offset };
                        return Ok(Some(Place { time: self.time, position }));
                    }
                }
                Ok(None)
            }
        }
    }

    fn is_too_old(&self, time: SystemTime) -> bool {
        self.options.since.is_some_and(|since| time < since)
    }

    /// The wanted lines of a file, no more than can be taken.
    fn read(&mut self, rotated: &Rotated) -> io::Result<VecDeque<Place>> {
        let mut part = match PartReader::rotated(rotated) {
            // Its time has come meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
            other => other?,
        };
        let (mut places, mut time) = (VecDeque::new(), SystemTime::UNIX_EPOCH);
        loop {
            let offset = part.offset();
            let line = match part.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                // What cannot be read of it is said by whoever shows it.
                Err(_) if rotated.packing == Packing::Gzip => break,
                Err(error) => return Err(error),
            };
            time = time_of(line).unwrap_or(time);
            if !self.is_too_old(time) && self.options.wants(line) {
                if places.len() == self.count {
                    places.pop_front();
                }
                let position = Position { part: Part::Rotated(rotated.stamp.clone()), offset };
                places.push_back(Place { time, position });
            }
        }
        Ok(places)
    }
}
