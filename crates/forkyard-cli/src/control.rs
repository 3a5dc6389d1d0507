//! The control socket of a running app: who asks it for things, besides by signals and keys.

mod signal;
mod status;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forkyard::{ClusterHandle, Event, WorkerInfo};
use forkyard_control::folder::runtime_dir;
use forkyard_control::server::{Feed, Following, Server, Wish};
use forkyard_control::types::{ReloadState, Status, Update, UpgradeOutcome, WorkerRef};
use tokio::sync::mpsc;

use crate::note::Note;
use crate::report::Reporter;
pub(crate) use signal::signal;

/// Why nothing is done any more.
pub(crate) const STOPPING: &str = "the app is stopping";

/// The socket, once it is open, and what whoever asks is told of the app.
#[derive(Debug)]
pub(crate) struct Control {
    app: String,
    rule: ControlRule,
    served: Option<(Server, mpsc::Receiver<Wish>)>,
    feed: Feed,
    phase: Phase,
    /// When the first image of the command began.
    started: SystemTime,
    /// When this one did.
    image_started: SystemTime,
    /// How the last upgrade went, as far as this image knows.
    upgrade: Option<UpgradeOutcome>,
}

/// Where an app is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    On,
    ToItsEnd,
}

/// Whether an app has a control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlRule {
    Serve,
    LeaveOut,
}

impl Control {
    pub(crate) fn of(app: &str, rule: ControlRule, reporter: &Reporter) -> Self {
        let now = SystemTime::now();
        Self {
            app: app.to_owned(),
            rule,
            served: None,
            feed: reporter.feed().clone(),
            phase: Phase::On,
            started: now,
            image_started: now,
            upgrade: None,
        }
    }

    /// An app that cannot be asked serves all the same. Needs a runtime at hand.
    pub(crate) fn open(&mut self, reporter: &Reporter) {
        if self.rule == ControlRule::LeaveOut {
            return;
        }
        match Server::start(&runtime_dir(), &self.app) {
            Ok(served) => self.served = Some(served),
            Err(error) => reporter.warning(format!("there is no control socket: {error}")),
        }
    }

    /// The next wish; never, if there is no socket.
    pub(crate) async fn next(&mut self) -> Wish {
        if let Some((_, wishes)) = &mut self.served
            && let Some(wish) = wishes.recv().await
        {
            return wish;
        }
        std::future::pending().await
    }

    /// Goes on where the image before was.
    pub(crate) fn take_over(&mut self, note: &Note) {
        self.started = note.started().unwrap_or(self.started);
    }

    /// What the next image is to know.
    pub(crate) fn note(&self, note: Note) -> Note {
        note.with_started(self.started)
    }

    /// Whoever asks for something from now on is told that the app is stopping.
    pub(crate) fn refuse(&mut self) {
        if let Some((_, wishes)) = &mut self.served {
            wishes.close();
            while let Ok(wish) = wishes.try_recv() {
                refuse(wish);
            }
        }
    }

    /// Nobody can ask any more, and nothing more is told. Gives clients a moment to take what they
    /// have been told.
    pub(crate) async fn finish(&mut self) {
        self.feed.close();
        if let Some((server, _)) = self.served.take() {
            server.finish().await;
        }
    }

    pub(crate) fn take_note(&mut self, event: &Event) {
        match event {
            Event::Upgraded { version, pause, .. } => {
                let (version, pause_ms) = (version.clone(), milliseconds(*pause));
                self.upgrade = Some(UpgradeOutcome::Finished { version, pause_ms });
            }
            Event::UpgradeFailed { reason, stderr_tail } => {
                let (reason, stderr_tail) = (reason.clone(), stderr_tail.clone());
                self.upgrade = Some(UpgradeOutcome::Failed { reason, stderr_tail });
            }
            Event::Stopping { .. } | Event::Failed { .. } => self.phase = Phase::ToItsEnd,
            _ => {}
        }
    }

    pub(crate) async fn status(
        &self,
        handle: &ClusterHandle,
        reload: Option<ReloadState>,
    ) -> Status {
        let about = status::About {
            app: &self.app,
            phase: self.phase,
            started: self.started,
            image_started: self.image_started,
            reload,
            upgrade: self.upgrade.clone(),
        };
        about.status(handle).await
    }

    /// The same, and what happens from then on.
    pub(crate) async fn following(
        &self,
        handle: &ClusterHandle,
        reload: Option<ReloadState>,
    ) -> Following {
        // In this order: what happens in between is told by the events, too.
        let events = self.feed.follow();
        Following { status: self.status(handle, reload).await, events }
    }
}

fn refuse(wish: Wish) {
    match wish {
        Wish::Reload(watcher)
        | Wish::Follow(watcher)
        | Wish::Upgrade(watcher)
        | Wish::Restart(_, watcher)
        | Wish::Scale(_, watcher) => {
            watcher.tell(Update::Refused { reason: STOPPING.to_owned() });
        }
        // The server says why there is no answer.
        Wish::Status(_)
        | Wish::Events(_)
        | Wish::Stop(..)
        | Wish::Signal(..)
        | Wish::FlushLogs(_)
        | Wish::Settings(..) => {}
    }
}

/// A worker, as it is told to whoever asks.
pub(crate) fn told(info: WorkerInfo) -> WorkerRef {
    WorkerRef { slot: info.slot.0, worker: info.worker.0, pid: info.pid }
}

/// A moment, as it is told to machines.
pub(crate) fn since_1970(moment: SystemTime) -> u64 {
    milliseconds(moment.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// As it is told to machines.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
