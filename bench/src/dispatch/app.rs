//! The program measured, run by one of the contestants.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::connection::{Connection, Kind, Request};
use super::contestant::Contestant;
use super::nginx::{self, Nginx, Upstream};
use crate::client::{Failure, Reuse};
use crate::interrupt;
use crate::origin::Origin;
use crate::pm2::{Pm2, Pm2Files};
use crate::ports::Ports;
use crate::program::Program;
use crate::tools::{self, Peers};
use crate::usage;

/// How long an app may take until all its workers answer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long one answer is waited for meanwhile.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long it may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How often it is asked who answers, while not all workers have.
const ASK_EVERY: Duration = Duration::from_millis(2);

/// What the contestants need. What is not going to be measured need not be there.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) peers: Peers,
    pub(crate) pm2: Option<Pm2Files>,
    pub(crate) nginx: Option<PathBuf>,
}

impl Files {
    /// Versions and machine, in one line.
    pub(crate) fn describe(&self) -> Result<String> {
        let mut text = self.peers.describe()?;
        if self.pm2.is_some() {
            text += &format!(", PM2 {}", tools::PM2_VERSION);
        }
        if let Some(nginx) = &self.nginx {
            text += &format!(", {}", tools::nginx_version(nginx)?);
        }
        Ok(text)
    }
}

/// A running app all of whose workers have answered.
#[derive(Debug)]
pub(crate) struct App {
    running: Running,
    /// Where clients ask.
    ports: Vec<u16>,
    workers: BTreeSet<i32>,
}

#[derive(Debug)]
enum Running {
    Primary(Program),
    Pm2(Pm2),
    Single(Vec<Program>),
    Nginx { nginx: Nginx, behind: Vec<Program> },
}

impl Running {
    /// What the programs printed last, for a failure.
    fn last_words(&mut self) -> String {
        let programs: Vec<&mut Program> = match self {
            Self::Primary(program) => vec![program],
            Self::Pm2(_) => Vec::new(),
            Self::Single(programs) => programs.iter_mut().collect(),
            Self::Nginx { nginx, behind } => {
                behind.iter_mut().chain([&mut nginx.program]).collect()
            }
        };
        let words: Vec<_> = programs.into_iter().map(Program::tail).collect();
        format!("the app's last words: {}", words.join("\n"))
    }
}

impl App {
    /// Starts the app and waits until as many processes as there are workers have answered.
    pub(crate) fn start(
        contestant: Contestant,
        workers: u16,
        files: &Files,
        ports: &mut Ports,
    ) -> Result<Self> {
        let mut take = |count| (0..count).map(|_| ports.next()).collect::<Result<Vec<_>>>();
        let (running, ports) = match contestant {
            Contestant::Bare => {
                let ports = take(workers)?;
                (Running::Single(singles(files, &ports)?), ports)
            }
            Contestant::Nginx | Contestant::NginxKeepAlive => {
                let (port, behind) = (take(1)?, take(workers)?);
                (behind_nginx(contestant, files, port[0], &behind)?, port)
            }
            _ => {
                let port = take(1)?;
                (under_primary(contestant, workers, files, port[0])?, port)
            }
        };
        let mut app = Self { running, ports, workers: BTreeSet::new() };
        match wait_for_workers(&app.ports, usize::from(workers)) {
            Ok(workers) => app.workers = workers,
            Err(error) => return Err(error.context(app.running.last_words())),
        }
        Ok(app)
    }

    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The processes that have answered.
    pub(crate) fn workers(&self) -> &BTreeSet<i32> {
        &self.workers
    }

    /// The processes that stand between clients and workers: the primary, PM2's daemon, NGINX
    /// and its workers.
    pub(crate) fn dispatchers(&self) -> Result<Vec<u32>> {
        match &self.running {
            Running::Primary(program) => Ok(vec![program.pid()]),
            Running::Pm2(pm2) => Ok(vec![pm2.daemon_pid()?]),
            Running::Single(_) => Ok(Vec::new()),
            Running::Nginx { nginx, .. } => {
                let master = nginx.program.pid();
                let mut all = vec![master];
                all.extend(usage::children(master)?);
                Ok(all)
            }
        }
    }

    /// What the app printed last, for a failure.
    pub(crate) fn last_words(&mut self) -> String {
        self.running.last_words()
    }

    /// Ends the app by its own means.
    pub(crate) fn stop(self) -> Result<()> {
        match self.running {
            Running::Primary(program) => program.stop(Signal::INT, STOP_LIMIT),
            Running::Pm2(pm2) => pm2.stop(STOP_LIMIT),
            Running::Single(programs) => stop_all(programs),
            Running::Nginx { nginx, behind } => {
                let (program, _folder) = nginx.into_program();
                program.stop(Signal::TERM, STOP_LIMIT)?;
                stop_all(behind)
            }
        }
    }
}

/// Waits until as many processes as there should be have answered.
fn wait_for_workers(ports: &[u16], wanted: usize) -> Result<BTreeSet<i32>> {
    let deadline = Instant::now() + START_LIMIT;
    let mut workers = BTreeSet::new();
    let mut failure = None;
    while workers.len() < wanted {
        for answer in who_answers(ports, wanted * 2) {
            // A port is closed at first.
            match answer {
                Ok(pid) => drop(workers.insert(pid)),
                Err(error) => failure = Some(error),
            }
        }
        ensure!(
            Instant::now() < deadline,
            "only {} of {wanted} workers answered in time; {failure:?}",
            workers.len()
        );
        interrupt::pause(ASK_EVERY)?;
    }
    Ok(workers)
}

/// Asks from several addresses at a time. Who answers is blocked for a moment, so that it is
/// somebody else's turn.
fn who_answers(ports: &[u16], times: usize) -> Vec<Result<i32, Failure>> {
    let request =
        Request { path: "/block/5/who".into(), kind: Kind::Blocking, reuse: Reuse::Close };
    let open =
        |(number, port): (u32, &u16)| Connection::open(Origin::of(number), *port, request.clone());
    let opened: Vec<_> = (0..).zip(ports.iter().cycle().take(times)).map(open).collect();
    opened.into_iter().map(|opened| opened?.wait(ANSWER_LIMIT)).collect()
}

fn singles(files: &Files, ports: &[u16]) -> Result<Vec<Program>> {
    let start = |port: &u16| {
        let mut command = Command::new(&files.peers.node);
        Program::start(command.arg(program()).env("PORT", port.to_string()))
    };
    ports.iter().map(start).collect()
}

fn behind_nginx(
    contestant: Contestant,
    files: &Files,
    port: u16,
    behind: &[u16],
) -> Result<Running> {
    let upstream = match contestant {
        Contestant::NginxKeepAlive => Upstream::KeepAlive,
        _ => Upstream::Close,
    };
    let nginx = files.nginx.clone().context("NGINX was not looked for")?;
    let programs = singles(files, behind)?;
    // Whom it does not reach at first it leaves out for ten seconds.
    wait_for_workers(behind, behind.len())?;
    let nginx = Nginx::start(&nginx::Setup { nginx, upstream, port, behind })?;
    Ok(Running::Nginx { nginx, behind: programs })
}

fn under_primary(
    contestant: Contestant,
    workers: u16,
    files: &Files,
    port: u16,
) -> Result<Running> {
    let mut command = match contestant {
        Contestant::Pm2 => {
            let pm2 = files.pm2.as_ref().context("PM2 was not looked for")?;
            return Pm2::start(pm2, &program(), port, workers).map(Running::Pm2);
        }
        Contestant::NodeShared => under_node(files, workers, "none"),
        Contestant::NodeReusePort => {
            let mut command = under_node(files, workers, "rr");
            command.env("REUSE_PORT", "yes");
            command
        }
        _ => match contestant.forkyard_policy() {
            Some(policy) => under_forkyard(files, workers, policy),
            None => under_node(files, workers, "rr"),
        },
    };
    Program::start(command.env("PORT", port.to_string())).map(Running::Primary)
}

fn under_node(files: &Files, workers: u16, policy: &str) -> Command {
    let mut command = Command::new(&files.peers.node);
    command.arg(tools::program("rolling-primary.js")).arg(program()).arg(workers.to_string());
    command.env("NODE_CLUSTER_SCHED_POLICY", policy);
    command
}

fn under_forkyard(files: &Files, workers: u16, policy: &str) -> Command {
    let mut command = Command::new(&files.peers.forkyard);
    command.args(["run", "--policy", policy, "--workers", &workers.to_string()]);
    command.arg("--interpreter").arg(&files.peers.node).arg(program());
    command
}

fn program() -> PathBuf {
    tools::program("blocking.js")
}

fn stop_all(programs: Vec<Program>) -> Result<()> {
    programs.into_iter().try_for_each(|program| program.stop(Signal::TERM, STOP_LIMIT))
}
