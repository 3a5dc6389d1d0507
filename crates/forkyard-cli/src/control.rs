//! The control socket of a running app: who asks it for things, besides by signals and keys.

use forkyard::ClusterHandle;
use forkyard_control::folder::runtime_dir;
use forkyard_control::server::Server;
pub(crate) use forkyard_control::server::Wish as Asked;
use forkyard_control::types::{Status, Worker};
use tokio::sync::mpsc;

use crate::report::Reporter;

/// The socket, once it is open.
#[derive(Debug)]
pub(crate) struct Control {
    app: String,
    rule: ControlRule,
    served: Option<(Server, mpsc::Receiver<Asked>)>,
}

/// Whether an app has a control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlRule {
    Serve,
    LeaveOut,
}

impl Control {
    pub(crate) fn of(app: &str, rule: ControlRule) -> Self {
        Self { app: app.to_owned(), rule, served: None }
    }

    /// An app that cannot be asked serves all the same. Needs a runtime at hand.
    pub(crate) fn open(&mut self, reporter: &Reporter) {
        if self.rule == ControlRule::LeaveOut {
            return;
        }
        match Server::start(&runtime_dir(), &self.app) {
            Ok(served) => self.served = Some(served),
            Err(error) => reporter.warning(format!("there is no control socket: {error}")),
        }
    }

    /// The next wish; never, if there is no socket.
    pub(crate) async fn next(&mut self) -> Asked {
        if let Some((_, wishes)) = &mut self.served
            && let Some(wish) = wishes.recv().await
        {
            return wish;
        }
        std::future::pending().await
    }

    pub(crate) async fn status(&self, handle: &ClusterHandle) -> Status {
        let workers = handle.workers().await.unwrap_or_default();
        let worker = |info: forkyard::WorkerInfo| Worker {
            slot: info.slot.0,
            worker: info.worker.0,
            pid: info.pid,
        };
        Status {
            app: self.app.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            workers: workers.into_iter().map(worker).collect(),
        }
    }
}
