//! How a worker is asked to leave.

use std::time::Duration;

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::Text;
use super::{is_default, time_or};

/// Steps and their times.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Drain {
    /// How long a worker may take to finish what it serves before it gets SIGTERM [default: 30s]
    #[arg(long = "drain-timeout", id = "drain_timeout", value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    timeout: Option<Text<Duration>>,

    /// How long a worker may take after SIGTERM before it is killed [default: 5s]
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

    /// How long idle connections are still served.
    pub(crate) fn grace(&self) -> Duration {
        time_or(self.grace.as_ref(), Duration::from_secs(2))
    }

    /// What programs get told besides, if anything.
    pub(crate) fn message(&self) -> Option<&'static str> {
        self.shutdown_message.then_some("shutdown")
    }
}
