//! What an app has besides its processes, for whoever asks by the control socket.

use std::future::{Future, ready};
use std::pin::Pin;

use forkyard_control::server::Denial;
use forkyard_control::types::{FlushReply, Secrets};
use serde_json::{Value, json};

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

/// An app without log files, and with the settings that it was started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain {
    settings: App,
}

impl Plain {
    pub(crate) fn of(settings: App) -> Self {
        Self { settings }
    }
}

impl Belongings for Plain {
    fn flush_logs(&self) -> Flushing {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_shown_only_if_asked_for() {
        let settings = json!({
            "program": "web.js",
            "env": { "PORT": "1", "production": { "TOKEN": "very secret" } },
        });
        let plain = Plain::of(serde_json::from_value(settings.clone()).unwrap());
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
}
