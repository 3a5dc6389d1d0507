//! Who is measured, and how each of them runs and reloads a program.
//!
//! How each says that a reload has finished:
//!
//! | contestant | asked by | has finished when |
//! |---|---|---|
//! | Forkyard | SIGHUP | it prints the event `roll_finished` |
//! | PM2 | `pm2 reload` | the command exits with 0 |
//! | Node's cluster | SIGHUP to our primary | it prints the same event: every successor listens, and every predecessor has been told to disconnect |
//!
//! That is their word. It is checked: see [`App::reload`].

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::probe;
use crate::client::{Client, Reuse};
use crate::interrupt;
use crate::pm2::{Pm2, Pm2Files};
use crate::program::Program;
use crate::tools::{self, Peers};

/// How long an app may take until all its workers answer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a reload may take.
const RELOAD_LIMIT: Duration = Duration::from_secs(120);

/// How long an app may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How often it is asked who answers, while not all workers have.
const ASK_EVERY: Duration = Duration::from_millis(2);

/// Whose reload is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Contestant {
    Forkyard,
    Pm2,
    /// Node's own cluster module.
    #[value(name = "node")]
    NodeCluster,
}

/// What the contestants need.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) peers: Peers,
    /// Further options for `forkyard run`.
    pub(crate) forkyard_args: Vec<String>,
    pub(crate) pm2: Pm2Files,
}

/// How an app is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) contestant: Contestant,
    pub(crate) workers: u16,
    /// Forkyard only.
    pub(crate) spares: u16,
}

/// A program run by one of the contestants.
#[derive(Debug)]
pub(crate) struct App {
    setup: Setup,
    port: u16,
    primary: Primary,
    /// Who has answered so far.
    known: BTreeSet<i32>,
}

#[derive(Debug)]
enum Primary {
    /// Ours to signal, and it prints events as JSON.
    Program(Program),
    Pm2(Pm2),
}

/// What an upgrade of the primary took, by its own account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upgraded {
    pub(crate) pause: Duration,
}

impl Contestant {
    pub(crate) const ALL: [Self; 3] = [Self::Forkyard, Self::Pm2, Self::NodeCluster];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forkyard => "Forkyard",
            Self::Pm2 => "PM2",
            Self::NodeCluster => "Node's cluster",
        }
    }
}

impl Setup {
    pub(crate) fn of(contestant: Contestant, workers: u16) -> Self {
        Self { contestant, workers, spares: 0 }
    }

    fn start(self, files: &Files, port: u16) -> Result<Primary> {
        let mut command = match self.contestant {
            Contestant::Forkyard => self.under_forkyard(files),
            Contestant::NodeCluster => self.under_node(&files.peers),
            Contestant::Pm2 => {
                let program = tools::program("plain.js");
                return Pm2::start(&files.pm2, &program, port, self.workers).map(Primary::Pm2);
            }
        };
        Program::start(command.env("PORT", port.to_string())).map(Primary::Program)
    }

    fn under_forkyard(self, files: &Files) -> Command {
        let Files { peers, forkyard_args, .. } = files;
        let mut command = Command::new(&peers.forkyard);
        command.args(["run", "--log-format", "json", "--workers", &self.workers.to_string()]);
        if self.spares > 0 {
            command.args(["--spares", &self.spares.to_string()]);
        }
        command.args(forkyard_args).arg("--interpreter").arg(&peers.node);
        command.arg(tools::program("plain.js"));
        command
    }

    fn under_node(self, peers: &Peers) -> Command {
        let mut command = Command::new(&peers.node);
        command.arg(tools::program("rolling-primary.js"));
        command.arg(tools::program("plain.js")).arg(self.workers.to_string());
        command
    }
}

impl App {
    /// Starts the app and waits until all workers have answered.
    pub(crate) fn start(setup: Setup, files: &Files, port: u16) -> Result<Self> {
        let primary = setup.start(files, port)?;
        let mut app = Self { setup, port, primary, known: BTreeSet::new() };
        probe::first_answer(port, Instant::now(), None)?;
        app.known = app.wait_for_workers(|_| Ok(()))?;
        Ok(app)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Those that have answered.
    pub(crate) fn workers(&self) -> &BTreeSet<i32> {
        &self.known
    }

    /// Reloads the app, and says how long that took, from the request to the word that it
    /// has finished. Then as many other processes as there are workers have to answer, and
    /// none of those that did before.
    pub(crate) fn reload(&mut self) -> Result<Duration> {
        let began = Instant::now();
        match &mut self.primary {
            Primary::Program(program) => {
                program.signal(Signal::HUP)?;
                wait_for_event(program, "roll_finished")?;
            }
            Primary::Pm2(pm2) => pm2.reload(RELOAD_LIMIT)?,
        }
        let took = began.elapsed();
        let before = std::mem::take(&mut self.known);
        self.known = self.wait_for_workers(|pid| {
            ensure!(!before.contains(&pid), "process {pid} still answers after a reload");
            Ok(())
        })?;
        Ok(took)
    }

    /// Upgrades the primary to the binary that is on disk. Forkyard only.
    pub(crate) fn upgrade(&mut self) -> Result<Upgraded> {
        if let Primary::Program(program) = &self.primary {
            program.signal(Signal::USR2)?;
        }
        let event = self.wait_for("primary_upgraded")?;
        let pause = event["pause_ms"].as_f64().context("an upgrade without its pause")?;
        Ok(Upgraded { pause: Duration::from_secs_f64(pause / 1e3) })
    }

    /// Waits until all spares stand by.
    pub(crate) fn wait_for_spares(&mut self) -> Result<()> {
        (0..self.setup.spares).try_for_each(|_| self.wait_for("spare_ready").map(drop))
    }

    /// Waits for an event of Forkyard's.
    pub(crate) fn wait_for(&mut self, event: &str) -> Result<Value> {
        let Primary::Program(program) = &mut self.primary else {
            bail!("{} prints no events", self.setup.contestant.name());
        };
        wait_for_event(program, event)
    }

    /// How long the command takes by which the app is reloaded, if it has nothing to do.
    /// `None` where there is no command.
    pub(crate) fn ping(&self) -> Result<Option<Duration>> {
        match &self.primary {
            Primary::Program(_) => Ok(None),
            Primary::Pm2(pm2) => pm2.ping(RELOAD_LIMIT).map(Some),
        }
    }

    /// Ends the app by its own means.
    pub(crate) fn stop(self) -> Result<()> {
        match self.primary {
            Primary::Program(program) => program.stop(Signal::INT, STOP_LIMIT),
            Primary::Pm2(pm2) => pm2.stop(STOP_LIMIT),
        }
    }

    /// Asks until as many processes as there are workers have answered. What fails on the
    /// way is not for here to count.
    fn wait_for_workers(&self, check: impl Fn(i32) -> Result<()>) -> Result<BTreeSet<i32>> {
        let deadline = Instant::now() + START_LIMIT;
        let wanted = usize::from(self.setup.workers);
        let mut workers = BTreeSet::new();
        while workers.len() < wanted {
            if let Ok(pid) = Client::new(self.port, Reuse::Close).ask("/who") {
                check(pid)?;
                workers.insert(pid);
            }
            ensure!(
                Instant::now() < deadline,
                "only {} of {wanted} workers answered in time",
                workers.len()
            );
            interrupt::pause(ASK_EVERY)?;
        }
        Ok(workers)
    }
}

/// Waits for an event, or for one that says that it will not come.
fn wait_for_event(program: &mut Program, wanted: &str) -> Result<Value> {
    let event = program.wait_for_line(RELOAD_LIMIT, |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let name = event["event"].as_str()?;
        let is_bad = ["roll_failed", "roll_aborted", "upgrade_failed", "app_failed", "failed"]
            .contains(&name);
        (is_bad || name == wanted).then_some(event)
    })?;
    ensure!(event["event"] == wanted, "instead of {wanted} came: {event}");
    Ok(event)
}
