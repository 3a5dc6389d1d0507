//! Another number of workers while the app runs, and who waits for it.
//!
//! ```text
//!   idle ──wanted──▶ the surplus is told to leave, new slots are made ──▶ awaiting the new ones
//!    ▲                                                                       │
//!    └──── they are ready ── or another number is wanted ── or it stops ─────┘
//! ```

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Instant;

use forkyard::{ClusterHandle, Event, RequestError, SlotId};
use forkyard_control::server::Watcher;
use forkyard_control::types::Update;

use crate::control::{STOPPING, milliseconds};
use crate::report;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Scaling(Option<Awaited>);

#[derive(Debug)]
struct Awaited {
    watcher: Watcher,
    since: Instant,
    slots: BTreeSet<SlotId>,
}

impl Scaling {
    /// Has the primary keep so many workers.
    pub(crate) async fn wanted(
        &mut self,
        workers: NonZeroUsize,
        watcher: Watcher,
        handle: &ClusterHandle,
    ) -> Result<(), RequestError> {
        let since = Instant::now();
        match handle.scale(workers).await {
            Ok(scaled) => {
                self.end(|_| failed("another number of workers was asked for meanwhile"));
                let slots = scaled.added.into_iter().collect();
                self.0 = Some(Awaited { watcher, since, slots });
                self.end_if_done();
                Ok(())
            }
            Err(error) => {
                watcher.tell(Update::Refused { reason: error.to_string() });
                Err(error)
            }
        }
    }

    /// Takes note of how far it has come.
    pub(crate) fn event(&mut self, event: &Event) {
        if self.0.is_none() {
            return;
        }
        self.tell_progress(event);
        match event {
            Event::Ready(info) => self.comes_no_more(info.slot),
            Event::SlotDone { slot } => self.comes_no_more(*slot),
            Event::Failed { .. } | Event::Stopping { .. } => self.refuse(),
            _ => {}
        }
    }

    /// The app is over. Whoever still waits is told so.
    pub(crate) fn refuse(&mut self) {
        self.end(|_| failed(STOPPING));
    }

    /// What happens in the new slots.
    fn tell_progress(&self, event: &Event) {
        if let (Some(awaited), Some(update)) = (&self.0, report::progress(event))
            && let Update::Progress { fields, .. } = &update
            && let Some(slot) = fields.get("slot").and_then(serde_json::Value::as_u64)
            && awaited.slots.iter().any(|awaited| u64::from(awaited.0) == slot)
        {
            awaited.watcher.tell(update);
        }
    }

    fn comes_no_more(&mut self, slot: SlotId) {
        if let Some(awaited) = &mut self.0 {
            awaited.slots.remove(&slot);
        }
        self.end_if_done();
    }

    fn end_if_done(&mut self) {
        if self.0.as_ref().is_some_and(|awaited| awaited.slots.is_empty()) {
            let took = |awaited: &Awaited| milliseconds(awaited.since.elapsed());
            self.end(|awaited| Update::Finished { took_ms: took(awaited) });
        }
    }

    fn end(&mut self, outcome: impl FnOnce(&Awaited) -> Update) {
        if let Some(awaited) = self.0.take() {
            awaited.watcher.tell(outcome(&awaited));
        }
    }
}

fn failed(reason: &str) -> Update {
    Update::Failed { worker: None, reason: reason.to_owned(), stderr_tail: Vec::new() }
}
