//! The ways to bring connections to workers that are compared.

use forkyard_core::{Choice, Dealing};

use super::rules::Rescue;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Policy {
    /// One queue of all requests, from which whoever is free takes the next, at no cost: what
    /// nobody can be better than.
    Ideal,
    /// Forkyard's `kernel`: dealt in turn, and what a blocked worker does not take is rescued.
    Kernel,
    /// The same without rescue.
    KernelAlone,
    /// Forkyard's `round-robin`.
    RoundRobin,
    /// Forkyard's `least-connections`.
    LeastConnections,
    /// Forkyard's `ip-hash`, dealt by the kernel.
    IpHash,
    /// One listening socket, on which all wait. Who went to sleep last is woken first.
    Shared,
    /// `SO_REUSEPORT` as the kernel has it: a hash of addresses and ports chooses.
    Reuseport,
}

/// How a policy is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// By the core.
    Core(Dealing, Rescue),
    /// All requests stand in one queue.
    OneQueue,
    /// All workers accept from one socket.
    OneSocket,
    /// Each worker has a socket, and chance decides.
    ByChance,
}

impl Policy {
    pub(super) const ALL: [Self; 8] = [
        Self::Ideal,
        Self::Kernel,
        Self::KernelAlone,
        Self::RoundRobin,
        Self::LeastConnections,
        Self::IpHash,
        Self::Shared,
        Self::Reuseport,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ideal => "ideal",
            Self::Kernel => "kernel",
            Self::KernelAlone => "kernel without rescue",
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
            Self::IpHash => "ip-hash",
            Self::Shared => "shared",
            Self::Reuseport => "bare SO_REUSEPORT",
        }
    }

    pub(super) fn means(self) -> Means {
        let by_primary = |choice| Means::Core(Dealing::ByPrimary(choice), Rescue::Off);
        let by_kernel = |choice, rescue| Means::Core(Dealing::ByKernel(choice), rescue);
        match self {
            Self::Ideal => Means::OneQueue,
            Self::Kernel => by_kernel(Choice::InTurn, Rescue::On),
            Self::KernelAlone => by_kernel(Choice::InTurn, Rescue::Off),
            Self::RoundRobin => by_primary(Choice::InTurn),
            Self::LeastConnections => by_primary(Choice::LeastConnections),
            Self::IpHash => by_kernel(Choice::ByOrigin, Rescue::Off),
            Self::Shared => Means::OneSocket,
            Self::Reuseport => Means::ByChance,
        }
    }
}
