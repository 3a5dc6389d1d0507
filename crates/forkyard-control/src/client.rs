//! The other side: finds running primaries and asks them for things.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::folder;
use crate::types::{ErrorBody, Status, Update};

/// The longest answer that is read as a whole, in bytes.
const LONGEST_ANSWER: usize = 1024 * 1024;
/// The longest line of an answer that comes line by line, in bytes.
const LONGEST_LINE: usize = 256 * 1024;

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
    /// It ended, or what it says makes no sense.
    #[error("failed to hear the primary out: {0}; see whether it still runs")]
    Broken(String),
    /// It says no.
    #[error("the primary says: {0}")]
    Denied(String),
}

/// The primaries that run, by name and process id. Removes what dead ones have left.
///
/// # Errors
///
/// If the folder is not this user's alone. One that is not there has no sockets in it.
pub async fn find(dir: &Path) -> Result<Vec<Found>, folder::FolderError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    folder::check(dir)?;
    let failed = |source| folder::FolderError::Io { dir: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some((app, pid)) = folder::parse_socket_name(&path) else { continue };
        match UnixStream::connect(&path).await {
            Ok(_) => found.push(Found { app, pid, path }),
            // A primary that is just being upgraded will listen again in a moment.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_dead(pid) => {
                drop(fs::remove_file(&path));
            }
            Err(_) => {}
        }
    }
    found.sort_by(|a, b| (&a.app, a.pid).cmp(&(&b.app, b.pid)));
    Ok(found)
}

fn is_dead(pid: u32) -> bool {
    !Path::new("/proc").join(pid.to_string()).exists()
}

/// Asks one primary.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// For the primary with this socket.
    #[must_use]
    pub fn of(path: PathBuf) -> Self {
        Self { path }
    }

    /// How things are.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn status(&self) -> Result<Status, ClientError> {
        let answer = self.ask(Method::GET, "/v1/status").await?;
        let body = whole(answer).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Broken(error.to_string()))
    }

    /// Has it reload, and follows that to its end. The last update is the outcome.
    ///
    /// # Errors
    ///
    /// If it does not answer, or ends before it has told the outcome.
    pub async fn reload(&self, mut heard: impl FnMut(&Update)) -> Result<Update, ClientError> {
        let mut body = self.ask(Method::POST, "/v1/reload").await?.into_body();
        let mut lines = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ClientError::Broken(error.to_string()))?;
            lines.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = lines.drain(..=end).collect();
                let update = serde_json::from_slice(&line)
                    .map_err(|error| ClientError::Broken(error.to_string()))?;
                heard(&update);
                if update.is_last() {
                    return Ok(update);
                }
            }
            if lines.len() > LONGEST_LINE {
                return Err(ClientError::Broken("a line has no end".into()));
            }
        }
        Err(ClientError::Broken("it ended before the reload did".into()))
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|source| ClientError::Connect { path: self.path.clone(), source })?;
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| ClientError::Broken("no path".into()))?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status => Err(denied(status, &whole(answer).await?)),
        }
    }
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
    Ok(body.map_err(|error| ClientError::Broken(error.to_string()))?.to_bytes())
}

fn denied(status: StatusCode, body: &[u8]) -> ClientError {
    let said = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error);
    ClientError::Denied(said.unwrap_or_else(|_| status.to_string()))
}
