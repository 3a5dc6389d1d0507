//! `forkyard save` and `resurrect`: what runs now, to be started again after a boot.

use std::process::ExitCode;

use clap::Parser;

use super::start::start_all;
use super::targets::conversation;
use crate::answers::Answers;
use crate::apps::known;
use crate::args::LogFormat;
use crate::background::Patience;
use crate::exit_code::Failure;
use crate::records::{Record, Store};

/// What `forkyard save` and `resurrect` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Saved {
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl Saved {
    pub(crate) fn log_format(&self) -> LogFormat {
        if self.json { LogFormat::Json } else { LogFormat::Text }
    }
}

/// Keeps what runs in the background now.
pub(crate) fn save(options: &Saved) -> Result<ExitCode, Failure> {
    conversation(async {
        let apps = known().await?;
        let running = apps.iter().filter(|app| app.primary.is_some());
        let records: Vec<Record> = running.filter_map(|app| app.kept()).cloned().collect();
        Store::open()?.save(&records)?;
        let names: Vec<_> = records.iter().map(|record| record.name.as_str()).collect();
        let text = match names.is_empty() {
            true => "saved that nothing runs".to_owned(),
            false => format!("saved: {}", names.join(", ")),
        };
        let answer = serde_json::json!({ "done": "saved", "apps": names });
        Answers::new(options.log_format()).print(&answer, &text);
        Ok(ExitCode::SUCCESS)
    })
}

/// Starts what was saved and does not run.
pub(crate) fn resurrect(options: &Saved) -> Result<ExitCode, Failure> {
    let answers = Answers::new(options.log_format());
    conversation(async {
        let store = Store::open()?;
        let Some(records) = store.saved()? else {
            return Err(Failure::not_done(
                "nothing was saved; `forkyard save` saves what runs".into(),
            ));
        };
        let mut failures = Vec::new();
        for record in &records {
            let started = start_all(&store, vec![record.clone()], Patience::UntilReady, &answers);
            let failed = started.await.err();
            failures.extend(failed.map(|failure| (record.name.as_str(), failure)));
        }
        match failures.is_empty() {
            true => Ok(ExitCode::SUCCESS),
            false => Err(Failure::several(failures)),
        }
    })
}
