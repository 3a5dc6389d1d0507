//! A folder for sockets, somebody who drives a primary, and clients.

use std::path::{Path, PathBuf};
use std::time::Duration;

use forkyard_control::client::{Client, Found};
use forkyard_control::folder;
use forkyard_control::server::{Denial, Feed, Following, Wish};
use forkyard_control::types::{
    AppEvent, AppState, FlushReply, Listener, SignalReply, Status, Update, Worker, WorkerRef,
    WorkerState,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// A folder of ours alone.
pub(crate) fn place() -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("run");
    folder::prepare(&dir).unwrap();
    (temp, dir)
}

/// Answers every wish the same way.
pub(crate) async fn drive(mut wishes: mpsc::Receiver<Wish>) {
    let feed = Feed::default();
    while let Some(wish) = wishes.recv().await {
        grant(wish, &feed);
    }
}

/// Who asked may have gone.
pub(crate) fn grant(wish: Wish, feed: &Feed) {
    match wish {
        Wish::Status(answer) => drop(answer.send(status())),
        Wish::Events(answer) => {
            let following = Following { status: status(), events: feed.follow() };
            drop(answer.send(following));
        }
        Wish::Reload(watcher)
        | Wish::Follow(watcher)
        | Wish::Upgrade(watcher)
        | Wish::Restart(_, watcher)
        | Wish::Scale(_, watcher) => {
            // More than a client that does not read has room for.
            (0..1000).for_each(|step| watcher.tell(progress(step)));
            watcher.tell(Update::Finished { took_ms: 3 });
        }
        Wish::Stop(_, answer) => drop(answer.send(())),
        Wish::Signal(request, answer) => drop(answer.send(match request.slot {
            None | Some(0) => Ok(SignalReply { workers: vec![worker()] }),
            Some(slot) => Err(Denial { reason: format!("there is no slot {slot}") }),
        })),
        Wish::FlushLogs(answer) => {
            drop(answer.send(Ok(FlushReply { files: vec!["out.log".into()], bytes: 5 })));
        }
        Wish::Settings(secrets, answer) => drop(answer.send(json!({ "secrets": secrets }))),
    }
}

fn worker() -> WorkerRef {
    WorkerRef { slot: 0, worker: 1, pid: 2 }
}

pub(crate) fn status() -> Status {
    let workers = vec![Worker {
        slot: 0,
        worker: 1,
        pid: 2,
        state: WorkerState::Ready,
        started: Some(17),
        restarts: 0,
        memory_bytes: Some(4096),
        cpu_ms: Some(10),
    }];
    let listeners = vec![Listener {
        address: "unix:/run/app.sock".into(),
        policy: "round-robin".into(),
        reason: Some("a Unix socket".into()),
    }];
    Status {
        api: 1,
        app: "web".into(),
        pid: std::process::id(),
        version: "0".into(),
        state: AppState::Running,
        generation: 3,
        started: 16,
        image_started: 16,
        workers,
        listeners,
        reload: None,
        upgrade: None,
    }
}

pub(crate) fn progress(step: u32) -> Update {
    let fields = serde_json::Map::from_iter([("slot".to_owned(), step.into())]);
    Update::Progress { event: "step".into(), text: step.to_string(), fields }
}

pub(crate) fn event(number: u32) -> AppEvent {
    let (time, level) = ("2020-01-01T00:00:00Z".into(), "info".into());
    let fields = serde_json::Map::from_iter([("number".to_owned(), number.into())]);
    AppEvent { time, level, event: "counted".into(), text: String::new(), fields }
}

/// For the primary that this process serves the socket of.
pub(crate) fn client(dir: &Path) -> Client {
    Client::of(Found { app: "web".into(), pid: std::process::id(), path: socket(dir) })
}

/// Where this process's socket is.
pub(crate) fn socket(dir: &Path) -> PathBuf {
    folder::socket_path(dir, "web", std::process::id())
}

/// A connection to it by which something was asked.
pub(crate) async fn asked(dir: &Path, request: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket(dir)).await.unwrap();
    // Not all of it need be taken.
    let _ = stream.write_all(request.as_bytes()).await;
    stream
}

/// What has to come, in the end.
pub(crate) async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), awaited).await.expect("it comes in time")
}

/// The whole answer.
pub(crate) async fn raw(dir: &Path, request: &str) -> String {
    let mut answer = Vec::new();
    let mut stream = asked(dir, request).await;
    in_time(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// What a line says that asks for something with nothing behind it.
pub(crate) fn request(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

/// The same with a body.
pub(crate) fn request_with(line: &str, body: &str) -> String {
    let length = body.len();
    format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
}
