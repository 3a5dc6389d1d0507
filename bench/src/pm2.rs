//! PM2, with a daemon and a home folder of its own for each measurement, both gone afterwards.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;
use tempfile::TempDir;

use crate::orphans::Orphan;
use crate::program::Program;

/// How long `pm2 start` may take.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long the daemon may take to end after `pm2 kill` has said that it did.
const END_LIMIT: Duration = Duration::from_secs(20);

/// Where PM2 is, and what runs it.
#[derive(Clone, Debug)]
pub(crate) struct Pm2Files {
    node: PathBuf,
    script: PathBuf,
}

/// A daemon and its apps.
#[derive(Debug)]
pub(crate) struct Pm2 {
    files: Pm2Files,
    home: TempDir,
    is_ended: bool,
}

impl Pm2Files {
    /// `node` may be a name on the path, or a path.
    pub(crate) fn new(node: &Path, script: PathBuf) -> Result<Self> {
        let node = match node.components().count() {
            1 => node.to_path_buf(),
            _ => std::path::absolute(node).context("failed to find Node")?,
        };
        Ok(Self { node, script })
    }

    /// One of PM2's commands. It starts a daemon by itself if there is none.
    fn command(&self, home: &Path) -> Result<Command> {
        let mut command = Command::new(&self.node);
        command.arg(&self.script).env("PM2_HOME", home).env("PATH", self.path()?);
        // It would ask its maker's server whether there is a newer one.
        command.env("PM2_DISABLE_VERSION_CHECK", "true");
        Ok(command)
    }

    /// The daemon is run by the `node` that is first on the path.
    fn path(&self) -> Result<OsString> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folder = self.node.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folders = folder.map(Path::to_path_buf).into_iter().chain(std::env::split_paths(&path));
        std::env::join_paths(folders).context("failed to put Node's folder on the path")
    }
}

impl Pm2 {
    /// So far without a daemon: the first command starts it.
    pub(crate) fn without_apps(files: &Pm2Files) -> Result<Self> {
        let home = TempDir::with_prefix("pm2-").context("failed to make a folder for PM2")?;
        Ok(Self { files: files.clone(), home, is_ended: false })
    }

    /// Starts a daemon and has it run a program, which learns its port from `PORT`.
    pub(crate) fn start(files: &Pm2Files, program: &Path, port: u16, workers: u16) -> Result<Self> {
        // From here on there may be a daemon, whatever becomes of the command.
        let pm2 = Self::without_apps(files)?;
        let mut command = pm2.command()?;
        command.arg("start").arg(program);
        command.args(["-i", &workers.to_string()]).env("PORT", port.to_string());
        Program::start(&mut command)?.finish(START_LIMIT)?;
        Ok(pm2)
    }

    pub(crate) fn reload(&mut self, limit: Duration) -> Result<()> {
        Program::start(self.command()?.args(["reload", "all"]))?.finish(limit)
    }

    /// How long a command takes that only talks to the daemon.
    pub(crate) fn ping(&self, limit: Duration) -> Result<Duration> {
        let began = Instant::now();
        Program::start(self.command()?.arg("ping"))?.finish(limit)?;
        Ok(began.elapsed())
    }

    /// Ends the app and the daemon.
    pub(crate) fn stop(mut self, limit: Duration) -> Result<()> {
        self.kill(limit)
    }

    /// `pm2 kill`, and then the daemon has to be gone.
    fn kill(&mut self, limit: Duration) -> Result<()> {
        self.is_ended = true;
        let Some(daemon) = self.daemon()? else { return Ok(()) };
        let killed = Program::start(self.command()?.arg("kill")).and_then(|it| it.finish(limit));
        if let Err(error) = killed {
            daemon.kill()?;
            daemon.ends_within(END_LIMIT)?;
            return Err(error).context("failed to end PM2's daemon by its own command");
        }
        ensure!(daemon.ends_within(END_LIMIT)?, "PM2's daemon goes on after `pm2 kill`");
        Ok(())
    }

    /// One of its commands, with its home folder.
    pub(crate) fn command(&self) -> Result<Command> {
        self.files.command(self.home.path())
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The process id of the daemon, which has started.
    pub(crate) fn daemon_pid(&self) -> Result<u32> {
        let path = self.home.path().join("pm2.pid");
        let text = std::fs::read_to_string(path).context("failed to find PM2's daemon")?;
        text.trim().parse().context("failed to read the id of PM2's daemon")
    }

    /// The daemon, if it has got as far as writing down its process id. One that has not is
    /// ended with the other orphans.
    fn daemon(&self) -> Result<Option<Orphan>> {
        if !self.home.path().join("pm2.pid").exists() {
            return Ok(None);
        }
        let pid = i32::try_from(self.daemon_pid()?).ok().and_then(Pid::from_raw);
        Orphan::new(pid.context("failed to make sense of a process id")?).map(Some)
    }
}

impl Drop for Pm2 {
    fn drop(&mut self) {
        if !self.is_ended {
            // There is an error on its way already, and orphans are ended at the very last.
            let _ = self.kill(END_LIMIT);
        }
    }
}
