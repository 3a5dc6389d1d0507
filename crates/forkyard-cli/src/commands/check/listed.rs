//! What would be started.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use crate::exit_code::Failure;
use crate::launch::{Launch, Plan};
use crate::settings::file::SettingsFile;
use crate::settings::{App, secrets};

/// An app of the file, and what it would be started from if that can be found.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    name: String,
    app: App,
    plan: Option<Plan>,
}

/// Each app in the order in which they would be started, with what cannot be found.
pub(super) fn look_up(
    found: &SettingsFile,
    environment: Option<&str>,
) -> (Vec<Listed>, Vec<(String, Failure)>) {
    let mut failures = Vec::new();
    let mut listed = |name: &str| {
        let app = found.apps[name].clone().in_environment(environment);
        let launch = Launch::of(Some(name.to_owned()), app.clone(), found.folder().to_owned());
        let plan = launch.and_then(|launch| launch.plan());
        let plan = plan.map_err(|failure| failures.push((name.to_owned(), failure))).ok();
        Listed { name: name.to_owned(), app, plan }
    };
    let apps = found.in_order().into_iter().map(&mut listed).collect();
    (apps, failures)
}

impl Listed {
    /// As it was written, with its arguments.
    fn command(&self) -> String {
        let program = self.app.program.iter().map(|program| program.display().to_string());
        let arguments: Vec<_> =
            self.app.args.iter().map(|argument| argument.0.to_string_lossy()).collect();
        let arguments = secrets::in_arguments(arguments.iter().map(AsRef::as_ref));
        program.chain(arguments).collect::<Vec<_>>().join(" ")
    }

    fn workers(&self) -> Option<usize> {
        self.plan.as_ref().map(|plan| plan.workers.get())
    }

    fn listen(&self) -> Vec<String> {
        self.app.listen.iter().map(ToString::to_string).collect()
    }

    pub(super) fn as_json(&self) -> Value {
        let program = self.plan.as_ref().map(|plan| plan.program.path());
        let directory = self.plan.as_ref().and_then(|plan| plan.program.directory());
        json!({
            "name": self.name,
            "command": self.command(),
            "executable": program,
            "directory": directory,
            "workers": self.workers(),
            "policy": self.app.general_policy().name(),
            "listen": self.listen(),
            "depends_on": self.app.depends_on,
            "groups": self.app.groups,
        })
    }
}

pub(super) fn table(apps: &[Listed]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["app", "program", "workers", "policy", "listens on", "after", "groups"]);
    for app in apps {
        table.add_row(row(app));
    }
    if let Some(workers) = table.column_mut(2) {
        workers.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn row(app: &Listed) -> [String; 7] {
    const NONE: &str = "–";
    let joined = |words: &[String]| match words.is_empty() {
        true => NONE.to_owned(),
        false => words.join(", "),
    };
    let listens = app.listen();
    [
        app.name.clone(),
        app.command(),
        app.workers().map_or_else(|| NONE.to_owned(), |workers| workers.to_string()),
        app.app.general_policy().name().to_owned(),
        // Most programs listen by themselves.
        joined(&listens),
        joined(&app.app.depends_on),
        joined(&app.app.groups),
    ]
}
