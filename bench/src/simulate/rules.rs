//! What holds for all scenarios: the core's settings, prices, and how workers accept.

use std::time::Duration;

use forkyard_core::DispatchSettings;

/// Whether the primary looks after workers that do not take what the kernel deals to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rescue {
    On,
    Off,
}

/// How long the primary, and a worker because of the primary, are busy with one thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prices {
    /// Accepting a connection, choosing a worker, writing to its channel.
    pub(super) accept: Duration,
    /// Reading a worker's answer.
    pub(super) reply: Duration,
    /// Waking up to look at the lanes, ...
    pub(super) look: Duration,
    /// ... and looking at one.
    pub(super) look_at_lane: Duration,
    /// For the worker: reading a connection from its channel and answering.
    pub(super) take: Duration,
}

impl Prices {
    /// Nothing costs anything.
    #[cfg(test)]
    pub(super) const NONE: Self = Self {
        accept: Duration::ZERO,
        reply: Duration::ZERO,
        look: Duration::ZERO,
        look_at_lane: Duration::ZERO,
        take: Duration::ZERO,
    };

    /// Prices as measured. `handoff` is all that the primary does for one connection; that a
    /// third of it is for the answer is an assumption, and makes no difference to how many
    /// it can hand over.
    pub(super) fn new(handoff: Duration, take: Duration) -> Self {
        Self {
            accept: handoff * 2 / 3,
            reply: handoff / 3,
            look: Duration::from_micros(5),
            look_at_lane: Duration::from_micros(1),
            take,
        }
    }

    pub(super) fn look(&self, lanes: usize) -> Duration {
        self.look + self.look_at_lane * u32::try_from(lanes).unwrap_or(u32::MAX)
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) dispatch: DispatchSettings,
    pub(super) prices: Prices,
    /// How often the primary looks at the lanes so long as something comes.
    pub(super) look_every: Duration,
    /// How many connections a worker accepts in one turn of its event loop.
    pub(super) accepts: usize,
    /// The length of an accept queue.
    pub(super) backlog: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            dispatch: DispatchSettings::default(),
            prices: Prices::new(HANDOFF, TAKE),
            look_every: LOOK_EVERY,
            accepts: 1,
            backlog: BACKLOG,
        }
    }
}

/// A round-robin primary's time for one connection, as measured: 17.96 µs (`bench/README.md`).
pub(super) const HANDOFF: Duration = Duration::from_nanos(17_960);
/// A worker's time for taking a connection from its channel instead of accepting it. From the
/// same table: two cores made 15,946 requests/s round-robin and 29,646 shared, so round-robin
/// takes 58 µs more of both; 18 µs of these are the primary's, and the rest is put down to the
/// worker.
pub(super) const TAKE: Duration = Duration::from_micros(40);
/// How often the primary looks at the lanes.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The length of an accept queue, as the primary makes it.
const BACKLOG: usize = 4096;
