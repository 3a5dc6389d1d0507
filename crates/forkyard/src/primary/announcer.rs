//! Tells whoever watches what happens, and knows how much that was.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;

use crate::event::Event;

/// The way of events out of the primary.
#[derive(Debug)]
pub(crate) struct Announcer {
    events: broadcast::Sender<Event>,
    announced: AtomicU64,
}

impl Announcer {
    /// At most `behind` events wait for a watcher.
    pub(crate) fn new(behind: usize) -> (Self, broadcast::Receiver<Event>) {
        let (events, watching) = broadcast::channel(behind);
        (Self { events, announced: AtomicU64::new(0) }, watching)
    }

    pub(crate) fn announce(&self, event: Event) {
        self.announced.fetch_add(1, Ordering::Relaxed);
        // Nobody needs to be watching.
        let _ = self.events.send(event);
    }

    /// How many events there have been.
    pub(crate) fn announced(&self) -> u64 {
        self.announced.load(Ordering::Relaxed)
    }

    /// Whether anybody watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.events.receiver_count() > 0
    }
}
