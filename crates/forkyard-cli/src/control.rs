//! The control socket of a running app: who asks it for things, besides by signals and keys.

use std::time::Duration;

use forkyard::{ClusterHandle, Event, WorkerInfo};
use forkyard_control::folder::runtime_dir;
use forkyard_control::server::{Server, Wish};
use forkyard_control::types::{Listener, ReloadState, Status, Update, UpgradeOutcome, Worker};
use tokio::sync::mpsc;

use crate::report::Reporter;

/// Why nothing is done any more.
pub(crate) const STOPPING: &str = "the app is stopping";

/// The socket, once it is open.
#[derive(Debug)]
pub(crate) struct Control {
    app: String,
    rule: ControlRule,
    served: Option<(Server, mpsc::Receiver<Wish>)>,
    /// How the last upgrade went, as far as this image knows.
    upgrade: Option<UpgradeOutcome>,
}

/// Whether an app has a control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlRule {
    Serve,
    LeaveOut,
}

impl Control {
    pub(crate) fn of(app: &str, rule: ControlRule) -> Self {
        Self { app: app.to_owned(), rule, served: None, upgrade: None }
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

    /// Whoever asks for something from now on is told that the app is stopping.
    pub(crate) fn refuse(&mut self) {
        if let Some((_, wishes)) = &mut self.served {
            wishes.close();
            while let Ok(wish) = wishes.try_recv() {
                match wish {
                    Wish::Reload(watcher) | Wish::Follow(watcher) | Wish::Upgrade(watcher) => {
                        watcher.tell(Update::Refused { reason: STOPPING.to_owned() });
                    }
                    Wish::Status(_) => {}
                }
            }
        }
    }

    /// Nobody can ask any more. Gives clients a moment to take what they have been told.
    pub(crate) async fn finish(&mut self) {
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
            _ => {}
        }
    }

    pub(crate) async fn status(
        &self,
        handle: &ClusterHandle,
        reload: Option<ReloadState>,
    ) -> Status {
        // A primary that has ended is noticed by its events.
        let workers = handle.workers().await.unwrap_or_default();
        let listeners = handle.listeners().await.unwrap_or_default();
        let listener = |info: forkyard::ListenerInfo| Listener {
            address: info.address,
            policy: info.policy.name().to_owned(),
            reason: info.reason,
        };
        let generation = handle.generation().await.map_or(0, |generation| generation.0);
        Status {
            app: self.app.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation,
            upgrade: self.upgrade.clone(),
            reload,
            listeners: listeners.into_iter().map(listener).collect(),
            workers: workers.into_iter().map(|worker| told(worker.info)).collect(),
        }
    }
}

/// A worker, as it is told to whoever asks.
pub(crate) fn told(info: WorkerInfo) -> Worker {
    Worker { slot: info.slot.0, worker: info.worker.0, pid: info.pid }
}

/// As it is told to machines.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
