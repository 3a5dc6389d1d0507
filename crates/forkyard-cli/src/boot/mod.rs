//! What ties an app to whatever starts and stops it: systemd, a container, an operator.
//!
//! | module | is about |
//! |---|---|
//! | [`herald`], [`story`], [`tally`] | telling the service manager how the app is |
//! | [`manager`], [`notification`] | the way there |
//! | [`watchdog`] | the signs of life that the manager wants |
//! | [`delay`] | serving on for a while when told to stop |
//! | [`sockets`] | sockets that are there before the app |
//! | [`mod@unit`], [`install`], [`systemctl`], [`escape`] | having systemd start apps |

mod delay;
mod escape;
mod herald;
pub(crate) mod install;
mod manager;
mod notification;
mod sockets;
mod story;
pub(crate) mod systemctl;
mod tally;
pub(crate) mod unit;
mod watchdog;

use std::time::Duration;

pub(crate) use delay::StopDelay;
pub(crate) use herald::{Herald, tell_failure};
pub(crate) use install::{Foreign, InstallError, Put, Removed};
pub(crate) use sockets::{ListenOption, resolve};
pub(crate) use systemctl::Systemctl;
pub(crate) use unit::{Scope, Template};
pub(crate) use watchdog::{Pulse, Watchdog};

use forkyard::{ClusterHandle, RollReason};

use crate::note::Note;
use crate::report::Reporter;

/// How an app behaves towards what starts and stops it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BootRule {
    /// For how long it serves on after SIGTERM; by default it stops at once.
    pub(crate) shutdown_delay: Duration,
    /// How long a stop may take after that, until the last worker is killed.
    pub(crate) stop_limit: Duration,
}

/// One app's ties.
#[derive(Debug)]
pub(crate) struct Boot {
    pub(crate) herald: Herald,
    pub(crate) delay: StopDelay,
}

impl Boot {
    /// An app whose manager cannot be told anything runs all the same.
    pub(crate) fn of(rule: BootRule, reporter: &Reporter) -> Self {
        let herald = Herald::find(rule).unwrap_or_else(|error| {
            reporter.warning(format!("the service manager is not told anything: {error}"));
            Herald::silent(rule)
        });
        Self { herald, delay: StopDelay::new(rule.shutdown_delay) }
    }

    /// Goes on where the image before was.
    pub(crate) async fn go_on(
        &mut self,
        rolling: Option<RollReason>,
        note: &Note,
        handle: &ClusterHandle,
    ) {
        self.herald.go_on(rolling, handle).await;
        if let Some(left) = note.stop_in() {
            self.delay.resume(left);
            self.herald.put_off(left);
        }
    }
}
