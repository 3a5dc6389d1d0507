//! The outbox against a model of Linux and of a receiving Node process: whatever
//! is pushed, written in pieces and read late, each message meets its own handle.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Frame, Outbox};
use crate::{Decoder, Dialect};

/// What Linux puts into one socket buffer: a page without its overhead, and 32 KiB.
const SOCKET_BUFFER: usize = 3776 + 32 * 1024;
const READ: usize = 64 * 1024;

#[derive(Debug, Clone)]
enum Step {
    Push {
        handle: bool,
        length: usize,
    },
    /// One `sendmsg`, of which so many bytes are taken.
    Write {
        room: usize,
    },
    /// One read by the peer, and its acknowledgement, if it owes one.
    Read,
}

/// The socket, and the process behind it.
struct Peer {
    /// Bytes, and the handle that comes with the first of them.
    socket: VecDeque<(Vec<u8>, Option<usize>)>,
    pending: Option<usize>,
    decoder: Decoder,
    /// The messages that have come, each with its handle.
    got: Vec<(usize, Option<usize>)>,
}

impl Peer {
    fn new() -> Self {
        let decoder = Decoder::new(Dialect::Json, usize::MAX);
        Self { socket: VecDeque::new(), pending: None, decoder, got: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8], mut handle: Option<usize>) {
        for piece in bytes.chunks(SOCKET_BUFFER) {
            self.socket.push_back((piece.to_vec(), handle.take()));
        }
    }

    /// Reads until the buffer is full or a handle has come; says how many messages
    /// with handles were complete.
    fn read(&mut self) -> usize {
        let mut room = READ;
        while let Some((mut bytes, handle)) = self.socket.pop_front() {
            let rest = bytes.split_off(room.min(bytes.len()));
            room -= bytes.len();
            self.decoder.feed(&bytes);
            if !rest.is_empty() {
                self.socket.push_front((rest, None));
            }
            self.pending = handle.or(self.pending);
            if room == 0 || handle.is_some() {
                break;
            }
        }
        self.deliver()
    }

    fn deliver(&mut self) -> usize {
        let mut acknowledgements = 0;
        while let Some(frame) = self.decoder.next_frame() {
            let text = std::str::from_utf8(frame.unwrap()).unwrap().trim_end();
            let (kind, number) = text.split_at(1);
            let handle = if kind == "h" { self.pending.take() } else { None };
            acknowledgements += usize::from(kind == "h");
            self.got.push((number.parse().unwrap(), handle));
        }
        acknowledgements
    }
}

fn frame(number: usize, handle: bool, length: usize) -> Frame<usize> {
    let kind = if handle { 'h' } else { 'p' };
    let mut line = format!("{kind}{number}");
    line.extend(std::iter::repeat_n(' ', length.saturating_sub(line.len() + 1)));
    line.push('\n');
    Frame { bytes: line.into_bytes(), handle: handle.then_some(number) }
}

fn write(outbox: &mut Outbox<usize>, peer: &mut Peer, room: usize) {
    if let Some(chunk) = outbox.next() {
        let taken = room.min(chunk.bytes.len());
        peer.send(&chunk.bytes[..taken], chunk.handle.copied().filter(|_| taken > 0));
        outbox.advance(taken);
    }
}

fn read(outbox: &mut Outbox<usize>, peer: &mut Peer) {
    for _ in 0..peer.read() {
        assert!(outbox.acknowledge().is_some());
    }
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 8_usize..300, 1 => 300_usize..40_000, 1 => 60_000_usize..70_000]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), length()).prop_map(|(handle, length)| Step::Push { handle, length }),
        4 => Just(Step::Write { room: usize::MAX }),
        1 => (0_usize..200).prop_map(|room| Step::Write { room }),
        1 => Just(Step::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_message_meets_its_own_handle(steps in vec(step(), 1..60)) {
        let (mut outbox, mut peer) = (Outbox::new(usize::MAX), Peer::new());
        let mut expected = Vec::new();
        for step in steps {
            match step {
                Step::Push { handle, length } => {
                    let number = expected.len();
                    outbox.push(frame(number, handle, length)).unwrap();
                    expected.push((number, handle.then_some(number)));
                }
                Step::Write { room } => write(&mut outbox, &mut peer, room),
                Step::Read => read(&mut outbox, &mut peer),
            }
        }
        // What is left goes out as fast as it may.
        for _ in 0..expected.len() * 100 {
            while outbox.next().is_some() {
                write(&mut outbox, &mut peer, usize::MAX);
            }
            read(&mut outbox, &mut peer);
        }
        prop_assert_eq!(&peer.got, &expected);
        prop_assert!(outbox.is_empty() && outbox.unacknowledged() == 0);
        prop_assert_eq!(outbox.waiting_bytes(), 0);
    }
}
