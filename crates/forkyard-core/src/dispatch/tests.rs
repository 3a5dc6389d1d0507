//! The dispatcher, through the core's front door: see [`crate::script`] for the words.

mod addresses;
mod choosing;
mod declining;
mod dying;
mod inheritance;
mod keeping;
mod lanes;
mod policies;
mod standing;

use std::time::Duration;

use crate::dispatch::DispatchSettings;
use crate::script::{Script, Show};
use crate::{Settings, SuperviseSettings};

/// Tables read more easily with one connection at a time.
fn app() -> Script {
    app_with_window(1)
}

fn app_with_window(window: usize) -> Script {
    let rescue_after = Duration::from_millis(10);
    let dispatch = DispatchSettings { window, rescue_after, ..DispatchSettings::default() };
    // With times that the tables are written for.
    let (drain_timeout, settle) = (Duration::from_secs(10), Duration::from_millis(100));
    let supervise = SuperviseSettings { drain_timeout, settle, ..SuperviseSettings::default() };
    Script::new(Settings { dispatch, supervise, ..Settings::default() }, Show::AllButEvents)
}

/// Workers 1 to `workers` in slots from 0, all of them serving L0, which is TCP port 80.
fn serving(script: Script, workers: u32) -> Script {
    dealt(script, workers, "")
}

/// The same, with L0 dealt as told; see `opened` in [`crate::script`].
fn dealt(mut script: Script, workers: u32, dealing: &str) -> Script {
    let opened = format!("opened L0 {dealing}");
    for worker in 1..=workers {
        script.given(&["fork"]);
        start(&mut script, worker);
        script.given(&[&format!("query {worker} tcp:80"), &opened]);
        script.given(&[&format!("listening {worker}")]);
    }
    script
}

fn start(script: &mut Script, worker: u32) {
    script.given(&[&format!("spawned {worker}"), &format!("online {worker}")]);
}
