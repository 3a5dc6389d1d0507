//! How workers are kept and ended, as far as somebody may choose.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::Generation;
use crate::restart::RestartSettings;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// A signal with this number ended it.
    Signal(i32),
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What to do when every slot is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleRule {
    /// The app is finished.
    Finish,
    /// Somebody may fork again.
    Wait,
}

/// What a seat is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Its worker serves.
    Serving,
    /// Its worker waits, booted up to its first question for an address, which is not
    /// answered before it is needed.
    Spare,
}

/// What makes a worker ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyRule {
    /// It listens, or says [`ReadySignal::Notify`](crate::ReadySignal::Notify).
    Listening,
    /// It says [`ReadySignal::Message`](crate::ReadySignal::Message).
    Message,
    /// It says [`ReadySignal::Notify`](crate::ReadySignal::Notify).
    Notify,
    /// Its process runs.
    Started,
}

/// Whether the health of a successor that is ready is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckRule {
    /// It is believed.
    Skip,
    /// By [`Action::Check`](crate::Action::Check).
    Ask,
}

/// A roll as an operator wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollPlan {
    /// The generation to bring in.
    pub generation: Generation,
    /// How many workers are to serve afterwards; `None` for as many as now.
    pub workers: Option<usize>,
    /// How many successors there may be at a time that are not seated yet.
    pub surge: Surge,
}

/// How many workers more than it has an app may have while it rolls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surge {
    /// So many. 0 counts as 1.
    Workers(usize),
    /// So many of a hundred workers, rounded up, and at least one.
    Percent(usize),
}

impl Surge {
    /// How many that is of these workers.
    #[must_use]
    pub fn of(self, workers: usize) -> usize {
        let surge = match self {
            Self::Workers(count) => count,
            Self::Percent(percent) => workers.saturating_mul(percent).div_ceil(100),
        };
        surge.max(1)
    }
}

/// How workers are kept and ended.
#[derive(Clone, Debug)]
pub struct SuperviseSettings {
    /// How ended workers are replaced.
    pub restart: RestartSettings,
    /// A worker that does not listen by then is ended and counts as crashed.
    pub start_timeout: Option<Duration>,
    /// What makes a worker ready.
    pub ready: ReadyRule,
    /// How long a successor may take to get ready and to pass its check.
    pub ready_timeout: Duration,
    /// Whether its health is looked at then.
    pub check: CheckRule,
    /// How long it has to stay up after that before it gets the seat.
    pub settle: Duration,
    /// How long a worker that was asked to leave may take.
    pub drain_timeout: Duration,
    /// How long a worker that got its stop signal may take.
    pub term_timeout: Duration,
    /// How long a worker may live on after its channel has ended.
    pub exit_grace: Duration,
    /// What to do when every slot is done.
    pub when_idle: IdleRule,
}

impl Default for SuperviseSettings {
    fn default() -> Self {
        Self {
            restart: RestartSettings::default(),
            start_timeout: None,
            ready: ReadyRule::Listening,
            ready_timeout: Duration::from_secs(30),
            check: CheckRule::Skip,
            settle: Duration::from_millis(20),
            drain_timeout: Duration::from_secs(30),
            term_timeout: Duration::from_secs(5),
            exit_grace: Duration::from_millis(500),
            when_idle: IdleRule::Wait,
        }
    }
}
