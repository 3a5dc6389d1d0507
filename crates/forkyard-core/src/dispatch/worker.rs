//! What the dispatcher knows of a worker.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::DispatchSettings;
use super::policy::Origin;
use crate::id::{ConnectionId, ListenerId, SlotId};
use crate::input::Query;

/// By how much one answer changes the [lag](Worker::lag): an eighth, as TCP does with its
/// round-trip times (RFC 6298).
const LAG_GAIN: u32 = 8;

/// Whether a worker takes part in serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It gets connections.
    Serving,
    /// It gets its addresses, but no connections yet.
    HeldBack,
    /// Its questions for addresses wait for an answer.
    Spare,
}

/// Whether a worker takes the connections that wait on its lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Attention {
    /// As far as anybody knows.
    Awake,
    /// Not for a while: its event loop is blocked.
    Blocked,
    /// It did not, and is dealt to again, to see whether it takes what it gets. Nothing is
    /// handed to it before, because that could not be taken back.
    OnTrial,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) slot: SlotId,
    pub(super) standing: Standing,
    /// What a spare would like to listen on.
    pub(super) asked: Vec<Query>,
    /// Offered and not yet answered, the oldest first.
    pub(super) in_hand: Vec<Offer>,
    /// When its next turn is, in the dispatcher's own time: the lowest comes first.
    pub(super) turn: u64,
    /// How long it takes to answer, as a moving average.
    pub(super) lag: Duration,
    /// The connections it was handed that are not known to be closed.
    pub(super) open: u32,
    pub(super) attention: Attention,
    pub(super) leaving: bool,
}

impl Worker {
    pub(super) fn new(slot: SlotId, standing: Standing) -> Self {
        Self {
            slot,
            standing,
            asked: Vec::new(),
            in_hand: Vec::new(),
            turn: 0,
            lag: Duration::ZERO,
            open: 0,
            attention: Attention::Awake,
            leaving: false,
        }
    }

    pub(super) fn serves(&self) -> bool {
        self.standing == Standing::Serving && !self.leaving
    }

    /// Whether it can be offered another connection.
    pub(super) fn has_room(&self, now: Instant, settings: &DispatchSettings) -> bool {
        let answers = |oldest: &Offer| now.duration_since(oldest.since) < settings.patience;
        self.serves()
            && self.attention == Attention::Awake
            && self.in_hand.len() < settings.window
            && self.in_hand.first().is_none_or(answers)
    }

    /// Takes back what it was offered, with how long it took to answer.
    pub(super) fn answers(&mut self, now: Instant, connection: ConnectionId) -> Option<Offer> {
        let is_it = |offer: &Offer| offer.waiting.connection == connection;
        let at = self.in_hand.iter().position(is_it)?;
        let offer = self.in_hand.remove(at);
        let took = now.duration_since(offer.since);
        self.lag = (self.lag * (LAG_GAIN - 1) + took) / LAG_GAIN;
        Some(offer)
    }
}

/// A connection that a worker has not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) waiting: Waiting,
    pub(super) listener: ListenerId,
    pub(super) since: Instant,
}

/// A connection that the primary has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) connection: ConnectionId,
    pub(super) origin: Option<Origin>,
}
