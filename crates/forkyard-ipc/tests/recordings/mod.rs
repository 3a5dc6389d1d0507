//! Bytes that real Node processes said to each other; `record.js` makes them.

use std::fs;
use std::path::Path;

use forkyard_ipc::{Decoder, Dialect};

/// One direction of one channel.
pub struct Recording {
    /// The file's name.
    pub name: String,
    /// The major version of Node.
    pub node: u32,
    /// How the messages are written.
    pub dialect: Dialect,
    /// Everything that was said.
    pub bytes: Vec<u8>,
}

/// What workers said, each to its primary.
pub fn of_workers() -> Vec<Recording> {
    all("worker")
}

/// What primaries said, each to its worker.
pub fn of_primaries() -> Vec<Recording> {
    all("primary")
}

fn all(side: &str) -> Vec<Recording> {
    let versions = [18, 20, 22, 24];
    let dialects = [Dialect::Json, Dialect::Advanced];
    versions
        .into_iter()
        .flat_map(|node| dialects.map(|dialect| Recording::load(node, dialect, side)))
        .collect()
}

impl Recording {
    fn load(node: u32, dialect: Dialect, side: &str) -> Self {
        let name = format!("node{node}.{dialect}.{side}");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
        let bytes = fs::read(folder.join(&name)).unwrap();
        Self { name, node, dialect, bytes }
    }

    /// The frames, when the bytes come in one piece.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        frames(self.dialect, &[&self.bytes])
    }
}

/// The frames, when the bytes come in these pieces.
pub fn frames(dialect: Dialect, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::new(dialect, 1 << 20);
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        while let Some(frame) = decoder.next_frame() {
            frames.push(frame.unwrap().to_vec());
        }
    }
    assert_eq!(decoder.unfinished(), 0);
    frames
}
