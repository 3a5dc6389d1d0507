//! The primary side: a cluster, and what it tells. How it is set up is in [`builder`], what can
//! be asked of it in [`handle`].

mod builder;
mod handle;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use forkyard_core::{SlotId, Stage};
use tokio::sync::{broadcast, mpsc, oneshot};

pub use builder::{ClusterBuilder, StartError};
pub use handle::{ClusterHandle, RequestError};

use crate::event::Event;
use crate::output::Drained;
use crate::primary::{Mail, MessageTap, PrimaryHandle, ReceivedMessage};
use crate::roll::RollReason;

/// How many messages from workers may wait to be fetched.
const MESSAGES: usize = 1024;

/// Where a cluster comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It has just been started, and has no worker yet.
    Fresh,
    /// It has been taken over from the image before, with all its slots and workers.
    TakenOver {
        /// What the roll that is under way is for, if one is.
        rolling: Option<RollReason>,
    },
}

/// Events as they come, and what has become of them.
#[derive(Debug)]
struct Watching {
    events: broadcast::Receiver<Arc<Event>>,
    /// How many have been returned or lost. When the next one is asked for they have been
    /// handled.
    returned: u64,
    /// While an upgrade waits for it: how many have been told to be handled.
    told: Option<u64>,
}

impl Watching {
    async fn next(&mut self, mail: &mpsc::Sender<Mail>) -> Option<Event> {
        loop {
            self.tell(mail).await;
            match self.events.recv().await {
                Ok(event) => {
                    self.returned += 1;
                    match &*event {
                        Event::Upgrading => self.told = Some(0),
                        Event::UpgradeFailed { .. } => self.told = None,
                        _ => {}
                    }
                    return Some(Arc::unwrap_or_clone(event));
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    self.returned += missed;
                    tracing::warn!(missed, "events were read too slowly and lost");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Tells an upgrade that all events so far have been handled. May be dropped at any await.
    async fn tell(&mut self, mail: &mpsc::Sender<Mail>) {
        if self.told.is_some_and(|told| told != self.returned) {
            // A primary that has ended is noticed by the events.
            let _ = mail.send(Mail::EventsHandled(self.returned)).await;
            self.told = Some(self.returned);
        }
    }
}

/// A running primary.
///
/// Dropping it stops the app: workers get their stop signal and are killed if they do not
/// end in time. Nobody waits for that; [`stop`](ClusterHandle::stop) it and read events to
/// the end to do so.
pub struct Cluster {
    handle: ClusterHandle,
    events: Watching,
    tap: MessageTap,
    drained: Option<Drained>,
    origin: Origin,
    note: Option<String>,
    /// The primary stops the app when this is gone.
    _owner: oneshot::Sender<Infallible>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    fn of(primary: PrimaryHandle, origin: Origin) -> Self {
        let PrimaryHandle { mail, events, tap, drained, owner } = primary;
        let handle = ClusterHandle { mail };
        let events = Watching { events, returned: 0, told: None };
        Self { handle, events, tap, drained, origin, note: None, _owner: owner }
    }

    /// Begins to set one up.
    #[must_use]
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::new()
    }

    /// A handle to ask things of the primary, which can be cloned and sent elsewhere.
    #[must_use]
    pub fn handle(&self) -> ClusterHandle {
        self.handle.clone()
    }

    /// Whether it has just been started, or taken over.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// What the program wanted the image after it to know ([`ClusterHandle::leave_note`]), if
    /// this one has taken over.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The next event; `None` once the primary has ended. A reader that falls thousands of
    /// events behind loses the oldest. Asking for the next event says that the ones before
    /// have been handled.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.events.next(&self.handle.mail).await
    }

    /// Waits until the cluster is over and all that its workers wrote has been passed on to
    /// the sink, if it goes to one ([`Output::Lines`](crate::Output::Lines)). A program that has such a sink waits
    /// for this before it ends; a sink that blocks for ever makes it wait as long.
    pub async fn output_drained(&self) {
        if let Some(drained) = self.drained.clone() {
            drained.wait().await;
        }
    }

    /// Lets messages that workers send be received. Without this they are dropped. A second
    /// call takes over from the first.
    ///
    /// At most a thousand wait; a worker that sends more is held up until they are fetched.
    #[must_use]
    pub fn messages(&self) -> Messages {
        let (sender, inbox) = mpsc::channel(MESSAGES);
        self.tap.open(sender);
        Messages { inbox }
    }

    /// Adds a slot and starts a worker in it. See [`ClusterHandle::fork`].
    ///
    /// # Errors
    ///
    /// If the app is stopping, a roll is under way, or there are as many slots as there can be.
    pub async fn fork(&self) -> Result<SlotId, RequestError> {
        self.handle.fork().await
    }

    /// Ends everything. See [`ClusterHandle::stop`].
    ///
    /// # Errors
    ///
    /// If the primary has ended.
    pub async fn stop(&self, stage: Stage) -> Result<(), RequestError> {
        self.handle.stop(stage).await
    }
}

/// Messages from workers.
#[derive(Debug)]
pub struct Messages {
    inbox: mpsc::Receiver<ReceivedMessage>,
}

impl Messages {
    /// The next message; `None` once the primary has ended or somebody else receives.
    pub async fn next(&mut self) -> Option<ReceivedMessage> {
        self.inbox.recv().await
    }
}
