//! Commands that do the same with each of several apps.

use std::future::Future;
use std::process::ExitCode;

use clap::Args;

use crate::answers::Answers;
use crate::apps::{KnownApp, chosen, known};
use crate::args::LogFormat;
use crate::exit_code::Failure;

/// Which apps are meant, and how what they answer is printed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Targets {
    /// Apps by name, group or their primary's process id, or `all`; not needed if there is only
    /// one
    #[arg(value_name = "APP")]
    pub(crate) apps: Vec<String>,

    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

impl Targets {
    pub(crate) fn log_format(&self) -> LogFormat {
        if self.json { LogFormat::Json } else { LogFormat::Text }
    }

    /// Does something with each of them, one after the other. One that fails does not keep the
    /// others from it; the first failure is the command's.
    pub(crate) fn each(
        &self,
        act: impl AsyncFn(KnownApp, Answers) -> Result<(), Failure>,
    ) -> Result<ExitCode, Failure> {
        let answers = Answers::new(self.log_format());
        conversation(async {
            let apps = chosen(known().await?, &self.apps)?;
            let answers_of = |app: &KnownApp| match apps.len() {
                1 => answers.clone(),
                _ => answers.of(&app.name),
            };
            let mut failures = Vec::new();
            for app in &apps {
                let failed = act(app.clone(), answers_of(app)).await.err();
                failures.extend(failed.map(|failure| (app.name.as_str(), failure)));
            }
            match (failures.len(), apps.len()) {
                (0, _) => Ok(ExitCode::SUCCESS),
                (_, 1) => Err(failures.remove(0).1),
                _ => Err(Failure::several(failures)),
            }
        })
    }
}

/// Runs what talks to apps.
pub(crate) fn conversation<T>(
    talk: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected("failed to start", &error))?;
    runtime.block_on(talk)
}
