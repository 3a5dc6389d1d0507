//! Upgrades of the primary: who asked for one, and when the next image may go on.

use forkyard::{ClusterHandle, Event, RequestError, UpgradeFailure};
use forkyard_control::server::Watcher;
use forkyard_control::types::Update;
use serde_json::Map;
use tokio::task::JoinSet;

use crate::control::STOPPING;
use crate::report::Reporter;

/// Upgrades that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Upgrade {
    asked: JoinSet<Option<String>>,
    imminent: bool,
}

impl Upgrade {
    /// How it goes on is told by events, and to whoever watches. That it succeeded is for the
    /// next image to tell.
    pub(crate) fn ask(&mut self, watcher: Option<Watcher>, handle: &ClusterHandle) {
        watcher.iter().for_each(|watcher| watcher.tell(began()));
        let handle = handle.clone();
        self.asked.spawn(async move {
            let Err(error) = handle.upgrade().await;
            watcher.iter().for_each(|watcher| watcher.tell(came_to_nothing(&error)));
            match error {
                RequestError::NotUpgraded { reason } => Some(reason.to_owned()),
                _ => None,
            }
        });
    }

    /// Somebody wants one, of an app that is about to stop.
    pub(crate) fn deny(watcher: Option<Watcher>, reporter: &Reporter) {
        watcher.iter().for_each(|watcher| {
            watcher.tell(Update::Refused { reason: STOPPING.to_owned() });
        });
        reporter.upgrade_failed(STOPPING);
    }

    /// Why one was not even begun.
    pub(crate) async fn denied(&mut self) -> String {
        loop {
            match self.asked.join_next().await {
                Some(Ok(Some(reason))) => return reason,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// The app is over, and so is what was asked for. Whoever still waits is told so.
    pub(crate) async fn refuse(&mut self) {
        while self.asked.join_next().await.is_some() {}
    }

    pub(crate) fn take_note(&mut self, event: &Event) {
        match event {
            Event::Upgrading => self.imminent = true,
            Event::UpgradeFailed { .. } => self.imminent = false,
            _ => {}
        }
    }

    /// Whether the next image may go on any moment.
    pub(crate) fn is_imminent(&self) -> bool {
        self.imminent
    }
}

fn began() -> Update {
    let text = "upgrade: trying out the version that is on disk".to_owned();
    Update::Progress { event: "upgrade_started".into(), text, fields: Map::new() }
}

fn came_to_nothing(error: &RequestError) -> Update {
    match error {
        RequestError::NotUpgraded { reason } => Update::Refused { reason: (*reason).to_owned() },
        RequestError::UpgradeFailed(UpgradeFailure { reason, stderr_tail }) => {
            failed(reason.clone(), stderr_tail.clone())
        }
        RequestError::Ended => failed(STOPPING.to_owned(), Vec::new()),
        other => failed(other.to_string(), Vec::new()),
    }
}

fn failed(reason: String, stderr_tail: Vec<String>) -> Update {
    Update::Failed { worker: None, reason, stderr_tail }
}
