//! How an app is, as its service manager is told.
//!
//! ```text
//!   Starting ── every slot has had a ready worker ──▶ Serving ◀──── the reload is over ────┐
//!      │                                                 │ ── a reload ──▶ Reloading ──────┘
//!      └──────────── told to stop, failed, or done ──────┴───────▶ Stopping ◀──────┘
//! ```
//!
//! A reload of an app that has not been ready yet is no news: it is starting all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use forkyard::{Event, Generation, Outcome, RollReason, RollStep, SlotId};

use super::notification::{Lifecycle, Notification};
use super::tally::Count;
use crate::report;

/// How much longer the manager waits than a stop may take, for a machine that is busy.
const SPARE_TIME: Duration = Duration::from_secs(10);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Story {
    phase: Phase,
    count: Count,
    generation: Option<Generation>,
    /// How the last worker of each slot ended, if nobody had asked it to.
    ends: BTreeMap<SlotId, String>,
    /// Why the last reload failed, or the app.
    failure: Option<String>,
    /// How long a stop may take at most.
    stop_limit: Duration,
    /// The last status that was told.
    told: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    /// How far it has come, if this image has seen its beginning.
    Reloading(Option<Progress>),
    /// It serves on for so long in all.
    AboutToStop(Duration),
    Stopping,
}

/// How far a reload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    to: Generation,
    seated: usize,
    of: usize,
}

impl Story {
    pub(crate) fn new(stop_limit: Duration) -> Self {
        Self {
            phase: Phase::Starting,
            count: Count::default(),
            generation: None,
            ends: BTreeMap::new(),
            failure: None,
            stop_limit,
            told: String::new(),
        }
    }

    /// Goes on where the image before was, with an app that has been ready.
    pub(crate) fn go_on(&mut self, rolling: Option<RollReason>) {
        self.phase = match rolling {
            Some(RollReason::Reload) => Phase::Reloading(None),
            _ => Phase::Serving,
        };
    }

    /// Something has happened. Returns what is to be told of it.
    pub(crate) fn hear(&mut self, event: &Event, now: Duration) -> Notification {
        match event {
            Event::Exited { info, leaving: None, .. } => {
                self.ends.insert(info.slot, report::line(event));
            }
            Event::Ready(info) => drop(self.ends.remove(&info.slot)),
            Event::SlotDone { slot } => drop(self.ends.remove(slot)),
            Event::RollFinished { .. } => self.ends.clear(),
            Event::Failed { .. } => self.failure = Some(report::line(event)),
            Event::RollFailed { .. } => {
                self.failure.get_or_insert(report::line(event));
            }
            _ => {}
        }
        let mut news = self.turn(event, now);
        if news.lifecycle == Some(Lifecycle::Stopping) {
            news.more_time = Some(self.stop_limit + SPARE_TIME);
        }
        news
    }

    /// Goes from one phase to the next.
    fn turn(&mut self, event: &Event, now: Duration) -> Notification {
        match (event, self.phase) {
            (_, Phase::Stopping) => Notification::default(),
            (Event::AppReady, Phase::Starting) => self.enter(Phase::Serving),
            (Event::RollStarted { generation, reason: RollReason::Reload, extent }, phase) => {
                self.failure = None;
                if phase != Phase::Serving {
                    return Notification::default();
                }
                let of = extent.replaced + extent.added;
                self.phase = Phase::Reloading(Some(Progress { to: *generation, seated: 0, of }));
                lifecycle(Lifecycle::Reloading(now))
            }
            (
                Event::RollStep { step: RollStep::Seated, .. },
                Phase::Reloading(Some(Progress { to, seated, of })),
            ) => {
                self.phase = Phase::Reloading(Some(Progress { to, seated: seated + 1, of }));
                Notification::default()
            }
            (Event::RollFinished { .. } | Event::RolledBack { .. }, Phase::Reloading(_)) => {
                self.enter(Phase::Serving)
            }
            (Event::Stopping { .. }, _) => self.enter(Phase::Stopping),
            _ => Notification::default(),
        }
    }

    /// It is to stop, and serves on for so long.
    pub(crate) fn put_off(&mut self, delay: Duration) -> Notification {
        let news = self.enter(Phase::AboutToStop(delay));
        Notification { more_time: Some(delay + self.stop_limit + SPARE_TIME), ..news }
    }

    /// It is over.
    pub(crate) fn over(&mut self, outcome: &Outcome, exit_code: u8) -> Notification {
        let status = match (outcome, self.failure.take()) {
            (Outcome::Failed(_), Some(failure)) => failure,
            (Outcome::Failed(_), None) => "the app failed".to_owned(),
            (Outcome::Finished { .. }, _) => "every worker is done".to_owned(),
            (Outcome::Stopped, _) => "stopped".to_owned(),
        };
        let news = self.enter(Phase::Stopping);
        Notification { status: Some(status), exit_code: Some(exit_code), ..news }
    }

    /// The workers are seen as they are now.
    pub(crate) fn see(&mut self, count: Count, generation: Option<Generation>) {
        (self.count, self.generation) = (count, generation);
    }

    /// How it is, if that is not what was told the last time.
    pub(crate) fn news_of_status(&mut self) -> Option<String> {
        let status = self.status();
        if status == self.told {
            return None;
        }
        self.told.clone_from(&status);
        Some(status)
    }

    fn status(&self) -> String {
        let ready = format!("{} of {} workers ready", self.count.ready, self.count.wanted);
        let generation = self.generation.map(|generation| format!(", generation {generation}"));
        let serving = format!("{ready}{}", generation.unwrap_or_default());
        match self.phase {
            Phase::Starting => format!("starting: {ready}{}", self.trouble()),
            Phase::Serving => format!("{serving}{}", self.trouble()),
            Phase::Reloading(None) => format!("reloading: {ready}{}", self.trouble()),
            Phase::Reloading(Some(Progress { to, seated, of })) => {
                format!(
                    "reloading to generation {to}, {seated} of {of} replaced: {ready}{}",
                    self.trouble()
                )
            }
            Phase::AboutToStop(delay) => {
                let delay = humantime::format_duration(delay);
                format!("stopping in {delay}, until then: {serving}{}", self.trouble())
            }
            Phase::Stopping => match &self.failure {
                Some(failure) => format!("stopping: {failure}"),
                None => format!("stopping: {} left", report::workers(self.count.left)),
            },
        }
    }

    /// Why it is not as well as it could be.
    fn trouble(&self) -> String {
        let end = self.ends.values().next_back();
        let end = end.filter(|_| self.count.ready < self.count.wanted);
        let failure = self.failure.as_ref();
        [end, failure].into_iter().flatten().map(|why| format!("; {why}")).collect()
    }

    fn enter(&mut self, phase: Phase) -> Notification {
        if self.phase == phase {
            return Notification::default();
        }
        self.phase = phase;
        match phase {
            Phase::Serving => lifecycle(Lifecycle::Ready),
            Phase::Stopping | Phase::AboutToStop(_) => lifecycle(Lifecycle::Stopping),
            Phase::Starting | Phase::Reloading(_) => Notification::default(),
        }
    }
}

fn lifecycle(lifecycle: Lifecycle) -> Notification {
    Notification { lifecycle: Some(lifecycle), ..Notification::default() }
}

#[cfg(test)]
mod tests {
    use forkyard::{
        ExitStatus, FailReason, LeaveReason, RollExtent, RollFailure, Stage, WorkerId, WorkerInfo,
    };

    use super::*;

    const INFO: WorkerInfo = WorkerInfo { slot: SlotId(1), worker: WorkerId(7), pid: 70 };
    const NOW: Duration = Duration::from_secs(5);

    /// A story, and all that is told of it.
    struct Told {
        story: Story,
    }

    impl Told {
        fn new() -> Self {
            Self { story: Story::new(Duration::from_secs(35)) }
        }

        /// An app that is ready, with two workers.
        fn serving() -> Self {
            let mut told = Self::new();
            told.count(2, 2);
            told.hear(&Event::AppReady);
            told
        }

        fn count(&mut self, ready: usize, wanted: usize) {
            self.story.see(Count { ready, wanted, left: wanted }, Some(Generation(1)));
        }

        fn hear(&mut self, event: &Event) -> String {
            let news = self.story.hear(event, NOW);
            self.text(news)
        }

        fn text(&mut self, news: Notification) -> String {
            Notification { status: self.story.news_of_status(), ..news }.text()
        }
    }

    fn roll_started(reason: RollReason) -> Event {
        let extent = RollExtent { replaced: 2, added: 0, removed: 0, surge: 1 };
        Event::RollStarted { generation: Generation(2), reason, extent }
    }

    fn exited(leaving: Option<LeaveReason>) -> Event {
        let status = ExitStatus::Code(1);
        Event::Exited { info: INFO, status, leaving, stderr_tail: Vec::new() }
    }

    #[test]
    fn it_is_ready_once_every_worker_has_been() {
        let mut told = Told::new();
        told.count(0, 2);
        let expected = "STATUS=starting: 0 of 2 workers ready\n";
        assert_eq!(told.hear(&Event::Started(INFO)), expected);
        assert_eq!(told.hear(&Event::Online(INFO)), "", "nothing is told twice");
        told.count(2, 2);
        assert_eq!(
            told.hear(&Event::AppReady),
            "READY=1\nSTATUS=2 of 2 workers ready, generation 1\n"
        );
    }

    #[test]
    fn a_reload_is_told_from_its_beginning_to_its_end() {
        let mut told = Told::serving();
        let reload = roll_started(RollReason::Reload);
        assert_eq!(
            told.hear(&reload),
            "RELOADING=1\nMONOTONIC_USEC=5000000\n\
             STATUS=reloading to generation 2, 0 of 2 replaced: 2 of 2 workers ready\n"
        );
        let seated = Event::RollStep { info: INFO, step: RollStep::Seated };
        let expected = "STATUS=reloading to generation 2, 1 of 2 replaced: 2 of 2 workers ready\n";
        assert_eq!(told.hear(&seated), expected);
        let finished = Event::RollFinished { generation: Generation(2), took: NOW };
        assert_eq!(told.hear(&finished), "READY=1\nSTATUS=2 of 2 workers ready, generation 1\n");
    }

    #[test]
    fn one_seat_s_new_worker_is_no_reload() {
        let mut told = Told::serving();
        told.count(2, 2);
        told.hear(&Event::Online(INFO));
        assert_eq!(told.hear(&roll_started(RollReason::Replace)), "");
        let finished = Event::RollFinished { generation: Generation(1), took: NOW };
        assert_eq!(told.hear(&finished), "");
    }

    /// The manager would take it for ready when that is over.
    #[test]
    fn a_reload_of_what_is_starting_is_no_news() {
        let mut told = Told::new();
        let text = told.hear(&roll_started(RollReason::Reload));
        assert!(!text.contains("RELOADING"), "{text}");
        let finished = Event::RollFinished { generation: Generation(2), took: NOW };
        assert!(!told.hear(&finished).contains("READY"));
    }

    #[test]
    fn a_reload_that_failed_stays_in_the_status() {
        let mut told = Told::serving();
        told.hear(&roll_started(RollReason::Reload));
        let failed = Event::RollFailed {
            generation: Generation(2),
            info: INFO,
            reason: RollFailure::NotStarted { message: "no room".into() },
            stderr_tail: Vec::new(),
        };
        told.hear(&failed);
        let back = Event::RolledBack { generation: Generation(1), took: NOW, pending: Vec::new() };
        let text = told.hear(&back);
        assert!(text.starts_with("READY=1\nSTATUS=2 of 2 workers ready, generation 1; "), "{text}");
        assert!(text.contains("no room"), "{text}");
        told.hear(&roll_started(RollReason::Reload));
        let finished = Event::RollFinished { generation: Generation(2), took: NOW };
        assert!(!told.hear(&finished).contains("no room"), "that is over");
    }

    #[test]
    fn why_a_worker_is_missing_is_told_as_long_as_it_is() {
        let mut told = Told::serving();
        told.count(1, 2);
        assert_eq!(
            told.hear(&exited(None)),
            "STATUS=1 of 2 workers ready, generation 1; worker 7 in slot 1 (pid 70) exited with \
             code 1\n"
        );
        told.count(2, 2);
        let expected = "STATUS=2 of 2 workers ready, generation 1\n";
        assert_eq!(told.hear(&Event::Ready(INFO)), expected);
        told.count(1, 2);
        let expected = "STATUS=1 of 2 workers ready, generation 1\n";
        assert_eq!(told.hear(&exited(Some(LeaveReason::OwnWish))), expected, "no trouble");
    }

    #[test]
    fn a_stop_asks_for_the_time_that_it_may_take() {
        let mut told = Told::serving();
        let news = told.story.put_off(Duration::from_secs(10));
        assert_eq!(
            told.text(news),
            "STOPPING=1\nSTATUS=stopping in 10s, until then: 2 of 2 workers ready, generation 1\n\
             EXTEND_TIMEOUT_USEC=55000000\n"
        );
        let stopping = Event::Stopping { stage: Stage::Disconnect, workers: 2 };
        assert_eq!(
            told.hear(&stopping),
            "STOPPING=1\nSTATUS=stopping: 2 workers left\nEXTEND_TIMEOUT_USEC=45000000\n"
        );
        told.count(0, 1);
        assert_eq!(told.hear(&exited(None)), "STATUS=stopping: 1 worker left\n");
        assert_eq!(told.hear(&Event::AppReady), "", "it is stopping");
        let over = told.story.over(&Outcome::Stopped, 0);
        assert_eq!(over.text(), "STATUS=stopped\nEXIT_STATUS=0\n");
    }

    #[test]
    fn an_app_that_failed_says_why_to_the_end() {
        let mut told = Told::serving();
        let reason = FailReason::RestartLimit {
            slot: SlotId(1),
            worker: WorkerId(7),
            limit: 1,
            window: Duration::from_secs(60),
        };
        told.hear(&Event::Failed { reason: reason.clone(), stderr_tail: vec!["bad".into()] });
        let text = told.hear(&Event::Stopping { stage: Stage::Disconnect, workers: 1 });
        assert!(text.starts_with("STOPPING=1\nSTATUS=stopping: the app failed: slot 1"), "{text}");
        let text = told.story.over(&Outcome::Failed(reason), 3).text();
        assert!(text.starts_with("STATUS=the app failed: slot 1"), "{text}");
        assert!(text.ends_with("\nEXIT_STATUS=3\n"), "{text}");
    }

    #[test]
    fn the_next_image_goes_on_with_the_story() {
        let finished = Event::RollFinished { generation: Generation(2), took: NOW };
        let mut told = Told::new();
        told.story.go_on(Some(RollReason::Reload));
        told.count(2, 2);
        let text = told.text(Notification::default());
        assert_eq!(text, "STATUS=reloading: 2 of 2 workers ready\n");
        assert!(told.hear(&finished).starts_with("READY=1\n"));
        let mut told = Told::new();
        told.story.go_on(None);
        assert!(told.hear(&roll_started(RollReason::Reload)).starts_with("RELOADING=1\n"));
    }
}
