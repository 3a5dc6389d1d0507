//! When and how often workers that have ended are started again.

use std::time::Duration;

use clap::Args;
use forkyard::{RestartMode, RestartSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list::{OneOrMany, one_or_many};
use super::text::{Code, Text};
use super::{is_default, time_or};

/// The restart rules.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Restart {
    /// The delay before the second restart in a row; it doubles from there [default: 100ms]
    #[arg(long = "restart-delay", id = "restart_delay", value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    delay: Option<Text<Duration>>,

    /// The longest delay before a restart [default: 5s]
    #[arg(long = "restart-max-delay", value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    max_delay: Option<Text<Duration>>,

    /// Give the app up when one slot needs more restarts than this within the window [default: 10]
    #[arg(long = "restart-limit", id = "restart_limit", value_name = "N")]
    #[serde(skip_serializing_if = "is_default")]
    limit: Option<u32>,

    /// The window for the limit of restarts [default: 60s]
    #[arg(long = "restart-window", value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    window: Option<Text<Duration>>,

    /// A worker that stays up this long starts afresh with its delays [default: 10s]
    #[arg(long = "restart-reset-after", value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    reset_after: Option<Text<Duration>>,

    /// Exit codes that mean "done, do not restart", separated by commas
    #[arg(long = "no-restart-codes", value_name = "CODES", value_delimiter = ',')]
    #[serde(skip_serializing_if = "is_default", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<Text<Code>>")]
    done_codes: Vec<Text<Code>>,
}

impl Restart {
    /// What holds.
    pub(crate) fn rules(&self) -> RestartSettings {
        RestartSettings {
            mode: RestartMode::Always,
            delay: time_or(self.delay.as_ref(), Duration::from_millis(100)),
            max_delay: time_or(self.max_delay.as_ref(), Duration::from_secs(5)),
            limit: self.limit.unwrap_or(10),
            window: time_or(self.window.as_ref(), Duration::from_secs(60)),
            reset_after: time_or(self.reset_after.as_ref(), Duration::from_secs(10)),
            done_codes: self.done_codes.iter().map(|code| code.value.0.into()).collect(),
        }
    }
}
