//! What an app has besides its processes, for whoever asks by the control socket.

use std::future::{Future, ready};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::thread;

use forkyard_control::server::Denial;
use forkyard_control::types::{FlushReply, Secrets};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::logs::{Destination, LogRules, empty};
use crate::settings::{App, secrets};

/// What comes of emptying log files, which may take its time.
pub(crate) type Flushing = Pin<Box<dyn Future<Output = Result<FlushReply, Denial>> + Send>>;

/// What an app has besides its processes.
pub(crate) trait Belongings {
    /// Empties its log files.
    fn flush_logs(&self) -> Flushing;

    /// The settings in force.
    fn settings(&self, secrets: Secrets) -> Value;
}

/// An app with the settings that it was started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain {
    settings: App,
    /// Where its log files are, if it has any.
    logs: Option<PathBuf>,
}

impl Plain {
    pub(crate) fn of(settings: App, logs: &LogRules) -> Self {
        let logs = match &logs.destination {
            Destination::Files(folder) => Some(folder.clone()),
            _ => None,
        };
        Self { settings, logs }
    }
}

impl Belongings for Plain {
    fn flush_logs(&self) -> Flushing {
        if let Some(folder) = self.logs.clone() {
            return Box::pin(flush(folder));
        }
        let reason = "this app has no log files: its output goes where the primary's does";
        Box::pin(ready(Err(Denial { reason: reason.to_owned() })))
    }

    fn settings(&self, shown: Secrets) -> Value {
        let shown = match shown {
            Secrets::Hide => secrets::hidden(&self.settings),
            Secrets::Show => serde_json::to_value(&self.settings),
        };
        // Only a path or an argument that is no text cannot be written as JSON.
        shown.unwrap_or_else(|error| json!({ "error": error.to_string() }))
    }
}

/// On a thread that nobody waits for: the runtime's own would hold up its end.
async fn flush(folder: PathBuf) -> Result<FlushReply, Denial> {
    let (answer, emptied) = oneshot::channel();
    // Whoever asked may have gone.
    let work = move || drop(answer.send(flushed(&folder)));
    let started = thread::Builder::new().name("forkyard-flush".into()).spawn(work);
    match started.map(|_| emptied) {
        Ok(emptied) => {
            emptied.await.unwrap_or_else(|gone| Err(not_flushed(&io::Error::other(gone))))
        }
        Err(error) => Err(not_flushed(&error)),
    }
}

fn flushed(folder: &Path) -> Result<FlushReply, Denial> {
    let emptied = empty(folder).map_err(|error| not_flushed(&error))?;
    let files = emptied.files.iter().map(|path| path.display().to_string()).collect();
    Ok(FlushReply { files, bytes: emptied.bytes })
}

fn not_flushed(error: &io::Error) -> Denial {
    Denial { reason: format!("failed to empty the logs: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_shown_only_if_asked_for() {
        let settings = json!({
            "program": "web.js",
            "env": { "PORT": "1", "production": { "TOKEN": "very secret" } },
        });
        let plain =
            Plain::of(serde_json::from_value(settings.clone()).unwrap(), &LogRules::default());
        assert_eq!(plain.settings(Secrets::Show), settings);
        let hidden = plain.settings(Secrets::Hide);
        assert_eq!(hidden["program"], "web.js");
        let env = json!({ "PORT": "1", "production": { "TOKEN": "***" } });
        assert_eq!(hidden["env"], env);
    }

    #[tokio::test]
    async fn there_are_no_log_files_to_empty() {
        let denial = Plain::default().flush_logs().await.unwrap_err();
        assert!(denial.reason.contains("no log files"));
    }

    #[tokio::test]
    async fn log_files_are_emptied() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("out.log");
        std::fs::write(&file, "text").unwrap();
        let destination = Destination::Files(temp.path().to_owned());
        let plain = Plain::of(App::default(), &LogRules { destination, ..LogRules::default() });
        let reply = plain.flush_logs().await.unwrap();
        assert_eq!(reply, FlushReply { files: vec![file.display().to_string()], bytes: 4 });
        assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
    }
}
