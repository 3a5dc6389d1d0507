//! Who is measured, and how each of them is told what to do.
//!
//! | | Forkyard | PM2 |
//! |---|---|---|
//! | an app is managed by | a primary of its own | the one daemon |
//! | its output goes to | `logs/APP/out.log` in the home folder | `logs/APP-out.log` in the home folder |
//! | a start is over | when a worker listens | when the process runs |
//!
//! Because of the last line it is also measured when the port answers.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;
use tempfile::TempDir;

use crate::orphans::Orphan;
use crate::pm2::{Pm2, Pm2Files};
use crate::program::Program;
use crate::tools::Peers;

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Whose apps they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contestant {
    Forkyard,
    Pm2,
}

/// What the contestants need.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) peers: Peers,
    pub(crate) pm2: Pm2Files,
}

/// A program to be managed, with one worker, which finds its port in `PORT`.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) port: u16,
}

/// Apps under one manager, with folders of its own.
#[derive(Debug)]
pub(crate) enum Fleet {
    Forkyard(Yard),
    Pm2(Pm2),
}

/// Forkyard's folders, and how it is called.
#[derive(Debug)]
pub(crate) struct Yard {
    forkyard: PathBuf,
    node: PathBuf,
    folder: TempDir,
}

impl Contestant {
    pub(crate) const ALL: [Self; 2] = [Self::Forkyard, Self::Pm2];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forkyard => "Forkyard",
            Self::Pm2 => "PM2",
        }
    }
}

impl Fleet {
    /// Without apps, and so far without a process.
    pub(crate) fn new(contestant: Contestant, files: &Files) -> Result<Self> {
        match contestant {
            Contestant::Forkyard => Yard::new(&files.peers).map(Self::Forkyard),
            Contestant::Pm2 => Pm2::without_apps(&files.pm2).map(Self::Pm2),
        }
    }

    /// Has a new app started, with further variables for it.
    pub(crate) fn add(&self, app: &App, variables: &[(&str, String)]) -> Result<()> {
        let mut command = match self {
            Self::Forkyard(yard) => yard.start(app)?,
            Self::Pm2(pm2) => {
                let mut command = pm2.command()?;
                command.arg("start").arg(&app.program).args(["--name", &app.name]);
                command
            }
        };
        command.env("PORT", app.port.to_string()).envs(variables.iter().cloned());
        finish(&mut command)
    }

    /// Has something done by a command: `ls`; `stop`, `start` of an app that is known.
    pub(crate) fn tell(&self, words: &[&str]) -> Result<()> {
        let mut command = match self {
            Self::Forkyard(yard) => yard.command(),
            Self::Pm2(pm2) => pm2.command()?,
        };
        finish(command.args(words))
    }

    /// The processes that manage the apps, which is not the apps' own.
    pub(crate) fn managers(&self) -> Result<Vec<u32>> {
        match self {
            Self::Forkyard(yard) => yard.primaries(),
            Self::Pm2(pm2) => Ok(vec![pm2.daemon_pid()?]),
        }
    }

    /// How many lines of an app's output are in its log, in files that were rotated too.
    pub(crate) fn logged(&self, app: &App) -> Result<usize> {
        let name = &app.name;
        let (folder, stem) = match self {
            Self::Forkyard(yard) => (yard.home().join("logs").join(name), "out".to_owned()),
            Self::Pm2(pm2) => (pm2.home().join("logs"), format!("{name}-out")),
        };
        let is_of_it = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.starts_with(&stem) && (file.ends_with(".log") || file.ends_with(".gz"))
        };
        let files = std::fs::read_dir(&folder);
        let files = files.with_context(|| format!("failed to list {}", folder.display()))?;
        let paths =
            files.map(|file| file.map(|file| file.path())).collect::<Result<Vec<_>, _>>()?;
        lines_of(&paths.into_iter().filter(is_of_it).collect::<Vec<_>>())
    }

    /// Ends all of it by the manager's own means.
    pub(crate) fn end(self) -> Result<()> {
        match self {
            Self::Forkyard(yard) => yard.end(),
            Self::Pm2(pm2) => pm2.stop(LIMIT),
        }
    }
}

impl Yard {
    fn new(peers: &Peers) -> Result<Self> {
        let folder = TempDir::with_prefix("forkyard-").context("failed to make a folder")?;
        let yard = Self { forkyard: peers.forkyard.clone(), node: peers.node.clone(), folder };
        for folder in [yard.home(), yard.runtime()] {
            std::fs::DirBuilder::new()
                .mode(0o700)
                .create(folder)
                .context("failed to make a folder")?;
        }
        Ok(yard)
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn runtime(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.forkyard);
        command.env("FORKYARD_HOME", self.home()).env("FORKYARD_RUNTIME_DIR", self.runtime());
        command
    }

    fn start(&self, app: &App) -> Result<Command> {
        let mut command = self.command();
        command.args(["start", "--workers", "1", "--name", &app.name]);
        command.arg("--interpreter").arg(&self.node).arg(&app.program);
        Ok(command)
    }

    /// Each has a socket, by whose name it is found.
    fn primaries(&self) -> Result<Vec<u32>> {
        let sockets = std::fs::read_dir(self.runtime()).context("failed to find primaries")?;
        let mut primaries = Vec::new();
        for socket in sockets {
            primaries.extend(pid_of(&socket?.path()));
        }
        Ok(primaries)
    }

    fn end(self) -> Result<()> {
        let primaries: Vec<_> = self.primaries()?.into_iter().map(orphan).collect::<Result<_>>()?;
        finish(self.command().args(["delete", "all"]))?;
        for primary in primaries {
            ensure!(primary.ends_within(LIMIT)?, "a primary goes on after its end");
        }
        Ok(())
    }
}

fn orphan(pid: u32) -> Result<Orphan> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Orphan::new(pid.context("failed to make sense of a process id")?)
}

/// Lines of files, compressed or not (`gzip --force` passes on what is not).
fn lines_of(paths: &[PathBuf]) -> Result<usize> {
    let mut gzip = Command::new("gzip");
    gzip.args(["--decompress", "--stdout", "--force", "--"]).args(paths);
    let output = gzip.output().context("failed to run gzip")?;
    // A file may be compressed between being listed and being read. Then it is not all there yet.
    Ok(output.stdout.iter().filter(|&&byte| byte == b'\n').count())
}

fn finish(command: &mut Command) -> Result<()> {
    Program::start(command)?.finish(LIMIT)
}

/// As in `shop.4711.sock`.
fn pid_of(socket: &Path) -> Option<u32> {
    let name = socket.file_name()?.to_str()?.strip_suffix(".sock")?;
    name.rsplit_once('.')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_is_found_by_its_socket() {
        assert_eq!(pid_of(Path::new("/run/a.b.4711.sock")), Some(4711));
        assert_eq!(pid_of(Path::new("/run/a.4711.lock")), None);
        assert_eq!(pid_of(Path::new("/run/4711.sock")), None);
    }
}
