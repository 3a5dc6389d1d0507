//! Tries out the program that is on disk now: as a child that is given the state, and has a
//! grace period to say that it could go on with it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use forkyard_sys::image::Image;
use forkyard_sys::memory;
use forkyard_sys::process::{ExitStatus, Process, Signal, Spawn, spawn};
use forkyard_sys::reactor::Watched;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::state::FORMAT;
use super::{Order, UpgradeFailure, image};
use crate::host::Errands;

/// How much of what it says is remembered, and how much of its stderr is shown.
const MOST_BYTES: usize = 16 * 1024;
const TAIL_LINES: usize = 20;

/// What is tried out.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    pub(crate) binary: PathBuf,
    pub(crate) state: Vec<u8>,
    pub(crate) grace: Duration,
}

/// What a program says that could go on.
pub(super) fn answer(version: &str) -> String {
    format!("forkyard {FORMAT} {version}\n")
}

/// The version of a program that says so.
fn version_in(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?.strip_suffix('\n')?;
    let version = text.strip_prefix("forkyard ")?.strip_prefix(&FORMAT.to_string())?;
    version.strip_prefix(' ').map(str::to_owned)
}

/// Whether the file begins as programs or scripts do (execve(2)).
fn is_executable_format(binary: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(binary)?.take(4).read_to_end(&mut head)?;
    Ok(head == b"\x7fELF" || head.starts_with(b"#!"))
}

impl Rehearsal {
    /// Returns the version of the program, if that could go on. Nothing has happened else.
    /// The program is started by the thread that does the errands.
    pub(crate) async fn run(self, errands: &Errands) -> Result<String, UpgradeFailure> {
        let binary = self.binary.clone();
        let failed = |error: io::Error| {
            let reason = format!("failed to start {}: {error}", binary.display());
            UpgradeFailure::from(reason)
        };
        // Whoever executes by name has a shell read what the system does not know.
        if !is_executable_format(&self.binary).map_err(failed)? {
            let reason = format!("the file at {} is no executable", binary.display());
            return Err(UpgradeFailure::from(reason));
        }
        let grace = self.grace;
        let mut child = self.start(errands).await.map_err(failed)?;
        let ended = timeout(grace, child.end()).await;
        child.kill();
        // It takes a moment until it has ended.
        let _ = exit_of(&child.process, &child.pidfd).await;
        child.read_rest();
        let stderr_tail = last_lines(&child.stderr.text);
        let reason = match ended {
            Err(_) => format!(
                "the program at {} was not ready within {grace:?}, which was its time",
                binary.display()
            ),
            Ok(Ok(ExitStatus::Code(0))) => match version_in(&child.answer.text) {
                Some(version) => return Ok(version),
                None => format!(
                    "the program at {} ended without a word: it cannot take over",
                    binary.display()
                ),
            },
            Ok(Ok(status)) => {
                format!("the program at {} ended with {status}", binary.display())
            }
            Ok(Err(error)) => format!("failed to watch the new program: {error}"),
        };
        Err(UpgradeFailure { reason, stderr_tail })
    }

    async fn start(self, errands: &Errands) -> io::Result<Child> {
        let (answer, theirs) = io::pipe()?;
        let memory = memory::seal("forkyard-rehearsal", &self.state)?;
        let theirs = OwnedFd::from(theirs);
        let given = Spawn { sockets: vec![memory, theirs], ..Spawn::default() };
        // What it is given has the numbers before that of a channel.
        let behind = given.channel_number();
        let order = Order::Rehearse { state: behind - 2, answer: behind - 1 };
        let command = command(image(self.binary, order, None));
        let (started, starting) = oneshot::channel();
        let errand = move || drop(started.send(spawn(command, given)));
        errands.send(errand).map_err(io::Error::other)?;
        let mut process = starting.await.map_err(io::Error::other)??;
        let stderr = process.take_stderr().map(Talk::from_pipe).transpose()?;
        Ok(Child {
            pidfd: Watched::new(process.pidfd().try_clone_to_owned()?, Interest::READABLE)?,
            process,
            answer: Talk::from_pipe(answer.into())?,
            stderr: stderr.unwrap_or_default(),
        })
    }
}

fn command(image: Image) -> Command {
    let mut args = image.args.into_iter();
    let mut command = Command::new(&image.path);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args).env_clear().envs(image.env);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A program that is being tried out.
struct Child {
    process: Process,
    pidfd: Watched,
    answer: Talk,
    stderr: Talk,
}

impl Child {
    /// Listens to it until it ends.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        let Self { process, pidfd, answer, stderr } = self;
        tokio::select! {
            status = exit_of(process, pidfd) => status,
            never = async { tokio::join!(answer.listen(), stderr.listen()) } => match never {},
        }
    }

    /// Ends it, if it has not ended, and all that it has started.
    fn kill(&self) {
        if let Err(error) = self.process.signal_group(Signal::KILL) {
            tracing::warn!(%error, "failed to end a program that was tried out");
        }
    }

    fn read_rest(&mut self) {
        self.answer.read_what_is_there();
        self.stderr.read_what_is_there();
    }
}

/// A primary that stops does not wait for it.
impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn exit_of(process: &Process, pidfd: &Watched) -> io::Result<ExitStatus> {
    loop {
        let mut ready = pidfd.readable().await?;
        match process.exited()? {
            Some(status) => return Ok(status),
            None => ready.clear_ready(),
        }
    }
}

/// The end of what somebody says on a pipe.
#[derive(Debug, Default)]
struct Talk {
    pipe: Option<pipe::Receiver>,
    text: Vec<u8>,
}

impl Talk {
    fn from_pipe(pipe: OwnedFd) -> io::Result<Self> {
        Ok(Self { pipe: Some(pipe::Receiver::from_owned_fd(pipe)?), text: Vec::new() })
    }

    /// Listens for ever.
    async fn listen(&mut self) -> std::convert::Infallible {
        loop {
            match &self.pipe {
                Some(pipe) if pipe.readable().await.is_ok() => self.read_what_is_there(),
                _ => std::future::pending().await,
            }
        }
    }

    fn read_what_is_there(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(pipe) = &self.pipe {
            match pipe.try_read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => self.remember(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        let too_much = self.text.len().saturating_sub(MOST_BYTES);
        self.text.drain(..too_much);
    }
}

fn last_lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<_> = text.lines().collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    lines[first..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script in place of the program.
    async fn rehearse(script: &str, grace: Duration) -> Result<String, UpgradeFailure> {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join("program");
        std::fs::write(&binary, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        let rehearsal = Rehearsal { binary, state: b"{}".to_vec(), grace };
        rehearsal.run(&Errands::find().unwrap()).await
    }

    const LONG: Duration = Duration::from_secs(30);

    /// What a script does to answer that it reads this format.
    fn answering(format: u32) -> String {
        format!("echo 'forkyard {format} 9.9' > /dev/fd/${{FORKYARD_UPGRADE##*:}}")
    }

    #[tokio::test]
    async fn who_answers_rightly_passes() {
        assert_eq!(rehearse(&answering(FORMAT), LONG).await, Ok("9.9".into()));
    }

    #[tokio::test]
    async fn whoever_does_not_is_refused_with_its_last_words() {
        for (script, reason, words) in [
            ("echo one >&2; echo two >&2; exit 3", "code 3", vec!["one", "two"]),
            ("kill -SEGV $$", "SIGSEGV", vec![]),
            ("exit 0", "without a word", vec![]),
            (&format!("{}; exit 1", answering(FORMAT)), "code 1", vec![]),
            (&answering(FORMAT + 1), "without a word", vec![]),
            ("sleep 100 & exit 4", "code 4", vec![]),
        ] {
            let failure = rehearse(script, LONG).await.unwrap_err();
            assert!(failure.reason.contains(reason), "{script}: {failure}");
            assert_eq!(failure.stderr_tail, words, "{script}");
        }
    }

    #[tokio::test]
    async fn whoever_takes_too_long_is_ended() {
        let script = "echo waiting >&2; trap '' TERM; sleep 100";
        let failure = rehearse(script, Duration::from_millis(300)).await.unwrap_err();
        assert!(failure.reason.contains("300ms"), "{failure}");
    }

    #[tokio::test]
    async fn what_cannot_be_executed_is_refused() {
        let binary = PathBuf::from("/no/such/program");
        let rehearsal = Rehearsal { binary, state: Vec::new(), grace: LONG };
        let failure = rehearsal.run(&Errands::find().unwrap()).await.unwrap_err();
        assert!(failure.reason.contains("/no/such/program"), "{failure}");
    }
}
