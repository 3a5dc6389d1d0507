//! Stops the app when this process is told to end.

use std::io;

use forkyard_core::{Request, Stage};
use forkyard_sys::process::is_ignored;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::{Command, Mail};

/// The signals that end a program.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Not under `nohup`, which has it ignored.
    hang_up: Option<Signal>,
}

impl Signals {
    /// Catches them from now on.
    pub(super) fn listen() -> io::Result<Self> {
        let hang_up = match is_ignored(forkyard_sys::process::Signal::HUP)? {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hung_up(self.hang_up.as_mut()) => {}
        }
    }
}

/// Each signal is one step more severe than the one before.
pub(super) async fn stop_on_signals(mut signals: Signals, mail: mpsc::Sender<Mail>) {
    let mut stage = Stage::Disconnect;
    loop {
        signals.next().await;
        let (answer, _) = oneshot::channel();
        let stop = Mail::Command(Command::Request(Request::Stop(stage), answer));
        if mail.send(stop).await.is_err() {
            return;
        }
        stage = stage.next();
    }
}

async fn hung_up(hang_up: Option<&mut Signal>) {
    match hang_up {
        Some(hang_up) => drop(hang_up.recv().await),
        None => std::future::pending().await,
    }
}
