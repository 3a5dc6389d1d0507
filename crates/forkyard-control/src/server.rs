//! The primary's side: takes requests and passes them on as wishes.
//!
//! ```text
//!   accept ──▶ a place for who asks ──▶ routes ──Wish──▶ whoever drives the primary
//!                    │                    ▲ answer, at once
//!                    │ it takes its time  │
//!                    └─▶ a place for who waits for an outcome ◀── Watcher
//!                    └─▶ a place for who follows the events   ◀── Feed
//! ```

mod asked;
mod feed;
mod places;
mod routes;
mod serving;
mod streams;

use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use feed::{Feed, Follower};
pub use routes::openapi;

use crate::folder::{self, FolderError};
use crate::socket::Socket;
use crate::types::{FlushReply, Secrets, SignalReply, SignalRequest, Stage, Status, Update};

/// How many wishes may wait for whoever drives the primary.
const WISHES: usize = 16;
/// How long clients have to take their last lines when the app has ended.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Where the answer to a wish goes. That nobody waits for it any more is no error.
pub type Answer<T> = oneshot::Sender<T>;

/// What a client wants.
#[derive(Debug)]
pub enum Wish {
    /// To know how things are.
    Status(Answer<Status>),
    /// To know how things are, and what happens from then on.
    Events(Answer<Following>),
    /// The next generation.
    Reload(Watcher),
    /// To know how the reload or restart goes that is under way, and how it ends; or how the last
    /// one has.
    Follow(Watcher),
    /// The next version of the primary.
    Upgrade(Watcher),
    /// Another worker of the same generation in this slot, or in every slot.
    Restart(Option<u32>, Watcher),
    /// So many workers.
    Scale(NonZeroU32, Watcher),
    /// The end.
    Stop(Stage, Answer<()>),
    /// A signal for workers.
    Signal(SignalRequest, Answer<Result<SignalReply, Denial>>),
    /// Log files with nothing in them.
    FlushLogs(Answer<Result<FlushReply, Denial>>),
    /// To know the settings in force.
    Settings(Secrets, Answer<Value>),
}

/// How things are, and what happens from then on. What the status knows already the first events
/// may tell once more.
#[derive(Debug)]
pub struct Following {
    /// How things are.
    pub status: Status,
    /// What happens from then on.
    pub events: Follower,
}

/// Why a wish is not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why, and the way out.
    pub reason: String,
}

/// Tells one client how what it wants goes.
#[derive(Clone, Debug)]
pub struct Watcher(mpsc::Sender<Update>);

impl Watcher {
    /// Never waits. A client that does not keep up misses some progress, but not the outcome,
    /// for which there is always room.
    pub fn tell(&self, update: Update) {
        if update.is_last() || self.0.capacity() > 1 {
            // One that is gone needs no news.
            let _ = self.0.try_send(update);
        }
    }

    /// Whether nobody listens any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It could not be bound.
    #[error(
        "failed to bind {}: {source}; name another folder by FORKYARD_RUNTIME_DIR",
        path.display()
    )]
    Bind {
        /// The socket's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A control socket that is served. It is gone when this is dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    /// Nobody is accepted any more when this is gone.
    open: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Serves the socket of this process in that folder, on the runtime at hand. Wishes come by
    /// the channel; when nobody takes them any more, clients are told that the app is stopping.
    ///
    /// # Errors
    ///
    /// If the folder is not this user's alone, or the socket cannot be bound.
    pub fn start(dir: &Path, app: &str) -> Result<(Self, mpsc::Receiver<Wish>), ServeError> {
        let path = folder::socket_path(dir, app, std::process::id());
        let socket = Socket::open(path.clone())?;
        let (wishes, inbox) = mpsc::channel(WISHES);
        let (open, closing) = oneshot::channel();
        let serving = tokio::spawn(serving::serve(socket, wishes, closing));
        Ok((Self { path, open: Some(open), serving }, inbox))
    }

    /// Accepts nobody any more, and gives clients a moment to take what they have been told.
    pub async fn finish(mut self) {
        self.open = None;
        // Who does not take it by then has lost it.
        let _ = tokio::time::timeout(LAST_LINES, &mut self.serving).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "failed to remove a socket");
        }
    }
}
