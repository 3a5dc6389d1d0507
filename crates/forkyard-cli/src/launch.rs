//! From what the user names to what is executed.
//!
//! ```text
//!   command line, once ──▶ Launch ──plan──▶ Plan of generation 1
//!                            │  ──plan──▶ Plan of generation 2, from the disk as it is by then
//! ```

use std::env;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use forkyard::Program;
use forkyard_control::folder::{runtime_dir, visible_dir};

use crate::directory;
use crate::env_file::{self, Variables};
use crate::exit_code::Failure;
use crate::find::{executable, script};
use crate::interpreter::{interpreter, type_stripping};
use crate::limits::AppGroup;
use crate::settings::{App, FromText, Workers};

/// Says how many workers there shall be, where nobody says so on the command line.
const WORKERS_VARIABLE: &str = "WEB_CONCURRENCY";

/// What the user named, not looked up yet.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    name: String,
    app: App,
    /// The program's file as it was named.
    named: PathBuf,
    /// Where relative paths lead from, symlinks unresolved.
    start: PathBuf,
}

/// What one generation is started from, symlinks resolved.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) program: Program,
    pub(crate) workers: NonZeroUsize,
}

impl Plan {
    /// With its workers in this control group.
    pub(crate) fn housed(self, group: &AppGroup) -> Self {
        Self { program: group.house(self.program), ..self }
    }
}

impl Launch {
    /// Relative paths lead from that directory.
    pub(crate) fn of(name: Option<String>, app: App, start: PathBuf) -> Result<Self, Failure> {
        let Some(named) = app.program.clone() else {
            return Err(Failure::usage("no program was named".into()));
        };
        if named.as_os_str().is_empty() {
            return Err(Failure::usage("failed to run a program without a name".into()));
        }
        Ok(Self { name: name.unwrap_or_else(|| app.default_name()), app, named, start })
    }

    /// What nobody looks up: how the app is run.
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// What the user calls the program.
    pub(crate) fn shown(&self) -> String {
        self.named.display().to_string()
    }

    /// The app's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where relative paths lead from.
    pub(crate) fn start(&self) -> &Path {
        &self.start
    }

    /// The workers' directory, symlinks unresolved.
    pub(crate) fn directory(&self) -> PathBuf {
        self.start.join(self.app.cwd.as_deref().unwrap_or(Path::new("")))
    }

    /// Looks everything up as it is now: directory, program, environment files, number of
    /// workers. Reads files, and may ask an interpreter for its version.
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        let cwd = directory::resolve(&self.directory())?;
        let variables = self.variables()?;
        let workers = self.workers(&variables)?;
        let program = self.command(&cwd)?.args(&self.app.args).cwd(cwd);
        let with = |program: Program, (name, value): (String, String)| program.env(name, value);
        let program = variables.into_iter().fold(program, with);
        let program = self.app.limit_rules().apply(program)?;
        Ok(Plan { program, workers })
    }

    /// What is executed, without the program's own arguments.
    fn command(&self, cwd: &Path) -> Result<Program, Failure> {
        let (app, named) = (&self.app, self.named.as_path());
        let node_args = app.interpreter_args.iter().flat_map(|args| args.split_whitespace());
        match interpreter(app.interpreter.as_deref(), named, &self.start)? {
            Some(interpreter) => {
                let script = script(named, cwd)?;
                Ok(self
                    .with_agent(Program::new(&interpreter))
                    .args(type_stripping(&interpreter, named)?)
                    .args(node_args)
                    .arg(script))
            }
            None if !app.interpreter_args.is_empty() => Err(Failure::usage(format!(
                "failed to use --node-args: nothing interprets {}; name an --interpreter, or put \
                 the arguments behind the program",
                named.display()
            ))),
            None => Ok(Program::new(executable(named, cwd)?)),
        }
    }

    /// Only Node can load it.
    fn with_agent(&self, interpreter: Program) -> Program {
        let name = interpreter.path().file_name().unwrap_or_default().to_string_lossy();
        match name.starts_with("node") && !self.app.drain.no_agent {
            true => interpreter.agent(self.agent_dir()),
            false => interpreter,
        }
    }

    /// The runtime folder is closed to all but the primary's user.
    fn agent_dir(&self) -> PathBuf {
        match self.app.user {
            Some(_) => visible_dir(),
            None => runtime_dir(),
        }
    }

    /// In the order of their rank: what comes later counts.
    fn variables(&self) -> Result<Variables, Failure> {
        let files = self.app.env_file.iter();
        let files = files.map(|file| env_file::read(&self.start.join(file), file));
        let mut variables = files.collect::<Result<Vec<_>, _>>()?.concat();
        let set = self.app.env.of(None);
        variables.extend(set.map(|set| (set.name.clone(), set.value.clone())));
        Ok(variables)
    }

    fn workers(&self, variables: &Variables) -> Result<NonZeroUsize, Failure> {
        let wanted = match &self.app.workers {
            Some(wanted) => wanted.value,
            None => wanted_by_environment(variables, env::var_os(WORKERS_VARIABLE))?,
        };
        Ok(wanted.count())
    }
}

/// Set to nothing is not set.
fn wanted_by_environment(
    variables: &Variables,
    inherited: Option<OsString>,
) -> Result<Workers, Failure> {
    let set = variables.iter().rev().find(|(name, _)| name == WORKERS_VARIABLE);
    let set = set.map(|(_, value)| OsString::from(value)).or(inherited).unwrap_or_default();
    match set.to_string_lossy().trim() {
        "" => Ok(Workers::Max),
        text => Workers::read(text).map_err(|why| {
            Failure::usage(format!(
                "failed to use {WORKERS_VARIABLE}={text} as the number of workers: {why}"
            ))
        }),
    }
}

#[cfg(test)]
mod tests;
