//! Server and client over a real socket.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::slice::from_ref;
use std::time::Duration;

use forkyard_control::client::{Client, ClientError, Found, find};
use forkyard_control::folder;
use forkyard_control::server::{Server, Wish};
use forkyard_control::types::{Listener, ReloadState, Status, Update, UpgradeOutcome, Worker};
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
            // Who asked may have gone.
            Wish::Status(answer) => drop(answer.send(status())),
            Wish::Reload(watcher) | Wish::Follow(watcher) | Wish::Upgrade(watcher) => {
                // More than a client that does not read has room for.
                for step in 0..1000 {
                    watcher.tell(progress(step));
                }
                watcher.tell(Update::Finished { took_ms: 3 });
            }
        }
    }
}

fn status() -> Status {
    let workers = vec![Worker { slot: 0, worker: 1, pid: 2 }];
    let (app, version) = ("web".into(), "0".into());
    let listeners = vec![Listener {
        address: "unix:/run/app.sock".into(),
        policy: "round-robin".into(),
        reason: Some("a Unix socket".into()),
    }];
    let (pid, generation, upgrade, reload) = (std::process::id(), 3, None, None);
    Status { app, pid, version, generation, upgrade, reload, listeners, workers }
}

fn progress(step: u32) -> Update {
    let fields = serde_json::Map::from_iter([("slot".to_owned(), step.into())]);
    Update::Progress { event: "step".into(), text: step.to_string(), fields }
}

/// For the primary that this process serves the socket of.
fn client(dir: &Path) -> Client {
    let pid = std::process::id();
    let path = folder::socket_path(dir, "web", pid);
    Client::of(Found { app: "web".into(), pid, path })
}

#[tokio::test]
async fn a_primary_is_found_and_asked() {
    let (_keeps, dir) = place();
    let (server, wishes) = Server::start(&dir, "web").unwrap();
    let found = find(from_ref(&dir)).await.unwrap();
    assert_eq!((found.len(), found[0].app.as_str(), found[0].pid), (1, "web", std::process::id()));
    assert_eq!(fs::metadata(&found[0].path).unwrap().mode() & 0o777, 0o600);

    let driving = tokio::spawn(drive(wishes));
    let client = Client::of(found[0].clone());
    assert_eq!(client.status().await.unwrap(), status());
    let mut heard = Vec::new();
    let outcome = client.reload(|update| heard.push(update.clone())).await.unwrap();
    assert_eq!(outcome, Update::Finished { took_ms: 3 });
    assert_eq!(heard.first(), Some(&progress(0)), "and as many more as there was room for");

    drop(server);
    assert_eq!(find(from_ref(&dir)).await.unwrap(), []);
    assert!(!found[0].path.exists());
    driving.abort();
}

#[tokio::test]
async fn whoever_asks_a_stopping_primary_is_told() {
    let (_keeps, dir) = place();
    let (_server, wishes) = Server::start(&dir, "web").unwrap();
    drop(wishes);
    let client = client(&dir);
    let error = client.reload(|_| {}).await.unwrap_err();
    assert!(matches!(&error, ClientError::Denied(why) if why.contains("stopping")), "{error}");
}

/// The connection breaks off, and there is another image of the primary afterwards, which knows
/// of a reload what `reload` tells, one after the other.
async fn next_image(dir: &Path, outcome: &UpgradeOutcome, reload: &[Option<ReloadState>]) {
    first_image(dir).await;
    image_after(dir, outcome, reload).await;
}

/// It is gone once it has told something of what it was asked for.
async fn first_image(dir: &Path) {
    let (server, mut wishes) = Server::start(dir, "web").unwrap();
    if let Some(Wish::Reload(watcher) | Wish::Upgrade(watcher)) = wishes.recv().await {
        watcher.tell(progress(1));
    }
    // What was told is on its way by then.
    server.finish().await;
}

/// It knows of its upgrade and of a reload what is given.
async fn image_after(dir: &Path, outcome: &UpgradeOutcome, reload: &[Option<ReloadState>]) {
    let (_server, mut wishes) = Server::start(dir, "web").unwrap();
    // At first it does not know itself.
    let mut known = [(None, None)].into_iter().chain(reload.iter().flat_map(|reload| {
        // It is asked for either.
        [(); 2].map(|()| (Some(outcome.clone()), reload.clone()))
    }));
    while let Some(wish) = wishes.recv().await {
        // Whoever follows is told nothing: it may be gone once more.
        let Wish::Status(answer) = wish else { continue };
        let (upgrade, reload) = known.next().expect("it is not asked again");
        let _ = answer.send(Status { upgrade, reload, ..status() });
    }
}

#[tokio::test]
async fn an_upgrade_is_told_by_the_image_after_it() {
    let (_keeps, dir) = place();
    let outcome = UpgradeOutcome::Finished { version: "1.2.3".into(), pause_ms: 7 };
    let image = next_image(&dir, &outcome, &[None]);
    let asker = client(&dir);
    let mut heard = Vec::new();
    tokio::select! {
        // The first image is there before it is asked.
        biased;
        () = image => panic!("it serves for good"),
        told = asker.upgrade(|update| heard.push(update.clone())) => {
            assert_eq!(told.unwrap(), outcome);
        }
    }
    assert_eq!(heard, [progress(1)]);
}

/// Its connection waited to be accepted, and was lost with the image.
#[tokio::test]
async fn an_upgrade_that_was_not_heard_of_is_told_by_the_image_after_it() {
    let (_keeps, dir) = place();
    let outcome = UpgradeOutcome::Finished { version: "1.2.3".into(), pause_ms: 7 };
    let path = folder::socket_path(&dir, "web", std::process::id());
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let images = async {
        drop(listener.accept().await.unwrap());
        drop(listener);
        image_after(&dir, &outcome, &[None]).await;
    };
    let asker = client(&dir);
    let told = tokio::select! {
        () = images => panic!("it serves for good"),
        told = asker.upgrade(|_| {}) => told,
    };
    assert_eq!(told.unwrap(), outcome);
}

/// What whoever follows a reload is told, if there is an upgrade meanwhile and the next image
/// knows of the reload what is given.
async fn reload_through_upgrade(
    reload: &[Option<ReloadState>],
) -> (Result<Update, ClientError>, Vec<Update>) {
    let (_keeps, dir) = place();
    let outcome = UpgradeOutcome::Finished { version: "1.2.3".into(), pause_ms: 7 };
    let (asker, mut heard) = (client(&dir), Vec::new());
    let told = tokio::select! {
        // The first image is there before it is asked.
        biased;
        () = next_image(&dir, &outcome, reload) => panic!("it serves for good"),
        told = asker.reload(|update| heard.push(update.clone())) => told,
    };
    (told, heard)
}

#[tokio::test]
async fn a_reload_is_followed_through_an_upgrade() {
    let outcome = Update::Refused { reason: "r".into() };
    let over = ReloadState::Over { outcome: outcome.clone() };
    let under_way = ReloadState::UnderWay;
    let states = [Some(under_way.clone()), Some(under_way), Some(over)];
    let (told, heard) = reload_through_upgrade(&states).await;
    assert_eq!(told.unwrap(), outcome);
    let [first, Update::Progress { event, .. }] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((first, event.as_str()), (&progress(1), "primary_upgraded"));
}

#[tokio::test]
async fn the_next_image_tells_how_a_reload_goes_on() {
    let (_keeps, dir) = place();
    let outcome = Update::Refused { reason: "r".into() };
    let images = async {
        first_image(&dir).await;
        let (_server, mut wishes) = Server::start(&dir, "web").unwrap();
        let upgrade = Some(UpgradeOutcome::Finished { version: "1.2.3".into(), pause_ms: 7 });
        let under_way = Status { upgrade, reload: Some(ReloadState::UnderWay), ..status() };
        loop {
            match wishes.recv().await {
                Some(Wish::Status(answer)) => drop(answer.send(under_way.clone())),
                Some(Wish::Follow(watcher)) => {
                    watcher.tell(progress(2));
                    watcher.tell(outcome.clone());
                }
                other => panic!("{other:?}"),
            }
        }
    };
    let (asker, mut heard) = (client(&dir), Vec::new());
    let told = tokio::select! {
        biased;
        () = images => unreachable!(),
        told = asker.reload(|update| heard.push(update.clone())) => told,
    };
    assert_eq!(told.unwrap(), outcome);
    let [first, Update::Progress { event, .. }, last] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((first, event.as_str(), last), (&progress(1), "primary_upgraded", &progress(2)));
}

#[tokio::test]
async fn a_reload_that_the_next_image_does_not_know_has_not_begun() {
    let (told, _) = reload_through_upgrade(&[None]).await;
    assert!(matches!(told, Err(ClientError::NotBegun { .. })), "{told:?}");
}

/// No image follows, though the process lives.
#[tokio::test]
async fn a_primary_that_ends_first_has_not_finished() {
    let (_keeps, dir) = place();
    let (server, mut wishes) = Server::start(&dir, "web").unwrap();
    let client = client(&dir);
    let ends = async {
        match wishes.recv().await {
            Some(Wish::Reload(watcher)) => watcher.tell(Update::Waiting),
            other => panic!("{other:?}"),
        }
        drop(server);
        // It takes a moment until the client has given the next image up.
        tokio::task::yield_now().await;
        tokio::time::pause();
    };
    let (outcome, ()) = tokio::join!(client.reload(|_| {}), ends);
    assert!(matches!(outcome, Err(ClientError::Ended { .. })), "{outcome:?}");
}

#[tokio::test]
async fn what_was_told_arrives_though_the_app_ends() {
    let (_keeps, dir) = place();
    let (server, mut wishes) = Server::start(&dir, "web").unwrap();
    let client = client(&dir);
    let ends = async {
        let Some(Wish::Reload(watcher)) = wishes.recv().await else { panic!("no wish") };
        // More than the connection holds, so that the client has to read some of it first.
        let text = "x".repeat(8 * 1024);
        for _ in 0..40 {
            let (event, fields) = ("step".to_owned(), serde_json::Map::new());
            watcher.tell(Update::Progress { event, text: text.clone(), fields });
        }
        watcher.tell(Update::Refused { reason: "r".into() });
        drop(watcher);
        server.finish().await;
    };
    let (outcome, ()) = tokio::join!(client.reload(|_| {}), ends);
    assert_eq!(outcome.unwrap(), Update::Refused { reason: "r".into() });
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
    for line in ["GET /v2/status", "GET /v1/upgrade", "POST /v1/stop"] {
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = raw(&path, &request).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(answer.contains(&format!("there is no {line}")), "{answer}");
        assert!(answer.contains("POST /v1/upgrade"), "{answer}");
    }
    assert!(raw(&path, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
}

/// The id of a process that has ended.
fn nobody() -> u32 {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

/// A socket of this process, which nobody listens on.
fn between_images(dir: &Path) -> PathBuf {
    let path = folder::socket_path(dir, "web", std::process::id());
    drop(UnixListener::bind(&path).unwrap());
    path
}

/// The clock advances by itself when there is nothing else to do.
#[tokio::test(start_paused = true)]
async fn what_the_dead_have_left_is_cleaned_up_and_the_rest_left_alone() {
    let (_keeps, dir) = place();
    let left = folder::socket_path(&dir, "old", nobody());
    drop(UnixListener::bind(&left).unwrap());
    // Its process lives, and may be about to listen again.
    let between_images = between_images(&dir);
    let other = dir.join("agent-123.cjs");
    fs::write(&other, "").unwrap();
    assert_eq!(find(from_ref(&dir)).await.unwrap(), []);
    assert!(!left.exists() && between_images.exists() && other.exists());
    assert_eq!(find(&[dir.join("not-there")]).await.unwrap(), []);
}

/// Makes an image listen once `asked` has been refused, and returns the answer.
async fn listened_to_afterwards<T>(dir: &Path, asked: impl Future<Output = T>) -> T {
    let mut asked = pin!(asked);
    tokio::select! {
        // Asked first, and once.
        biased;
        _ = &mut asked => panic!("nobody listens yet"),
        () = std::future::ready(()) => {}
    }
    let (_server, wishes) = Server::start(dir, "web").unwrap();
    let driving = tokio::spawn(drive(wishes));
    let answer = asked.await;
    driving.abort();
    answer
}

#[tokio::test]
async fn a_primary_between_two_images_is_found_and_asked() {
    let (_keeps, dir) = place();
    between_images(&dir);
    let found = listened_to_afterwards(&dir, find(from_ref(&dir))).await.unwrap();
    assert_eq!(found.len(), 1);
    // Another one has come and gone in between.
    between_images(&dir);
    let asker = client(&dir);
    let told = listened_to_afterwards(&dir, asker.reload(|_| {})).await.unwrap();
    assert_eq!(told, Update::Finished { took_ms: 3 });
}

#[tokio::test]
async fn a_folder_that_is_not_ours_hides_no_other() {
    let (_keeps, dir) = place();
    let open = dir.join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(find(&[open.clone(), dir.clone()]).await.is_err(), "nothing is found, and that is why");
    let (_server, _wishes) = Server::start(&dir, "web").unwrap();
    assert_eq!(find(&[open, dir]).await.unwrap().len(), 1);
}

/// More than are served at a time. They are given up in time for those who wait.
#[tokio::test(start_paused = true)]
async fn clients_that_say_nothing_keep_nobody_out() {
    let (_keeps, dir) = place();
    let (_server, wishes) = Server::start(&dir, "web").unwrap();
    let driving = tokio::spawn(drive(wishes));
    let path = folder::socket_path(&dir, "web", std::process::id());
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(UnixStream::connect(&path).await.unwrap());
    }
    assert_eq!(client(&dir).status().await.unwrap(), status());
    driving.abort();
}

/// Somebody cleans up, or a session ends that the folder belongs to.
#[tokio::test(start_paused = true)]
async fn a_socket_that_was_removed_comes_back() {
    let (_keeps, dir) = place();
    let (server, wishes) = Server::start(&dir, "web").unwrap();
    let driving = tokio::spawn(drive(wishes));
    let path = folder::socket_path(&dir, "web", std::process::id());
    let back = async || {
        let back = async {
            while client(&dir).status().await.is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), back).await.expect("it is there again");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    };
    fs::remove_dir_all(&dir).unwrap();
    back().await;
    fs::remove_file(&path).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    back().await;
    // A folder that others can get at is not used, and waited out.
    fs::remove_dir_all(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!path.exists());
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    back().await;
    drop(server);
    assert!(!path.exists());
    driving.abort();
}

#[tokio::test]
async fn who_has_gone_is_known_to_have() {
    let (_keeps, dir) = place();
    let (_server, mut wishes) = Server::start(&dir, "web").unwrap();
    let path = folder::socket_path(&dir, "web", std::process::id());
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"POST /v1/reload HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let Some(Wish::Reload(watcher)) = wishes.recv().await else { panic!("no wish") };
    assert!(!watcher.is_gone());
    drop(stream);
    let gone = async {
        while !watcher.is_gone() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("it is noticed");
}

#[tokio::test]
async fn a_request_has_bounds() {
    let (_keeps, dir) = place();
    let (_server, _wishes) = Server::start(&dir, "web").unwrap();
    let path = folder::socket_path(&dir, "web", std::process::id());
    let header = "x".repeat(60 * 1024);
    let request = format!("GET /v1/x HTTP/1.1\r\nHost: x\r\nX: {header}\r\n\r\n");
    let mut stream = UnixStream::connect(&path).await.unwrap();
    // Not all of it need be taken.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}
