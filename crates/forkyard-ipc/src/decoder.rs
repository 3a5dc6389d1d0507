//! Cuts the bytes of a channel into frames.
//!
//! A channel is a byte stream; what one read returns may end in the middle of a
//! message or hold twenty of them. [`Decoder`] keeps what has not been handed
//! out yet:
//!
//! ```text
//!  buffer  [ handed out | complete frames | begun frame ]
//!          0          start            scanned?        len
//! ```
//!
//! A frame above the limit is never collected. It is reported once, its bytes
//! are thrown away as they come, and decoding goes on behind it.

use memchr::memchr;
use thiserror::Error;

use crate::Dialect;

/// Capacity that stays allocated between messages, in bytes: one read of Node's
/// own size.
const KEPT_BYTES: usize = 64 * 1024;

/// Bytes in front of each frame of the advanced dialect: its length, big-endian.
const PREFIX_BYTES: usize = 4;

/// Why a frame could not be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The frame is larger than the decoder may collect. Its bytes are skipped.
    #[error("take a message of more than {limit} bytes")]
    TooLong {
        /// The largest frame allowed, in bytes.
        limit: usize,
    },
}

/// Splits a byte stream into frames.
///
/// A frame is the message alone, without its newline or length prefix, ready for
/// [`WorkerMessage::parse`](crate::WorkerMessage::parse).
#[derive(Debug)]
pub struct Decoder {
    dialect: Dialect,
    limit: usize,
    buffer: Vec<u8>,
    /// Where the first byte stands that has not been handed out.
    start: usize,
    /// Where the search for the next newline goes on. Never before `start`.
    scanned: usize,
    skip: Skip,
}

/// All that a [`Decoder`] holds once every complete frame has been handed out, to be gone on
/// with in another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderState {
    /// What has not been handed out.
    pub rest: Vec<u8>,
    /// What is being thrown away.
    pub skip: Skip,
}

/// What is being thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Skip {
    /// Nothing.
    #[default]
    Nothing,
    /// The rest of a line.
    Line {
        /// How many bytes have been.
        skipped: usize,
    },
    /// The rest of a frame whose length was announced.
    Bytes {
        /// How many bytes have been.
        skipped: usize,
        /// How many are still to come.
        left: usize,
    },
}

/// What the buffer holds next.
enum Step {
    /// Not enough for anything.
    Wait,
    /// A frame that lies at `from..to`; the one behind it begins at `next`.
    Frame { from: usize, to: usize, next: usize },
    /// A frame above the limit, of which `present` bytes are here.
    TooLong { present: usize, skip: Skip },
}

impl Decoder {
    /// A decoder for a fresh channel. `limit` is the largest frame in bytes,
    /// newline or length prefix not counted.
    pub fn new(dialect: Dialect, limit: usize) -> Self {
        Self { dialect, limit, buffer: Vec::new(), start: 0, scanned: 0, skip: Skip::Nothing }
    }

    /// A decoder that goes on where another one was.
    pub fn resume(dialect: Dialect, limit: usize, state: DecoderState) -> Self {
        let DecoderState { rest, skip } = state;
        Self { buffer: rest, skip, ..Self::new(dialect, limit) }
    }

    /// What it holds.
    pub fn state(&self) -> DecoderState {
        DecoderState { rest: self.buffer[self.start..].to_vec(), skip: self.skip }
    }

    /// Adds what was read from the channel.
    pub fn feed(&mut self, bytes: &[u8]) {
        let wanted = self.skip_from(bytes);
        self.make_room();
        self.buffer.extend_from_slice(wanted);
    }

    /// The next complete frame; `None` until more bytes are fed.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLong`], once for each frame above the limit. The frames
    /// behind it are not affected.
    pub fn next_frame(&mut self) -> Option<Result<&[u8], FrameError>> {
        match self.step() {
            Step::Wait => {
                self.make_room();
                None
            }
            Step::Frame { from, to, next } => {
                self.move_to(next);
                Some(Ok(&self.buffer[from..to]))
            }
            Step::TooLong { present, skip } => {
                self.move_to(self.start + present);
                self.skip = skip;
                Some(Err(FrameError::TooLong { limit: self.limit }))
            }
        }
    }

    /// Bytes of a frame that has begun and is not complete, when
    /// [`next_frame`](Self::next_frame) has returned `None`. Not zero at the end
    /// of a channel means that the peer stopped in the middle of a message.
    pub fn unfinished(&self) -> usize {
        match self.skip {
            Skip::Nothing => self.buffer.len() - self.start,
            Skip::Line { skipped } | Skip::Bytes { skipped, .. } => skipped,
        }
    }

    fn step(&mut self) -> Step {
        match self.dialect {
            Dialect::Json => self.step_line(),
            Dialect::Advanced => self.step_prefixed(),
        }
    }

    fn step_line(&mut self) -> Step {
        let Some(found) = memchr(b'\n', &self.buffer[self.scanned..]) else {
            self.scanned = self.buffer.len();
            return self.step_unfinished_line();
        };
        let (from, to) = (self.start, self.scanned + found);
        if to - from > self.limit {
            return Step::TooLong { present: to + 1 - from, skip: Skip::Nothing };
        }
        Step::Frame { from, to, next: to + 1 }
    }

    fn step_unfinished_line(&self) -> Step {
        let present = self.buffer.len() - self.start;
        if present <= self.limit {
            return Step::Wait;
        }
        Step::TooLong { present, skip: Skip::Line { skipped: present } }
    }

    fn step_prefixed(&self) -> Step {
        let waiting = &self.buffer[self.start..];
        let Some((prefix, rest)) = waiting.split_first_chunk::<PREFIX_BYTES>() else {
            return Step::Wait;
        };
        // `usize` is at least as wide as the prefix wherever Unix sockets are.
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > self.limit {
            return Self::too_long_prefixed(length, rest.len());
        }
        if rest.len() < length {
            return Step::Wait;
        }
        let from = self.start + PREFIX_BYTES;
        Step::Frame { from, to: from + length, next: from + length }
    }

    fn too_long_prefixed(length: usize, here: usize) -> Step {
        let present = PREFIX_BYTES + here.min(length);
        let skip = match length.saturating_sub(here) {
            0 => Skip::Nothing,
            left => Skip::Bytes { skipped: present, left },
        };
        Step::TooLong { present, skip }
    }

    fn move_to(&mut self, position: usize) {
        self.start = position;
        self.scanned = position;
    }

    /// Throws away what belongs to a frame that was too long; returns the rest.
    fn skip_from<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match self.skip {
            Skip::Nothing => bytes,
            Skip::Line { skipped } => self.skip_line(bytes, skipped),
            Skip::Bytes { skipped, left } => self.skip_bytes(bytes, skipped, left),
        }
    }

    fn skip_line<'a>(&mut self, bytes: &'a [u8], skipped: usize) -> &'a [u8] {
        let Some(end) = memchr(b'\n', bytes) else {
            self.skip = Skip::Line { skipped: skipped.saturating_add(bytes.len()) };
            return &[];
        };
        self.skip = Skip::Nothing;
        &bytes[end + 1..]
    }

    fn skip_bytes<'a>(&mut self, bytes: &'a [u8], skipped: usize, left: usize) -> &'a [u8] {
        let thrown = left.min(bytes.len());
        self.skip = match left - thrown {
            0 => Skip::Nothing,
            left => Skip::Bytes { skipped: skipped + thrown, left },
        };
        &bytes[thrown..]
    }

    /// Gives back the room of frames that were handed out.
    ///
    /// Moving what remains costs its length, so it is done only once at least
    /// as much has been handed out: each byte is moved a bounded number of times.
    fn make_room(&mut self) {
        let waiting = self.buffer.len() - self.start;
        if self.start == 0 || waiting > self.start {
            return;
        }
        self.buffer.copy_within(self.start.., 0);
        self.buffer.truncate(waiting);
        self.scanned -= self.start;
        self.start = 0;
        if self.buffer.capacity() > KEPT_BYTES && waiting < KEPT_BYTES / 2 {
            self.buffer.shrink_to(KEPT_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 16;

    fn drain(decoder: &mut Decoder) -> Vec<Result<Vec<u8>, FrameError>> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next_frame() {
            frames.push(frame.map(<[u8]>::to_vec));
        }
        frames
    }

    fn prefixed(frame: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(frame);
        bytes
    }

    fn stream(dialect: Dialect, frames: &[&[u8]]) -> Vec<u8> {
        frames
            .iter()
            .flat_map(|frame| match dialect {
                Dialect::Json => [frame, &b"\n"[..]].concat(),
                Dialect::Advanced => prefixed(frame),
            })
            .collect()
    }

    const MIXED: [&[u8]; 6] = [
        b"one",
        b"",
        b"exactly sixteen.",
        b"seventeen of them",
        b"far too long for this decoder",
        b"last",
    ];

    fn expected() -> Vec<Result<Vec<u8>, FrameError>> {
        MIXED
            .iter()
            .map(|frame| {
                if frame.len() > LIMIT {
                    Err(FrameError::TooLong { limit: LIMIT })
                } else {
                    Ok(frame.to_vec())
                }
            })
            .collect()
    }

    /// At any cut the decoder may be exchanged for one that goes on.
    #[test]
    fn a_decoder_goes_on_elsewhere() {
        for dialect in [Dialect::Json, Dialect::Advanced] {
            let bytes = stream(dialect, &MIXED);
            for cut in 0..=bytes.len() {
                let mut first = Decoder::new(dialect, LIMIT);
                first.feed(&bytes[..cut]);
                let mut frames = drain(&mut first);
                let mut second = Decoder::resume(dialect, LIMIT, first.state());
                assert_eq!(second.unfinished(), first.unfinished());
                second.feed(&bytes[cut..]);
                frames.extend(drain(&mut second));
                assert_eq!(frames, expected(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn any_cut_into_two_gives_the_same_frames() {
        for dialect in [Dialect::Json, Dialect::Advanced] {
            let bytes = stream(dialect, &MIXED);
            for cut in 0..=bytes.len() {
                let mut decoder = Decoder::new(dialect, LIMIT);
                decoder.feed(&bytes[..cut]);
                let mut frames = drain(&mut decoder);
                decoder.feed(&bytes[cut..]);
                frames.extend(drain(&mut decoder));
                assert_eq!(frames, expected(), "{dialect}, cut at {cut}");
                assert_eq!(decoder.unfinished(), 0);
            }
        }
    }

    #[test]
    fn byte_by_byte_gives_the_same_frames() {
        for dialect in [Dialect::Json, Dialect::Advanced] {
            let mut decoder = Decoder::new(dialect, LIMIT);
            let mut frames = Vec::new();
            for byte in stream(dialect, &MIXED) {
                decoder.feed(&[byte]);
                frames.extend(drain(&mut decoder));
            }
            assert_eq!(frames, expected(), "{dialect}");
        }
    }

    #[test]
    fn a_frame_too_long_is_not_collected() {
        for dialect in [Dialect::Json, Dialect::Advanced] {
            let mut decoder = Decoder::new(dialect, LIMIT);
            let long = vec![b'x'; 1 << 20];
            let mut errors = 0;
            for piece in stream(dialect, &[&long, b"after"]).chunks(1000) {
                decoder.feed(piece);
                errors += drain(&mut decoder).iter().filter(|frame| frame.is_err()).count();
                assert!(decoder.buffer.capacity() < 4096);
            }
            assert_eq!(errors, 1, "{dialect}");
        }
    }

    #[test]
    fn a_begun_frame_is_counted() {
        let mut json = Decoder::new(Dialect::Json, LIMIT);
        json.feed(b"whole\nhal");
        assert_eq!(drain(&mut json).len(), 1);
        assert_eq!(json.unfinished(), 3);

        let mut advanced = Decoder::new(Dialect::Advanced, LIMIT);
        advanced.feed(&[0, 0, 0, 9, 1, 2]);
        assert_eq!(drain(&mut advanced).len(), 0);
        assert_eq!(advanced.unfinished(), 6);
    }

    #[test]
    fn a_skipped_frame_counts_as_begun() {
        for (dialect, begun) in
            [(Dialect::Json, vec![b'x'; 40]), (Dialect::Advanced, vec![0, 0, 1, 0, 7])]
        {
            let mut decoder = Decoder::new(dialect, LIMIT);
            decoder.feed(&begun);
            assert_eq!(drain(&mut decoder).len(), 1);
            assert_eq!(decoder.unfinished(), begun.len());
            decoder.feed(b"more");
            assert_eq!(decoder.unfinished(), begun.len() + 4);
        }
    }

    #[test]
    fn a_big_message_does_not_keep_its_memory() {
        for dialect in [Dialect::Json, Dialect::Advanced] {
            let mut decoder = Decoder::new(dialect, 8 << 20);
            let big = vec![b'x'; 4 << 20];
            for piece in stream(dialect, &[&big, b"small"]).chunks(KEPT_BYTES) {
                decoder.feed(piece);
                drain(&mut decoder);
            }
            assert!(
                decoder.buffer.capacity() <= KEPT_BYTES,
                "{dialect}: {}",
                decoder.buffer.capacity()
            );
        }
    }

    #[test]
    fn frames_left_waiting_survive_further_feeding() {
        let mut decoder = Decoder::new(Dialect::Json, LIMIT);
        let mut seen = Vec::new();
        for round in 0..200_u32 {
            decoder.feed(format!("{}\n{}\n", round * 2, round * 2 + 1).as_bytes());
            seen.extend(decoder.next_frame().map(|frame| frame.unwrap().to_vec()));
        }
        seen.extend(drain(&mut decoder).into_iter().map(Result::unwrap));
        let wanted: Vec<_> = (0..400).map(|n| n.to_string().into_bytes()).collect();
        assert_eq!(seen, wanted);
    }
}
