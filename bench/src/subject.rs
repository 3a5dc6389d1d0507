//! What is measured: one program under four kinds of primary, and how it is started and
//! stopped.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How many workers each primary has.
pub(crate) const WORKERS: u32 = 2;

/// How long a program may take to answer first.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How often it is asked whether it answers.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Where ports are taken from: below those that the system gives to clients.
const FIRST_PORT: u16 = 18_000;
const LAST_PORT: u16 = 28_000;

/// A kind of primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    NodeRoundRobin,
    ForkyardRoundRobin,
    NodeShared,
    ForkyardShared,
}

impl Subject {
    pub(crate) const ALL: [Self; 4] =
        [Self::NodeRoundRobin, Self::ForkyardRoundRobin, Self::NodeShared, Self::ForkyardShared];

    /// All of them, each round beginning with another one.
    pub(crate) fn in_turn(round: u32) -> impl Iterator<Item = Self> {
        let first = round as usize % Self::ALL.len();
        Self::ALL.into_iter().cycle().skip(first).take(Self::ALL.len())
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NodeRoundRobin => "Node, round-robin",
            Self::ForkyardRoundRobin => "Forkyard, round-robin",
            Self::NodeShared => "Node, shared",
            Self::ForkyardShared => "Forkyard, shared",
        }
    }

    fn command(self, programs: &Programs) -> Command {
        match self {
            Self::NodeRoundRobin => programs.under_node("rr"),
            Self::NodeShared => programs.under_node("none"),
            Self::ForkyardRoundRobin => programs.under_forkyard("round-robin"),
            Self::ForkyardShared => programs.under_forkyard("shared"),
        }
    }
}

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) node: PathBuf,
    pub(crate) forkyard: PathBuf,
    pub(crate) server: PathBuf,
}

impl Programs {
    fn under_node(&self, policy: &str) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(&self.server).env("NODE_CLUSTER_SCHED_POLICY", policy);
        command
    }

    fn under_forkyard(&self, policy: &str) -> Command {
        let mut command = Command::new(&self.forkyard);
        command.args(["run", "--policy", policy, "--workers", &WORKERS.to_string()]);
        command.arg("--interpreter").arg(&self.node).arg(&self.server);
        command
    }
}

/// Gives every run a port of its own, so that closed connections of one run are not in
/// the way of the next.
#[derive(Debug)]
pub(crate) struct Ports {
    left: std::ops::Range<u16>,
}

impl Ports {
    pub(crate) fn new() -> Self {
        Self { left: FIRST_PORT..LAST_PORT }
    }

    pub(crate) fn next(&mut self) -> Result<u16> {
        let is_free = |port: &u16| {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()
                && TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).is_ok()
        };
        self.left.find(is_free).context("found no free port")
    }
}

/// A primary with its workers. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    primary: Child,
    end: OwnedFd,
    /// What it prints, to be shown if it fails.
    output: File,
    port: u16,
}

impl Running {
    /// Starts the program and waits until it answers.
    pub(crate) fn start(subject: Subject, programs: &Programs, port: u16) -> Result<Self> {
        let output = tempfile::tempfile().context("failed to make a temporary file")?;
        let mut command = subject.command(programs);
        command.env("PORT", port.to_string()).env("WORKERS", WORKERS.to_string());
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
        let primary = command.spawn().with_context(|| format!("failed to start {command:?}"))?;
        let pid = i32::try_from(primary.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("failed to make sense of a process id")?;
        let end = pidfd_open(pid, PidfdFlags::empty()).context("failed to watch a process")?;
        let mut running = Self { primary, end, output, port };
        running.wait_until_it_answers()?;
        Ok(running)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.primary.id()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Ends the primary as Ctrl-C would.
    pub(crate) fn stop(mut self) -> Result<()> {
        pidfd_send_signal(&self.end, Signal::INT).context("failed to stop the primary")?;
        ensure!(self.ends_within(STOP_LIMIT)?, "the primary did not stop in time");
        self.primary.wait().context("failed to wait for the primary")?;
        Ok(())
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while self.ask().is_err() {
            if self.ends_within(ASK_EVERY)? {
                bail!("the program ended before it answered:\n{}", self.read_output());
            }
            if Instant::now() > deadline {
                bail!("the program did not answer in time:\n{}", self.read_output());
            }
        }
        Ok(())
    }

    /// One request of our own.
    fn ask(&self) -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "it answers {answer:?}");
        Ok(())
    }

    /// Waits for the primary's end, which its pidfd reports; says whether it came.
    fn ends_within(&self, limit: Duration) -> Result<bool> {
        let mut watched = [PollFd::new(&self.end, PollFlags::IN)];
        let limit = Timespec::try_from(limit).context("failed to convert a time")?;
        let ready = poll(&mut watched, Some(&limit)).context("failed to wait for a process")?;
        Ok(ready > 0)
    }

    fn read_output(&mut self) -> String {
        let mut text = Vec::new();
        let read = self.output.rewind().and_then(|()| self.output.read_to_end(&mut text));
        match read {
            Ok(_) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("(failed to read its output: {error})"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whoever has ended already cannot be killed and has been waited for.
        let _ = self.primary.kill();
        let _ = self.primary.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_all_subjects_and_begins_with_another() {
        for round in 0..5 {
            let mut order: Vec<_> = Subject::in_turn(round).collect();
            assert_eq!(order[0], Subject::ALL[round as usize % 4]);
            order.sort();
            assert_eq!(order, Subject::ALL);
        }
    }

    #[test]
    fn no_port_is_given_twice() {
        let mut ports = Ports::new();
        let first = ports.next().unwrap();
        assert!(ports.next().unwrap() > first);
    }
}
