//! How far one worker's process has come, and what is to be thought of its life.
//!
//! ```text
//!              Spawned       Online          Listening
//!   Starting ─────────▶ Up ─────────▶ Online ─────────▶ Listening
//!                                      └──▶ StandingBy ──▲
//!                                  a spare asks           it is promoted, and listens
//! ```
//!
//! Beside that its channel is open or has ended, it has a seat, will have one or had one
//! ([`Place`]), and it may be on its way out ([`Leaving`]).

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::leaving::Leaving;
use super::readiness::Readiness;
use super::settings::ReadyRule;
use crate::event::LeaveReason;
use crate::id::{Generation, SlotId};
use crate::input::{ReadySignal, Stage};
use crate::restart::{Life, RestartSettings};

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Progress {
    /// Its process was asked for.
    Starting,
    /// Its process runs.
    Up,
    /// It speaks the cluster protocol.
    Online,
    /// It is a spare, or was one until a moment ago, and has asked for an address.
    StandingBy,
    /// It listens.
    Listening,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Channel {
    Open,
    Ended,
}

/// How a worker stands to its slot's seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// It has the seat.
    Seated,
    /// It is to get the seat.
    Successor(Way),
    /// It had the seat, and finishes what it has.
    Former,
}

/// A successor's way to the seat; see [`super::succession`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    Booting,
    Checking,
    Settling,
    /// It was no good, and is being ended.
    Failed,
}

/// One process, as far as it is known.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) slot: SlotId,
    pub(super) generation: Generation,
    pub(super) place: Place,
    pub(super) since: Instant,
    pub(super) progress: Progress,
    /// What it has said of itself, besides that it listens.
    pub(super) said_ready: Vec<ReadySignal>,
    /// Whether it has been told that it is ready.
    pub(super) readiness: Readiness,
    pub(super) leaving: Option<Leaving>,
    pub(super) channel: Channel,
}

impl Worker {
    pub(super) fn new(slot: SlotId, generation: Generation, place: Place, now: Instant) -> Self {
        Self {
            slot,
            generation,
            place,
            since: now,
            progress: Progress::Starting,
            said_ready: Vec::new(),
            readiness: Readiness::Awaited,
            leaving: None,
            channel: Channel::Open,
        }
    }

    /// A worker that does not speak the protocol cannot be asked to disconnect.
    pub(super) fn reachable(&self, stage: Stage) -> Stage {
        let speaks = self.progress >= Progress::Online && self.channel == Channel::Open;
        if speaks { stage } else { stage.max(Stage::Terminate) }
    }

    /// Its channel has ended, which is mostly the first that is seen of a crash.
    pub(super) fn is_cut_off(&self) -> bool {
        self.progress >= Progress::Online && self.channel == Channel::Ended
    }

    pub(super) fn is_ready(&self, rule: ReadyRule) -> bool {
        let has_said = |signal| self.said_ready.contains(&signal);
        match rule {
            ReadyRule::Started => self.progress >= Progress::Up,
            ReadyRule::Listening => {
                self.progress == Progress::Listening || has_said(ReadySignal::Notify)
            }
            ReadyRule::Message => has_said(ReadySignal::Message),
            ReadyRule::Notify => has_said(ReadySignal::Notify),
        }
    }

    /// What its life means for its successor.
    pub(super) fn judge(&self, now: Instant, restart: &RestartSettings) -> Life {
        let reason = self.leaving.map(|leaving| leaving.reason);
        let ran = self.progress > Progress::Starting && reason != Some(LeaveReason::StartTimeout);
        let stable = ran && now.duration_since(self.since) >= restart.reset_after;
        let served = self.progress >= Progress::StandingBy || stable;
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
