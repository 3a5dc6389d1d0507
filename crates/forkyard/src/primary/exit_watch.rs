//! Waits for a worker's end and reports it when nothing more can come from it.
//!
//! The order matters: the process has ended, its group is killed, its channel is read to
//! the end, its output is passed on, and only then the exit is reported. Only whoever takes
//! the output may be too slow for that; then the report goes ahead of the last lines.

use std::io;
use std::time::Duration;

use forkyard_core::{ExitStatus, WorkerId};
use forkyard_sys::process::Signal;
use forkyard_sys::reactor::Watched;
use tokio::io::Interest;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Mail, SharedProcess};
use crate::output::Capture;

/// How long a slow taker of the output may hold up the report, and with it the successor.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// What is known about a worker whose end is awaited.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) worker: WorkerId,
    pub(super) process: SharedProcess,
    /// Tells the channel's reader that nothing more will be written.
    pub(super) finish: oneshot::Sender<()>,
    pub(super) reader: JoinHandle<()>,
    /// Its output, if that is captured.
    pub(super) output_done: Option<Capture>,
}

impl Watch {
    pub(super) async fn run(self, mail: mpsc::Sender<Mail>) {
        let status = wait(&self.process).await;
        if let Err(error) = self.process.signal_group(Signal::KILL) {
            tracing::warn!(worker = %self.worker, %error, "failed to kill a worker's group");
        }
        // A reader that ended already has dropped the other end.
        let _ = self.finish.send(());
        let _ = self.reader.await;
        let stderr_tail = match self.output_done {
            Some(output) => output.finish(OUTPUT_GRACE).await,
            None => Vec::new(),
        };
        drop(self.process);
        let exited = Mail::Exited { worker: self.worker, status, stderr_tail };
        // A driver that is gone needs no report.
        let _ = mail.send(exited).await;
    }
}

async fn wait(process: &SharedProcess) -> ExitStatus {
    let Ok(pidfd) = watched(process) else {
        return ExitStatus::Signal(Signal::KILL.number());
    };
    while let Ok(mut ready) = pidfd.readable().await {
        match process.exited() {
            Ok(None) => ready.clear_ready(),
            Ok(Some(status)) => return translate(status),
            Err(error) => {
                tracing::error!(%error, "failed to wait for a worker");
                break;
            }
        }
    }
    ExitStatus::Signal(Signal::KILL.number())
}

fn watched(process: &SharedProcess) -> io::Result<Watched> {
    Watched::new(process.pidfd().try_clone_to_owned()?, Interest::READABLE)
}

fn translate(status: forkyard_sys::process::ExitStatus) -> ExitStatus {
    match status {
        forkyard_sys::process::ExitStatus::Code(code) => ExitStatus::Code(code),
        forkyard_sys::process::ExitStatus::Signal(signal) => ExitStatus::Signal(signal.number()),
    }
}
