//! Tells the service manager how the app is (`sd_notify(3)`): that it is ready, reloads, stops
//! or lives, and in one line how well.
//!
//! ```text
//!   what happens ──▶ Story ── what is new ──▶ Manager ──▶ systemd
//! ```

use std::time::Duration;

use forkyard::{ClusterHandle, Event, Outcome, RollReason};
use forkyard_sys::clock::monotonic;

use super::BootRule;
use super::manager::{Manager, ManagerError};
use super::notification::{Lifecycle, Notification};
use super::story::Story;
use super::tally::Tally;
use crate::exit_code::Failure;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Herald {
    /// Nobody, if no service manager has started this process.
    manager: Option<Manager>,
    story: Story,
    tally: Tally,
}

impl Herald {
    /// For the manager that the environment names.
    pub(crate) fn find(rule: BootRule) -> Result<Self, ManagerError> {
        Ok(Self::to(Manager::find()?, rule))
    }

    /// For nobody.
    pub(crate) fn silent(rule: BootRule) -> Self {
        Self::to(None, rule)
    }

    fn to(manager: Option<Manager>, rule: BootRule) -> Self {
        Self { manager, story: Story::new(rule.stop_limit), tally: Tally::default() }
    }

    /// Goes on where the image before was.
    pub(crate) async fn go_on(&mut self, rolling: Option<RollReason>, handle: &ClusterHandle) {
        if self.manager.is_none() {
            return;
        }
        // A primary that has ended is noticed by its events.
        if handle.has_been_ready().await.unwrap_or_default() {
            self.story.go_on(rolling);
        }
        self.see(handle).await;
        self.tell(Notification::default());
    }

    /// Something has happened.
    pub(crate) async fn take_note(&mut self, event: &Event, handle: &ClusterHandle) {
        if self.manager.is_none() {
            return;
        }
        let news = self.story.hear(event, monotonic());
        self.tally.hear(event);
        if concerns_workers(event) {
            self.see(handle).await;
        }
        self.tell(news);
    }

    /// The app is to stop, and serves on for so long.
    pub(crate) fn put_off(&mut self, delay: Duration) {
        let news = self.story.put_off(delay);
        self.tell(news);
    }

    /// The app is over, and the process ends with this code.
    pub(crate) fn over(&mut self, outcome: &Outcome, exit_code: u8) {
        let news = self.story.over(outcome, exit_code);
        self.manager.iter_mut().for_each(|manager| manager.tell(news.clone()));
    }

    /// Primary and command have shown that they live.
    pub(crate) fn alive(&mut self) {
        self.tell(Notification { alive: true, ..Notification::default() });
    }

    /// Waits until it is time to send again what could not be sent, and does; for ever if there
    /// is nothing.
    pub(crate) async fn catch_up(&mut self) {
        match &mut self.manager {
            Some(manager) => manager.catch_up().await,
            None => std::future::pending().await,
        }
    }

    /// A primary that has ended is noticed by its events.
    async fn see(&mut self, handle: &ClusterHandle) {
        if self.manager.is_some() {
            self.tally.see(&handle.workers().await.unwrap_or_default());
            self.story.see(self.tally.count(), handle.generation().await.ok());
        }
    }

    fn tell(&mut self, news: Notification) {
        let Some(manager) = &mut self.manager else { return };
        let status = self.story.news_of_status();
        let news = Notification { status: status.or(news.status), ..news };
        if news != Notification::default() {
            manager.tell(news);
        }
    }
}

/// The command ends with this failure, before the app or without a word of it.
pub(crate) fn tell_failure(failure: &Failure) {
    // One that is only tried out has nothing to tell.
    if forkyard::is_rehearsal() {
        return;
    }
    if let Ok(Some(mut manager)) = Manager::find() {
        manager.tell(Notification {
            lifecycle: Some(Lifecycle::Stopping),
            status: Some(failure.to_string()),
            exit_code: Some(failure.number()),
            ..Notification::default()
        });
    }
}

/// Whether the number of those that are ready may be another one.
fn concerns_workers(event: &Event) -> bool {
    matches!(
        event,
        Event::Started(_)
            | Event::StartFailed { .. }
            | Event::Ready(_)
            | Event::AppReady
            | Event::Exited { .. }
            | Event::Disconnected(_)
            | Event::SlotDone { .. }
            | Event::StandsBy(_)
            | Event::Promoted(_)
            | Event::RestartScheduled { .. }
            | Event::RollStep { .. }
            | Event::RollFinished { .. }
            | Event::RolledBack { .. }
            | Event::Stopping { .. }
    )
}
