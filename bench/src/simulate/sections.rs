//! The scenarios that are run without further words, by subject.

use std::io::{self, Write};
use std::time::Duration;

use forkyard_core::{Choice, DispatchSettings};

use super::arrivals::Traffic;
use super::core_cost;
use super::cost::{CostSettings, Shape};
use super::policies::Policy;
use super::report::{self, Line, number, time};
use super::rules::Rules;
use super::world::{Scenario, run};
use crate::{say, table};

/// A group of tables about one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Section {
    /// How full workers may be.
    Load,
    /// How unequal requests may be.
    Cost,
    /// From 2 to 256 workers, up to a million connections a second.
    Size,
    /// Requests that block the event loop.
    Blocking,
    /// Connections that are kept.
    Kept,
    /// Clients some of which connect more often than others.
    Clients,
    /// From which rate the primary is the limit.
    Limit,
    /// When a worker counts as blocked.
    Rescue,
    /// How many unanswered connections a worker may have, and for how long.
    Window,
    /// How many connections a worker accepts in a turn.
    Accepting,
    /// What the core's choice itself takes.
    Core,
}

impl Section {
    pub(super) const ALL: [Self; 11] = [
        Self::Load,
        Self::Cost,
        Self::Size,
        Self::Blocking,
        Self::Kept,
        Self::Clients,
        Self::Limit,
        Self::Rescue,
        Self::Window,
        Self::Accepting,
        Self::Core,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Load => "How full workers may be",
            Self::Cost => "How unequal requests may be",
            Self::Size => "How many workers",
            Self::Blocking => "Requests that block the event loop",
            Self::Kept => "Connections that are kept",
            Self::Clients => "Clients some of which connect more often, under ip-hash",
            Self::Limit => "From which rate the primary is the limit",
            Self::Rescue => "When a worker counts as blocked, under kernel",
            Self::Window => "How many unanswered connections a worker may have, and for how long",
            Self::Accepting => "How many connections a worker accepts in a turn",
            Self::Core => "What the core's choice itself takes",
        }
    }
}

/// What sections have in common: rules, which options may have changed, and how much to run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) rules: Rules,
    pub(super) connections: u32,
    pub(super) seed: u64,
    pub(super) policies: Vec<Policy>,
}

impl Plan {
    pub(super) fn run(&self, section: Section, out: &mut impl Write) -> io::Result<()> {
        say(section.title());
        writeln!(out, "### {}\n", section.title())?;
        match section {
            Section::Load => self.load(out),
            Section::Cost => self.cost(out),
            Section::Size => self.size(out),
            Section::Blocking => self.blocking(out),
            Section::Kept => self.kept(out),
            Section::Clients => self.clients(out),
            Section::Limit => self.limit(out),
            Section::Rescue => self.rescue(out),
            Section::Window => self.window(out),
            Section::Accepting => self.accepting(out),
            Section::Core => core(out),
        }
    }

    /// One scenario under all policies.
    pub(super) fn compare(&self, scenario: &Scenario, out: &mut impl Write) -> io::Result<()> {
        let run = |policy: &Policy| Line {
            name: policy.name().to_owned(),
            figures: run(scenario, *policy, &self.rules),
        };
        let lines: Vec<_> = self.policies.iter().map(run).collect();
        report::print(out, scenario, &lines)
    }

    fn load(&self, out: &mut impl Write) -> io::Result<()> {
        [0.1, 0.5, 0.8, 0.95].iter().try_for_each(|load| {
            self.compare(&self.short(4, millis(1), Shape::Exponential).with_load(*load), out)
        })
    }

    fn cost(&self, out: &mut impl Write) -> io::Result<()> {
        [Shape::Constant, Shape::Exponential, Shape::Pareto].iter().try_for_each(|shape| {
            self.compare(&self.short(8, millis(1), *shape).with_load(0.7), out)
        })
    }

    fn size(&self, out: &mut impl Write) -> io::Result<()> {
        // Ten connections a second, to begin with.
        let few = self.short(2, millis(100), Shape::Exponential).with_load(0.5);
        self.compare(&few, out)?;
        [2, 16, 64, 256].iter().try_for_each(|workers| {
            let cost = Duration::from_micros(200);
            self.compare(&self.short(*workers, cost, Shape::Exponential).with_load(0.8), out)
        })
    }

    fn blocking(&self, out: &mut impl Write) -> io::Result<()> {
        for workers in [4, 16] {
            for share in [0.001, 0.01, 0.05] {
                self.compare(&self.with_blocking(workers, share), out)?;
            }
        }
        Ok(())
    }

    fn kept(&self, out: &mut impl Write) -> io::Result<()> {
        // About 1,000 clients with a connection each, for 20 s.
        let mut scenario = self.short(4, Duration::from_micros(500), Shape::Exponential);
        scenario.connections = (self.connections / 50).max(100);
        scenario.traffic.rate = 50.0;
        scenario.traffic.requests = 100;
        scenario.traffic.think = millis(200);
        self.compare(&scenario, out)?;
        scenario.cost.blocking_share = 0.001;
        self.compare(&scenario, out)
    }

    fn clients(&self, out: &mut impl Write) -> io::Result<()> {
        let mut scenario = self.short(4, millis(1), Shape::Exponential).with_load(0.5);
        let mut lines = Vec::new();
        for clients in [100, 10_000, 1_000_000] {
            for skew in [0.0, 0.5, 1.0] {
                (scenario.traffic.clients, scenario.traffic.skew) = (clients, skew);
                let name = format!("{clients} clients, skew {skew}");
                lines.push(self.line(&name, &scenario, Policy::IpHash, &self.rules));
            }
        }
        report::print(out, &scenario, &lines)
    }

    fn limit(&self, out: &mut impl Write) -> io::Result<()> {
        let mut scenario = self.short(256, Duration::from_micros(200), Shape::Exponential);
        scenario.traffic.rate = 1_000_000.0;
        writeln!(out, "256 workers, 1,000,000 connections/s, requests of 200 µs:\n")?;
        let head = ["", "answered/s", "primary, % of a core", "workers it feeds, 1 ms", "10 ms"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for policy in &self.policies {
            let figures = run(&scenario, *policy, &self.rules);
            let is_the_limit = figures.primary > 0.95;
            let feeds = |cost: f64| match is_the_limit {
                true => format!("{:.0}", figures.answered * cost),
                false => "not the limit".to_owned(),
            };
            let primary = format!("{:.1}", figures.primary * 100.0);
            let cells = [number(figures.answered), primary, feeds(1e-3), feeds(1e-2)];
            rows.push(std::iter::once(policy.name().to_owned()).chain(cells).collect());
        }
        table::print(out, &rows)?;
        writeln!(out)
    }

    fn rescue(&self, out: &mut impl Write) -> io::Result<()> {
        let busy = self.short(4, millis(1), Shape::Exponential).with_load(0.9);
        let slow = self.short(4, millis(20), Shape::Constant).with_load(0.7);
        let blocking = [self.with_blocking(4, 0.01), self.with_blocking(16, 0.01)];
        for scenario in blocking.into_iter().chain([busy, slow]) {
            let peers = [Policy::Ideal, Policy::Shared, Policy::KernelAlone];
            let mut lines = peers
                .map(|policy| self.line(policy.name(), &scenario, policy, &self.rules))
                .to_vec();
            for look_ms in [1, 2, 5, 10] {
                for after_ms in [0, 2, 5, 10, 20] {
                    let mut rules = self.rules.clone();
                    rules.look_every = millis(look_ms);
                    rules.dispatch.rescue_after = millis(after_ms);
                    let name = format!("look every {look_ms} ms, blocked after {after_ms} ms");
                    lines.push(self.line(&name, &scenario, Policy::Kernel, &rules));
                }
            }
            report::print(out, &scenario, &lines)?;
        }
        Ok(())
    }

    fn window(&self, out: &mut impl Write) -> io::Result<()> {
        let cheap = self.short(4, Duration::from_micros(200), Shape::Exponential).with_load(0.7);
        for scenario in [cheap, self.with_blocking(4, 0.01), self.with_blocking(16, 0.01)] {
            let mut lines = Vec::new();
            for policy in [Policy::RoundRobin, Policy::LeastConnections] {
                for (window, patience_ms) in [(1, 5), (2, 1), (2, 5), (2, 20), (4, 5), (8, 5)] {
                    let mut rules = self.rules.clone();
                    let patience = millis(patience_ms);
                    rules.dispatch = DispatchSettings { window, patience, ..rules.dispatch };
                    let name = format!("{}, window {window}, {patience:?}", policy.name());
                    lines.push(self.line(&name, &scenario, policy, &rules));
                }
            }
            report::print(out, &scenario, &lines)?;
        }
        Ok(())
    }

    fn accepting(&self, out: &mut impl Write) -> io::Result<()> {
        let scenario = self.with_blocking(4, 0.01);
        let mut lines = Vec::new();
        for policy in [Policy::Kernel, Policy::KernelAlone, Policy::Shared] {
            for (accepts, words) in [(1, "one a turn"), (usize::MAX, "all a turn")] {
                let rules = Rules { accepts, ..self.rules.clone() };
                let name = format!("{}, {words}", policy.name());
                lines.push(self.line(&name, &scenario, policy, &rules));
            }
        }
        report::print(out, &scenario, &lines)
    }

    fn line(&self, name: &str, scenario: &Scenario, policy: Policy, rules: &Rules) -> Line {
        Line { name: name.to_owned(), figures: run(scenario, policy, rules) }
    }

    /// Connections with one request each, from clients some of which connect more often.
    fn short(&self, workers: usize, mean: Duration, shape: Shape) -> Scenario {
        let cost = CostSettings { mean, shape, blocking_share: 0.0, blocking: millis(100) };
        let traffic =
            Traffic { rate: 1.0, requests: 1, think: Duration::ZERO, clients: 10_000, skew: 1.0 };
        let (connections, seed) = (self.connections, self.seed);
        Scenario { workers, traffic, cost, connections, seed }
    }

    fn with_blocking(&self, workers: usize, share: f64) -> Scenario {
        let mut scenario = self.short(workers, millis(1), Shape::Exponential);
        scenario.cost.blocking_share = share;
        scenario.with_load(0.5)
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn core(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "For one connection, measured here and now:\n")?;
    let head = ["workers", "round-robin", "least-connections", "ip-hash by the primary"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for workers in [2, 4, 16, 64, 256] {
        let choices = [Choice::InTurn, Choice::LeastConnections, Choice::ByOrigin];
        let cells = choices.map(|choice| time(core_cost::measure(workers, choice)));
        rows.push(std::iter::once(workers.to_string()).chain(cells).collect());
    }
    table::print(out, &rows)?;
    writeln!(out)
}
