//! A worker in Rust that does what its last argument says, and says on stdout, in JSON,
//! what came of it.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what it says is for the test")]

use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;

use forkyard::{Connection, ListenError, Value, Worker};
use futures_core::Stream;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let worker = Worker::from_env()?;
    match std::env::args().next_back().as_deref() {
        Some("disconnect") => disconnect(worker).await,
        Some("echo") => echo(worker).await,
        Some("relisten") => relisten(worker).await,
        Some("stream") => stream(worker).await,
        Some("udp") => udp(worker).await,
        other => Err(format!("there is no such way: {other:?}").into()),
    }
}

/// Answers one line with the same line and this process's id.
async fn answer(connection: Connection) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut line = String::new();
    connection.read_line(&mut line).await?;
    let answer = format!("{} {line}", std::process::id());
    connection.write_all(answer.as_bytes()).await
}

/// Leaves with a connection under way, and answers on it afterwards.
async fn disconnect(worker: Worker) -> Result<(), Box<dyn Error>> {
    let mut listener = worker.listen("127.0.0.1:0").await?;
    let (connection, _) = listener.accept().await?;
    worker.disconnect().await;
    let ended = listener.accept().await.map(drop).map_err(|error| error.kind().to_string());
    println!("{}", json!({ "disconnected": true, "accept": ended }));
    Ok(answer(connection).await?)
}

/// Sends every message back.
async fn echo(mut worker: Worker) -> Result<(), Box<dyn Error>> {
    worker.send(Value::from(json!({ "ready": std::process::id() }))).await?;
    let mut leaving = pin!(worker.leaving());
    loop {
        tokio::select! {
            Some(message) = worker.next_message() => worker.send(message).await?,
            () = &mut leaving => return Ok(()),
        }
    }
}

/// Listens on one address again and again.
async fn relisten(worker: Worker) -> Result<(), Box<dyn Error>> {
    let address = std::env::var("LISTEN")?;
    let mut outcomes = Vec::new();
    for _ in 0..10 {
        let outcome = worker.listen(&address).await.map(drop);
        outcomes.push(outcome.map_or_else(|error| shown(&error), |()| "listened".to_owned()));
    }
    println!("{}", json!({ "outcomes": outcomes }));
    worker.leaving().await;
    Ok(())
}

/// Answers on the connections of a stream, until the stream ends.
async fn stream(worker: Worker) -> Result<(), Box<dyn Error>> {
    let mut connections = pin!(worker.listen("127.0.0.1:0").await?);
    while let Some(connection) = poll_fn(|cx| connections.as_mut().poll_next(cx)).await {
        answer(connection?).await?;
    }
    println!("{}", json!({ "stream": "ended" }));
    Ok(())
}

/// Sends every datagram back with this process's id.
async fn udp(worker: Worker) -> Result<(), Box<dyn Error>> {
    let address = std::env::var("LISTEN")?;
    let socket = worker.bind_udp(&address).await?;
    let again = worker.bind_udp(&address).await.map(drop);
    println!("{}", json!({ "again": again.map_err(|error| shown(&error)) }));
    let mut leaving = pin!(worker.leaving());
    let mut datagram = [0; 1024];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut datagram) => {
                let (length, peer) = received?;
                let said = String::from_utf8_lossy(&datagram[..length]).into_owned();
                let answer = format!("{} {said}", std::process::id());
                socket.send_to(answer.as_bytes(), peer).await?;
            }
            () = &mut leaving => return Ok(()),
        }
    }
}

fn shown(error: &ListenError) -> String {
    match error {
        ListenError::Refused { source, .. } => source.kind().to_string(),
        other => other.to_string(),
    }
}
