//! How long it takes to replace all workers of an app.

use std::time::Duration;

use anyhow::Result;

use super::contestant::{App, Files, Setup};
use super::load::Load;
use crate::client::Reuse;

/// Clients that are there, but leave the machine to the reload: 400 requests a second.
const LIGHT_CLIENTS: u16 = 4;
const LIGHT_PACE: Duration = Duration::from_millis(10);

/// What else goes on during a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Circumstances {
    Idle,
    LightLoad,
}

impl Circumstances {
    pub(crate) const ALL: [Self; 2] = [Self::Idle, Self::LightLoad];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::LightLoad => "light load",
        }
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    pub(crate) reloads: Vec<(Circumstances, Duration)>,
    /// What the command takes by which PM2 is asked to reload, if it has nothing to do.
    pub(crate) ping: Option<Duration>,
}

/// Clients that keep their connections and ask at leisure.
pub(crate) fn light_load(port: u16) -> Load {
    Load { port, clients: LIGHT_CLIENTS, reuse: Reuse::KeepAlive, pace: LIGHT_PACE }
}

/// Starts an app and reloads it once under all circumstances.
pub(crate) fn times(setup: Setup, files: &Files, port: u16) -> Result<Times> {
    let mut app = App::start(setup, files, port)?;
    let mut reloads = Vec::new();
    for circumstances in Circumstances::ALL {
        let clients = match circumstances {
            Circumstances::Idle => None,
            Circumstances::LightLoad => Some(light_load(port).start()),
        };
        reloads.push((circumstances, app.reload()?));
        drop(clients);
    }
    let ping = app.ping()?;
    app.stop()?;
    Ok(Times { reloads, ping })
}
