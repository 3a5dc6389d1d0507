//! The primary's side: takes requests and passes them on as wishes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use forkyard_sys::process::own_user;
use futures_core::Stream;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::folder::{self, FolderError};
use crate::impatient::Impatient;
use crate::socket::Socket;
use crate::types::{ErrorBody, Status, Update};

/// How many clients are served at a time; the others wait.
const CLIENTS: usize = 16;
/// How many wishes may wait for whoever drives the primary.
const WISHES: usize = 16;
/// How many lines a client may be behind. One that is slower misses the progress in between.
const UPDATES: usize = 256;
/// How long a client may take to say what it wants.
const ASKING: Duration = Duration::from_secs(5);
/// How long a client may leave unread what it is told, before it counts as gone.
const READING: Duration = Duration::from_secs(30);
/// The most that is taken of a request, in bytes. Nothing that is asked for has a body.
const LONGEST_REQUEST: usize = 16 * 1024;
/// How long clients have to take their last lines when the app has ended.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How long nobody is accepted after the system could not.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked whether the socket is still where clients look for it.
const LOOKING: Duration = Duration::from_secs(5);
/// The system's user, who may do everything anyway.
const ROOT: u32 = 0;

/// What a client wants.
#[derive(Debug)]
pub enum Wish {
    /// To know how things are.
    Status(oneshot::Sender<Status>),
    /// The next generation.
    Reload(Watcher),
    /// To know how the reload goes that is under way, and how it ends; or how the last one has.
    Follow(Watcher),
    /// The next version of the primary.
    Upgrade(Watcher),
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
        let serving = tokio::spawn(serve(socket, routes(wishes), closing));
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

/// Serves clients, so many at a time, until it is closed and the last of them has gone.
async fn serve(mut socket: Socket, routes: Router, mut closing: oneshot::Receiver<()>) {
    let mut clients = JoinSet::new();
    let mut looking = tokio::time::interval(LOOKING);
    looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            stream = accept(&socket), if clients.len() < CLIENTS => {
                clients.spawn(talk(stream, routes.clone()));
            }
            Some(_) = clients.join_next() => {}
            _ = looking.tick() => socket.look_after(),
            _ = &mut closing => break,
        }
    }
    drop((socket, routes));
    while clients.join_next().await.is_some() {}
}

/// The next connection of this user.
async fn accept(socket: &Socket) -> UnixStream {
    loop {
        match socket.accept().await {
            Ok(stream) if is_allowed(&stream) => return stream,
            Ok(_) => tracing::warn!("turned away another user at the control socket"),
            Err(error) => {
                tracing::warn!(%error, "failed to accept at the control socket");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_allowed(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own_user() || peer.uid() == ROOT)
}

/// One request and its answer.
async fn talk(stream: UnixStream, routes: Router) {
    let talked = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASKING)
        .max_buf_size(LONGEST_REQUEST)
        .keep_alive(false)
        .serve_connection(
            TokioIo::new(Impatient::new(stream, READING)),
            TowerToHyperService::new(routes),
        )
        .await;
    if let Err(error) = talked {
        tracing::debug!(%error, "a client of the control socket is gone");
    }
}

fn routes(wishes: mpsc::Sender<Wish>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", get(follow).post(reload))
        .route("/v1/upgrade", post(upgrade))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(wishes)
}

async fn status(State(wishes): State<mpsc::Sender<Wish>>) -> Response {
    let (answer, answered) = oneshot::channel();
    if wishes.send(Wish::Status(answer)).await.is_err() {
        return stopping();
    }
    match answered.await {
        Ok(status) => Json(status).into_response(),
        Err(_) => stopping(),
    }
}

async fn reload(State(wishes): State<mpsc::Sender<Wish>>) -> Response {
    followed(&wishes, Wish::Reload).await
}

async fn follow(State(wishes): State<mpsc::Sender<Wish>>) -> Response {
    followed(&wishes, Wish::Follow).await
}

async fn upgrade(State(wishes): State<mpsc::Sender<Wish>>) -> Response {
    followed(&wishes, Wish::Upgrade).await
}

/// Passes a wish on and answers with how it goes.
async fn followed(wishes: &mpsc::Sender<Wish>, wish: impl FnOnce(Watcher) -> Wish) -> Response {
    let (sender, updates) = mpsc::channel(UPDATES);
    if wishes.send(wish(Watcher(sender))).await.is_err() {
        return stopping();
    }
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(Lines(updates))).into_response()
}

async fn unknown(method: Method, uri: Uri) -> Response {
    let error = format!(
        "there is no {method} {} in forkyard {}; there are GET /v1/status, GET and POST /v1/reload \
         and POST /v1/upgrade",
        uri.path(),
        env!("CARGO_PKG_VERSION")
    );
    (StatusCode::NOT_FOUND, Json(ErrorBody { error })).into_response()
}

fn stopping() -> Response {
    let error = "the app is stopping".to_owned();
    (StatusCode::SERVICE_UNAVAILABLE, Json(ErrorBody { error })).into_response()
}

/// Updates as JSON lines.
struct Lines(mpsc::Receiver<Update>);

impl Stream for Lines {
    type Item = serde_json::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let update = ready!(self.0.poll_recv(cx));
        Poll::Ready(update.map(|update| {
            let mut line = serde_json::to_vec(&update)?;
            line.push(b'\n');
            Ok(line.into())
        }))
    }
}
