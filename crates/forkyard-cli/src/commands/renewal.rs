//! What has changed in the settings file of an app that is reloaded.
//!
//! ```text
//!   record ──┐                ┌─ new workers ──▶ the reload itself
//!            ├──▶ changes ────┼─ a new primary ──▶ it executes itself first
//!   file ────┘                └─ a restart ──▶ told, and left as it was
//! ```

use serde_json::json;

use crate::answers::Answers;
use crate::apps::KnownApp;
use crate::exit_code::Failure;
use crate::kept::Kept;
use crate::records::{Record, Store};
use crate::settings::App;
use crate::settings::change::{self, Change, Needs};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Renewal {
    name: String,
    changes: Vec<Change>,
    /// What holds when the reload is over.
    settings: App,
}

impl Renewal {
    /// Of an app that comes from a settings file.
    pub(crate) fn of(app: &KnownApp) -> Result<Option<Self>, Failure> {
        let Some(record) = app.kept().filter(|record| record.origin.is_some()) else {
            return Ok(None);
        };
        let failed =
            |error: serde_json::Error| Failure::unexpected("failed to compare settings", &error);
        let new = Kept::of(&app.name)?.present_settings(record)?;
        let changes = change::changes(&record.settings, &new).map_err(failed)?;
        let settings = change::without_restart(&record.settings, &new).map_err(failed)?;
        Ok(Some(Self { name: app.name.clone(), changes, settings }))
    }

    /// Whether new workers are not enough.
    pub(crate) fn needs_new_primary(&self) -> bool {
        self.changes.iter().any(|change| change.needs == Needs::NewPrimary)
    }

    /// It has come up with them.
    pub(crate) fn keep(self, answers: &Answers) -> Result<(), Failure> {
        self.tell_rest(answers);
        let store = Store::open()?;
        let _lock = store.lock(&self.name)?;
        // One that was deleted in between stays so.
        let Some(record) = store.load(&self.name)? else { return Ok(()) };
        store.keep(&Record { settings: self.settings, ..record })?;
        Ok(())
    }

    fn tell_rest(&self, answers: &Answers) {
        let left = self.changes.iter().filter(|change| change.needs == Needs::Restart);
        let left: Vec<_> = left.map(|change| change.setting.as_str()).collect();
        if !left.is_empty() {
            let text = format!(
                "{} {} as before until `forkyard restart {}`",
                left.join(", "),
                if left.len() == 1 { "is" } else { "are" },
                self.name
            );
            answers.print(&json!({ "done": "restart needed", "settings": left }), &text);
        }
    }
}
