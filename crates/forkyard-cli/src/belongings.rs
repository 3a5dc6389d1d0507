//! What an app has besides its processes, for whoever asks by the control socket.

use std::future::{Future, ready};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::thread;

use forkyard_control::server::Denial;
use forkyard_control::types::{FlushReply, Secrets};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::logs::{self, Destination, Emptied, LogRules};
use crate::settings::{App, secrets as hiding};

/// What comes of emptying log files, which may take its time.
pub(crate) type Flushing = Pin<Box<dyn Future<Output = Result<FlushReply, Denial>> + Send>>;

/// What an app has besides its processes.
pub(crate) trait Belongings {
    /// Empties its log files.
    fn flush_logs(&self) -> Flushing;

    /// The settings in force.
    fn settings(&self, secrets: Secrets) -> Value;
}

/// An app with the settings that it was started with, and the log files that these say it has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    settings: App,
    log_files: Option<PathBuf>,
}

impl Own {
    pub(crate) fn of(settings: App, logs: &LogRules) -> Self {
        let log_files = match &logs.destination {
            Destination::Files(folder) => Some(folder.clone()),
            Destination::Streams | Destination::Journald | Destination::Syslog => None,
        };
        Self { settings, log_files }
    }
}

impl Belongings for Own {
    fn flush_logs(&self) -> Flushing {
        let Some(folder) = self.log_files.clone() else {
            let reason = "this app has no log files: its output goes where the primary's does, or \
                          to the system's log";
            return Box::pin(ready(Err(Denial { reason: reason.to_owned() })));
        };
        Box::pin(async move {
            let emptied =
                empty(folder.clone()).await.map_err(|error| not_emptied(&folder, &error))?;
            let name = |path: &PathBuf| path.display().to_string();
            let files = emptied.files.iter().map(name).collect();
            Ok(FlushReply { files, bytes: emptied.bytes })
        })
    }

    fn settings(&self, secrets: Secrets) -> Value {
        // Settings are made to be written as JSON.
        let settings = match secrets {
            Secrets::Show => serde_json::to_value(&self.settings),
            _ => hiding::hidden(&self.settings),
        };
        settings.unwrap_or_default()
    }
}

/// On a thread that nobody waits for: the runtime's own would hold up its end.
async fn empty(folder: PathBuf) -> io::Result<Emptied> {
    let (answer, emptied) = oneshot::channel();
    // Whoever asked may have gone.
    let empty = move || drop(answer.send(logs::empty(&folder)));
    thread::Builder::new().name("forkyard-flush".into()).spawn(empty)?;
    emptied.await.unwrap_or_else(|_| Err(io::Error::other("its thread ended without an answer")))
}

fn not_emptied(folder: &Path, error: &io::Error) -> Denial {
    Denial { reason: format!("failed to empty the logs in {}: {error}", folder.display()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn own(settings: Value) -> Own {
        Own::of(serde_json::from_value(settings).unwrap(), &LogRules::default())
    }

    #[test]
    fn secrets_are_shown_only_if_asked_for() {
        let settings = json!({
            "program": "web.js",
            "args": ["--token", "secret"],
            "env": { "TOKEN": "secret", "PORT": "1", "production": { "TOKEN": "very secret" } },
        });
        let own = own(settings.clone());
        assert_eq!(own.settings(Secrets::Show), settings);
        let hidden = own.settings(Secrets::Hide);
        assert_eq!((&hidden["program"], &hidden["args"][1]), (&json!("web.js"), &json!("***")));
        let env = json!({ "TOKEN": "***", "PORT": "1", "production": { "TOKEN": "***" } });
        assert_eq!(hidden["env"], env);
    }

    #[tokio::test]
    async fn without_log_files_there_is_nothing_to_empty() {
        let denial = own(json!({})).flush_logs().await.unwrap_err();
        assert!(denial.reason.contains("no log files"));
    }

    #[tokio::test]
    async fn log_files_are_emptied() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("out.log"), "a line\n").unwrap();
        let destination = Destination::Files(temp.path().to_owned());
        let rules = LogRules { destination, ..LogRules::default() };
        let reply = Own::of(App::default(), &rules).flush_logs().await.unwrap();
        assert_eq!((reply.files.len(), reply.bytes), (1, 7));
        assert_eq!(std::fs::read(temp.path().join("out.log")).unwrap(), b"");
    }
}
