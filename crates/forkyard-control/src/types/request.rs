//! What is asked for, where a path does not say it all, and the short answers.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::WorkerRef;

/// The body of `POST /v1/restart`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestartRequest {
    /// The slot whose worker is to be replaced; every slot's, one by one, if none is named.
    #[serde(default)]
    pub slot: Option<u32>,
}

/// The body of `POST /v1/scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScaleRequest {
    /// How many workers are to serve.
    #[schema(minimum = 1)]
    pub workers: u32,
}

/// The body of `POST /v1/stop`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StopRequest {
    /// The step with which it begins. Workers that take too long get the next one.
    #[serde(default)]
    pub stage: Stage,
}

/// How a worker is made to end. In order of severity.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is asked to finish what it has.
    #[default]
    Disconnect,
    /// It gets its stop signal.
    Terminate,
    /// It is killed.
    Kill,
}

/// The answer to `POST /v1/stop`: it has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StopReply {
    /// The primary's process id. Its end is the end of the stop.
    pub pid: u32,
}

/// The body of `POST /v1/signal`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignalRequest {
    /// Its name or its number: `SIGUSR1`, `usr1`, `10`.
    pub signal: String,
    /// The slot whose worker is to get it; every slot's, if none is named.
    #[serde(default)]
    pub slot: Option<u32>,
}

/// The answer to `POST /v1/signal`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignalReply {
    /// Who got it.
    pub workers: Vec<WorkerRef>,
}

/// The answer to `POST /v1/logs/flush`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlushReply {
    /// The files that were emptied or removed.
    pub files: Vec<String>,
    /// How much was in them, in bytes.
    pub bytes: u64,
}

/// The query of `GET /v1/settings`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SettingsQuery {
    /// Whether secrets are shown, such as what variables are set to.
    #[serde(default)]
    #[param(inline, required = false)]
    pub secrets: Secrets,
}

/// Whether secrets are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Secrets {
    /// As they are.
    Show,
    /// Something else stands in their place.
    #[default]
    Hide,
}
