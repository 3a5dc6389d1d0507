//! What a worker runs.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program with its arguments, environment and working directory. No shell is involved.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
}

impl Program {
    /// The program at `path`, or found by that name in `PATH`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), args: Vec::new(), env: Vec::new(), cwd: None }
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

    /// A command for one worker; stdin is empty, because a worker in a process group of
    /// its own would be stopped for reading from the terminal.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args).stdin(Stdio::null());
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command
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
        assert_eq!(env, [(OsStr::new("K"), Some(OsStr::new("V")))]);
    }
}
