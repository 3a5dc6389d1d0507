//! Asks one worker whether it is healthy, by an HTTP request of the primary's own.
//!
//! ```text
//!  connected ──TLS, if it is spoken──▶ asked ──head of the answer──▶ answered ──its end──▶ healthy
//!      │                                 │                              │
//!      └────────── time-out, nonsense or early end: unhealthy ──────────┴──▶ any other status
//! ```
//!
//! The answer is read to its end, within a bound, so that the program does not see its
//! client vanish, and one that gets stuck half-way does not count.

#[cfg(feature = "tls-check")]
mod tls;

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::time::Duration;

use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The most that is taken of the head of an answer.
const LONGEST_HEAD: usize = 32 * 1024;

/// The most that is read of the body of an answer; what is left then does not matter.
const LONGEST_BODY: usize = 64 * 1024;

/// How much of a body is shown.
const EXCERPT: usize = 200;

/// What a worker is asked, and how long it may take to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSettings {
    path: Uri,
    host: HeaderValue,
    timeout: Duration,
}

/// A path or host that cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckSettingsError {
    /// Not a path.
    #[error("ask for {path:?}: write a path from its slash on, as in /healthz")]
    Path {
        /// What was given.
        path: String,
    },
    /// Not a host.
    #[error("ask {host:?}: write a host's name, with a port if need be, as in localhost:8000")]
    Host {
        /// What was given.
        host: String,
    },
}

impl CheckSettings {
    /// Asks for this path, with a query if it has one. The host is `localhost` and the
    /// time-out 5 s.
    ///
    /// # Errors
    ///
    /// [`CheckSettingsError::Path`] unless it begins with a slash and has only characters
    /// that a path may have.
    pub fn get(path: &str) -> Result<Self, CheckSettingsError> {
        let wrong = || CheckSettingsError::Path { path: path.into() };
        if !path.starts_with('/') {
            return Err(wrong());
        }
        let uri = path.parse().map_err(|_| wrong())?;
        let host = HeaderValue::from_static("localhost");
        Ok(Self { path: uri, host, timeout: Duration::from_secs(5) })
    }

    /// Sets the host that is asked, for programs that answer by it.
    ///
    /// # Errors
    ///
    /// [`CheckSettingsError::Host`] for what is no host, with or without a port.
    pub fn host(mut self, host: &str) -> Result<Self, CheckSettingsError> {
        let wrong = || CheckSettingsError::Host { host: host.into() };
        let _: Authority = host.parse().map_err(|_| wrong())?;
        self.host = host.parse().map_err(|_| wrong())?;
        Ok(self)
    }

    /// Sets how long the answer may take, to its end.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// What is spoken on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Plain,
    Tls,
}

/// Why a worker is not healthy. Fits "failed to …".
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error("get a healthy answer to GET {path}: it was {status}{body}; 200 to 399 is healthy")]
    Unhealthy { path: Uri, status: StatusCode, body: Excerpt },
    #[error(
        "get a healthy answer to GET {path}: {awaited} within {limit:?}; if it needs longer, give it more time"
    )]
    TimedOut { path: Uri, awaited: Awaited, limit: Duration },
    #[error("get a healthy answer to GET {path}: {cause}; it must be answered in HTTP/1")]
    Broken { path: Uri, cause: String },
    #[cfg(feature = "tls-check")]
    #[error(
        "get a healthy answer to GET {path}: TLS failed: {cause}; it must be possible with \
         HTTP/1 and without a client's certificate"
    )]
    Tls { path: Uri, cause: String },
    #[cfg(not(feature = "tls-check"))]
    #[error("ask GET {path} over TLS: this build cannot; build it with the feature tls-check")]
    NoTls { path: Uri },
}

/// What has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    #[cfg(feature = "tls-check")]
    Tls,
    Head,
    End,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(feature = "tls-check")]
            Self::Tls => "TLS was not agreed on",
            Self::Head => "none came",
            Self::End => "it did not come to its end",
        })
    }
}

/// The beginning of a body, for people to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Excerpt(Vec<u8>);

impl Excerpt {
    fn extend(&mut self, bytes: &[u8]) {
        let room = EXCERPT - self.0.len();
        self.0.extend(&bytes[..bytes.len().min(room)]);
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match String::from_utf8_lossy(&self.0).trim() {
            "" => Ok(()),
            // Escaped, because a terminal would obey it.
            text => write!(f, ", {text:?}"),
        }
    }
}

/// Asks over a connection that only the one worker has the other end of.
pub(super) async fn check<S>(
    stream: S,
    settings: &CheckSettings,
    transport: Transport,
) -> Result<(), CheckError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut seen = Seen { awaited: Awaited::Head, status: None, body: Excerpt::default() };
    let asking = ask_over(stream, settings, transport, &mut seen);
    let asked = tokio::time::timeout(settings.timeout, asking).await;
    let path = settings.path.clone();
    match seen.status {
        Some(status) if !is_healthy(status) => {
            Err(CheckError::Unhealthy { path, status, body: seen.body })
        }
        _ => asked.unwrap_or_else(|_| {
            let (awaited, limit) = (seen.awaited, settings.timeout);
            Err(CheckError::TimedOut { path, awaited, limit })
        }),
    }
}

/// How far it has come, which a time-out must not forget.
#[derive(Debug)]
struct Seen {
    awaited: Awaited,
    status: Option<StatusCode>,
    body: Excerpt,
}

fn is_healthy(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

async fn ask_over<S>(
    stream: S,
    settings: &CheckSettings,
    transport: Transport,
    seen: &mut Seen,
) -> Result<(), CheckError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error: hyper::Error| CheckError::Broken {
        path: settings.path.clone(),
        cause: with_causes(&error),
    };
    match transport {
        Transport::Plain => ask(stream, settings, seen).await.map_err(broken),
        #[cfg(feature = "tls-check")]
        Transport::Tls => {
            seen.awaited = Awaited::Tls;
            let host = settings.host.to_str().unwrap_or_default();
            let stream = tls::connect(stream, host).await.map_err(|error| CheckError::Tls {
                path: settings.path.clone(),
                cause: with_causes(&error),
            })?;
            ask(stream, settings, seen).await.map_err(broken)
        }
        #[cfg(not(feature = "tls-check"))]
        Transport::Tls => Err(CheckError::NoTls { path: settings.path.clone() }),
    }
}

/// One request and its answer.
async fn ask<S>(stream: S, settings: &CheckSettings, seen: &mut Seen) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    seen.awaited = Awaited::Head;
    let mut protocol = http1::Builder::new();
    protocol.max_buf_size(LONGEST_HEAD);
    let (mut sender, connection) = protocol.handshake(TokioIo::new(stream)).await?;
    let mut exchange = pin!(async {
        let answer = sender.send_request(request(settings)).await?;
        seen.status = Some(answer.status());
        seen.awaited = Awaited::End;
        read_out(answer.into_body(), &mut seen.body).await
    });
    tokio::select! {
        done = &mut exchange => done,
        // The connection is at its end; the exchange has all there was of it.
        _ = connection => exchange.await,
    }
}

fn request(settings: &CheckSettings) -> Request<String> {
    let mut request = Request::new(String::new());
    *request.uri_mut() = settings.path.clone();
    let agent = concat!("forkyard/", env!("CARGO_PKG_VERSION"));
    let headers = request.headers_mut();
    headers.insert(HOST, settings.host.clone());
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    request
}

/// Reads the body to its end or to the bound.
async fn read_out(mut body: Incoming, excerpt: &mut Excerpt) -> hyper::Result<()> {
    let mut read = 0;
    while let Some(piece) = next_piece(&mut body).await {
        let piece = piece?;
        excerpt.extend(&piece);
        read += piece.len();
        if read >= LONGEST_BODY {
            break;
        }
    }
    Ok(())
}

/// Some bytes; none of them for trailers.
async fn next_piece(body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
