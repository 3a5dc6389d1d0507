//! Cuts what a worker writes into lines, and remembers the last ones.

use std::collections::VecDeque;

use memchr::{memchr, memrchr, memrchr_iter};

use super::{OutputLine, OutputSink, SharedTail, StreamKind, lock};
use crate::event::WorkerInfo;

/// A line longer than this is passed on in pieces.
const LONGEST_LINE: usize = 64 * 1024;
/// How many lines of stderr are remembered, and how much of each.
const TAIL_LINES: usize = 20;
const TAIL_LINE_BYTES: usize = 1024;

/// Cuts a stream into lines.
pub(super) struct Lines {
    info: WorkerInfo,
    stream: StreamKind,
    /// The line that has begun.
    pub(super) unfinished: Vec<u8>,
    /// Where the last lines are remembered, if they are.
    tail: Option<SharedTail>,
}

impl Lines {
    pub(super) fn new(info: WorkerInfo, stream: StreamKind, tail: Option<SharedTail>) -> Self {
        Self { info, stream, unfinished: Vec::new(), tail }
    }

    /// Goes on with a line that has begun elsewhere.
    pub(super) fn begun(self, unfinished: Vec<u8>) -> Self {
        Self { unfinished, ..self }
    }

    /// Passes on the lines that end in these bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8], sink: &mut dyn OutputSink) {
        // Before the sink, which may take its time.
        self.remember_lines(bytes);
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            self.line(line, sink);
            bytes = &rest[1..];
        }
        self.unfinished.extend_from_slice(bytes);
        if self.unfinished.len() >= LONGEST_LINE {
            self.line_so_far(sink);
        }
    }

    /// Remembers those of the lines that end here which will still be remembered afterwards.
    fn remember_lines(&self, bytes: &[u8]) {
        let (Some(tail), Some(end)) = (&self.tail, memrchr(b'\n', bytes)) else { return };
        let (bytes, mut tail) = (&bytes[..end], lock(tail));
        let lines = match memrchr_iter(b'\n', bytes).nth(TAIL_LINES - 1) {
            Some(before) => bytes[before + 1..].split(is_newline),
            None => {
                let mut lines = bytes.split(is_newline);
                let first = lines.next().unwrap_or_default();
                remember(&mut tail, &[self.unfinished.as_slice(), first].concat());
                lines
            }
        };
        lines.for_each(|line| remember(&mut tail, line));
    }

    /// Remembers the last lines ahead of the sink. They are not remembered once more.
    pub(super) fn remember_rest(&mut self, rest: &[u8]) {
        let Some(tail) = self.tail.take() else { return };
        let text = [self.unfinished.as_slice(), rest].concat();
        if text.is_empty() {
            return;
        }
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        let mut tail = lock(&tail);
        text.split(is_newline).for_each(|line| remember(&mut tail, line));
    }

    /// No more comes: a line that has begun is one.
    pub(super) fn finish(&mut self, sink: &mut dyn OutputSink) {
        if !self.unfinished.is_empty() {
            self.line_so_far(sink);
            sink.flush();
        }
    }

    /// Passes on the beginning of a line as a line, to the last byte.
    fn line_so_far(&mut self, sink: &mut dyn OutputSink) {
        let text = std::mem::take(&mut self.unfinished);
        if let Some(tail) = &self.tail {
            remember(&mut lock(tail), &text);
        }
        sink.line(OutputLine { info: self.info, stream: self.stream, text: &text });
    }

    /// Passes on what is unfinished together with `end`.
    fn line(&mut self, end: &[u8], sink: &mut dyn OutputSink) {
        let mut whole = std::mem::take(&mut self.unfinished);
        let text = if whole.is_empty() {
            end
        } else {
            whole.extend_from_slice(end);
            &whole
        };
        let text = without_return(text);
        sink.line(OutputLine { info: self.info, stream: self.stream, text });
    }
}

fn is_newline(byte: &u8) -> bool {
    *byte == b'\n'
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn remember(tail: &mut VecDeque<String>, text: &[u8]) {
    if tail.len() == TAIL_LINES {
        tail.pop_front();
    }
    let text = without_return(text);
    let text = &text[..text.len().min(TAIL_LINE_BYTES)];
    tail.push_back(String::from_utf8_lossy(text).into_owned());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::output::tests::{Collected, INFO};

    fn lines_of(chunks: &[&[u8]]) -> (Vec<String>, Vec<String>) {
        let seen = Arc::default();
        let mut sink = Collected(Arc::clone(&seen));
        let tail = SharedTail::default();
        let mut lines = Lines::new(INFO, StreamKind::Stderr, Some(Arc::clone(&tail)));
        for chunk in chunks {
            lines.feed(chunk, &mut sink);
        }
        lines.finish(&mut sink);
        let seen = seen.lock().unwrap().clone();
        (seen, lock(&tail).iter().cloned().collect())
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let expected = ["one", "", "two", "three"];
        assert_eq!(lines_of(&[b"one\n\ntwo\r\nthree"]).0, expected);
        let bytes = b"one\n\ntwo\r\nthree";
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(lines_of(&single).0, expected);
    }

    #[test]
    fn an_endless_line_is_passed_on_in_pieces() {
        let chunk = vec![b'x'; LONGEST_LINE / 2];
        let (lines, _) = lines_of(&[&chunk, &chunk, &chunk]);
        assert_eq!(lines.iter().map(String::len).sum::<usize>(), chunk.len() * 3);
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn the_tail_is_the_end_and_bounded() {
        let text: String = (0..100).map(|n| format!("{n}\n")).collect();
        let (_, tail) = lines_of(&[text.as_bytes()]);
        assert_eq!(tail.len(), TAIL_LINES);
        assert_eq!(tail.last().unwrap(), "99");
    }

    /// Its lines end in one chunk and the same lines in many.
    #[test]
    fn the_tail_is_the_same_however_lines_arrive() {
        for lines in [1, TAIL_LINES - 1, TAIL_LINES, TAIL_LINES + 1, 50] {
            let text: String = (0..lines).map(|n| format!("line {n}\r\n")).collect();
            let text = text + "begun";
            for size in [1, 7, 100, text.len()] {
                let chunks: Vec<_> = text.as_bytes().chunks(size).collect();
                let (seen, tail) = lines_of(&chunks);
                assert_eq!(seen.len(), lines + 1);
                assert_eq!(tail, seen[seen.len().saturating_sub(TAIL_LINES)..], "{lines}, {size}");
            }
        }
    }
}
