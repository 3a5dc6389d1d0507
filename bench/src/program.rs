//! A program that the benchmark has started: what it prints, and its end.

use std::collections::VecDeque;
use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

use crate::interrupt::{self, Waited};

/// How many of the last lines are kept, to be shown if the program fails.
const KEPT_LINES: usize = 40;

/// Variables that may stand in the environment for other reasons and change how Node starts.
/// Whatever is measured runs without them: reading certificates alone can take longer than all
/// the rest of a start.
const AMBIENT: [&str; 4] =
    ["NODE_OPTIONS", "NODE_EXTRA_CA_CERTS", "NODE_COMPILE_CACHE", "NODE_V8_COVERAGE"];

/// How often a program that is to end is given a chance to get rid of its output.
const DRAIN_EVERY: Duration = Duration::from_millis(50);

/// A program in a process group of its own. Killed with the whole group when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    child: Child,
    end: OwnedFd,
    output: Output,
}

/// What a program prints, stdout and stderr, through one pipe.
#[derive(Debug)]
struct Output {
    pipe: PipeReader,
    /// A line whose end has not come yet.
    partial: Vec<u8>,
    /// Lines nobody has looked at.
    unread: VecDeque<String>,
    /// The last lines somebody has looked at.
    seen: VecDeque<String>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        for name in AMBIENT {
            command.env_remove(name);
        }
        let name = command.get_program().to_string_lossy().into_owned();
        let (pipe, writer) = std::io::pipe().context("failed to make a pipe")?;
        command.process_group(0).stdin(Stdio::null());
        command.stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn().with_context(|| format!("failed to start {command:?}"))?;
        // The command holds the pipe's writing end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let end = pidfd_open(id_of(&child)?, PidfdFlags::empty());
        let end = end.context("failed to watch a process")?;
        Ok(Self { name, child, end, output: Output::of(pipe) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(&self.end, signal)
            .with_context(|| format!("failed to send a signal to {}", self.name))
    }

    /// Waits for the program's end by itself, at most for `limit`; says whether it came.
    pub(crate) fn ends_within(&self, limit: Duration) -> Result<bool> {
        Ok(interrupt::wait(self.end.as_fd(), limit)? == Waited::Ready)
    }

    /// Waits for a line of which `find` makes something. Lines before it are passed over.
    pub(crate) fn wait_for_line<T>(
        &mut self,
        limit: Duration,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            while let Some(line) = self.output.next() {
                if let Some(found) = find(&line) {
                    return Ok(found);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if interrupt::wait(self.output.pipe.as_fd(), left)? == Waited::TimedOut {
                return Err(self.failure("did not say in time what was expected"));
            }
            if self.output.read()? == 0 {
                return Err(self.failure("ended before it said what was expected"));
            }
        }
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn stop(mut self, signal: Signal, limit: Duration) -> Result<()> {
        self.signal(signal)?;
        self.wait(limit).map(drop)
    }

    /// Waits for the end, which has to be a success.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<()> {
        let status = self.wait(limit)?;
        if status.success() { Ok(()) } else { Err(self.failure(&format!("failed ({status})"))) }
    }

    /// The last that it printed.
    pub(crate) fn tail(&mut self) -> String {
        // What cannot be read is missing from a message about something else.
        let _ = self.output.read_what_is_there();
        while self.output.next().is_some() {}
        let partial = String::from_utf8_lossy(&self.output.partial);
        let lines = self.output.seen.iter().map(String::as_str).chain([&*partial]);
        lines.collect::<Vec<_>>().join("\n")
    }

    fn failure(&mut self, what: &str) -> anyhow::Error {
        let tail = self.tail();
        anyhow!("{} {what}:\n{tail}", self.name)
    }

    /// Waits for the end, also when interrupted: this is how programs are ended then.
    fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        while interrupt::wait_regardless(self.end.as_fd(), DRAIN_EVERY)? == Waited::TimedOut {
            self.output.read_what_is_there()?;
            if Instant::now() > deadline {
                return Err(self.failure("did not end in time"));
            }
        }
        self.output.read_what_is_there()?;
        self.child.wait().with_context(|| format!("failed to wait for {}", self.name))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // As long as nobody has waited for the child, its id is nobody else's.
        if let (Ok(None), Ok(id)) = (self.child.try_wait(), id_of(&self.child)) {
            let _ = kill_process_group(id, Signal::KILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Output {
    fn of(pipe: PipeReader) -> Self {
        Self { pipe, partial: Vec::new(), unread: VecDeque::new(), seen: VecDeque::new() }
    }

    fn next(&mut self) -> Option<String> {
        let line = self.unread.pop_front()?;
        if self.seen.len() == KEPT_LINES {
            self.seen.pop_front();
        }
        self.seen.push_back(line.clone());
        Some(line)
    }

    /// Reads once, and waits for it if nothing is there. Returns how many bytes came.
    fn read(&mut self) -> Result<usize> {
        let mut bytes = [0; 8192];
        let length = self.pipe.read(&mut bytes).context("failed to read a program's output")?;
        for &byte in &bytes[..length] {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.partial);
                    self.unread.push_back(String::from_utf8_lossy(&line).into_owned());
                }
                byte => self.partial.push(byte),
            }
        }
        Ok(length)
    }

    /// Reads as long as something is there. The lines are looked at by nobody but
    /// [`Program::tail`].
    fn read_what_is_there(&mut self) -> Result<()> {
        while interrupt::wait_regardless(self.pipe.as_fd(), Duration::ZERO)? == Waited::Ready
            && self.read()? > 0
        {
            while self.next().is_some() {}
        }
        Ok(())
    }
}

fn id_of(child: &Child) -> Result<Pid> {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    id.context("failed to make sense of a process id")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Program {
        Program::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn a_line_is_waited_for() {
        let mut program = shell("echo one; echo two >&2; echo three; read never");
        let line = program.wait_for_line(LONG, |line| line.strip_prefix("tw").map(str::to_owned));
        assert_eq!(line.unwrap(), "o");
        program.finish(LONG).unwrap_err();
    }

    #[test]
    fn what_was_printed_is_part_of_the_failure() {
        let mut program = shell("echo why");
        let error = program.wait_for_line(LONG, |_| None::<()>).unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
        let error = shell("printf because; exit 3").finish(LONG).unwrap_err();
        assert!(error.to_string().contains("because"), "{error}");
    }

    #[test]
    fn what_stands_in_the_environment_does_not_change_what_is_measured() {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo "options: $NODE_OPTIONS, port: $PORT""#]);
        command.env("NODE_OPTIONS", "--inspect").env("PORT", "80");
        let mut program = Program::start(&mut command).unwrap();
        let line = program.wait_for_line(LONG, |line| Some(line.to_owned())).unwrap();
        assert_eq!(line, "options: , port: 80");
    }

    #[test]
    fn a_dropped_program_takes_its_group_along() {
        let mut program = shell("sleep 1000 & echo $!; wait");
        let pid: i32 = program.wait_for_line(LONG, |line| line.parse().ok()).unwrap();
        let grandchild = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        drop(program);
        let ended = interrupt::wait_regardless(grandchild.as_fd(), LONG).unwrap();
        assert_eq!(ended, Waited::Ready);
    }
}
