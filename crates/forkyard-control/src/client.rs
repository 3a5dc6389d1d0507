//! The other side: finds running primaries and asks them for things.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forkyard_sys::process;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Map;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::folder::{self, FolderError};
use crate::types::{ErrorBody, ReloadState, Status, Update, UpgradeOutcome};

/// The longest answer that is read as a whole, in bytes.
const LONGEST_ANSWER: usize = 1024 * 1024;
/// The longest line of an answer that comes line by line, in bytes.
const LONGEST_LINE: usize = 256 * 1024;

/// How long a primary may take to begin its answer.
const ANSWERING: Duration = Duration::from_secs(10);
/// How long the next image of a primary may take to be there.
const NEXT_IMAGE: Duration = Duration::from_secs(10);
/// How long a primary may refuse while it lives, because its next image does not listen yet.
const BETWEEN_IMAGES: Duration = Duration::from_secs(2);
/// How soon it is looked again whether it is there.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How soon it is looked again how a reload goes that nobody tells of any more.
const WATCH_AGAIN: Duration = Duration::from_millis(200);

/// A primary's socket that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The app's name, as far as it can stand in a file's name.
    pub app: String,
    /// The primary's process id.
    pub pid: u32,
    /// The socket.
    pub path: PathBuf,
}

/// Why a primary could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It is not there.
    #[error("failed to connect to {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is there, but does not say anything.
    #[error(
        "failed to get an answer from process {pid} within {} s; see whether it is stopped",
        ANSWERING.as_secs()
    )]
    Silent {
        /// The primary's process.
        pid: u32,
    },
    /// What it says makes no sense.
    #[error("failed to understand the primary: {0}; it may be of another version")]
    Nonsense(String),
    /// It was gone before it had told the outcome.
    #[error("the primary, process {pid}, ended before it had told the outcome")]
    Ended {
        /// The primary's process.
        pid: u32,
    },
    /// It was upgraded, and does not know of a reload.
    #[error(
        "the primary, process {pid}, was upgraded meanwhile and knows of no reload: it had not \
         begun, or had just ended; ask again"
    )]
    NotBegun {
        /// The primary's process.
        pid: u32,
    },
    /// It says no.
    #[error("the primary says: {0}")]
    Denied(String),
}

/// The primaries that run, by name and process id. Removes what dead ones have left. Waits up to
/// two seconds for those that do not listen though they live: they may be just upgraded.
///
/// # Errors
///
/// If none is found, and one of the folders is not this user's alone. One that is not there has
/// no sockets in it.
pub async fn find(dirs: &[PathBuf]) -> Result<Vec<Found>, FolderError> {
    let (mut found, mut unusable) = (Vec::new(), None);
    let until = Instant::now() + BETWEEN_IMAGES;
    for dir in dirs.iter().filter(|dir| dir.exists()) {
        match find_in(dir, until).await {
            Ok(there) => found.extend(there),
            Err(error) => drop(unusable.get_or_insert(error)),
        }
    }
    found.sort_by(|a, b| (&a.app, a.pid).cmp(&(&b.app, b.pid)));
    match unusable {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

async fn find_in(dir: &Path, until: Instant) -> Result<Vec<Found>, FolderError> {
    folder::check(dir)?;
    let failed = |source| FolderError::Io { dir: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some((app, pid)) = folder::parse_socket_name(&path)
            && is_served(&path, pid, until).await
        {
            found.push(Found { app, pid, path });
        }
    }
    Ok(found)
}

/// Whether somebody listens there. If nobody can any more, the socket is removed. If the number
/// is a live process's that is no primary, what was left is in nobody's way.
async fn is_served(path: &Path, pid: u32, until: Instant) -> bool {
    match connect(path, pid, until).await {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            if !process::is_running(pid) {
                drop(fs::remove_file(path));
            }
            false
        }
        // More clients wait than there is room for.
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// While the process lives that refuses, it may be between two images of its program, and about
/// to listen again.
async fn connect(path: &Path, pid: u32, until: Instant) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && process::is_running(pid)
                    && Instant::now() < until =>
            {
                // Nobody announces it.
                sleep(LOOK_AGAIN).await;
            }
            connected => return connected,
        }
    }
}

/// Asks one primary.
#[derive(Debug)]
pub struct Client {
    primary: Found,
}

impl Client {
    /// For that primary.
    #[must_use]
    pub fn of(primary: Found) -> Self {
        Self { primary }
    }

    /// How things are.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn status(&self) -> Result<Status, ClientError> {
        let answer = self.ask(Method::GET, "/v1/status").await?;
        let body = whole(answer).await?;
        serde_json::from_slice(&body).map_err(nonsense)
    }

    /// Has it reload, and follows that to its end, through upgrades of the primary. Returns the
    /// last update, which is the outcome; `heard` gets those before it.
    ///
    /// # Errors
    ///
    /// If it does not answer, is gone before it has told the outcome, or was upgraded before it
    /// had begun.
    pub async fn reload(&self, mut heard: impl FnMut(&Update)) -> Result<Update, ClientError> {
        match self.follow("/v1/reload", &mut heard).await {
            Ok(Some(outcome)) => Ok(outcome),
            // The connection was not to outlive the image.
            Ok(None) | Err(ClientError::Ended { .. }) => self.reload_afterwards(heard).await,
            Err(error) => Err(error),
        }
    }

    /// How the reload ends that an image before was asked for. Of those that are known there by
    /// then, it is the last.
    async fn reload_afterwards(
        &self,
        mut heard: impl FnMut(&Update),
    ) -> Result<Update, ClientError> {
        let mut news = Some(upgraded_meanwhile());
        while self.next_image().await.is_some() {
            match self.status().await {
                Ok(Status { reload: Some(ReloadState::Over { outcome }), .. }) => {
                    return Ok(outcome);
                }
                Ok(Status { reload: None, .. }) => {
                    return Err(ClientError::NotBegun { pid: self.primary.pid });
                }
                Ok(_) => match self.ask(Method::GET, "/v1/reload").await {
                    Ok(answer) => {
                        news.take().iter().for_each(&mut heard);
                        // Without an outcome it is perhaps upgraded once more.
                        if let Some(outcome) = told_by(answer, &mut heard).await? {
                            return Ok(outcome);
                        }
                    }
                    Err(error) => tracing::debug!(%error, "failed to follow a reload"),
                },
                Err(error) => tracing::debug!(%error, "failed to ask the next image"),
            }
            sleep(WATCH_AGAIN).await;
        }
        Err(self.ended())
    }

    /// Has it execute the version of its program that is on disk now, and waits until that
    /// serves. `heard` gets what is told meanwhile.
    ///
    /// # Errors
    ///
    /// If it does not answer, or ends.
    pub async fn upgrade(&self, heard: impl FnMut(&Update)) -> Result<UpgradeOutcome, ClientError> {
        let told = match self.follow("/v1/upgrade", heard).await {
            // The connection was not to outlive the image.
            Err(ClientError::Ended { .. }) => None,
            told => told?,
        };
        match told {
            Some(Update::Failed { reason, stderr_tail, .. }) => {
                Ok(UpgradeOutcome::Failed { reason, stderr_tail })
            }
            Some(Update::Refused { reason }) => {
                Ok(UpgradeOutcome::Failed { reason, stderr_tail: Vec::new() })
            }
            Some(other) => Err(ClientError::Nonsense(format!("{other:?} ends no upgrade"))),
            None => self.next_image().await.ok_or_else(|| self.ended()),
        }
    }

    /// What the image says that has come after the one whose connection has ended. Nothing if
    /// there is none, because the primary has ended.
    async fn next_image(&self) -> Option<UpgradeOutcome> {
        let until = Instant::now() + NEXT_IMAGE;
        while process::is_running(self.primary.pid) && Instant::now() < until {
            if let Ok(Status { upgrade: Some(outcome), .. }) = self.status().await {
                return Some(outcome);
            }
            // Nobody announces it.
            sleep(LOOK_AGAIN).await;
        }
        None
    }

    fn ended(&self) -> ClientError {
        ClientError::Ended { pid: self.primary.pid }
    }

    /// Asks for something and follows it to the last update; nothing if the primary is gone
    /// before it.
    async fn follow(
        &self,
        path: &str,
        heard: impl FnMut(&Update),
    ) -> Result<Option<Update>, ClientError> {
        told_by(self.ask(Method::POST, path).await?, heard).await
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Response<Incoming>, ClientError> {
        let silent = |_| ClientError::Silent { pid: self.primary.pid };
        let answer = timeout(ANSWERING, self.exchange(method, path)).await.map_err(silent)??;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status => Err(denied(status, &whole(answer).await?)),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Response<Incoming>, ClientError> {
        let Found { pid, path: socket, .. } = &self.primary;
        let stream = connect(socket, *pid, Instant::now() + BETWEEN_IMAGES)
            .await
            .map_err(|source| ClientError::Connect { path: socket.clone(), source })?;
        let gone = |_: hyper::Error| self.ended();
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(gone)?;
        tokio::spawn(connection);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(nonsense)?;
        request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
        sender.send_request(request).await.map_err(gone)
    }
}

/// The last update of an answer, if it has one; `heard` gets those before it.
async fn told_by(
    answer: Response<Incoming>,
    mut heard: impl FnMut(&Update),
) -> Result<Option<Update>, ClientError> {
    let mut body = answer.into_body();
    let mut lines = Vec::new();
    // A connection that breaks off has come to its end as well.
    while let Some(Ok(frame)) = body.frame().await {
        lines.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = lines.drain(..=end).collect();
            let update: Update = serde_json::from_slice(&line).map_err(nonsense)?;
            if update.is_last() {
                return Ok(Some(update));
            }
            heard(&update);
        }
        if lines.len() > LONGEST_LINE {
            return Err(ClientError::Nonsense("a line has no end".into()));
        }
    }
    Ok(None)
}

fn upgraded_meanwhile() -> Update {
    let text = "the primary was upgraded, and the reload goes on".to_owned();
    Update::Progress { event: "primary_upgraded".into(), text, fields: Map::new() }
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect();
    let body = timeout(ANSWERING, body).await.map_err(nonsense)?;
    Ok(body.map_err(nonsense)?.to_bytes())
}

fn nonsense(error: impl ToString) -> ClientError {
    ClientError::Nonsense(error.to_string())
}

fn denied(status: StatusCode, body: &[u8]) -> ClientError {
    let said = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error);
    ClientError::Denied(said.unwrap_or_else(|_| status.to_string()))
}
