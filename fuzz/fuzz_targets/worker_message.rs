//! A worker's channel, from the first byte on.
//!
//! The first byte of the input says which dialect and how the rest is cut; the
//! rest is what the primary reads. What is understood and written again must be
//! understood as the same: written once more, it is the same bytes.
//!
//!     cargo +nightly fuzz run worker_message

#![no_main]

use forkyard_ipc::{Decoder, Dialect, WorkerMessage};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 4096;

fuzz_target!(|input: &[u8]| {
    if let Some((how, stream)) = input.split_first() {
        let dialect = if how & 1 == 0 { Dialect::Json } else { Dialect::Advanced };
        read(dialect, stream, usize::from(how >> 1) + 1);
    }
});

fn read(dialect: Dialect, stream: &[u8], step: usize) {
    let mut decoder = Decoder::new(dialect, LIMIT);
    for piece in stream.chunks(step) {
        decoder.feed(piece);
        while let Some(frame) = decoder.next_frame() {
            if let Ok(frame) = frame {
                assert!(frame.len() <= LIMIT);
                understand(dialect, frame);
            }
        }
    }
}

fn understand(dialect: Dialect, frame: &[u8]) {
    if let Some(written) =
        WorkerMessage::parse(dialect, frame).ok().and_then(|message| write(dialect, &message))
    {
        let mut decoder = Decoder::new(dialect, usize::MAX);
        decoder.feed(&written);
        let frame =
            decoder.next_frame().expect("a frame is written").expect("no frame is too long");
        let again = WorkerMessage::parse(dialect, frame).expect("what is written can be read");
        assert_eq!(write(dialect, &again), Some(written));
    }
}

fn write(dialect: Dialect, message: &WorkerMessage) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let written = message.encode(dialect, &mut out);
    assert!(written.is_ok() || out.is_empty());
    written.ok().map(|()| out)
}
