//! What one image of a primary leaves to the next: the format in which it is written.
//!
//! It is one JSON object. `format` counts up with every change that an older or newer program
//! could not read rightly; a program reads its own format only, and says so otherwise. A field
//! that may be missing needs no new number. `tests` holds a state of each format that has to
//! stay readable.
//!
//! Descriptors are told by number: they stay open, and keep their numbers, while the process
//! executes another program. Each number belongs to one place only.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroUsize};
use std::os::fd::RawFd;

use forkyard_core::{
    Access, ConnectionId, Dealing, DealtLane, Generation, ListenerId, Policy, SlotId, Snapshot,
    Surge, WorkerId,
};
use forkyard_ipc::{DecoderState, Frame, OutboxState, Skip};
use forkyard_sys::sockets::{Inode, Place, SocketKind};
use serde::{Deserialize, Serialize};

use super::encoding::{Bytes, Text, WallClock};
use crate::primary::census::Mark;
use crate::primary::seats::Agent;

/// The format that this program writes and reads.
pub(crate) const FORMAT: u32 = 2;

/// The largest state that is read.
pub(crate) const LARGEST_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// A descriptor's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Descriptor(pub(crate) RawFd);

/// Everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) format: u32,
    /// Of the program that has written it.
    pub(crate) version: String,
    /// Where the program is looked for at an upgrade.
    pub(crate) binary: Text,
    /// What the program that has written it was started with, beginning with its name.
    pub(crate) args: Vec<Text>,
    /// When it stopped serving, by the clock that all processes share.
    pub(crate) paused_at_ns: u64,
    /// All that is left open and named below.
    pub(crate) descriptors: Vec<Descriptor>,
    /// How messages are written.
    pub(crate) dialect: String,
    /// The workers' soft limit of open files.
    pub(crate) nofile_soft: Option<u64>,
    /// What the program wants the next one to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// The last number given to a connection or a message.
    pub(crate) last_number: u64,
    pub(crate) rolls: RollsState,
    pub(crate) core: Snapshot,
    pub(crate) workers: Vec<WorkerState>,
    pub(crate) listeners: Vec<ListenerState>,
    pub(crate) connections: Vec<ConnectionState>,
    pub(crate) questions: Vec<QuestionState>,
    /// The connections that workers have, where it counts how many.
    pub(crate) holdings: Vec<HoldingState>,
}

/// What the generations are started from, and the rolls that wait.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RollsState {
    pub(crate) programs: BTreeMap<Generation, ProgramState>,
    /// The generation that the next roll would replace.
    pub(crate) present: Generation,
    /// The number of the next one.
    pub(crate) next: u32,
    pub(crate) waiting: Vec<WantedState>,
}

/// A roll that waits for another one's end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WantedState {
    All { program: Option<ProgramState>, workers: Option<NonZeroUsize>, surge: Surge },
    One(SlotId),
}

/// What workers are started from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProgramState {
    pub(crate) path: Text,
    pub(crate) args: Vec<Text>,
    pub(crate) env: Vec<(Text, Text)>,
    pub(crate) cwd: Option<Text>,
    /// The folder of the agent's file, if workers load the agent.
    pub(crate) agent: Option<Text>,
    #[serde(default, skip_serializing_if = "LimitsState::is_none")]
    pub(crate) limits: Box<LimitsState>,
}

/// What workers get beyond the program itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimitsState {
    pub(crate) user: Option<AccountState>,
    pub(crate) refuse_new_privileges: bool,
    pub(crate) nice: Option<i32>,
    pub(crate) open_files: Option<OpenFilesState>,
    /// The folder of their control group.
    pub(crate) cgroup: Option<Text>,
    pub(crate) port_from: Option<NonZeroU16>,
    pub(crate) instance_variable: Option<Text>,
}

impl LimitsState {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// As whom workers run, as it was looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountState {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: Option<Text>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenFilesState {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// A worker that runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkerState {
    pub(crate) worker: WorkerId,
    pub(crate) slot: SlotId,
    /// By which it is told from all others that live.
    pub(crate) index: u32,
    pub(crate) pid: u32,
    pub(crate) started_ms: WallClock,
    pub(crate) pidfd: Descriptor,
    pub(crate) channel: Descriptor,
    /// `None` when the channel has been read to its end.
    pub(crate) reading: Option<ReadingState>,
    pub(crate) sending: SendingState,
    /// `None` if its output is not captured.
    pub(crate) output: Option<OutputState>,
    /// Where it may say that it is ready.
    pub(crate) notify: Option<Descriptor>,
    pub(crate) agent: AgentState,
    /// What it was sent for a sign of life, and has not answered.
    pub(crate) probe: Option<ConnectionId>,
}

/// Whether Forkyard's agent is in a worker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AgentState {
    Absent,
    Present,
}

/// What has been read of a channel and not been handled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ReadingState {
    pub(crate) rest: Bytes,
    pub(crate) skip: SkipState,
    pub(crate) handles: Vec<Descriptor>,
    /// Messages so far that could not be used.
    pub(crate) unusable: u64,
}

/// What is being left out of a channel.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SkipState {
    #[default]
    Nothing,
    Line {
        skipped_bytes: usize,
    },
    Bytes {
        skipped_bytes: usize,
        left_bytes: usize,
    },
}

/// What is still to be written to a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SendingState {
    pub(crate) waiting: Vec<FrameState>,
    /// How much of the first has been written.
    pub(crate) written_bytes: usize,
    /// Sent and not acknowledged.
    pub(crate) sent: Vec<SentState>,
    /// Written since the last descriptor.
    pub(crate) run_bytes: usize,
    /// The last descriptor has to be acknowledged before the next is sent.
    pub(crate) stopped: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FrameState {
    pub(crate) bytes: Bytes,
    pub(crate) handle: Option<SentState>,
}

/// A descriptor on its way to a worker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SentState {
    /// Mostly one of those in `connections`, and then the same descriptor. `None` if it is
    /// closed.
    Connection {
        id: ConnectionId,
        socket: Option<Descriptor>,
    },
    Listener(Descriptor),
    User(Descriptor),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OutputState {
    pub(crate) stdout: PipeState,
    pub(crate) stderr: PipeState,
    pub(crate) stderr_tail: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PipeState {
    /// `None` when it has been read to its end.
    pub(crate) pipe: Option<Descriptor>,
    /// The line that has begun.
    pub(crate) unfinished: Bytes,
}

/// A bound address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ListenerState {
    pub(crate) id: ListenerId,
    pub(crate) socket: Descriptor,
    pub(crate) kind: KindState,
    pub(crate) dealing: Dealing,
    pub(crate) access: Access,
    /// The sockets to which the kernel deals, if it does; `socket` is the waiting room then.
    pub(crate) lanes: Option<LanesState>,
    pub(crate) key: String,
    pub(crate) address: String,
    /// The policy in force, and why.
    pub(crate) policy: Policy,
    pub(crate) reason: Option<String>,
    /// What TLS workers share, in V8's serialization.
    pub(crate) data: Option<Bytes>,
    /// The socket's file, to be removed in the end.
    pub(crate) file: Option<FileState>,
}

/// The lanes of a listener, and what the program in the kernel goes by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LanesState {
    pub(crate) waiting_room: Descriptor,
    /// By number.
    pub(crate) lanes: Vec<LaneState>,
    /// The maps.
    pub(crate) sockets: Descriptor,
    pub(crate) board: Descriptor,
    /// Those that are dealt to.
    pub(crate) dealt: Vec<DealtLane>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct LaneState {
    pub(crate) socket: Descriptor,
    /// Whether the primary accepts from it.
    pub(crate) reclaimed: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KindState {
    Tcp,
    Udp,
    UnixStream,
    UnixDatagram,
    Other,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FileState {
    pub(crate) path: Text,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// A connection that was accepted and that no worker has yet.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ConnectionState {
    pub(crate) id: ConnectionId,
    pub(crate) socket: Descriptor,
    pub(crate) mark: Option<MarkState>,
}

/// By what a connection is found again among those that are open.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct MarkState {
    pub(crate) inode: u32,
    pub(crate) place: PlaceState,
}

/// Where the kernel looks for it; TCP by the listener's port.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlaceState {
    V4(u16),
    V6(u16),
    Unix,
}

/// A connection that a worker has.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct HoldingState {
    pub(crate) worker: WorkerId,
    pub(crate) mark: MarkState,
}

/// A worker's question for an address that is not answered yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct QuestionState {
    pub(crate) worker: WorkerId,
    pub(crate) seq: u64,
    pub(crate) address: String,
    pub(crate) data: Option<Bytes>,
}

/// Why a state cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("the state is written in format {found}; this program (forkyard {version}) reads format {FORMAT}", version = super::VERSION)]
    Format { found: u32 },
    #[error("failed to read the state")]
    Unreadable(#[source] serde_json::Error),
}

/// What is the same in every format.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

impl State {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, StateError> {
        let header: Header = serde_json::from_slice(bytes).map_err(StateError::Unreadable)?;
        if header.format != FORMAT {
            return Err(StateError::Format { found: header.format });
        }
        serde_json::from_slice(bytes).map_err(StateError::Unreadable)
    }
}

impl From<SocketKind> for KindState {
    fn from(kind: SocketKind) -> Self {
        match kind {
            SocketKind::Tcp => Self::Tcp,
            SocketKind::Udp => Self::Udp,
            SocketKind::UnixStream => Self::UnixStream,
            SocketKind::UnixDatagram => Self::UnixDatagram,
            SocketKind::Other => Self::Other,
        }
    }
}

impl From<KindState> for SocketKind {
    fn from(kind: KindState) -> Self {
        match kind {
            KindState::Tcp => Self::Tcp,
            KindState::Udp => Self::Udp,
            KindState::UnixStream => Self::UnixStream,
            KindState::UnixDatagram => Self::UnixDatagram,
            KindState::Other => Self::Other,
        }
    }
}

impl From<Mark> for MarkState {
    fn from(mark: Mark) -> Self {
        let place = match mark.place {
            Place::V4(port) => PlaceState::V4(port),
            Place::V6(port) => PlaceState::V6(port),
            Place::Unix => PlaceState::Unix,
        };
        Self { inode: mark.inode.0, place }
    }
}

impl From<MarkState> for Mark {
    fn from(mark: MarkState) -> Self {
        let place = match mark.place {
            PlaceState::V4(port) => Place::V4(port),
            PlaceState::V6(port) => Place::V6(port),
            PlaceState::Unix => Place::Unix,
        };
        Self { inode: Inode(mark.inode), place }
    }
}

impl From<Agent> for AgentState {
    fn from(agent: Agent) -> Self {
        match agent {
            Agent::Absent => Self::Absent,
            Agent::Present => Self::Present,
        }
    }
}

impl From<AgentState> for Agent {
    fn from(agent: AgentState) -> Self {
        match agent {
            AgentState::Absent => Self::Absent,
            AgentState::Present => Self::Present,
        }
    }
}

impl From<Skip> for SkipState {
    fn from(skip: Skip) -> Self {
        match skip {
            Skip::Nothing => Self::Nothing,
            Skip::Line { skipped } => Self::Line { skipped_bytes: skipped },
            Skip::Bytes { skipped, left } => {
                Self::Bytes { skipped_bytes: skipped, left_bytes: left }
            }
        }
    }
}

impl From<SkipState> for Skip {
    fn from(skip: SkipState) -> Self {
        match skip {
            SkipState::Nothing => Self::Nothing,
            SkipState::Line { skipped_bytes: skipped } => Self::Line { skipped },
            SkipState::Bytes { skipped_bytes: skipped, left_bytes: left } => {
                Self::Bytes { skipped, left }
            }
        }
    }
}

impl ReadingState {
    pub(crate) fn decoder(&self) -> DecoderState {
        DecoderState { rest: self.rest.0.clone(), skip: self.skip.into() }
    }
}

impl From<OutboxState<SentState>> for SendingState {
    fn from(state: OutboxState<SentState>) -> Self {
        let frame = |Frame { bytes, handle }| FrameState { bytes: Bytes(bytes), handle };
        Self {
            waiting: state.waiting.into_iter().map(frame).collect(),
            written_bytes: state.written,
            sent: state.sent,
            run_bytes: state.run,
            stopped: state.stopped,
        }
    }
}

impl From<SendingState> for OutboxState<SentState> {
    fn from(state: SendingState) -> Self {
        let frame = |FrameState { bytes, handle }: FrameState| Frame { bytes: bytes.0, handle };
        Self {
            waiting: state.waiting.into_iter().map(frame).collect(),
            written: state.written_bytes,
            sent: state.sent,
            run: state.run_bytes,
            stopped: state.stopped,
        }
    }
}

#[cfg(test)]
mod tests;
