//! More and more apps under one manager: its memory, and how long its commands take.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::contestant::{App, Contestant, Files, Fleet};
use crate::interrupt;
use crate::ports::Ports;
use crate::reload::probe;
use crate::tools;
use crate::usage::{self, Bytes};

/// With how many apps the memory is measured.
pub(crate) const SIZES: [usize; 3] = [1, 5, 20];

/// With how many apps commands are timed.
pub(crate) const TIMED: usize = 10;

/// How long all is left alone before the memory is measured. Forkyard gives back what it does not
/// need any more after five to ten seconds of rest.
const REST: Duration = Duration::from_secs(11);

/// How long after the list, which is what an operator sees who asks for the memory right away.
const PAUSE: Duration = Duration::from_secs(1);

/// How often commands are timed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) lists: u32,
    pub(crate) starts: u32,
}

/// What was measured in one round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Growth {
    /// By size.
    pub(crate) memory: Vec<Memory>,
    pub(crate) lists: Vec<Duration>,
    pub(crate) starts: Vec<Started>,
    pub(crate) stops: Vec<Duration>,
}

/// The memory of all managing processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) apps: usize,
    /// At rest, some time after the last start.
    pub(crate) started: Held,
    /// Right after all have been listed.
    pub(crate) listed: Held,
}

/// Physical memory, added up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// What several share is in the sum several times.
    pub(crate) resident: Bytes,
    /// What several share is divided among them.
    pub(crate) proportional: Bytes,
}

/// How long a start took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    /// Until the command had ended.
    pub(crate) told: Duration,
    /// Until the app answered as well, which is tried from the command's end on.
    pub(crate) answered: Duration,
}

/// Measures all of it.
pub(crate) fn run(
    plan: Plan,
    contestant: Contestant,
    files: &Files,
    ports: &mut Ports,
) -> Result<Growth> {
    let fleet = Fleet::new(contestant, files)?;
    let mut growth = Growth::default();
    let [.., most] = SIZES;
    for number in 1..=most {
        let app = App {
            name: format!("app-{number}"),
            program: tools::program("plain.js"),
            port: ports.next()?,
        };
        let began = Instant::now();
        fleet.add(&app, &[])?;
        probe::first_answer(app.port, began, None)?;
        if SIZES.contains(&number) {
            growth.memory.push(memory(&fleet, number)?);
        }
        if number == TIMED {
            growth.time(plan, &fleet, &app)?;
        }
    }
    fleet.end()?;
    Ok(growth)
}

impl Growth {
    fn time(&mut self, plan: Plan, fleet: &Fleet, app: &App) -> Result<()> {
        for _ in 0..plan.lists {
            let began = Instant::now();
            fleet.tell(&["ls"])?;
            self.lists.push(began.elapsed());
        }
        for _ in 0..plan.starts {
            let began = Instant::now();
            fleet.tell(&["stop", &app.name])?;
            self.stops.push(began.elapsed());
            let began = Instant::now();
            fleet.tell(&["start", &app.name])?;
            let told = began.elapsed();
            let answer = probe::first_answer(app.port, began, None)?;
            self.starts.push(Started { told, answered: answer.after });
        }
        Ok(())
    }

    pub(crate) fn to_json(&self) -> Value {
        let ms = |time: &Duration| time.as_secs_f64() * 1e3;
        json!({
            "memory": self.memory.iter().map(|memory| memory.to_json()).collect::<Value>(),
            "lists_ms": self.lists.iter().map(ms).collect::<Value>(),
            "stops_ms": self.stops.iter().map(ms).collect::<Value>(),
            "starts_ms": self.starts.iter().map(|it| ms(&it.told)).collect::<Value>(),
            "answered_ms": self.starts.iter().map(|it| ms(&it.answered)).collect::<Value>(),
        })
    }
}

impl Memory {
    fn to_json(self) -> Value {
        let held = |held: Held| {
            json!({
                "resident_bytes": held.resident.0,
                "proportional_bytes": held.proportional.0,
            })
        };
        json!({
            "apps": self.apps,
            "started": held(self.started),
            "listed": held(self.listed),
        })
    }
}

fn memory(fleet: &Fleet, apps: usize) -> Result<Memory> {
    interrupt::pause(REST)?;
    let started = held(fleet)?;
    fleet.tell(&["ls"])?;
    interrupt::pause(PAUSE)?;
    Ok(Memory { apps, started, listed: held(fleet)? })
}

fn held(fleet: &Fleet) -> Result<Held> {
    let mut sum = Held::default();
    for pid in fleet.managers()? {
        sum.resident.0 += usage::resident(pid)?.0;
        sum.proportional.0 += usage::proportional(pid)?.0;
    }
    Ok(sum)
}
