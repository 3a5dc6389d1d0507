//! What is said over the control socket.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The answer to `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The app's name.
    pub app: String,
    /// The primary's process id.
    pub pid: u32,
    /// The primary's version.
    pub version: String,
    /// The generation that serves, counted from 0; the one before while a reload is under way.
    pub generation: u32,
    /// How the last upgrade of the primary went, if this image of it knows of one.
    #[serde(default)]
    pub upgrade: Option<UpgradeOutcome>,
    /// The addresses that are bound.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// How the last reload goes or went, if this image of the primary knows of one.
    #[serde(default)]
    pub reload: Option<ReloadState>,
    /// The workers that exist, successors and those that are leaving among them.
    pub workers: Vec<Worker>,
}

/// One worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its seat.
    pub slot: u32,
    /// Its number.
    pub worker: u32,
    /// Its process id; 0 when it has none yet.
    pub pid: u32,
}

/// One address that is bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Where: `127.0.0.1:8000`, `unix:/run/app.sock`, `udp:0.0.0.0:53`.
    pub address: String,
    /// The policy in force: how its connections reach the workers.
    pub policy: String,
    /// Why it is that one, if it is not simply what was asked for.
    pub reason: Option<String>,
}

/// One line of the answer to `POST /v1/reload` and `POST /v1/upgrade`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "update", rename_all = "snake_case")]
pub enum Update {
    /// Another reload is under way; this one begins after it.
    Waiting,
    /// Something happened in the app.
    Progress {
        /// What, by the name that it has in `forkyard run --log-format json`.
        event: String,
        /// What, in words.
        text: String,
        /// What else is said of it there: `slot`, `worker`, `phase` and so on.
        #[serde(flatten)]
        fields: Map<String, Value>,
    },
    /// Every worker has been replaced. The last line.
    Finished {
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A successor, or the new version of the primary, was no good, and everything is as it
    /// was before; or the app is being stopped. The last line.
    Failed {
        /// Which worker failed, if one did.
        worker: Option<Worker>,
        /// Why, and the way out.
        reason: String,
        /// The last lines that it wrote to stderr.
        stderr_tail: Vec<String>,
    },
    /// It was not begun. The last line.
    Refused {
        /// Why.
        reason: String,
    },
}

impl Update {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Failed { .. } | Self::Refused { .. })
    }
}

/// How an upgrade of the primary went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "update", rename_all = "snake_case")]
pub enum UpgradeOutcome {
    /// The image that says so has taken over from the one before.
    Finished {
        /// Its version.
        version: String,
        /// For how long no connection was accepted, in milliseconds.
        pause_ms: u64,
    },
    /// All goes on as before.
    Failed {
        /// Why.
        reason: String,
        /// The last lines that the new program wrote to stderr.
        stderr_tail: Vec<String>,
    },
}

/// How a reload goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ReloadState {
    /// It is under way; another one may be waiting for its end.
    UnderWay,
    /// It is over, and none waits.
    Over {
        /// What whoever asked for it was told last.
        outcome: Update,
    },
}

/// The body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong, and the way out.
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client of another version reads these.
    #[test]
    fn the_lines_are_as_documented() {
        let worker = Some(Worker { slot: 0, worker: 7, pid: 4242 });
        let fields = Map::from_iter([("slot".to_owned(), 0.into())]);
        for (update, line) in [
            (Update::Waiting, r#"{"update":"waiting"}"#),
            (
                Update::Progress { event: "e".into(), text: "a".into(), fields },
                r#"{"update":"progress","event":"e","text":"a","slot":0}"#,
            ),
            (Update::Finished { took_ms: 5 }, r#"{"update":"finished","took_ms":5}"#),
            (
                Update::Failed { worker, reason: "r".into(), stderr_tail: vec!["t".into()] },
                r#"{"update":"failed","worker":{"slot":0,"worker":7,"pid":4242},"reason":"r","stderr_tail":["t"]}"#,
            ),
            (Update::Refused { reason: "r".into() }, r#"{"update":"refused","reason":"r"}"#),
        ] {
            assert_eq!(serde_json::to_string(&update).unwrap(), line);
            assert_eq!(serde_json::from_str::<Update>(line).unwrap(), update);
        }
    }

    #[test]
    fn the_states_of_a_reload_are_as_documented() {
        let outcome = Update::Finished { took_ms: 5 };
        for (state, text) in [
            (ReloadState::UnderWay, r#"{"state":"under_way"}"#),
            (
                ReloadState::Over { outcome },
                r#"{"state":"over","outcome":{"update":"finished","took_ms":5}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&state).unwrap(), text);
            assert_eq!(serde_json::from_str::<ReloadState>(text).unwrap(), state);
        }
    }
}
