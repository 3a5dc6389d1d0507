//! An app that is run by its name: what it is is kept in the home folder.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Parser;

use crate::args::{Args, Verb};
use crate::exit_code::Failure;
use crate::home::log_dir;
use crate::launch::Launch;
use crate::names;
use crate::records::{End, Record, Store, environment_of, text_environment};
use crate::settings::{App, file};

/// One app's place in the home folder.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    store: Store,
    name: String,
}

impl Kept {
    pub(crate) fn of(name: &str) -> Result<Self, Failure> {
        names::check(name).map_err(Failure::usage)?;
        Ok(Self { store: Store::open()?, name: name.to_owned() })
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        log_dir(self.store.home(), &self.name)
    }

    pub(crate) fn record(&self) -> Result<Record, Failure> {
        let unknown = || {
            Failure::no_such_app(format!(
                "no app {:?} was started; `forkyard start` starts one",
                self.name
            ))
        };
        self.store.load(&self.name)?.ok_or_else(unknown)
    }

    /// As it is kept now; settings that come from a file are read anew.
    pub(crate) fn launch(&self) -> Result<Launch, Failure> {
        let record = self.record()?;
        let app = record.with_scale(self.present_settings(&record)?);
        Launch::of(Some(self.name.clone()), app, record.directory)
    }

    /// As it was when it last came up, for when the settings file is no good any more.
    pub(crate) fn former_launch(&self) -> Result<Launch, Failure> {
        let record = self.record()?;
        let app = record.with_scale(record.settings.clone());
        Launch::of(Some(self.name.clone()), app, record.directory)
    }

    /// As its settings file has them now.
    pub(crate) fn present_settings(&self, record: &Record) -> Result<App, Failure> {
        let Some(origin) = &record.origin else { return Ok(record.settings.clone()) };
        let found = file::read(&origin.file)?;
        let gone = || {
            Failure::usage(format!(
                "there is no app {:?} in {} any more",
                self.name,
                found.path.display()
            ))
        };
        let app = found.apps.get(&self.name).ok_or_else(gone)?;
        Ok(app.clone().in_environment(origin.environment.as_deref()))
    }

    /// That is how it ended.
    pub(crate) fn ended(&self, end: &End) -> Result<(), Failure> {
        Ok(self.store.keep_end(&self.name, end)?)
    }
}

/// If this process is to run an app by its name, goes on in the environment that the app was
/// started in: whoever starts it at boot has another one. Returns if it is that one already, or if
/// something is wrong, which is found again, and said, where it is needed.
pub(crate) fn enter_environment() {
    if forkyard::is_upgrade() {
        return;
    }
    let Ok(Args { verb: Verb::Run(run) }) = Args::try_parse() else { return };
    let Some(Ok(kept)) = run.app_name().map(Kept::of) else { return };
    let Ok(record) = kept.record() else { return };
    let Ok(image) = env::current_exe() else { return };
    let wanted = environment_of(&record);
    if wanted == text_environment() {
        return;
    }
    // It returns only if it failed.
    let _ = Command::new(image).args(env::args_os().skip(1)).env_clear().envs(&wanted).exec();
}
