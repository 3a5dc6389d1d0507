//! What ties an app to whatever starts and stops it: systemd, a container, an operator.
//!
//! | module | is about |
//! |---|---|
//! | [`delay`] | serving on for a while when told to stop |
//! | [`sockets`] | sockets that are there before the app |
//! | [`unit`], [`install`], [`systemctl`], [`escape`] | having systemd start apps |

mod delay;
mod escape;
pub(crate) mod install;
mod sockets;
pub(crate) mod systemctl;
pub(crate) mod unit;

use std::time::Duration;

pub(crate) use delay::StopDelay;
pub(crate) use install::{Foreign, InstallError, Put, Removed};
pub(crate) use sockets::{ListenOption, resolve};
pub(crate) use systemctl::Systemctl;
pub(crate) use unit::{Scope, Template};

/// How an app behaves towards what starts and stops it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BootRule {
    /// For how long it serves on after SIGTERM; by default it stops at once.
    pub(crate) shutdown_delay: Duration,
}

/// One app's ties.
#[derive(Debug)]
pub(crate) struct Boot {
    pub(crate) delay: StopDelay,
}

impl Boot {
    pub(crate) fn of(rule: BootRule) -> Self {
        Self { delay: StopDelay::new(rule.shutdown_delay) }
    }
}
