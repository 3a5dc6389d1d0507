//! What is still to be written to one channel, in order, and the handles that
//! have been written and not acknowledged.
//!
//! ```text
//!  push ──▶ waiting ──next, advance──▶ sent ──acknowledge──▶ the caller again
//!           frames, each with           handles
//!           or without a handle
//! ```
//!
//! # Why several handles may be under way
//!
//! Node's own primary sends one handle and waits for its acknowledgement. But a
//! receiving Node process only needs each handle to arrive in one read with the
//! *end* of its message: it remembers one handle per read, and a second one that
//! comes before the message of the first is complete replaces it. The handles
//! then belong to the wrong messages and one of them is lost.
//!
//! A read takes at most 64 KiB and stops behind the socket buffer that carried a
//! handle. So a handle may follow others that are not acknowledged if everything
//! written since the last of them, its own message included, fits one read. And
//! a message that did not go out in one piece must be acknowledged before the
//! next handle follows. It goes out in pieces when the write was short, and when
//! it is so long that Linux puts it into several socket buffers.
//!
//! Plain messages are never held back for their own sake. They wait behind a
//! handle that waits, because order is part of the protocol.

#[cfg(test)]
mod model;

use std::collections::VecDeque;
use std::fmt;

use thiserror::Error;

/// What one read of a Node process takes at most, in bytes (libuv).
const READ_BYTES: usize = 64 * 1024;

/// The longest write that Linux surely keeps in one socket buffer, in bytes
/// (`unix_stream_sendmsg`; the real limit is somewhat higher, unless `SO_SNDBUF`
/// has been made smaller than its default).
const SOCKET_BUFFER_BYTES: usize = 32 * 1024;

/// How many buffers are kept for frames to come.
const SPARE_BUFFERS: usize = 16;

/// The largest buffer that is kept, in bytes.
const SPARE_BYTES: usize = 4 * 1024;

/// The frames that wait to be written to one channel.
///
/// `H` is the handle, usually an owned descriptor. It is kept until the peer has
/// acknowledged it: until then a dead peer's handle can be given to another one,
/// and some systems need it open in the sender.
#[derive(Debug)]
pub struct Outbox<H> {
    limit: usize,
    waiting: VecDeque<Frame<H>>,
    waiting_bytes: usize,
    /// How much of the first waiting frame has been written.
    written: usize,
    /// Handles not acknowledged, oldest first.
    sent: VecDeque<H>,
    /// Bytes written since the last frame with a handle began to be written.
    /// Those of that frame count only where it went out in pieces.
    run: usize,
    pipelining: Pipelining,
    spare: Vec<Vec<u8>>,
}

/// One message, encoded, and the handle that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<H> {
    /// The whole frame, as `encode` appends it. An empty one is no message and is
    /// ignored.
    pub bytes: Vec<u8>,
    /// The handle.
    pub handle: Option<H>,
}

/// All that an [`Outbox`] holds, to be gone on with in another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxState<H> {
    /// The frames that wait, the oldest first.
    pub waiting: Vec<Frame<H>>,
    /// How many bytes of the first of them have been written. If it brings a handle and this
    /// is not 0, the handle is in `sent` instead.
    pub written: usize,
    /// Handles not acknowledged, the oldest first.
    pub sent: Vec<H>,
    /// Bytes written since the last frame with a handle began to be written.
    pub run: usize,
    /// Whether the last handle has to be acknowledged before the next one follows.
    pub stopped: bool,
}

/// Bytes to be written now, in one `sendmsg` together with the handle.
#[derive(Debug)]
pub struct Chunk<'a, H> {
    /// What is to be written. Never empty.
    pub bytes: &'a [u8],
    /// The handle that goes with the first of the bytes.
    pub handle: Option<&'a H>,
}

/// A frame that did not fit.
#[derive(Error)]
#[error("queue a message: {limit} bytes may wait for the channel")]
pub struct OutboxFull<H> {
    /// The frame, unchanged.
    pub frame: Frame<H>,
    /// How many bytes may wait.
    pub limit: usize,
}

/// Whether a handle may follow handles that are not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pipelining {
    Possible,
    /// The last one went out in pieces and has to be acknowledged first.
    Stopped,
}

impl<H> Outbox<H> {
    /// An empty outbox. `limit` is how many bytes may wait to be written.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            written: 0,
            sent: VecDeque::new(),
            run: 0,
            pipelining: Pipelining::Possible,
            spare: Vec::new(),
        }
    }

    /// An outbox that goes on where another one was.
    pub fn resume(limit: usize, state: OutboxState<H>) -> Self {
        let OutboxState { waiting, written, sent, run, stopped } = state;
        let first = waiting.first().map_or(0, |frame| frame.bytes.len());
        let written = written.min(first.saturating_sub(1));
        let bytes: usize = waiting.iter().map(|frame| frame.bytes.len()).sum();
        Self {
            limit,
            waiting: waiting.into(),
            waiting_bytes: bytes - written,
            written,
            sent: sent.into(),
            run,
            pipelining: if stopped { Pipelining::Stopped } else { Pipelining::Possible },
            spare: Vec::new(),
        }
    }

    /// What it holds, with each handle as `tell` puts it.
    pub fn state<'a, T>(&'a self, mut tell: impl FnMut(&'a H) -> T) -> OutboxState<T> {
        let waiting = self.waiting.iter().map(|frame| Frame {
            bytes: frame.bytes.clone(),
            handle: frame.handle.as_ref().map(&mut tell),
        });
        OutboxState {
            waiting: waiting.collect(),
            written: self.written,
            sent: self.sent.iter().map(&mut tell).collect(),
            run: self.run,
            stopped: self.pipelining == Pipelining::Stopped,
        }
    }

    /// Adds a frame behind those that wait.
    ///
    /// # Errors
    ///
    /// When more bytes would wait than may, with the frame to try again later.
    pub fn push(&mut self, frame: Frame<H>) -> Result<(), OutboxFull<H>> {
        if frame.bytes.is_empty() {
            return Ok(());
        }
        let waiting_bytes = self.waiting_bytes.saturating_add(frame.bytes.len());
        if waiting_bytes > self.limit {
            return Err(OutboxFull { frame, limit: self.limit });
        }
        self.waiting_bytes = waiting_bytes;
        self.waiting.push_back(frame);
        Ok(())
    }

    /// An empty buffer to encode the next frame into: one whose frame has been
    /// written, where there is one, so that a steady flow of small messages
    /// allocates nothing.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// What may be written now. `None` when nothing waits, or when the next frame
    /// brings a handle that has to wait for acknowledgements.
    ///
    /// It is offered again until [`advance`](Self::advance) says that it is written.
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows the outbox")]
    pub fn next(&mut self) -> Option<Chunk<'_, H>> {
        let frame = self.waiting.front()?;
        if frame.handle.is_some() && !self.may_send_handle(frame.bytes.len()) {
            return None;
        }
        Some(Chunk { bytes: &frame.bytes[self.written..], handle: frame.handle.as_ref() })
    }

    /// Says that the first `written` bytes of the chunk from [`next`](Self::next)
    /// have been written, and its handle, if it has one and `written` is not 0.
    pub fn advance(&mut self, written: usize) {
        let Some(frame) = self.waiting.front_mut() else {
            return;
        };
        let (length, left) = (frame.bytes.len(), frame.bytes.len() - self.written);
        let written = written.min(left);
        if written == 0 {
            return;
        }
        match frame.handle.take() {
            Some(handle) => self.handle_sent(handle, length, written),
            None => self.run = self.run.saturating_add(written),
        }
        self.written += written;
        self.waiting_bytes -= written;
        if written == left {
            self.finish_frame();
        }
    }

    /// Drops the frame that [`next`](Self::next) offers, if nothing of it has been written: its
    /// handle is gone, and without it the message would be lost on the peer.
    pub fn skip(&mut self) {
        let Some(frame) = self.waiting.front().filter(|_| self.written == 0) else {
            return;
        };
        self.waiting_bytes -= frame.bytes.len();
        self.finish_frame();
    }

    /// Takes an acknowledgement, positive or negative: gives back the oldest handle
    /// that was sent and not acknowledged. `None`: the peer acknowledges what
    /// nobody sent.
    pub fn acknowledge(&mut self) -> Option<H> {
        let handle = self.sent.pop_front();
        if self.sent.is_empty() {
            self.pipelining = Pipelining::Possible;
        }
        handle
    }

    /// How many handles have been sent and not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.sent.len()
    }

    /// Whether everything has been written.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many bytes wait to be written.
    pub const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Empties the outbox of a channel that has ended: gives back every handle
    /// that was sent and not acknowledged, then every one that was not sent, in
    /// order. Frames are dropped.
    pub fn drain(&mut self) -> impl Iterator<Item = H> + use<H> {
        let limit = self.limit;
        let ended = std::mem::replace(self, Self::new(limit));
        let waiting = ended.waiting.into_iter().filter_map(|frame| frame.handle);
        ended.sent.into_iter().chain(waiting)
    }

    fn may_send_handle(&self, length: usize) -> bool {
        self.sent.is_empty()
            || self.pipelining == Pipelining::Possible && self.fits_one_read(length)
    }

    /// Whether one read takes all since the last handle, and `length` bytes more.
    const fn fits_one_read(&self, length: usize) -> bool {
        self.run.saturating_add(length) <= READ_BYTES
    }

    fn handle_sent(&mut self, handle: H, length: usize, written: usize) {
        let whole = written == length && length <= SOCKET_BUFFER_BYTES;
        if !whole || !self.fits_one_read(length) {
            self.pipelining = Pipelining::Stopped;
        }
        self.sent.push_back(handle);
        self.run = 0;
    }

    fn finish_frame(&mut self) {
        self.written = 0;
        let Some(Frame { mut bytes, .. }) = self.waiting.pop_front() else {
            return;
        };
        if bytes.capacity() <= SPARE_BYTES && self.spare.len() < SPARE_BUFFERS {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}

impl<H> fmt::Debug for OutboxFull<H> {
    /// Without the handle, which need not be printable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxFull")
            .field("frame_bytes", &self.frame.bytes.len())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LIMIT: usize = usize::MAX;

    fn plain(length: usize) -> Frame<u32> {
        Frame { bytes: vec![b'p'; length], handle: None }
    }

    fn with_handle(length: usize, handle: u32) -> Frame<u32> {
        Frame { bytes: vec![b'h'; length], handle: Some(handle) }
    }

    fn outbox(frames: impl IntoIterator<Item = Frame<u32>>) -> Outbox<u32> {
        let mut outbox = Outbox::new(NO_LIMIT);
        frames.into_iter().for_each(|frame| outbox.push(frame).unwrap());
        outbox
    }

    /// Writes all that may be written; returns the handles that went.
    fn write_all(outbox: &mut Outbox<u32>) -> Vec<u32> {
        let mut handles = Vec::new();
        while let Some(chunk) = outbox.next() {
            handles.extend(chunk.handle);
            let length = chunk.bytes.len();
            outbox.advance(length);
        }
        handles
    }

    #[test]
    fn small_frames_with_handles_follow_each_other() {
        let mut outbox = outbox((0..1000).map(|handle| with_handle(150, handle)));
        assert_eq!(write_all(&mut outbox).len(), 1000);
        assert_eq!(outbox.unacknowledged(), 1000);
        assert_eq!(outbox.acknowledge(), Some(0));
        assert_eq!(outbox.acknowledge(), Some(1));
    }

    #[test]
    fn a_handle_waits_if_one_read_might_not_take_it_whole() {
        for (between, goes) in [(READ_BYTES - 100, true), (READ_BYTES - 99, false)] {
            let mut outbox =
                outbox([with_handle(100, 1), plain(between), with_handle(100, 2), plain(1)]);
            write_all(&mut outbox);
            assert_eq!(outbox.unacknowledged(), if goes { 2 } else { 1 });
            assert_eq!(outbox.is_empty(), goes);
            outbox.acknowledge();
            write_all(&mut outbox);
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn nothing_follows_a_handle_that_one_read_might_not_take_whole() {
        for first in [
            vec![plain(READ_BYTES), with_handle(100, 1)],
            vec![with_handle(SOCKET_BUFFER_BYTES + 1, 1)],
        ] {
            let mut outbox =
                outbox(first.into_iter().chain([with_handle(100, 2), with_handle(100, 3)]));
            assert_eq!(write_all(&mut outbox), [1]);
            assert_eq!(outbox.acknowledge(), Some(1));
            assert_eq!(write_all(&mut outbox), [2, 3]);
        }
    }

    #[test]
    fn a_short_write_stops_pipelining_until_all_is_acknowledged() {
        let mut outbox =
            outbox([with_handle(100, 1), with_handle(100, 2), plain(10), with_handle(100, 3)]);
        outbox.advance(100);
        outbox.advance(30);
        let rest = outbox.next().unwrap();
        assert_eq!((rest.bytes.len(), rest.handle), (70, None));
        assert_eq!(write_all(&mut outbox), [0; 0]);
        assert_eq!(outbox.waiting_bytes(), 100);
        outbox.acknowledge();
        assert!(outbox.next().is_none());
        outbox.acknowledge();
        assert_eq!(write_all(&mut outbox), [3]);
    }

    #[test]
    fn a_write_of_nothing_sends_no_handle() {
        let mut outbox = outbox([with_handle(100, 1)]);
        outbox.advance(0);
        assert_eq!(outbox.unacknowledged(), 0);
        assert_eq!(outbox.next().unwrap().handle, Some(&1));
    }

    #[test]
    fn what_does_not_fit_is_given_back() {
        let mut outbox = Outbox::new(150);
        outbox.push(with_handle(100, 1)).unwrap();
        let full = outbox.push(with_handle(51, 2)).unwrap_err();
        assert_eq!(full.frame, with_handle(51, 2));
        outbox.push(with_handle(50, 3)).unwrap();
        outbox.advance(100);
        outbox.push(full.frame).unwrap();
        assert_eq!(write_all(&mut outbox), [3, 2]);
    }

    #[test]
    fn a_skipped_frame_is_not_written() {
        let mut outbox = outbox([with_handle(100, 1), with_handle(100, 2), plain(10)]);
        outbox.skip();
        assert_eq!((outbox.waiting_bytes(), write_all(&mut outbox)), (110, vec![2]));
        outbox.skip();
        assert_eq!(outbox.unacknowledged(), 1);
    }

    #[test]
    fn what_has_begun_to_be_written_is_not_skipped() {
        let mut outbox = outbox([with_handle(100, 1)]);
        outbox.advance(40);
        outbox.skip();
        assert_eq!(outbox.next().unwrap().bytes.len(), 60);
    }

    #[test]
    fn an_acknowledgement_of_nothing_is_ignored() {
        let mut outbox = outbox([plain(10)]);
        assert_eq!(outbox.acknowledge(), None);
        assert_eq!(outbox.next().unwrap().bytes.len(), 10);
    }

    #[test]
    fn every_handle_comes_back_at_the_end() {
        let mut outbox = outbox((1..=5).map(|handle| with_handle(100, handle)));
        outbox.advance(100);
        outbox.advance(40);
        outbox.acknowledge();
        assert_eq!(outbox.drain().collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!(
            (outbox.is_empty(), outbox.unacknowledged(), outbox.waiting_bytes()),
            (true, 0, 0)
        );
    }

    /// Wherever it is interrupted, the same is written as without interruption.
    #[test]
    fn an_outbox_goes_on_elsewhere() {
        let frames =
            || [with_handle(100, 1), plain(READ_BYTES), with_handle(60, 2), plain(7), plain(1)];
        for written in 0..=300 {
            let mut first = outbox(frames());
            first.advance(written.min(100));
            first.advance(written.saturating_sub(100));
            let mut second = Outbox::resume(NO_LIMIT, first.state(|handle| *handle));
            assert_eq!(first.waiting_bytes(), second.waiting_bytes());
            assert_eq!(first.unacknowledged(), second.unacknowledged());
            for _ in 0..3 {
                assert_eq!(write_all(&mut first), write_all(&mut second));
                assert_eq!(first.waiting_bytes(), second.waiting_bytes());
                assert_eq!(first.acknowledge(), second.acknowledge());
            }
            assert!(first.is_empty() && second.is_empty());
        }
    }

    /// A state may come from a program that counts otherwise.
    #[test]
    fn a_state_that_makes_no_sense_does_no_harm() {
        let state = OutboxState {
            waiting: vec![plain(10)],
            written: 99,
            sent: vec![],
            run: usize::MAX,
            stopped: true,
        };
        let mut outbox = Outbox::resume(NO_LIMIT, state);
        assert_eq!(outbox.next().unwrap().bytes.len(), 1);
        write_all(&mut outbox);
        assert_eq!((outbox.is_empty(), outbox.waiting_bytes()), (true, 0));
    }

    #[test]
    fn small_buffers_are_used_again() {
        let mut outbox = outbox([plain(100), plain(SPARE_BYTES * 2)]);
        write_all(&mut outbox);
        assert!(outbox.buffer().capacity() >= 100);
        assert_eq!(outbox.buffer().capacity(), 0);
    }
}
