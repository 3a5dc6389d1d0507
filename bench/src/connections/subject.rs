//! What is measured: one program under four kinds of primary, and how it is started and
//! stopped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rustix::process::Signal;

use crate::program::Program;
use crate::tools::{self, Peers};

/// How many workers each primary has.
pub(crate) const WORKERS: u32 = 2;

/// How long a program may take to answer first.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How often it is asked whether it answers.
const ASK_EVERY: Duration = Duration::from_millis(20);

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
    pub(crate) fn of(peers: &Peers) -> Self {
        let Peers { node, forkyard, .. } = peers.clone();
        Self { node, forkyard, server: tools::program("cluster.js") }
    }

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

/// A primary with its workers.
#[derive(Debug)]
pub(crate) struct Running {
    primary: Program,
    port: u16,
}

impl Running {
    /// Starts the program and waits until it answers.
    pub(crate) fn start(subject: Subject, programs: &Programs, port: u16) -> Result<Self> {
        let mut command = subject.command(programs);
        command.env("PORT", port.to_string()).env("WORKERS", WORKERS.to_string());
        let mut running = Self { primary: Program::start(&mut command)?, port };
        running.wait_until_it_answers()?;
        Ok(running)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.primary.pid()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Ends the primary as Ctrl-C would.
    pub(crate) fn stop(self) -> Result<()> {
        self.primary.stop(Signal::INT, STOP_LIMIT)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while self.ask().is_err() {
            if self.primary.ends_within(ASK_EVERY)? {
                bail!("the program ended before it answered:\n{}", self.primary.tail());
            }
            if Instant::now() > deadline {
                bail!("the program did not answer in time:\n{}", self.primary.tail());
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
}
