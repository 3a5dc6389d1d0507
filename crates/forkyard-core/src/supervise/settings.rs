//! How workers are kept and ended, as far as somebody may choose.

use std::fmt;
use std::time::Duration;

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

/// How workers are kept and ended.
#[derive(Clone, Debug)]
pub struct SuperviseSettings {
    /// How ended workers are replaced.
    pub restart: RestartSettings,
    /// A worker that does not listen by then is ended and counts as crashed.
    pub start_timeout: Option<Duration>,
    /// How long a worker that was asked to disconnect may take.
    pub disconnect_timeout: Duration,
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
            disconnect_timeout: Duration::from_secs(10),
            term_timeout: Duration::from_secs(5),
            exit_grace: Duration::from_millis(500),
            when_idle: IdleRule::Wait,
        }
    }
}
