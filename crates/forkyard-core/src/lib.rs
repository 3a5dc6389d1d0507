//! What Forkyard's primary decides, and nothing of how it is carried out.
//!
//! [`Core`] is one state machine: it is told what happened ([`Input`]) and at what
//! time, and answers with what is to be done ([`Action`]). It reads no clock, opens
//! no descriptor and draws no random number of its own, so a test can drive it
//! through hours of crashes in a millisecond and replay any run from its seed.
//!
//! ```text
//!            Input, now                               Action
//!   shell ───────────────▶ Core ─┬─ Supervisor ─┬──────────────▶ shell
//!         ◀─ next_deadline ──────┘  Dispatcher ─┘
//! ```
//!
//! - [`supervise`](SuperviseSettings) keeps every slot's seat taken: starts, restarts with
//!   backoff, gives up, and ends workers step by step.
//! - [`dispatch`](DispatchSettings) knows the listeners, who serves them, and which worker
//!   gets the next connection.
//!
//! The driver's loop is
//!
//! ```text
//!   loop { input = wait(core.next_deadline()); core.handle(now, input);
//!          while let Some(action) = core.next_action() { perform(action) } }
//! ```
#![forbid(unsafe_code)]

mod core;
mod dispatch;
mod event;
mod id;
mod input;
mod jitter;
mod restart;
#[cfg(test)]
mod script;
mod snapshot;
mod supervise;
mod timers;

pub use crate::core::{Core, Settings};
pub use dispatch::{
    Access, Choice, Dealing, DealtLane, DispatchSettings, Endpoint, Host, LaneView, ListenerSpec,
    MAX_LANES, MAX_LISTENERS, ORIGIN_CLASSES, Origin, Policy, Refusal, Transport, slot_of_class,
};
pub use event::{
    Event, FailReason, LeaveReason, Outcome, RollExtent, RollFailure, RollReason, RollStep,
};
pub use id::{ConnectionId, Generation, LaneId, ListenerId, SlotId, WorkerId};
pub use input::{
    Action, Admission, Denied, Input, Listen, Query, ReadySignal, Request, Stage, Verdict,
};
pub use restart::{RestartMode, RestartSettings};
pub use snapshot::Snapshot;
pub use supervise::{
    CheckRule, ExitStatus, IdleRule, MAX_SLOTS, ReadyRule, Role, RollPlan, Scaled,
    SuperviseSettings, Surge, WorkerState, WorkerView,
};
