//! A worker's channel, from the first byte on.
//!
//! The first byte of the input says which dialect and how the rest is cut; the
//! rest is what the primary reads. What is understood must be understood the same
//! way after it has been written again.
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
    let Ok(message) = WorkerMessage::parse(dialect, frame) else {
        return;
    };
    let mut out = Vec::new();
    if message.encode(dialect, &mut out).is_err() {
        assert!(out.is_empty());
        return;
    }
    let mut decoder = Decoder::new(dialect, usize::MAX);
    decoder.feed(&out);
    let again =
        decoder.next_frame().and_then(Result::ok).map(|frame| WorkerMessage::parse(dialect, frame));
    let again = again.expect("one frame is written").expect("what is written can be read");
    // As text, because NaN is equal to nothing.
    assert_eq!(format!("{again:?}"), format!("{message:?}"));
}
