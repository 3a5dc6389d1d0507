//! What is said over the control socket.

use serde::{Deserialize, Serialize};

/// The answer to `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The app's name.
    pub app: String,
    /// The primary's process id.
    pub pid: u32,
    /// The primary's version.
    pub version: String,
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

/// One line of the answer to `POST /v1/reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "update", rename_all = "snake_case")]
pub enum Update {
    /// Another reload is under way; this one begins after it.
    Waiting,
    /// It has come further.
    Progress {
        /// What happened, in words.
        text: String,
    },
    /// Every worker has been replaced. The last line.
    Finished {
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A successor was no good, and everything is as it was before. The last line.
    Failed {
        /// Which worker failed, if the reload came that far.
        worker: Option<Worker>,
        /// Why, and the way out.
        reason: String,
        /// The last lines that the worker wrote to stderr.
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
        for (update, line) in [
            (Update::Waiting, r#"{"update":"waiting"}"#),
            (Update::Progress { text: "a".into() }, r#"{"update":"progress","text":"a"}"#),
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
}
