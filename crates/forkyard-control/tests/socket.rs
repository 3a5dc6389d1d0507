//! Server and client over a real socket.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use forkyard_control::client::{Client, ClientError, find};
use forkyard_control::folder;
use forkyard_control::server::{Server, Wish};
use forkyard_control::types::{Status, Update, Worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// A folder of ours alone.
fn place() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("run");
    folder::prepare(&dir).unwrap();
    (temp, dir)
}

/// Answers every wish the same way.
async fn drive(mut wishes: mpsc::Receiver<Wish>) {
    while let Some(wish) = wishes.recv().await {
        match wish {
            Wish::Status(answer) => answer.send(status()).unwrap(),
            Wish::Reload(watcher) => {
                // More than a client that does not read has room for.
                for step in 0..1000 {
                    watcher.tell(Update::Progress { text: step.to_string() });
                }
                watcher.tell(Update::Finished { took_ms: 3 });
            }
        }
    }
}

fn status() -> Status {
    let workers = vec![Worker { slot: 0, worker: 1, pid: 2 }];
    Status { app: "web".into(), pid: std::process::id(), version: "0".into(), workers }
}

#[tokio::test]
async fn a_primary_is_found_and_asked() {
    let (_keeps, dir) = place();
    let (server, wishes) = Server::start(&dir, "web").unwrap();
    let found = find(&dir).await.unwrap();
    assert_eq!((found.len(), found[0].app.as_str(), found[0].pid), (1, "web", std::process::id()));
    assert_eq!(fs::metadata(&found[0].path).unwrap().mode() & 0o777, 0o600);

    let driving = tokio::spawn(drive(wishes));
    let client = Client::of(found[0].path.clone());
    assert_eq!(client.status().await.unwrap(), status());
    let mut heard = Vec::new();
    let outcome = client.reload(|update| heard.push(update.clone())).await.unwrap();
    assert_eq!(outcome, Update::Finished { took_ms: 3 });
    assert_eq!(heard.last(), Some(&outcome));

    drop(server);
    assert_eq!(find(&dir).await.unwrap(), []);
    assert!(!found[0].path.exists());
    driving.abort();
}

#[tokio::test]
async fn whoever_asks_a_stopping_primary_is_told() {
    let (_keeps, dir) = place();
    let (_server, wishes) = Server::start(&dir, "web").unwrap();
    drop(wishes);
    let client = Client::of(folder::socket_path(&dir, "web", std::process::id()));
    let error = client.reload(|_| {}).await.unwrap_err();
    assert!(matches!(&error, ClientError::Denied(why) if why.contains("stopping")), "{error}");
}

#[tokio::test]
async fn a_primary_that_ends_first_has_not_finished() {
    let (_keeps, dir) = place();
    let (_server, mut wishes) = Server::start(&dir, "web").unwrap();
    let client = Client::of(folder::socket_path(&dir, "web", std::process::id()));
    let ends = async {
        match wishes.recv().await {
            Some(Wish::Reload(watcher)) => watcher.tell(Update::Waiting),
            other => panic!("{other:?}"),
        }
    };
    let (outcome, ()) = tokio::join!(client.reload(|_| {}), ends);
    assert!(matches!(outcome, Err(ClientError::Broken(_))), "{outcome:?}");
}

async fn raw(path: &std::path::Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_there_is_not_is_answered_with_what_there_is() {
    let (_keeps, dir) = place();
    let (_server, _wishes) = Server::start(&dir, "web").unwrap();
    let path = folder::socket_path(&dir, "web", std::process::id());
    for line in ["GET /v2/status", "GET /v1/reload", "POST /v1/stop"] {
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = raw(&path, &request).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(answer.contains(&format!("there is no {line}")), "{answer}");
        assert!(answer.contains("POST /v1/reload"), "{answer}");
    }
    assert!(raw(&path, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn what_the_dead_have_left_is_cleaned_up_and_the_rest_left_alone() {
    let (_keeps, dir) = place();
    // No process has a number that is 0.
    let left = folder::socket_path(&dir, "old", 0);
    drop(UnixListener::bind(&left).unwrap());
    let other = dir.join("agent-123.cjs");
    fs::write(&other, "").unwrap();
    assert_eq!(find(&dir).await.unwrap(), []);
    assert!(!left.exists() && other.exists());
    assert_eq!(find(&dir.join("not-there")).await.unwrap(), []);
}

#[tokio::test]
async fn clients_that_say_nothing_cost_nothing() {
    let (_keeps, dir) = place();
    let (_server, wishes) = Server::start(&dir, "web").unwrap();
    let driving = tokio::spawn(drive(wishes));
    let path = folder::socket_path(&dir, "web", std::process::id());
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(UnixStream::connect(&path).await.unwrap());
    }
    assert_eq!(Client::of(path).status().await.unwrap(), status());
    driving.abort();
}
