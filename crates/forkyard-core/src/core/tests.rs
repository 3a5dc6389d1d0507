//! Supervision, through the core's front door: see [`crate::script`] for the words.

mod extremes;
mod leaving;
mod readiness;
mod restarting;
mod rolling;
mod routing;
mod scaling;
mod spares;
mod starting;
mod stopping;
mod viewing;

use std::time::Duration;

use crate::script::{Script, Show};
use crate::supervise::SuperviseSettings;
use crate::{RestartSettings, Settings};

fn app() -> Script {
    app_with(patient())
}

/// With times that the tables are written for.
fn patient() -> SuperviseSettings {
    SuperviseSettings {
        drain_timeout: Duration::from_secs(10),
        settle: Duration::from_millis(100),
        ..SuperviseSettings::default()
    }
}

fn app_with(supervise: SuperviseSettings) -> Script {
    Script::new(Settings { supervise, ..Settings::default() }, Show::Everything)
}

fn restarting_by(restart: RestartSettings) -> SuperviseSettings {
    SuperviseSettings { restart, ..patient() }
}

/// Workers 1 to `workers` in slots from 0, all of them listening.
fn up(mut script: Script, workers: u32) -> Script {
    for worker in 1..=workers {
        script.given(&["fork"]);
        serve(&mut script, worker);
    }
    script
}

fn serve(script: &mut Script, worker: u32) {
    script.given(&[&format!("spawned {worker}"), &format!("online {worker}")]);
    script.given(&[&format!("listening {worker}")]);
}
