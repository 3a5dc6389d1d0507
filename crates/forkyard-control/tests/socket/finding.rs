//! Where sockets are, and who is found by them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::slice::from_ref;
use std::time::Duration;

use forkyard_control::client::{Client, find};
use forkyard_control::folder;
use forkyard_control::server::Server;
use forkyard_control::types::Update;

use crate::place::{client, drive, place, progress, socket, status};

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

/// The id of a process that has ended.
fn nobody() -> u32 {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

/// A socket of this process, which nobody listens on.
fn between_images(dir: &Path) -> PathBuf {
    let path = socket(dir);
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

/// Somebody cleans up, or a session ends that the folder belongs to.
#[tokio::test(start_paused = true)]
async fn a_socket_that_was_removed_comes_back() {
    let (_keeps, dir) = place();
    let (server, wishes) = Server::start(&dir, "web").unwrap();
    let driving = tokio::spawn(drive(wishes));
    let path = socket(&dir);
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
