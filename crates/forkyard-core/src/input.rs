//! What goes into the core and what comes out of it: two closed enums.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dispatch::{
    Access, Dealing, DealtLane, LaneView, ListenerSpec, Origin, Policy, Refusal,
};
use crate::event::{Event, Outcome};
use crate::id::{ConnectionId, Generation, LaneId, ListenerId, SlotId, WorkerId};
use crate::supervise::{ExitStatus, Role, RollPlan};

/// Something that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The process asked for by [`Action::Spawn`] runs.
    Spawned {
        /// Whose process.
        worker: WorkerId,
        /// Its process id.
        pid: u32,
    },
    /// The process asked for could not be started.
    SpawnFailed {
        /// Whose process.
        worker: WorkerId,
        /// The reason.
        message: String,
    },
    /// The process ended, and what it wrote has been read.
    ///
    /// It empties the seat, which is taken again whether or not the channel has ended. But
    /// [`Input::ChannelEnded`] has to come too, before or after: until then the connections
    /// that the worker was offered are waiting for its answer.
    Exited {
        /// Whose process.
        worker: WorkerId,
        /// How it ended.
        status: ExitStatus,
    },
    /// The worker's channel has been read to its end; nothing more can come. To be said once
    /// of every worker that was spawned, also of one that has exited.
    ChannelEnded {
        /// Whose channel.
        worker: WorkerId,
    },
    /// The worker broke the rules of the channel in a way that cannot be mended.
    ChannelBroken {
        /// Whose channel.
        worker: WorkerId,
    },
    /// The worker speaks the cluster protocol.
    Online {
        /// Which worker.
        worker: WorkerId,
    },
    /// The worker asks for an address.
    Query(Query),
    /// The worker listens, on an address of the primary's or on one of its own.
    Listening {
        /// Which worker.
        worker: WorkerId,
    },
    /// The worker says by other means than by listening that it is ready.
    Ready {
        /// Which worker.
        worker: WorkerId,
        /// By which means.
        by: ReadySignal,
    },
    /// What [`Action::Check`] has found.
    Checked {
        /// Which worker.
        worker: WorkerId,
        /// Whether it is healthy; if not, why.
        result: Result<(), String>,
    },
    /// The worker has closed its side of a listener.
    Closed {
        /// Which worker.
        worker: WorkerId,
        /// Which listener.
        listener: ListenerId,
    },
    /// The worker announces that it leaves, and waits for the acknowledgement.
    LeaveAnnounced {
        /// Which worker.
        worker: WorkerId,
        /// The sequence number to acknowledge.
        seq: u64,
    },
    /// The worker answered a hand-off.
    Replied {
        /// Which worker.
        worker: WorkerId,
        /// The connection it was offered.
        connection: ConnectionId,
        /// Its answer.
        verdict: Verdict,
    },
    /// The address asked for by [`Action::OpenListener`] is bound.
    ListenerOpened {
        /// Which listener.
        listener: ListenerId,
        /// What the system makes of the policy.
        dealing: Dealing,
    },
    /// The address could not be bound.
    ListenerFailed {
        /// Which listener.
        listener: ListenerId,
        /// The system's error number, positive.
        errno: i32,
    },
    /// A connection was accepted. Only legal while
    /// [`Core::has_capacity`](crate::Core::has_capacity) says so of the listener.
    Accepted {
        /// On which listener.
        listener: ListenerId,
        /// The connection's new name.
        connection: ConnectionId,
        /// Where it comes from, if that can be told. Needed under `ip-hash`; without it any
        /// worker may get it.
        origin: Option<Origin>,
    },
    /// Some connections that a worker was handed are closed.
    Finished {
        /// Which worker.
        worker: WorkerId,
        /// How many.
        connections: u32,
    },
    /// What waits on a lane to which the kernel deals. To be told every few milliseconds
    /// while anything waits there, so that a worker that does not take it is noticed.
    LaneSeen {
        /// Whose lane.
        listener: ListenerId,
        /// Which lane.
        lane: LaneId,
        /// What is there.
        view: LaneView,
    },
    /// The worker has answered [`Action::Probe`].
    Answered {
        /// Which worker.
        worker: WorkerId,
    },
    /// The system could not accept (no descriptors, no memory): try again later.
    AcceptFailed {
        /// On which listener.
        listener: ListenerId,
    },
}

/// A worker's wish to listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Who asks.
    pub worker: WorkerId,
    /// The sequence number of the question, for the answer.
    pub seq: u64,
    /// Where it wants to listen.
    pub spec: ListenerSpec,
    /// How connections shall reach it. The first question about an address decides.
    pub policy: Policy,
    /// The accept queue's length; `None` for the primary's choice.
    pub backlog: Option<u32>,
}

impl Query {
    pub(crate) fn refused(&self, listener: ListenerId, refusal: Refusal) -> Action {
        Action::Refuse { worker: self.worker, seq: self.seq, listener, refusal }
    }
}

/// How a worker says that it is ready, if not by listening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadySignal {
    /// By the message `ready` on its channel.
    Message,
    /// By `READY=1` on its notification socket.
    Notify,
}

/// A worker's answer to a hand-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The connection is the worker's now.
    Accepted,
    /// The worker does not want it; it may go to another.
    Declined,
}

/// Something that the core wants done. All of them can be done without waiting, and have to be
/// done in order: who gets connections changes before anybody is asked to leave, or told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a process for this seat. Answered by `Spawned` or `SpawnFailed`.
    Spawn {
        /// The seat.
        slot: SlotId,
        /// The new worker.
        worker: WorkerId,
        /// What it shall run.
        generation: Generation,
    },
    /// Find out whether this worker is healthy. Answered by `Checked`.
    Check {
        /// Which worker.
        worker: WorkerId,
    },
    /// Bind an address. Answered by `ListenerOpened` or `ListenerFailed`.
    OpenListener {
        /// The listener's name.
        listener: ListenerId,
        /// Where.
        spec: ListenerSpec,
        /// How its connections shall reach the workers.
        policy: Policy,
        /// The accept queue's length; `None` for the default.
        backlog: Option<u32>,
        /// How workers come by it.
        access: Access,
    },
    /// Close an address.
    CloseListener {
        /// Which.
        listener: ListenerId,
    },
    /// Tell a worker that it has its address.
    Grant {
        /// Who asked.
        worker: WorkerId,
        /// Its question's sequence number.
        seq: u64,
        /// The listener.
        listener: ListenerId,
        /// The lane that it is to accept from, which nobody else has now. To be made if it
        /// has not been there before.
        lane: Option<LaneId>,
    },
    /// From now on deal to these lanes, and to no others; without any, to one that is nobody's.
    Deal {
        /// The listener.
        listener: ListenerId,
        /// Its lanes, by slot.
        lanes: Vec<DealtLane>,
    },
    /// Begin to accept from this lane, whether or not its worker does too.
    Reclaim {
        /// The listener.
        listener: ListenerId,
        /// Which lane.
        lane: LaneId,
    },
    /// Put a new socket in the place of this lane's and let go of the old one, which its worker
    /// may still have. What waits there goes to lanes that are dealt to, as soon as nobody has
    /// it any more.
    Renew {
        /// The listener.
        listener: ListenerId,
        /// Which lane.
        lane: LaneId,
    },
    /// Leave this lane to its worker again.
    GiveBack {
        /// The listener.
        listener: ListenerId,
        /// Which lane.
        lane: LaneId,
    },
    /// Ask a worker for a sign of life that only its event loop can give. Answered by
    /// `Answered`.
    Probe {
        /// Whom.
        worker: WorkerId,
    },
    /// Tell a worker that it does not get its address.
    Refuse {
        /// Who asked.
        worker: WorkerId,
        /// Its question's sequence number.
        seq: u64,
        /// The listener.
        listener: ListenerId,
        /// Why not.
        refusal: Refusal,
    },
    /// Offer a connection to a worker. The primary keeps its copy until `Release`.
    HandOff {
        /// To whom.
        worker: WorkerId,
        /// The listener it came in by.
        listener: ListenerId,
        /// Which connection.
        connection: ConnectionId,
    },
    /// Close the primary's copy of a connection: a worker has it, or nobody will.
    Release {
        /// Which connection.
        connection: ConnectionId,
    },
    /// Ask a worker to finish what it has and to leave.
    AskDisconnect {
        /// Whom.
        worker: WorkerId,
    },
    /// Acknowledge `LeaveAnnounced`.
    AcknowledgeLeave {
        /// Whom.
        worker: WorkerId,
        /// The announcement's sequence number.
        seq: u64,
    },
    /// Send the worker's process its stop signal.
    Terminate {
        /// Whom.
        worker: WorkerId,
    },
    /// Kill the worker's process and all of its group.
    Kill {
        /// Whom.
        worker: WorkerId,
    },
    /// Tell the world.
    Emit(Event),
    /// All is over: no worker is left and none will come, and every listener is closed.
    /// After it only connections are released that a dead worker had not answered.
    Finish(Outcome),
}

/// An address that the app has from its settings: it is there before any worker, for as long
/// as the app, and every worker is started with a socket of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub spec: ListenerSpec,
    /// How connections shall reach the workers.
    pub policy: Policy,
    /// The accept queue's length; `None` for the primary's choice.
    pub backlog: Option<u32>,
}

/// What an operator may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Serve this address, and pass it on to every worker that is started from now on.
    Listen(Listen),
    /// One more slot, with a worker in it.
    Fork(Role),
    /// Let the worker in this slot disconnect, and take the slot away.
    Retire(SlotId),
    /// Replace all workers by those of another generation, slot by slot.
    Roll(RollPlan),
    /// Replace the worker in this slot by another one of the same generation.
    Replace(SlotId),
    /// End everything, beginning with this step. Only ever becomes more severe.
    Stop(Stage),
}

/// The answer to a [`Request`], given at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It will be done.
    Accepted,
    /// A new slot was made.
    Forked(SlotId),
    /// It is so already.
    AlreadySo,
    /// It will not be done.
    Denied(Denied),
}

/// Why a request was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The app is stopping.
    Stopping,
    /// There is no such slot.
    NoSuchSlot,
    /// There are as many slots as there can be.
    TooManySlots,
    /// A roll is under way.
    Rolling,
    /// The app has as many listeners as it may.
    TooManyListeners,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopping => "the app is stopping",
            Self::NoSuchSlot => "there is no such slot",
            Self::TooManySlots => "there are as many slots as there can be",
            Self::Rolling => "a roll is under way",
            Self::TooManyListeners => "there are as many listeners as there can be",
        })
    }
}

impl std::error::Error for Denied {}

/// The steps by which a worker is ended, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is asked to close its servers and to leave when its connections are done.
    Disconnect,
    /// Its process gets the stop signal.
    Terminate,
    /// Its process group is killed.
    Kill,
}

impl Stage {
    /// The next step; killing is the last.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Disconnect => Self::Terminate,
            Self::Terminate | Self::Kill => Self::Kill,
        }
    }
}
