//! A worker and a primary that says just what a test wants.

mod primary;

use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

use forkyard_ipc::WorkerMessage;
use futures_core::Stream;

use super::{ListenError, Listener, Worker};
use primary::{Primary, online, shared_socket};

const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const DEADLINE: Duration = Duration::from_secs(30);

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it happens in time")
}

/// Whether it stays undone for as long as nothing happens. The clock must be paused.
async fn is_held_up(future: &mut Pin<Box<impl Future>>) -> bool {
    tokio::time::timeout(Duration::from_secs(3600), future).await.is_err()
}

/// A listener whose connections are handed over.
async fn listening(worker: &Worker, primary: &mut Primary, key: &str) -> Listener {
    let grant = async {
        let ack = primary.hear_query().await;
        primary.grant(ack, key);
    };
    let (listener, ()) = in_time(async { tokio::join!(worker.listen(ADDRESS), grant) }).await;
    assert!(matches!(primary.hear().await, WorkerMessage::Listening { .. }));
    listener.unwrap()
}

/// A listener that accepts by itself.
async fn sharing(worker: &Worker, primary: &mut Primary, socket: &OwnedFd) -> Listener {
    let grant = async {
        let ack = primary.hear_query().await;
        primary.grant_shared(ack, "shared", socket);
    };
    let (listener, ()) = in_time(async { tokio::join!(worker.listen(ADDRESS), grant) }).await;
    assert_eq!(primary.hear().await, WorkerMessage::HandleAck);
    assert!(matches!(primary.hear().await, WorkerMessage::Listening { .. }));
    listener.unwrap()
}

async fn next(listener: &mut Listener) -> Option<io::Result<super::Connection>> {
    in_time(poll_fn(|cx| Pin::new(&mut *listener).poll_next(cx))).await
}

async fn assert_ended(listener: &mut Listener) {
    for _ in 0..3 {
        let error = in_time(listener.accept()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        assert!(next(listener).await.is_none());
    }
}

#[tokio::test]
async fn a_listener_that_has_ended_stays_so() {
    let (worker, mut primary) = online().await;
    let (socket, _) = shared_socket();
    let mut own = sharing(&worker, &mut primary, &socket).await;
    let mut handed = listening(&worker, &mut primary, "handed").await;
    primary.ask_to_leave();
    assert_ended(&mut own).await;
    assert_ended(&mut handed).await;
}

#[tokio::test]
async fn who_leaves_takes_no_connection_from_a_shared_socket() {
    let (worker, mut primary) = online().await;
    let (socket, address) = shared_socket();
    let mut listener = sharing(&worker, &mut primary, &socket).await;
    let _client = TcpStream::connect(address).unwrap();
    primary.ask_to_leave();
    assert!(matches!(primary.hear().await, WorkerMessage::Close { .. }));
    assert_ended(&mut listener).await;
    let others = std::net::TcpListener::from(socket);
    others.set_nonblocking(true).unwrap();
    assert!(others.accept().is_ok(), "it is left to the other workers");
}

#[tokio::test]
async fn who_leaves_declines_connections_and_serves_those_it_has() {
    let (worker, mut primary) = online().await;
    let mut listener = listening(&worker, &mut primary, "a").await;
    let _first = primary.hand_over("a");
    assert!(primary.hear_verdict().await);
    primary.ask_to_leave();
    assert!(matches!(primary.hear().await, WorkerMessage::Close { .. }));
    let _second = primary.hand_over("a");
    assert!(!primary.hear_verdict().await);
    assert!(next(&mut listener).await.is_some());
    assert_ended(&mut listener).await;
}

#[tokio::test(start_paused = true)]
async fn the_program_is_told_when_its_listeners_are_drained() {
    let (worker, mut primary) = online().await;
    let mut drained = listening(&worker, &mut primary, "a").await;
    let dropped = listening(&worker, &mut primary, "b").await;
    let _client = primary.hand_over("a");
    assert!(primary.hear_verdict().await);
    let mut leaving = Box::pin(worker.leaving());
    primary.ask_to_leave();
    assert!(is_held_up(&mut leaving).await, "two are not drained");
    drop(in_time(drained.accept()).await.unwrap());
    assert_ended(&mut drained).await;
    assert!(is_held_up(&mut leaving).await, "one is not drained");
    drop(dropped);
    in_time(leaving).await;
}

#[tokio::test(start_paused = true)]
async fn the_program_is_told_when_what_clients_say_first_is_read() {
    use std::io::Write;
    use tokio::io::AsyncReadExt;

    let (worker, mut primary) = online().await;
    let mut listener = listening(&worker, &mut primary, "a").await;
    let mut client = primary.hand_over("a");
    let (mut connection, _) = in_time(listener.accept()).await.unwrap();
    let asked = tokio::time::Instant::now();
    primary.ask_to_leave();
    assert_ended(&mut listener).await;
    client.write_all(b"hello").unwrap();
    connection.read_exact(&mut [0; 5]).await.unwrap();
    worker.leaving().await;
    assert_eq!(asked.elapsed(), Duration::ZERO, "nothing is waited for");
}

#[tokio::test(start_paused = true)]
async fn clients_that_say_nothing_do_not_hold_up_the_program_for_long() {
    let (worker, mut primary) = online().await;
    let mut listener = listening(&worker, &mut primary, "a").await;
    let _client = primary.hand_over("a");
    let (_connection, _) = in_time(listener.accept()).await.unwrap();
    let asked = tokio::time::Instant::now();
    primary.ask_to_leave();
    assert_ended(&mut listener).await;
    in_time(worker.leaving()).await;
    assert!(asked.elapsed() >= super::departure::PATIENCE, "they get a chance");
}

/// The pattern of the documentation, with requests that are already sent.
#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_answers_what_was_handed_over_before_the_worker_leaves() {
    use std::io::{Read, Write};

    let (worker, mut primary) = online().await;
    let listener = listening(&worker, &mut primary, "a").await;
    let mut clients: Vec<_> = (0..20).map(|_| primary.hand_over("a")).collect();
    for client in &mut clients {
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    }
    primary.ask_to_leave();
    let app = axum::Router::new().route("/", axum::routing::get(|| async { "hi" }));
    let served = axum::serve(listener, app).with_graceful_shutdown(worker.leaving());
    in_time(served.into_future()).await.unwrap();
    for mut client in clients {
        client.set_nonblocking(false).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("hi"), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_without_listeners_is_told_at_once() {
    let (worker, mut primary) = online().await;
    let asked = tokio::time::Instant::now();
    primary.ask_to_leave();
    in_time(worker.leaving()).await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_channel_stays_open_after_the_worker_has_left() {
    let (worker, mut primary) = online().await;
    let left = async {
        let WorkerMessage::ExitedAfterDisconnect { seq } = primary.hear().await else {
            panic!("it was to say that it leaves");
        };
        primary.acknowledge(seq);
    };
    in_time(async { tokio::join!(worker.disconnect(), left) }).await;
    let mut end = Box::pin(primary.next());
    assert!(is_held_up(&mut end).await, "its end would make the primary hurry");
}

#[tokio::test]
async fn the_channel_is_closed_when_worker_and_listeners_are_dropped() {
    let (worker, mut primary) = online().await;
    let listener = listening(&worker, &mut primary, "a").await;
    drop(worker);
    let _client = primary.hand_over("a");
    assert!(primary.hear_verdict().await, "the listener needs it");
    drop(listener);
    while in_time(primary.next()).await.is_some() {}
}

#[tokio::test]
async fn a_dropped_listener_is_closed_before_the_next_question() {
    let (worker, mut primary) = online().await;
    for round in 0..20 {
        drop(listening(&worker, &mut primary, "the same key").await);
        let grant = async {
            let closed = primary.hear().await;
            assert!(matches!(closed, WorkerMessage::Close { .. }), "round {round}: {closed:?}");
            let ack = primary.hear_query().await;
            primary.grant(ack, "the same key");
        };
        let (listener, ()) = in_time(async { tokio::join!(worker.listen(ADDRESS), grant) }).await;
        assert!(matches!(primary.hear().await, WorkerMessage::Listening { .. }));
        let mut listener = listener.unwrap();
        let _client = primary.hand_over("the same key");
        assert!(primary.hear_verdict().await, "it is the new listener's");
        assert!(next(&mut listener).await.unwrap().is_ok());
        drop(listener);
        assert!(matches!(primary.hear().await, WorkerMessage::Close { .. }));
    }
}

fn assert_disconnected(outcome: Result<Listener, ListenError>) {
    assert!(matches!(outcome, Err(ListenError::Disconnected)), "{outcome:?}");
}

#[tokio::test]
async fn who_leaves_cannot_listen() {
    let (worker, mut primary) = online().await;
    let asked_meanwhile = async {
        let ack = primary.hear_query().await;
        primary.ask_to_leave();
        ack
    };
    let (refused, ack) =
        in_time(async { tokio::join!(worker.listen(ADDRESS), asked_meanwhile) }).await;
    assert_disconnected(refused);
    assert_disconnected(in_time(worker.listen(ADDRESS)).await);
    primary.grant(ack, "too late");
    let closed = primary.hear().await;
    assert!(matches!(closed, WorkerMessage::Close { key, .. } if key == "too late"));
}
