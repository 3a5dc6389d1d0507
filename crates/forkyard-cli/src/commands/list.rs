//! `forkyard ls`: every app and how it is.

use std::process::ExitCode;

use clap::Parser;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;
use tokio::task::JoinSet;

use super::targets::conversation;
use crate::answers::Answers;
use crate::apps::{KnownApp, chosen, known};
use crate::args::LogFormat;
use crate::condition::Look;
use crate::exit_code::Failure;
use crate::records::Store;
use crate::units::{age, bytes};

/// What `forkyard ls` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct List {
    /// Only these, by name, group or their primary's process id
    #[arg(value_name = "APP")]
    apps: Vec<String>,

    /// Print JSON: one array of apps
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) fn log_format(&self) -> LogFormat {
        if self.json { LogFormat::Json } else { LogFormat::Text }
    }
}

/// Prints them.
pub(crate) fn list(options: &List) -> Result<ExitCode, Failure> {
    conversation(async {
        let apps = known().await?;
        let apps = match options.apps.is_empty() {
            true => apps,
            false => chosen(apps, &options.apps)?,
        };
        let looks = look_at_all(apps).await;
        let json: Vec<_> = looks.iter().map(Look::as_json).collect();
        Answers::new(options.log_format()).print(&json!(json), &table(&looks));
        Ok(ExitCode::SUCCESS)
    })
}

/// All at the same time: one that does not answer holds nobody up.
async fn look_at_all(apps: Vec<KnownApp>) -> Vec<Look> {
    let store = Store::open().ok();
    let mut asked = JoinSet::new();
    for (at, app) in apps.into_iter().enumerate() {
        let store = store.clone();
        asked.spawn(async move { (at, Look::at(app, store.as_ref()).await) });
    }
    let mut looks = Vec::new();
    while let Some(look) = asked.join_next().await {
        looks.extend(look.ok());
    }
    looks.sort_by_key(|(at, _)| *at);
    looks.into_iter().map(|(_, look)| look).collect()
}

fn table(looks: &[Look]) -> String {
    if looks.is_empty() {
        return "there is no app; `forkyard start` starts one".into();
    }
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["app", "state", "workers", "pid", "up", "crashes", "memory", "serves"]);
    for look in looks {
        table.add_row(row(look));
    }
    for column in [2, 3, 4, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn row(look: &Look) -> [String; 8] {
    const NONE: &str = "–";
    let running = look.running();
    let shown = |text: Option<String>| text.unwrap_or_else(|| NONE.into());
    [
        look.name().to_owned(),
        look.condition().to_string(),
        shown(running.map(|status| look.workers(status))),
        shown(running.map(|status| status.pid.to_string())),
        shown(running.map(|status| age(status.started))),
        shown(running.map(|status| look.crashes(status).to_string())),
        shown(running.and_then(|status| look.memory(status)).map(bytes)),
        shown(running.map(|status| look.listeners(status)).filter(|text| !text.is_empty())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::tests::looks;

    #[test]
    fn people_read_this() {
        insta::assert_snapshot!(table(&looks()));
    }

    #[test]
    fn machines_read_this() {
        let json: Vec<_> = looks().iter().map(Look::as_json).collect();
        insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
    }

    #[test]
    fn nobody_is_a_sentence() {
        assert!(table(&[]).contains("forkyard start"));
    }
}
