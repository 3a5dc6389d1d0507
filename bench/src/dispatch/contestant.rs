//! Who deals out connections, and what is measured of whom.

use clap::ValueEnum;

/// Whose dispatch is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Contestant {
    /// Node processes on a port each, with clients that know them all: nobody in between
    Bare,
    /// Node's cluster, round-robin: its default
    NodeRoundRobin,
    /// Node's cluster with SCHED_NONE: one socket for all
    NodeShared,
    /// Node's cluster with `listen({ reusePort: true })`, where the version has it
    NodeReusePort,
    /// PM2's cluster mode
    Pm2,
    /// NGINX in front of single processes
    Nginx,
    /// The same, with connections to them kept
    NginxKeepAlive,
    ForkyardAuto,
    ForkyardKernel,
    ForkyardRoundRobin,
    ForkyardLeastConnections,
    ForkyardIpHash,
    ForkyardShared,
}

/// What is measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Part {
    /// A new connection for each request
    New,
    /// Kept connections
    Kept,
    /// Some requests block their worker for a while
    Blocking,
    /// One worker is blocked for long
    Stall,
}

impl Contestant {
    pub(crate) const ALL: [Self; 13] = [
        Self::Bare,
        Self::NodeRoundRobin,
        Self::NodeShared,
        Self::NodeReusePort,
        Self::Pm2,
        Self::Nginx,
        Self::NginxKeepAlive,
        Self::ForkyardAuto,
        Self::ForkyardKernel,
        Self::ForkyardRoundRobin,
        Self::ForkyardLeastConnections,
        Self::ForkyardIpHash,
        Self::ForkyardShared,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare workers",
            Self::NodeRoundRobin => "Node, round-robin",
            Self::NodeShared => "Node, shared",
            Self::NodeReusePort => "Node, reusePort",
            Self::Pm2 => "PM2",
            Self::Nginx => "NGINX",
            Self::NginxKeepAlive => "NGINX, keepalive",
            Self::ForkyardAuto => "Forkyard, auto",
            Self::ForkyardKernel => "Forkyard, kernel",
            Self::ForkyardRoundRobin => "Forkyard, round-robin",
            Self::ForkyardLeastConnections => "Forkyard, least-connections",
            Self::ForkyardIpHash => "Forkyard, ip-hash",
            Self::ForkyardShared => "Forkyard, shared",
        }
    }

    /// The policy of `forkyard run`, if this is Forkyard.
    pub(crate) fn forkyard_policy(self) -> Option<&'static str> {
        match self {
            Self::ForkyardAuto => Some("auto"),
            Self::ForkyardKernel => Some("kernel"),
            Self::ForkyardRoundRobin => Some("round-robin"),
            Self::ForkyardLeastConnections => Some("least-connections"),
            Self::ForkyardIpHash => Some("ip-hash"),
            Self::ForkyardShared => Some("shared"),
            _ => None,
        }
    }

    /// Whether a part says anything about this one. Where nobody deals out connections,
    /// nobody can keep them from a worker that is blocked.
    pub(crate) fn takes_part_in(self, part: Part) -> bool {
        self != Self::Bare || matches!(part, Part::New | Part::Kept)
    }
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::New => "new connections",
            Self::Kept => "kept connections",
            Self::Blocking => "some requests block",
            Self::Stall => "one worker is blocked",
        }
    }

    /// How many workers there are. Those that are blocked need no core.
    pub(crate) fn workers(self) -> u16 {
        match self {
            Self::New | Self::Kept => 2,
            Self::Blocking | Self::Stall => 4,
        }
    }
}
