//! Tells whoever watches what happens, and knows how much that was.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;

use crate::event::Event;

/// Has room for thousands of events, and takes that at once: so it is the room for pointers.
type Events = broadcast::Sender<Arc<Event>>;

/// The way of events out of the primary.
#[derive(Debug)]
pub(crate) struct Announcer {
    events: Events,
    announced: AtomicU64,
}

impl Announcer {
    /// At most `behind` events wait for a watcher.
    pub(crate) fn new(behind: usize) -> (Self, broadcast::Receiver<Arc<Event>>) {
        let (events, watching) = broadcast::channel(behind);
        (Self { events, announced: AtomicU64::new(0) }, watching)
    }

    pub(crate) fn announce(&self, event: Event) {
        self.announced.fetch_add(1, Ordering::Relaxed);
        // Nobody needs to be watching.
        let _ = self.events.send(Arc::new(event));
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
