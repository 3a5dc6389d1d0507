//! What is said over the control socket.
//!
//! Both sides may be of another version than the other. So what is read has a default wherever a
//! version before did not say it, unknown fields are passed over, and an unknown word in the
//! place of a known one is [`WorkerState::Unknown`] and the like.

mod event;
mod request;
mod status;
mod update;

pub use event::{AppEvent, Missed};
pub use request::{
    FlushReply, RestartRequest, ScaleRequest, Secrets, SettingsQuery, SignalReply, SignalRequest,
    Stage, StopReply, StopRequest,
};
pub use status::{AppState, Listener, Status, Worker, WorkerRef, WorkerState};
pub use update::{ReloadState, Update, UpgradeOutcome};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The version of the control API that is described here. It grows when something is added;
/// what would break a client takes another path than `/v1`.
pub const API_VERSION: u32 = 1;

/// The body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What is wrong, and the way out.
    pub error: String,
    /// The primary's version.
    #[serde(default)]
    pub version: String,
}
