//! How something goes that takes its time, and how it went.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::WorkerRef;

/// One event of an answer that takes its time: how it goes, and in the end how it went. The name
/// of the server-sent event is that in `update`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "update", rename_all = "snake_case")]
pub enum Update {
    /// Another reload or restart is under way; this one begins after it.
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
    /// What was asked for has been done. The last one.
    Finished {
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A successor, or the new version of the primary, was no good, and everything is as it
    /// was before; or the app is being stopped. The last one.
    Failed {
        /// Which worker failed, if one did.
        worker: Option<WorkerRef>,
        /// Why, and the way out.
        reason: String,
        /// The last lines that it wrote to stderr.
        #[serde(default)]
        stderr_tail: Vec<String>,
    },
    /// It was not begun. The last one.
    Refused {
        /// Why.
        reason: String,
    },
    /// Something that this version has no word for.
    #[serde(other)]
    Unknown,
}

impl Update {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Failed { .. } | Self::Refused { .. })
    }

    /// What it is called, in `update` and as a server-sent event.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Progress { .. } => "progress",
            Self::Finished { .. } => "finished",
            Self::Failed { .. } => "failed",
            Self::Refused { .. } => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// How an upgrade of the primary went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
        #[serde(default)]
        stderr_tail: Vec<String>,
    },
    /// Something that this version has no word for.
    #[serde(other)]
    Unknown,
}

/// How a reload goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ReloadState {
    /// It is under way; another one may be waiting for its end.
    UnderWay,
    /// It is over, and none waits.
    Over {
        /// What whoever asked for it was told last.
        outcome: Update,
    },
    /// Something that this version has no word for.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client of another version reads these.
    #[test]
    fn the_lines_are_as_documented() {
        let worker = Some(WorkerRef { slot: 0, worker: 7, pid: 4242 });
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
    fn what_this_version_has_no_word_for_ends_nothing() {
        let update: Update = serde_json::from_str(r#"{"update":"paused","for_ms":5}"#).unwrap();
        assert_eq!((update.name(), update.is_last()), ("unknown", false));
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
