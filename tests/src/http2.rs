//! Clients that speak HTTP/2 and obey GOAWAY as good clients do: what the server says it
//! has not begun goes to a new connection, and so does what comes later. All else that
//! goes wrong is lost.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::client::{Failure, Reply, Target};
use crate::load::{Asked, Client};
use crate::tls;

/// A request that so many connections in a row would not take is lost.
const REFUSALS: usize = 5;

/// One connection at a time, shared by several clients: each has a stream of its own.
pub(crate) struct Shared {
    runtime: Runtime,
    target: Target,
    patience: Duration,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    sender: Option<SendRequest<Bytes>>,
    /// How many connections there were before this one.
    number: usize,
}

/// One client of many on the same connection.
pub(crate) struct Http2(pub(crate) Arc<Shared>);

impl Client for Http2 {
    fn ask(&mut self, path: &str) -> Asked {
        let shared = &self.0;
        let answer = shared.runtime.block_on(async {
            let answer = timeout(shared.patience, shared.exchange(path)).await;
            answer.unwrap_or(Err(Failure::TimedOut))
        });
        Asked { local_port: 0, answer }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Shared {
    /// Connects at the first request; no request takes longer than `patience`.
    pub(crate) fn new(target: &Target, patience: Duration) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime for HTTP/2");
        Self { runtime, target: target.clone(), patience, current: Mutex::default() }
    }

    async fn exchange(&self, path: &str) -> Result<Reply, Failure> {
        for _ in 0..REFUSALS {
            let (sender, number) = self.sender().await?;
            match ask(sender, path).await {
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    self.forget(number);
                    if !was_not_begun(&error) {
                        return Err(failure(&error));
                    }
                }
            }
        }
        Err(Failure::Other(format!("GOAWAY from {REFUSALS} connections in a row")))
    }

    /// The connection that is open, or else a new one. Two clients that both find none make
    /// one each; the later one stays.
    async fn sender(&self) -> Result<(SendRequest<Bytes>, usize), Failure> {
        if let Some(found) = self.open() {
            return Ok(found);
        }
        let sender = connect(&self.target).await?;
        let mut current = self.lock();
        current.number += 1;
        current.sender = Some(sender.clone());
        Ok((sender, current.number))
    }

    fn open(&self) -> Option<(SendRequest<Bytes>, usize)> {
        let current = self.lock();
        Some((current.sender.clone()?, current.number))
    }

    /// Nothing more is asked on this connection. What is under way there goes on.
    fn forget(&self, number: usize) {
        let mut current = self.lock();
        if current.number == number {
            current.sender = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().expect("invariant: nobody panics with the connection")
    }
}

async fn connect(target: &Target) -> Result<SendRequest<Bytes>, Failure> {
    match target {
        Target::Tcp(address) => shake_hands(TcpStream::connect(address).await?).await,
        Target::Unix(path) => shake_hands(UnixStream::connect(path).await?).await,
        Target::Tls { address, trust } => {
            let stream = TcpStream::connect(address).await?;
            let connector = trust.connector_for_http2();
            shake_hands(connector.connect(tls::server_name(), stream).await?).await
        }
    }
}

async fn shake_hands<S>(stream: S) -> Result<SendRequest<Bytes>, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shaken = h2::client::handshake(stream).await;
    let (sender, connection) = shaken.map_err(|error| failure(&error))?;
    // Its end is told to every stream on it.
    tokio::spawn(connection);
    Ok(sender)
}

async fn ask(sender: SendRequest<Bytes>, path: &str) -> Result<Reply, h2::Error> {
    let mut sender = sender.ready().await?;
    let request = Request::get(format!("http://test{path}")).body(()).expect("a request");
    let (response, _) = sender.send_request(request, true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        text.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    let body = String::from_utf8_lossy(&text).into_owned();
    Ok(Reply { status: head.status.as_u16(), body, keeps_alive: true })
}

/// Whether the server has said that it has not begun this request and that nothing is wrong
/// otherwise: by GOAWAY, or by refusing the stream (RFC 9113, section 8.7).
fn was_not_begun(error: &h2::Error) -> bool {
    let gone_away = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (gone_away || refused)
}

fn failure(error: &h2::Error) -> Failure {
    match error.get_io() {
        Some(io) => io.kind().into(),
        None if error.is_remote() => Failure::Reset,
        None => Failure::Other(error.to_string()),
    }
}
