//! The benchmark of dispatch: how connections reach workers under Forkyard's policies, Node's
//! own, PM2 and NGINX.
//!
//! [`contestant`] says who is measured, and [`app`] runs the program under each of them, with
//! [`nginx`] for the one that needs a configuration. Clients are an [`asker`] a thread, with
//! many a [`connection`]; a [`load`] is several of them. [`measure`] has the parts,
//! [`latencies`] and [`shares`] sum up, [`results`] are kept. [`report`] prints them,
//! [`targets`] has the verdicts, and [`picture`] draws.

mod app;
mod asker;
mod connection;
mod contestant;
mod latencies;
mod load;
mod measure;
mod nginx;
mod picture;
mod report;
mod results;
mod shares;
mod targets;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::pm2::Pm2Files;
use crate::ports::Ports;
use crate::tools::{self, Peers};
use crate::{orphans, say};

use app::{App, Files};
use contestant::{Contestant, Part};
use measure::Settings;
use results::Results;

/// Measures how connections are dealt out under Forkyard's policies, Node's own, PM2 and
/// NGINX. Installs PM2 from the npm registry and gets NGINX from Debian.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// How long one load is, in seconds
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,

    /// How many clients ask at a time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,

    /// Measure only these, separated by commas
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<Part>,

    /// Measure only these, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    contestants: Vec<Contestant>,

    /// Draw a picture of it into this folder, for light and for dark pages
    #[arg(long, value_name = "FOLDER")]
    picture: Option<PathBuf>,

    /// Write all single figures to a file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    peers: tools::Args,
}

/// Measures, prints and draws.
pub(crate) fn run(args: &Args) -> Result<()> {
    let files = args.files()?;
    let machine = files.describe()?;
    raise_the_limit_of_descriptors()?;
    let mut bench = Bench { args, files, ports: Ports::new(), results: Results::default() };
    bench.leave_out();
    let measured = (0..args.rounds).try_for_each(|round| bench.measure(round));
    let results = bench.results;
    if let Some(path) = &args.json {
        let all = json!({ "machine": machine, "results": results.to_json() });
        std::fs::write(path, format!("{all:#}\n"))
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    let mut out = std::io::stdout().lock();
    report::print(&mut out, &machine, args, &results).context("failed to print the tables")?;
    if let Some(folder) = &args.picture {
        picture::draw(folder, &mut out, &results).context("failed to draw the picture")?;
    }
    // What had been measured until then is worth to be seen.
    measured.context("cut short; the tables say how much was measured")
}

struct Bench<'a> {
    args: &'a Args,
    files: Files,
    ports: Ports,
    results: Results,
}

impl Bench<'_> {
    /// Not every Node can do everything.
    fn leave_out(&mut self) {
        let contestant = Contestant::NodeReusePort;
        if self.args.wants_any_of(&[contestant]) && !self.files.peers.has_reuse_port() {
            let why = "this Node's `listen` does not know it; 22.12 and 23.1 do".to_owned();
            say(&format!("leaving out {}: {why}", contestant.name()));
            self.results.left_out.push((contestant, why));
        }
    }

    /// One round of everything.
    fn measure(&mut self, round: u32) -> Result<()> {
        for parts in [[Part::New, Part::Kept], [Part::Blocking, Part::Stall]] {
            for contestant in self.in_turn(round) {
                let takes_part =
                    |part: &Part| self.args.wants(*part) && contestant.takes_part_in(*part);
                let parts: Vec<_> = parts.into_iter().filter(takes_part).collect();
                self.measure_parts(round, contestant, &parts)
                    .with_context(|| format!("failed to measure {}", contestant.name()))?;
                orphans::end_all()?;
            }
        }
        Ok(())
    }

    /// Those that take part, each round beginning with another one.
    fn in_turn(&self, round: u32) -> Vec<Contestant> {
        let is_left_out =
            |it: &Contestant| self.results.left_out.iter().any(|(left_out, _)| left_out == it);
        let mut all = Contestant::ALL.to_vec();
        all.retain(|it| self.args.wants_any_of(&[*it]) && !is_left_out(it));
        let first = round as usize % all.len().max(1);
        all.rotate_left(first);
        all
    }

    /// Parts that have the same number of workers, on one app.
    fn measure_parts(&mut self, round: u32, contestant: Contestant, parts: &[Part]) -> Result<()> {
        let Some(first) = parts.first() else { return Ok(()) };
        let mut app = App::start(contestant, first.workers(), &self.files, &mut self.ports)?;
        for part in parts {
            let (number, rounds, part_name) = (round + 1, self.args.rounds, part.name());
            say(&format!("round {number} of {rounds}: {part_name}: {}", contestant.name()));
            if let Err(error) = self.measure_part(&app, contestant, *part) {
                let what = format!("failed to measure: {part_name}; {}", app.last_words());
                return Err(error.context(what));
            }
        }
        app.stop()
    }

    fn measure_part(&mut self, app: &App, contestant: Contestant, part: Part) -> Result<()> {
        let settings = self.args.settings();
        let results = &mut self.results;
        match part {
            Part::New => results.new.add(contestant, measure::new(app, settings)?),
            Part::Kept => results.kept.add(contestant, measure::kept(app, settings)?),
            Part::Blocking => results.blocking.add(contestant, measure::blocking(app, settings)?),
            Part::Stall => results.stall.add(contestant, measure::stall(app)?),
        }
        Ok(())
    }
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn wants_any_of(&self, contestants: &[Contestant]) -> bool {
        self.contestants.is_empty() || contestants.iter().any(|it| self.contestants.contains(it))
    }

    fn settings(&self) -> Settings {
        Settings { duration: Duration::from_secs(self.seconds), clients: self.clients }
    }

    /// Gets what the contestants need.
    fn files(&self) -> Result<Files> {
        let peers = Peers::find(&self.peers)?;
        let pm2 = match self.wants_any_of(&[Contestant::Pm2]) {
            true => Some(Pm2Files::new(&peers.node, tools::install_pm2()?)?),
            false => None,
        };
        let nginx = match self.wants_any_of(&[Contestant::Nginx, Contestant::NginxKeepAlive]) {
            true => Some(tools::find_nginx()?),
            false => None,
        };
        Ok(Files { peers, pm2, nginx })
    }
}

/// Each kept connection is a descriptor, and so it is on the other side.
fn raise_the_limit_of_descriptors() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, raised).context("failed to raise the limit of descriptors")
}
