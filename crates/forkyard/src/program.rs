//! What a worker runs.

mod limits;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::agent::{self, Readers};
use crate::primary::upgrade::state::ProgramState;
use crate::primary::upgrade::{Text, VARIABLES};
pub(crate) use limits::Limits;

/// What systemd tells the primary alone: that it wants signs of life (`sd_watchdog_enabled(3)`).
const WATCHDOG_VARIABLES: [&str; 2] = ["WATCHDOG_USEC", "WATCHDOG_PID"];

/// A program with its arguments, environment and working directory. No shell is involved.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    /// Where the agent's file is kept, if Node is to load it.
    agent: Option<PathBuf>,
    /// On the heap, as programs travel by value in requests that are otherwise small.
    limits: Box<Limits>,
}

impl Program {
    /// The program at `path`, or found by that name in `PATH`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            agent: None,
            limits: Box::default(),
        }
    }

    /// This very program with the arguments it was started with, as Node's cluster does.
    ///
    /// # Errors
    ///
    /// If the system does not say where this program's file is.
    pub fn itself() -> io::Result<Self> {
        let mut program = Self::new(std::env::current_exe()?);
        program.args = std::env::args_os().skip(1).collect();
        Ok(program)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable in the workers' environment, which is otherwise the primary's.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Sets the workers' working directory, which is otherwise the primary's.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Has every worker load the agent, which drains it when it is to leave. For programs that
    /// Node runs. The agent's file is kept in this folder, which is made if it is missing; see
    /// [`agent::install`]. If that is not possible a worker is started without it.
    #[must_use]
    pub fn agent(mut self, dir: impl Into<PathBuf>) -> Self {
        self.agent = Some(dir.into());
        self
    }

    /// The program's file or name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its arguments.
    pub fn arguments(&self) -> impl Iterator<Item = &OsStr> {
        self.args.iter().map(OsString::as_os_str)
    }

    /// The variables set for it, of which a later one of the same name counts.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.env.iter().map(|(key, value)| (key.as_os_str(), value.as_os_str()))
    }

    /// Its working directory, if it is not the primary's.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.cwd.as_deref()
    }

    /// What its workers get beyond the program itself.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// As it is left to another image of the primary.
    pub(crate) fn state(&self) -> ProgramState {
        let Self { path, args, env, cwd, agent, limits } = self;
        let pair = |(key, value): &(OsString, OsString)| (Text::of(key), Text::of(value));
        ProgramState {
            path: Text::of(path),
            args: args.iter().map(Text::of).collect(),
            env: env.iter().map(pair).collect(),
            cwd: cwd.as_ref().map(Text::of),
            agent: agent.as_ref().map(Text::of),
            limits: Box::new(limits.state()),
        }
    }

    /// A command for one worker; stdin is empty, because a worker in a process group of
    /// its own would be stopped for reading from the terminal.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        // Looked for each time: somebody may have cleaned up since.
        match self.agent.as_deref().map(|dir| self.install_agent(dir)) {
            Some(Ok(file)) => drop(command.arg("--require").arg(file)),
            Some(Err(error)) => {
                tracing::warn!(%error, "starting a worker without the agent: when it leaves, kept-alive connections are reset");
            }
            None => {}
        }
        command.args(&self.args).stdin(Stdio::null());
        for name in VARIABLES.iter().chain(&WATCHDOG_VARIABLES) {
            command.env_remove(name);
        }
        self.limits.set_home(&mut command);
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command
    }

    /// Whoever runs as another user must be able to read it.
    fn install_agent(&self, dir: &Path) -> io::Result<PathBuf> {
        match self.limits.account.as_ref().filter(|_| self.limits.changes_user()) {
            Some(account) => agent::install_for(dir, Readers::User(account)),
            None => agent::install(dir),
        }
    }
}

impl From<ProgramState> for Program {
    fn from(state: ProgramState) -> Self {
        let pair = |(key, value): (Text, Text)| (key.into(), value.into());
        Self {
            path: state.path.into(),
            args: state.args.into_iter().map(OsString::from).collect(),
            env: state.env.into_iter().map(pair).collect(),
            cwd: state.cwd.map(PathBuf::from),
            agent: state.agent.map(PathBuf::from),
            limits: Box::new((*state.limits).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_carries_all_that_was_set() {
        let program = Program::new("node").arg("app.js").args(["a", "b"]).env("K", "V").cwd("/");
        let command = program.command();
        assert_eq!(command.get_program(), "node");
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["app.js", "a", "b"]);
        assert_eq!(command.get_current_dir(), Some(Path::new("/")));
        let env: Vec<_> = command.get_envs().collect();
        assert!(env.contains(&(OsStr::new("K"), Some(OsStr::new("V")))));
        for name in VARIABLES.iter().chain(&WATCHDOG_VARIABLES) {
            assert!(env.contains(&(OsStr::new(name), None)), "{name} is for the primary alone");
        }
    }

    #[test]
    fn what_is_set_on_purpose_is_set() {
        let command = Program::new("node").env("WATCHDOG_USEC", "5").command();
        let value = command.get_envs().find(|(name, _)| *name == "WATCHDOG_USEC");
        assert_eq!(value, Some((OsStr::new("WATCHDOG_USEC"), Some(OsStr::new("5")))));
    }
}
