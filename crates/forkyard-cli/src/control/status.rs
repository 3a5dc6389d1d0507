//! How an app is, as whoever asks is told.

use std::time::SystemTime;

use forkyard::{ClusterHandle, ListenerInfo, WorkerStatus};
use forkyard_control::types::{
    API_VERSION, AppState, Listener, ReloadState, Status, UpgradeOutcome, Worker, WorkerState,
};
use forkyard_sys::process::{Usage, usage};

use super::{Phase, milliseconds, since_1970};

/// What is known without asking the primary.
pub(super) struct About<'a> {
    pub(super) app: &'a str,
    pub(super) phase: Phase,
    pub(super) started: SystemTime,
    pub(super) image_started: SystemTime,
    pub(super) reload: Option<ReloadState>,
    pub(super) upgrade: Option<UpgradeOutcome>,
}

/// Whether every slot has had a worker that was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Awaited,
    Reached,
}

impl About<'_> {
    pub(super) async fn status(self, handle: &ClusterHandle) -> Status {
        // A primary that has ended is noticed by its events.
        let workers = handle.workers().await.unwrap_or_default();
        let listeners = handle.listeners().await.unwrap_or_default();
        let generation = handle.generation().await.map_or(0, |generation| generation.0);
        let readiness = match handle.has_been_ready().await {
            Ok(true) => Readiness::Reached,
            Ok(false) | Err(_) => Readiness::Awaited,
        };
        Status {
            api: API_VERSION,
            app: self.app.to_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: self.state(readiness),
            generation,
            started: since_1970(self.started),
            image_started: since_1970(self.image_started),
            workers: workers.into_iter().map(worker).collect(),
            listeners: listeners.into_iter().map(listener).collect(),
            reload: self.reload,
            upgrade: self.upgrade,
        }
    }

    fn state(&self, readiness: Readiness) -> AppState {
        match (self.phase, &self.reload, readiness) {
            (Phase::ToItsEnd, ..) => AppState::Stopping,
            (Phase::On, Some(ReloadState::UnderWay), _) => AppState::Reloading,
            (Phase::On, _, Readiness::Awaited) => AppState::Starting,
            (Phase::On, _, Readiness::Reached) => AppState::Running,
        }
    }
}

fn worker(status: WorkerStatus) -> Worker {
    let WorkerStatus { info, state, started, restarts } = status;
    let usage = used(info.pid);
    Worker {
        slot: info.slot.0,
        worker: info.worker.0,
        pid: info.pid,
        state: told(state),
        started: started.map(since_1970),
        restarts,
        memory_bytes: usage.map(|usage| usage.resident_bytes),
        cpu_ms: usage.map(|usage| milliseconds(usage.cpu)),
    }
}

fn told(state: forkyard::WorkerState) -> WorkerState {
    match state {
        forkyard::WorkerState::Starting => WorkerState::Starting,
        forkyard::WorkerState::Ready => WorkerState::Ready,
        forkyard::WorkerState::Successor => WorkerState::Successor,
        forkyard::WorkerState::Spare => WorkerState::Spare,
        forkyard::WorkerState::Leaving => WorkerState::Leaving,
    }
}

/// That there is none is no error: the worker may have just ended. Its number may even be
/// somebody else's by now, who is no child of this process.
fn used(pid: u32) -> Option<Usage> {
    usage(pid).ok().filter(|usage| usage.parent == std::process::id())
}

fn listener(info: ListenerInfo) -> Listener {
    Listener { address: info.address, policy: info.policy.name().to_owned(), reason: info.reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_gone_has_taken_nothing() {
        assert_eq!(used(u32::MAX), None);
        // It is there, and no child of this process.
        assert_eq!(used(std::process::id()), None);
    }
}
