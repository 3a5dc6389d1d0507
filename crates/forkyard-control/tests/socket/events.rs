//! Whoever follows an app.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use forkyard_control::client::{Client, ClientError, Events, Found, Heard};
use forkyard_control::server::{Feed, Following, Server, Wish};
use forkyard_control::types::Status;
use tokio::sync::mpsc;

use crate::place::{client, event, place, socket, status};

/// Answers whoever wants to follow, and tells what `image` it is.
async fn followed(wishes: &mut mpsc::Receiver<Wish>, feed: &Feed, image: u64) {
    match wishes.recv().await {
        Some(Wish::Events(answer)) => {
            let status = Status { image_started: image, ..status() };
            let _ = answer.send(Following { status, events: feed.follow() });
        }
        other => panic!("{other:?}"),
    }
}

async fn heard(events: &mut Events) -> Heard {
    events.next().await.unwrap().expect("something is heard")
}

fn status_of(image: u64) -> Heard {
    Heard::Status(Box::new(Status { image_started: image, ..status() }))
}

/// Ended by the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_status_is_heard_first_and_then_what_happens() {
    let (_keeps, dir) = place();
    let (_server, mut wishes) = Server::start(&dir, "web").unwrap();
    let (feed, mut events) = (Feed::default(), client(&dir).events());
    feed.tell(|| panic!("nobody follows yet"));
    let (first, ()) = tokio::join!(heard(&mut events), followed(&mut wishes, &feed, 1));
    assert_eq!(first, status_of(1));
    (0..3).for_each(|number| feed.tell(|| event(number)));
    for number in 0..3 {
        assert_eq!(heard(&mut events).await, Heard::Event(event(number)));
    }
    // The app is over, and its primary about to end.
    feed.tell(|| event(3));
    feed.close();
    drop(wishes);
    assert_eq!(heard(&mut events).await, Heard::Event(event(3)));
    assert_eq!(heard(&mut events).await, Heard::Ended);
    assert_eq!(events.next().await.unwrap(), None);
}

#[tokio::test]
async fn an_upgrade_is_told_from_a_connection_that_was_lost() {
    let (_keeps, dir) = place();
    let mut events = client(&dir).events();
    let feed = Feed::default();
    let (server, mut wishes) = Server::start(&dir, "web").unwrap();
    let (first, ()) = tokio::join!(heard(&mut events), followed(&mut wishes, &feed, 1));
    assert_eq!(first, status_of(1));

    // The same image has given this client up.
    feed.close();
    let feed = Feed::default();
    let (again, ()) = tokio::join!(heard(&mut events), followed(&mut wishes, &feed, 1));
    assert_eq!(again, status_of(1));

    drop((server, wishes));
    let image = async {
        let feed = Feed::default();
        let (server, mut wishes) = Server::start(&dir, "web").unwrap();
        followed(&mut wishes, &feed, 2).await;
        feed.tell(|| event(7));
        (server, wishes, feed)
    };
    let (next, _image) = tokio::join!(heard(&mut events), image);
    assert_eq!(next, Heard::Upgraded);
    assert_eq!(heard(&mut events).await, status_of(2));
    assert_eq!(heard(&mut events).await, Heard::Event(event(7)));
}

#[tokio::test]
async fn the_end_of_the_process_is_the_end() {
    let (_keeps, dir) = place();
    let mut process = Process::start(Command::new("sleep").arg("1000"));
    let found = Found { app: "web".into(), pid: process.0.id(), path: socket(&dir) };
    let (feed, mut events) = (Feed::default(), Client::of(found).events());
    let (server, mut wishes) = Server::start(&dir, "web").unwrap();
    let (first, ()) = tokio::join!(heard(&mut events), followed(&mut wishes, &feed, 1));
    assert_eq!(first, status_of(1));
    process.end();
    drop((server, wishes));
    assert_eq!(heard(&mut events).await, Heard::Ended);
}

/// Its process lives, and there is no image after it.
#[tokio::test(start_paused = true)]
async fn a_primary_that_says_nothing_any_more_is_no_end() {
    let (_keeps, dir) = place();
    let (feed, mut events) = (Feed::default(), client(&dir).events());
    let (server, mut wishes) = Server::start(&dir, "web").unwrap();
    let (first, ()) = tokio::join!(heard(&mut events), followed(&mut wishes, &feed, 1));
    assert_eq!(first, status_of(1));
    drop((server, wishes));
    let error = events.next().await.unwrap_err();
    assert!(matches!(error, ClientError::Silent { .. }), "{error}");
}

/// Nothing at all comes, not even the word that there is nothing to say.
#[tokio::test(start_paused = true)]
async fn a_primary_that_is_stopped_is_noticed() {
    let (_keeps, dir) = place();
    let listener = tokio::net::UnixListener::bind(socket(&dir)).unwrap();
    let mut events = client(&dir).events();
    let stopped = async {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    };
    let next = async {
        tokio::select! {
            next = events.next() => next,
            () = stopped => unreachable!(),
        }
    };
    let next = tokio::time::timeout(Duration::from_secs(300), next).await.expect("it is noticed");
    assert!(matches!(next, Err(ClientError::Silent { .. })), "{next:?}");
}

/// Whoever is told nothing for long is told that.
#[tokio::test(start_paused = true)]
async fn a_quiet_app_is_followed_for_as_long_as_it_takes() {
    let (_keeps, dir) = place();
    let (_server, mut wishes) = Server::start(&dir, "web").unwrap();
    let (feed, mut events) = (Feed::default(), client(&dir).events());
    let (first, ()) = tokio::join!(heard(&mut events), followed(&mut wishes, &feed, 1));
    assert_eq!(first, status_of(1));
    let later = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        feed.tell(|| event(1));
    };
    let (next, ()) = tokio::join!(heard(&mut events), later);
    assert_eq!(next, Heard::Event(event(1)));
}

#[tokio::test]
async fn the_end_of_a_process_can_be_waited_for() {
    let (_keeps, dir) = place();
    let path = dir.join("web.sock");
    // Debian always has it.
    let script = "my $s = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 9) or die;\
                  $| = 1; print qq(listens\\n); sleep 1000;";
    let mut command = Command::new("perl");
    command.args(["-MIO::Socket::UNIX", "-e", script]).arg(&path);
    let mut process = Process::start(&mut command);
    let mut said = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let found = Found { app: "web".into(), pid: process.0.id(), path };
    let ending = Client::of(found.clone()).ending().await.unwrap();
    assert!(!ending.ended_within(Duration::ZERO).await);
    process.end();
    assert!(ending.ended_within(Duration::from_secs(30)).await);
    assert!(Client::of(found).ending().await.is_err());
}

/// The number has come to mean somebody else.
#[tokio::test]
async fn a_process_that_does_not_listen_there_is_not_waited_for() {
    let (_keeps, dir) = place();
    let (_server, _wishes) = Server::start(&dir, "web").unwrap();
    client(&dir).ending().await.unwrap();
    let process = Process::start(Command::new("sleep").arg("1000"));
    let found = Found { app: "web".into(), pid: process.0.id(), path: socket(&dir) };
    let error = Client::of(found).ending().await.unwrap_err();
    assert!(matches!(error, ClientError::Ended { .. }), "{error}");
}
