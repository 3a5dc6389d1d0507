//! How connections reach the workers: what is asked for, and what is in force.

use serde::{Deserialize, Serialize};

/// How connections shall reach the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// `kernel` where the system can deal evenly, otherwise `round-robin`.
    #[default]
    Auto,
    /// Each worker accepts from a socket of its own; the kernel deals to them in turn.
    Kernel,
    /// The primary accepts, and hands each connection to the worker whose turn it is.
    RoundRobin,
    /// The primary accepts, and hands each connection to the worker with the fewest.
    LeastConnections,
    /// The same client address comes to the same slot.
    IpHash,
    /// All workers accept from one socket that the primary keeps.
    Shared,
}

impl Policy {
    /// All of them, in the order in which they are best told.
    pub const ALL: [Self; 6] = [
        Self::Auto,
        Self::Kernel,
        Self::RoundRobin,
        Self::LeastConnections,
        Self::IpHash,
        Self::Shared,
    ];

    /// The policy's name, as in settings and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kernel => "kernel",
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
            Self::IpHash => "ip-hash",
            Self::Shared => "shared",
        }
    }
}

/// How one listener's connections do reach the workers: what the system makes of a [`Policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dealing {
    /// The primary accepts and hands over.
    ByPrimary(Choice),
    /// The kernel deals to the workers' [lanes](crate::LaneId); they accept.
    ByKernel(Choice),
    /// The workers accept from one socket.
    ByWorkers,
}

impl Dealing {
    /// The rule by which a connection that the primary accepts finds its worker.
    #[must_use]
    pub fn choice(self) -> Choice {
        match self {
            Self::ByPrimary(choice) | Self::ByKernel(choice) => choice,
            Self::ByWorkers => Choice::InTurn,
        }
    }

    /// Whether every worker has a socket of its own.
    #[must_use]
    pub fn has_lanes(self) -> bool {
        matches!(self, Self::ByKernel(_))
    }
}

/// By which rule a worker is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// All take turns.
    InTurn,
    /// The one with the fewest connections.
    LeastConnections,
    /// The one in the slot that belongs to where the connection comes from.
    ByOrigin,
}

/// Where a connection comes from: a hash of the client's address. Whoever drives the core
/// computes it; equal addresses have equal origins, and that is all that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(pub u32);
