//! What an app has besides its processes, for whoever asks by the control socket.

use std::future::{Future, ready};
use std::pin::Pin;

use forkyard_control::server::Denial;
use forkyard_control::types::{FlushReply, Secrets};
use serde_json::Value;

use crate::settings::App;

/// Stands where a secret would.
const HIDDEN: &str = "***";

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

    fn settings(&self, secrets: Secrets) -> Value {
        // Settings are made to be written as JSON.
        let mut settings = serde_json::to_value(&self.settings).unwrap_or_default();
        if secrets == Secrets::Hide
            && let Some(env) = settings.get_mut("env")
        {
            hide(env);
        }
        settings
    }
}

/// Variables, and tables of them: only their names are left.
fn hide(value: &mut Value) {
    match value {
        Value::Object(entries) => entries.values_mut().for_each(hide),
        Value::Array(entries) => entries.iter_mut().for_each(hide),
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => *value = HIDDEN.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_variables_are_set_to_is_shown_only_if_asked_for() {
        let settings = json!({
            "program": "web.js",
            "env": { "TOKEN": "secret", "production": { "TOKEN": "very secret" } },
        });
        let plain = Plain::of(serde_json::from_value(settings.clone()).unwrap());
        assert_eq!(plain.settings(Secrets::Show), settings);
        let hidden = plain.settings(Secrets::Hide);
        assert_eq!(hidden["program"], "web.js");
        let env = json!({ "TOKEN": "***", "production": { "TOKEN": "***" } });
        assert_eq!(hidden["env"], env);
    }

    #[tokio::test]
    async fn there_are_no_log_files_to_empty() {
        let denial = Plain::default().flush_logs().await.unwrap_err();
        assert!(denial.reason.contains("no log files"));
    }
}
