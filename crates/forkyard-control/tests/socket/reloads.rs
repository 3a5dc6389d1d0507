//! Reloads and upgrades, and what becomes of whoever follows one.

use std::path::Path;
use std::time::Duration;

use forkyard_control::client::ClientError;
use forkyard_control::server::{Server, Wish};
use forkyard_control::types::{ReloadState, Status, Update, UpgradeOutcome};

use crate::place::{asked, client, place, progress, socket, status};

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
    let listener = tokio::net::UnixListener::bind(socket(&dir)).unwrap();
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

#[tokio::test]
async fn who_has_gone_is_known_to_have() {
    let (_keeps, dir) = place();
    let (_server, mut wishes) = Server::start(&dir, "web").unwrap();
    let stream = asked(&dir, "POST /v1/reload HTTP/1.1\r\nHost: x\r\n\r\n").await;
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
async fn a_restart_is_followed_as_a_reload_is() {
    let (_keeps, dir) = place();
    let outcome = Update::Finished { took_ms: 3 };
    let over = Some(ReloadState::Over { outcome: outcome.clone() });
    let upgrade = Some(UpgradeOutcome::Finished { version: "1.2.3".into(), pause_ms: 7 });
    let images = async {
        let (server, mut wishes) = Server::start(&dir, "web").unwrap();
        match wishes.recv().await {
            Some(Wish::Restart(Some(7), watcher)) => watcher.tell(progress(1)),
            other => panic!("{other:?}"),
        }
        server.finish().await;
        let (_server, mut wishes) = Server::start(&dir, "web").unwrap();
        while let Some(wish) = wishes.recv().await {
            let Wish::Status(answer) = wish else { panic!("{wish:?}") };
            let (reload, upgrade) = (over.clone(), upgrade.clone());
            let _ = answer.send(Status { reload, upgrade, ..status() });
        }
    };
    let asker = client(&dir);
    let told = tokio::select! {
        biased;
        () = images => unreachable!(),
        told = asker.restart(Some(7), |_| {}) => told,
    };
    assert_eq!(told.unwrap(), outcome);
}

/// The next image is asked once more, because that does no harm.
#[tokio::test]
async fn a_number_of_workers_is_asked_for_again_after_an_upgrade() {
    let (_keeps, dir) = place();
    let images = async {
        for image in 1..=2 {
            let (server, mut wishes) = Server::start(&dir, "web").unwrap();
            match wishes.recv().await {
                Some(Wish::Scale(workers, watcher)) if workers.get() == 5 => {
                    watcher.tell(progress(image));
                    (image == 2).then(|| watcher.tell(Update::Finished { took_ms: 3 }));
                }
                other => panic!("{other:?}"),
            }
            server.finish().await;
        }
    };
    let (asker, mut heard) = (client(&dir), Vec::new());
    let asking = asker.scale(5.try_into().unwrap(), |update| heard.push(update.clone()));
    let ((), told) = tokio::join!(images, asking);
    assert_eq!(told.unwrap(), Update::Finished { took_ms: 3 });
    let [first, Update::Progress { event, .. }, last] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((first, event.as_str(), last), (&progress(1), "primary_upgraded", &progress(2)));
}
