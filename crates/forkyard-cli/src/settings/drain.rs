//! How a worker is asked to leave.

use std::time::Duration;

use clap::Args;
use forkyard::Signal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{FromText, Text};
use super::{is_default, time_or};

/// Steps and their times.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Drain {
    /// How long a worker may take to finish what it serves before it gets the stop
    /// signal [default: 30s]
    #[arg(long = "drain-timeout", id = "drain_timeout", value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    timeout: Option<Text<Duration>>,

    /// The signal for a worker that has to go: SIGTERM, SIGINT or another one
    /// [default: SIGTERM]
    #[arg(long, value_name = "SIGNAL")]
    #[serde(skip_serializing_if = "is_default")]
    stop_signal: Option<Text<Signal>>,

    /// How long a worker may take after the stop signal before it is killed [default: 5s]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    term_timeout: Option<Text<Duration>>,

    /// How long idle connections of a worker that leaves are still served, told to close
    /// [default: 2s]
    #[arg(long = "drain-grace", value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    grace: Option<Text<Duration>>,

    /// Send a worker that is to leave the message `shutdown`, as PM2 does
    #[arg(long)]
    #[serde(skip_serializing_if = "is_default")]
    shutdown_message: bool,

    /// Load nothing into Node workers; they leave by Node's own `disconnect`
    #[arg(long)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) no_agent: bool,
}

impl Drain {
    /// How long a worker may take to finish what it serves.
    pub(crate) fn timeout(&self) -> Duration {
        time_or(self.timeout.as_ref(), Duration::from_secs(30))
    }

    /// How long it may take after its stop signal.
    pub(crate) fn term_timeout(&self) -> Duration {
        time_or(self.term_timeout.as_ref(), Duration::from_secs(5))
    }

    /// The signal that asks its process to end.
    pub(crate) fn stop_signal(&self) -> Signal {
        self.stop_signal.as_ref().map_or(Signal::TERM, |signal| signal.value)
    }

    /// How long idle connections are still served.
    pub(crate) fn grace(&self) -> Duration {
        time_or(self.grace.as_ref(), Duration::from_secs(2))
    }

    /// What programs get told besides, if anything.
    pub(crate) fn message(&self) -> Option<&'static str> {
        self.shutdown_message.then_some("shutdown")
    }
}

impl FromText for Signal {
    const HINT: &'static str = "a signal";
    const EXAMPLE: &'static str = "SIGINT";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "write a signal's name, as in SIGINT, or its number".into())
    }
}
