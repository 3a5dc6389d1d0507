//! What a listener is: where it is bound, how its connections travel, who holds it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::lanes::{DealtLane, Lane};
use super::policy::{Choice, Dealing, Policy};
use super::worker::Waiting;
use crate::id::{LaneId, SlotId, WorkerId};

/// The address part of an [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// None was given: every address, over IPv6 where the system has it.
    Any,
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address with its scope (0 for none).
    V6(Ipv6Addr, u32),
}

/// What travels over a descriptor that was inherited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Connections.
    Stream,
    /// Datagrams.
    Datagram,
}

/// A place to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// A TCP port.
    Tcp {
        /// The address.
        host: Host,
        /// The port; 0 lets the system choose.
        port: u16,
        /// Whether an IPv6 address leaves IPv4 alone.
        only_v6: bool,
    },
    /// A Unix socket in the file system.
    Unix {
        /// Its absolute path.
        path: String,
        /// Whether everybody may read from it.
        readable_all: bool,
        /// Whether everybody may write to it.
        writable_all: bool,
    },
    /// A Unix socket in Linux' abstract name space.
    Abstract {
        /// Its name without the leading zero byte.
        name: String,
    },
    /// A UDP port.
    Udp {
        /// The address.
        host: Host,
        /// The port; 0 lets the system choose.
        port: u16,
        /// Whether an IPv6 address leaves IPv4 alone.
        only_v6: bool,
        /// Whether the address may be bound several times.
        reuse_address: bool,
    },
    /// A descriptor that the primary was started with.
    Descriptor {
        /// Its number.
        number: i32,
        /// What it carries.
        transport: Transport,
    },
}

impl Endpoint {
    /// Whether the system chooses the port.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        matches!(self, Self::Tcp { port: 0, .. } | Self::Udp { port: 0, .. })
    }

    /// Whether it carries datagrams, which nobody can accept for somebody else.
    #[must_use]
    pub fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp { .. } | Self::Descriptor { transport: Transport::Datagram, .. })
    }

    /// Whether this one, while it is bound, may keep the other from being bound. Careful
    /// rather than exact: addresses are not compared, and port 0 may have become any port.
    pub(super) fn is_in_the_way_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp { port, .. }, Self::Tcp { port: other, .. })
            | (Self::Udp { port, .. }, Self::Udp { port: other, .. }) => {
                *other != 0 && (port == other || *port == 0)
            }
            (Self::Unix { path, .. }, Self::Unix { path: other, .. }) => path == other,
            _ => false,
        }
    }
}

/// What makes two questions mean the same listener.
///
/// `index` tells apart several requests of one worker for "any free port" (and several
/// UDP sockets on one address): the first such request of every worker means the same
/// port. For everything else it is 0, because Node before 22.23 counts it up when a
/// server is closed and opened again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListenerSpec {
    /// Where.
    pub endpoint: Endpoint,
    /// Which of several.
    pub index: u32,
}

impl ListenerSpec {
    /// Makes a spec, dropping an index that means nothing for this endpoint.
    #[must_use]
    pub fn new(endpoint: Endpoint, index: u32) -> Self {
        let index = if endpoint.is_ephemeral() || endpoint.is_datagram() { index } else { 0 };
        Self { endpoint, index }
    }
}

/// Why a worker does not get an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This worker listens there already.
    AlreadyHeld,
    /// The app has as many listeners as it may.
    TooMany,
    /// The app is stopping.
    Stopping,
    /// The system said no: its error number, positive.
    System(i32),
}

/// Who keeps a listener from being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Hold {
    /// The app has it from its settings, for as long as it runs.
    App,
    /// This worker listens.
    Worker(WorkerId),
    /// The worker of this slot is gone; the next one will want the address.
    Successor(SlotId),
}

/// Who closed a listener, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closer {
    pub(super) worker: WorkerId,
    pub(super) at: Instant,
}

/// A worker that takes connections from a listener.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Member {
    /// How often in a row it declined; 0 when it may be offered connections.
    pub(super) declined: u32,
    /// It declined and its pause is not over.
    pub(super) paused: bool,
    /// Where it accepts, if the kernel deals.
    pub(super) lane: Option<LaneId>,
    /// How it came by the address.
    pub(super) access: Access,
}

/// How workers come by an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// They ask, so they speak the protocol and can be handed connections.
    #[default]
    Asked,
    /// They are started with a socket of it. Nobody can hand them anything.
    Inherited,
}

impl Member {
    /// Whether it may be offered connections that the primary has accepted.
    pub(super) fn can_be_handed(&self) -> bool {
        !self.paused && self.access == Access::Asked
    }

    /// How long to leave it alone: it cannot tell us when it has room again.
    pub(super) fn decline(&mut self) -> Duration {
        const LONGEST: u32 = 6;
        self.paused = true;
        let pause = Duration::from_millis(1 << self.declined.min(LONGEST));
        self.declined = self.declined.saturating_add(1);
        pause
    }
}

/// Whether a listener is bound yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Binding {
    /// Asked for; these questions wait for the answer.
    Opening { waiting: Vec<(WorkerId, u64)> },
    /// Bound.
    Open,
}

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) spec: ListenerSpec,
    pub(super) policy: Policy,
    /// What has become of the policy, once it is bound.
    pub(super) dealing: Option<Dealing>,
    pub(super) binding: Binding,
    pub(super) holds: BTreeSet<Hold>,
    pub(super) members: BTreeMap<WorkerId, Member>,
    /// Accepted, but not with a worker: it died or declined.
    pub(super) queue: VecDeque<Waiting>,
    /// The sockets that the kernel can deal to, by number.
    pub(super) lanes: Vec<Lane>,
    /// Those that it deals to, as it was told the last time.
    pub(super) dealt: Vec<DealtLane>,
    /// The last to close it.
    pub(super) closer: Option<Closer>,
    /// The system could not accept a moment ago.
    pub(super) paused: bool,
}

impl Listener {
    pub(super) fn new(spec: ListenerSpec, policy: Policy) -> Self {
        Self {
            spec,
            policy,
            dealing: None,
            binding: Binding::Opening { waiting: Vec::new() },
            holds: BTreeSet::new(),
            members: BTreeMap::new(),
            queue: VecDeque::new(),
            lanes: Vec::new(),
            dealt: Vec::new(),
            closer: None,
            paused: false,
        }
    }

    /// The rule for what the primary accepts.
    pub(super) fn choice(&self) -> Choice {
        self.dealing.map_or(Choice::InTurn, Dealing::choice)
    }

    /// How its workers come by it.
    pub(super) fn access(&self) -> Access {
        if self.holds.contains(&Hold::App) { Access::Inherited } else { Access::Asked }
    }

    /// A worker listens, which is what its slot was expected to do.
    pub(super) fn hold(&mut self, worker: WorkerId, slot: SlotId) {
        self.holds.remove(&Hold::Successor(slot));
        self.holds.insert(Hold::Worker(worker));
    }

    pub(super) fn is_held_by(&self, worker: WorkerId) -> bool {
        self.holds.contains(&Hold::Worker(worker))
    }

    pub(super) fn was_closed_by(&self, worker: WorkerId) -> bool {
        self.closer.is_some_and(|closer| closer.worker == worker)
    }

    /// Whether no worker holds it.
    pub(super) fn is_unserved(&self) -> bool {
        self.holds.iter().all(|hold| !matches!(hold, Hold::Worker(_)))
    }

    pub(super) fn is_unheld(&self) -> bool {
        let awaited = matches!(&self.binding, Binding::Opening { waiting } if !waiting.is_empty());
        self.holds.is_empty() && !awaited
    }
}
