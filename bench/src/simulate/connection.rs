//! Connections, and the queues in which the kernel keeps them.

use std::collections::VecDeque;
use std::time::Duration;

use forkyard_core::{ConnectionId, Origin};

use super::cost::Cost;

/// A connection's name as long as anybody holds it; then it is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) u32);

impl Key {
    /// As the core calls it.
    pub(super) fn id(self) -> ConnectionId {
        ConnectionId(self.0.into())
    }

    pub(super) fn of(id: ConnectionId) -> Self {
        Self(u32::try_from(id.0).expect("invariant: ids are made of keys"))
    }
}

/// A client's connection, with the request that is asked or answered last on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) origin: Origin,
    /// Requests that are not answered yet, the one under way included.
    pub(super) requests_left: u32,
    pub(super) asked_at: Duration,
    pub(super) cost: Cost,
    /// Whether the request is among those that are measured.
    pub(super) counts: bool,
    /// The worker that serves it, once one has taken it.
    pub(super) worker: Option<usize>,
    /// The worker's side and the primary's copy, as far as they are open.
    pub(super) copies: u8,
}

/// All that are open.
#[derive(Debug, Default)]
pub(super) struct Connections {
    entries: Vec<Connection>,
    free: Vec<Key>,
}

impl Connections {
    pub(super) fn open(&mut self, connection: Connection) -> Key {
        if let Some(key) = self.free.pop() {
            *self.get(key) = connection;
            return key;
        }
        let number = u32::try_from(self.entries.len()).expect("invariant: there are fewer");
        self.entries.push(connection);
        Key(number)
    }

    pub(super) fn get(&mut self, key: Key) -> &mut Connection {
        &mut self.entries[key.0 as usize]
    }

    /// One copy is closed.
    pub(super) fn let_go(&mut self, key: Key) {
        let entry = self.get(key);
        entry.copies -= 1;
        if entry.copies == 0 {
            self.free.push(key);
        }
    }
}

/// A listening socket's accept queue.
#[derive(Debug, Default)]
pub(super) struct Socket {
    waiting: VecDeque<Key>,
    /// How many have come so far.
    pub(super) dealt: u64,
}

impl Socket {
    pub(super) fn push(&mut self, key: Key) {
        self.waiting.push_back(key);
        self.dealt += 1;
    }

    pub(super) fn pop(&mut self) -> Option<Key> {
        self.waiting.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
