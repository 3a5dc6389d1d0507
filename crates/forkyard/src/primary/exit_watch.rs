//! Waits for a worker's end and reports it when nothing more can come from it.
//!
//! The order matters: the process has ended, its group is killed, its channel is read to
//! the end, its output is passed on, and only then the exit is reported. Only whoever takes
//! the output may be too slow for that; then the report goes ahead of the last lines.
//!
//! For an upgrade of the primary it comes to rest together with the channel's reader. That is
//! safe at any moment: a process that has exited is not reaped before its exit has been
//! reported, so whoever goes on watching finds it as it is, and does the same again.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use forkyard_core::{ExitStatus, WorkerId};
use forkyard_sys::process::Signal;
use forkyard_sys::reactor::Watched;
use tokio::io::Interest;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::channel::Unread;
use super::rest::RestSignal;
use super::{Mail, SharedProcess};
use crate::output::Capture;

/// How long a slow taker of the output may hold up the report, and with it the successor.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// A process's pidfd, watched by whoever waits for its end.
pub(super) type SharedExit = Arc<Watched>;

/// What is known about a worker whose end is awaited.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) worker: WorkerId,
    pub(super) process: SharedProcess,
    /// Its pidfd, watched. Without it the process is not waited for.
    pub(super) exit: Option<SharedExit>,
    /// Tells the channel's reader that nothing more will be written.
    pub(super) finish: oneshot::Sender<()>,
    pub(super) reader: JoinHandle<Option<Unread>>,
    /// Its output, if that is captured.
    pub(super) output_done: Option<Capture>,
    /// Tells when to rest.
    pub(super) rest: RestSignal,
}

/// A worker that nobody attends to at the moment: what is needed to go on, besides its
/// process and its channel.
#[derive(Debug)]
pub(crate) struct Unattended {
    /// `None` when the channel has been read to its end.
    pub(super) unread: Option<Unread>,
    /// Its output, if that is captured.
    pub(super) output: Option<Capture>,
}

impl Watch {
    pub(super) async fn run(mut self, mail: mpsc::Sender<Mail>) {
        let report = match self.end().await {
            Some(status) => self.exited(status).await,
            None => self.at_rest().await,
        };
        // A driver that is gone needs no report.
        let _ = mail.send(report).await;
    }

    /// How the process ended; `None` if everything is to rest first.
    async fn end(&mut self) -> Option<ExitStatus> {
        tokio::select! {
            biased;
            () = self.rest.wait() => None,
            status = wait(&self.process, self.exit.as_deref()) => Some(status),
        }
    }

    async fn exited(mut self, status: ExitStatus) -> Mail {
        let worker = self.worker;
        if let Err(error) = self.process.signal_group(Signal::KILL) {
            tracing::warn!(%worker, %error, "failed to kill a worker's group");
        }
        // A reader that ended already has dropped the other end.
        let _ = self.finish.send(());
        if let Ok(Some(unread)) = self.reader.await {
            // It was to rest before it knew. Whoever goes on finds the process as it is.
            let unattended = Unattended { unread: Some(unread), output: self.output_done };
            return Mail::Unattended { worker, unattended };
        }
        let stderr_tail = match self.output_done {
            Some(output) => output.finish(OUTPUT_GRACE, &mut self.rest).await,
            None => Vec::new(),
        };
        Mail::Exited { worker, status, stderr_tail }
    }

    async fn at_rest(mut self) -> Mail {
        // A reader that waits for somebody who does not fetch messages never rests; the end of
        // its worker must be noticed all the same.
        let unread = tokio::select! {
            unread = &mut self.reader => unread.ok().flatten(),
            status = wait(&self.process, self.exit.as_deref()) => return self.exited(status).await,
        };
        let Self { worker, output_done: output, finish, .. } = self;
        // Not before: it would tell the reader that the writer is gone.
        drop(finish);
        Mail::Unattended { worker, unattended: Unattended { unread, output } }
    }
}

async fn wait(process: &SharedProcess, exit: Option<&Watched>) -> ExitStatus {
    let Some(pidfd) = exit else {
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

/// Has the reactor watch for a process's end.
pub(super) fn watched(pidfd: BorrowedFd<'_>) -> io::Result<SharedExit> {
    Ok(Arc::new(Watched::new(pidfd.try_clone_to_owned()?, Interest::READABLE)?))
}

fn translate(status: forkyard_sys::process::ExitStatus) -> ExitStatus {
    match status {
        forkyard_sys::process::ExitStatus::Code(code) => ExitStatus::Code(code),
        forkyard_sys::process::ExitStatus::Signal(signal) => ExitStatus::Signal(signal.number()),
    }
}
