//! When a worker may take over.

use std::time::Duration;

use clap::{Args, ValueEnum};
use forkyard::{CheckSettings, ReadyRule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::Text;
use super::{Conflict, is_default, time_or};

/// What makes a worker ready, and how long that may take.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(next_help_heading = "Replacing workers")]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ready {
    /// What makes a worker ready to take over; with `listening` READY=1 on NOTIFY_SOCKET
    /// counts too [default: listening; with --listen started]
    #[arg(long = "ready", id = "ready", value_enum, value_name = "RULE")]
    #[serde(skip_serializing_if = "is_default")]
    rule: Option<ReadyWord>,

    /// The same as `--ready message`, as PM2 has it
    #[arg(long, conflicts_with = "ready")]
    #[serde(skip_serializing_if = "is_default")]
    wait_ready: bool,

    /// How long a worker may take to be ready; one that is not by then has failed [default: 30s]
    #[arg(long = "ready-timeout", id = "ready_timeout", value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    timeout: Option<Text<Duration>>,

    /// Ask each new worker for this path, as in /healthz; 200 to 399 is healthy
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    #[serde(skip_serializing_if = "is_default")]
    check: Option<Text<CheckSettings>>,

    /// How long the answer to the check may take [default: 5s]
    #[arg(long, value_name = "TIME", requires = "check")]
    #[serde(skip_serializing_if = "is_default")]
    check_timeout: Option<Text<Duration>>,

    /// How long a worker that is ready must stay up before it takes over [default: 20ms]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    settle: Option<Text<Duration>>,
}

impl Ready {
    /// What makes a worker ready, if anybody has said so.
    pub(crate) fn rule(&self) -> Option<ReadyRule> {
        if self.wait_ready {
            return Some(ReadyRule::Message);
        }
        self.rule.map(|word| match word {
            ReadyWord::Listening => ReadyRule::Listening,
            ReadyWord::Message => ReadyRule::Message,
            ReadyWord::Notify => ReadyRule::Notify,
            ReadyWord::Started => ReadyRule::Started,
        })
    }

    /// How long that may take.
    pub(crate) fn timeout(&self) -> Duration {
        time_or(self.timeout.as_ref(), Duration::from_secs(30))
    }

    /// What each new worker is asked, if anything.
    pub(crate) fn check(&self) -> Option<CheckSettings> {
        let timeout = time_or(self.check_timeout.as_ref(), Duration::from_secs(5));
        self.check.clone().map(|check| check.value.timeout(timeout))
    }

    /// What does not go together. The flags have the same rules.
    pub(super) fn conflicts(&self, listens: bool) -> Vec<Conflict> {
        let rules = [
            (
                self.wait_ready && self.rule.is_some(),
                "ready.wait_ready",
                "it is the same as `rule = \"message\"`; leave one of them out",
            ),
            (
                self.check.is_some() && listens,
                "ready.check",
                "workers that inherit their sockets by `listen` cannot be asked one by one",
            ),
            (
                self.check_timeout.is_some() && self.check.is_none(),
                "ready.check_timeout",
                "there is no `ready.check` that it could be for",
            ),
        ];
        let broken = rules.into_iter().filter(|(is_broken, ..)| *is_broken);
        broken.map(|(_, setting, why)| Conflict { setting, why }).collect()
    }

    /// How long a worker that is ready has to stay up.
    pub(crate) fn settle(&self) -> Duration {
        time_or(self.settle.as_ref(), Duration::from_millis(20))
    }
}

/// When a worker is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ReadyWord {
    /// It listens on a port or socket
    Listening,
    /// It has called process.send('ready')
    Message,
    /// It has sent READY=1 to NOTIFY_SOCKET
    Notify,
    /// It has been started
    Started,
}
