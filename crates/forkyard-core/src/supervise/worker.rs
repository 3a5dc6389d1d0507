//! How far one worker's process has come, and what is to be thought of its life.
//!
//! ```text
//!              Spawned       Online          Listening
//!   Starting ─────────▶ Up ─────────▶ Online ─────────▶ Listening
//! ```
//!
//! Beside that its channel is open or has ended, and it may be on its way out
//! ([`Leaving`]).

use std::time::Instant;

use super::leaving::Leaving;
use crate::event::LeaveReason;
use crate::id::SlotId;
use crate::input::Stage;
use crate::restart::{Life, RestartSettings};

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    /// Its process was asked for.
    Starting,
    /// Its process runs.
    Up,
    /// It speaks the cluster protocol.
    Online,
    /// It listens.
    Listening,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Open,
    Ended,
}

/// One process, as far as it is known.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) slot: SlotId,
    pub(super) since: Instant,
    pub(super) progress: Progress,
    pub(super) leaving: Option<Leaving>,
    pub(super) channel: Channel,
}

impl Worker {
    pub(super) fn new(slot: SlotId, now: Instant) -> Self {
        Self {
            slot,
            since: now,
            progress: Progress::Starting,
            leaving: None,
            channel: Channel::Open,
        }
    }

    /// A worker that does not speak the protocol cannot be asked to disconnect.
    pub(super) fn reachable(&self, stage: Stage) -> Stage {
        let speaks = self.progress >= Progress::Online && self.channel == Channel::Open;
        if speaks { stage } else { stage.max(Stage::Terminate) }
    }

    /// What its life means for its successor.
    pub(super) fn judge(&self, now: Instant, restart: &RestartSettings) -> Life {
        let reason = self.leaving.map(|leaving| leaving.reason);
        let ran = self.progress > Progress::Starting && reason != Some(LeaveReason::StartTimeout);
        let stable = ran && now.duration_since(self.since) >= restart.reset_after;
        let served = self.progress == Progress::Listening || stable;
        let own_wish = reason == Some(LeaveReason::OwnWish);
        match (served, own_wish, stable) {
            (false, ..) => Life::Stillborn,
            (true, true, true) => Life::Retired,
            (true, true, false) => Life::LeftEarly,
            (true, false, true) => Life::Stable,
            (true, false, false) => Life::Short,
        }
    }
}
