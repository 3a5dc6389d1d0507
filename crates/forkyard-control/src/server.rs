//! The primary's side: takes requests and passes them on as wishes.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use axum::{Json, Router};
use forkyard_sys::process::own_user;
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::folder::{self, FolderError};
use crate::types::{ErrorBody, Status, Update};

/// How many clients are served at a time; the others wait.
const CLIENTS: usize = 16;
/// How many wishes may wait for whoever drives the primary.
const WISHES: usize = 16;
/// How many lines a client may be behind. One that is slower misses the progress in between.
const UPDATES: usize = 256;
/// Only the user may open the socket.
const MODE: u32 = 0o600;
/// The system's user, who may do everything anyway.
const ROOT: u32 = 0;

/// What a client wants.
#[derive(Debug)]
pub enum Wish {
    /// To know how things are.
    Status(oneshot::Sender<Status>),
    /// The next generation.
    Reload(Watcher),
}

/// Tells one client how its reload goes.
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
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It could not be bound.
    #[error("failed to bind {}: {source}", path.display())]
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
    serving: AbortHandle,
}

impl Server {
    /// Serves the socket of this process in that folder, on the runtime at hand. Wishes come by
    /// the channel; when nobody takes them any more, clients are told that the app is stopping.
    ///
    /// # Errors
    ///
    /// If the folder is not this user's alone, or the socket cannot be bound.
    pub fn start(dir: &Path, app: &str) -> Result<(Self, mpsc::Receiver<Wish>), ServeError> {
        folder::prepare(dir)?;
        let path = folder::socket_path(dir, app, std::process::id());
        let failed = |source| ServeError::Bind { path: path.clone(), source };
        let listener = bind(&path).map_err(failed)?;
        let (wishes, inbox) = mpsc::channel(WISHES);
        let clients = Clients { listener, places: Arc::new(Semaphore::new(CLIENTS)) };
        let serving = tokio::spawn(async move {
            // Never ends by itself.
            let _ = axum::serve(clients, routes(wishes)).await;
        });
        let serving = serving.abort_handle();
        Ok((Self { path, serving }, inbox))
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

/// The process id in its name is ours, so what is there was left by somebody who is gone. The
/// folder keeps others out before the mode is set.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    Ok(listener)
}

fn routes(wishes: mpsc::Sender<Wish>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reload))
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
    let (sender, updates) = mpsc::channel(UPDATES);
    if wishes.send(Wish::Reload(Watcher(sender))).await.is_err() {
        return stopping();
    }
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(Lines(updates))).into_response()
}

async fn unknown(method: Method, uri: Uri) -> Response {
    let error = format!(
        "there is no {method} {} in forkyard {}; there are GET /v1/status and POST /v1/reload",
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

/// Accepts this user's connections, so many at a time.
struct Clients {
    listener: UnixListener,
    places: Arc<Semaphore>,
}

impl Listener for Clients {
    type Io = Client;
    type Addr = ();

    async fn accept(&mut self) -> (Client, ()) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                // Nobody closes the semaphore.
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, _)) if is_allowed(&stream) => {
                    return (Client { stream, _place: place }, ());
                }
                Ok(_) => tracing::warn!("turned away another user at the control socket"),
                Err(error) => {
                    tracing::warn!(%error, "failed to accept at the control socket");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

fn is_allowed(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own_user() || peer.uid() == ROOT)
}

/// One client's connection. It gives its place away when it is dropped.
struct Client {
    stream: UnixStream,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
