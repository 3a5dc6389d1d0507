//! How an app is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{API_VERSION, ReloadState, UpgradeOutcome};

/// The answer to `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of the control API.
    #[serde(default = "first_version")]
    pub api: u32,
    /// The app's name.
    pub app: String,
    /// The primary's process id.
    pub pid: u32,
    /// The primary's version.
    pub version: String,
    /// What the app is about.
    #[serde(default)]
    pub state: AppState,
    /// The generation that serves, counted from 0; the one before while a reload is under way.
    pub generation: u32,
    /// When the primary's process began, in milliseconds since 1970. An upgrade does not change it.
    #[serde(default)]
    pub started: u64,
    /// When the primary's present image began, in milliseconds since 1970. An upgrade changes it.
    #[serde(default)]
    pub image_started: u64,
    /// The workers that exist, successors and those that are leaving among them.
    pub workers: Vec<Worker>,
    /// The addresses that are bound.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// How the last reload goes or went, if this image of the primary knows of one.
    #[serde(default)]
    pub reload: Option<ReloadState>,
    /// How the last upgrade of the primary went, if this image of it knows of one.
    #[serde(default)]
    pub upgrade: Option<UpgradeOutcome>,
}

fn first_version() -> u32 {
    API_VERSION
}

/// What an app is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// Not every slot has had a worker yet that was ready.
    Starting,
    /// It serves.
    Running,
    /// It serves, and its workers are being replaced.
    Reloading,
    /// It is coming to its end.
    Stopping,
    /// The primary says something that this version has no word for, or nothing.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A worker by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerRef {
    /// Its seat.
    pub slot: u32,
    /// Its number.
    pub worker: u32,
    /// Its process id; 0 when it has none yet.
    pub pid: u32,
}

/// One worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Its seat.
    pub slot: u32,
    /// Its number.
    pub worker: u32,
    /// Its process id; 0 when it has none yet.
    pub pid: u32,
    /// What it is about.
    #[serde(default)]
    pub state: WorkerState,
    /// When its process began, in milliseconds since 1970; `null` when it has none yet.
    #[serde(default)]
    pub started: Option<u64>,
    /// How often its slot has needed another worker because one had crashed.
    #[serde(default)]
    pub restarts: u32,
    /// How much of its process is in memory (its resident set), in bytes; `null` if the system
    /// does not say, because it has just ended for instance. Its own children are not counted.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// For how long its process has had a processor so far, in milliseconds; `null` as above.
    #[serde(default)]
    pub cpu_ms: Option<u64>,
}

/// What a worker is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It has the seat, and is not ready yet.
    Starting,
    /// It has the seat, and is ready.
    Ready,
    /// It is to get a seat that another one has.
    Successor,
    /// It waits to take the part of one that ends.
    Spare,
    /// It gets nothing new, and is about to end.
    Leaving,
    /// The primary says something that this version has no word for, or nothing.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One address that is bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Listener {
    /// Where: `127.0.0.1:8000`, `unix:/run/app.sock`, `udp:0.0.0.0:53`.
    pub address: String,
    /// The policy in force: how its connections reach the workers.
    pub policy: String,
    /// Why it is that one, if it is not simply what was asked for.
    #[serde(default)]
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever asks is older than the primary.
    #[test]
    fn what_this_version_has_no_word_for_is_no_error() {
        let newer = r#"{
            "api": 7, "app": "web", "pid": 1, "version": "9.9.9", "state": "hibernating",
            "generation": 3, "mood": "fine",
            "workers": [{"slot": 0, "worker": 1, "pid": 2, "state": "asleep", "dreams": []}],
            "reload": {"state": "rewound"}, "upgrade": {"update": "postponed"}
        }"#;
        let status: Status = serde_json::from_str(newer).unwrap();
        assert_eq!((status.api, status.state), (7, AppState::Unknown));
        assert_eq!(status.workers[0].state, WorkerState::Unknown);
        assert_eq!(status.reload, Some(ReloadState::Unknown));
        assert_eq!(status.upgrade, Some(UpgradeOutcome::Unknown));
    }

    /// Whoever asks is newer than the primary.
    #[test]
    fn what_a_version_before_did_not_say_has_a_default() {
        let older = r#"{
            "app": "web", "pid": 1, "version": "0.0.1", "generation": 3,
            "workers": [{"slot": 0, "worker": 1, "pid": 2}]
        }"#;
        let status: Status = serde_json::from_str(older).unwrap();
        assert_eq!((status.api, status.state, status.started), (1, AppState::Unknown, 0));
        assert_eq!(status.workers[0].memory_bytes, None);
    }
}
