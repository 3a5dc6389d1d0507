//! The library's primary side against real Node workers.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use forkyard::{
    Cluster, ClusterBuilder, Dialect, Event, ExitStatus, Handle, HandleKind, Messages, Outcome,
    Program, ReceivedMessage, RequestError, RestartMode, RestartSettings, Signal, SlotId, Stage,
    Value,
};
use forkyard_tests::watching::event;
use forkyard_tests::{DEADLINE, Node, tools};
use serde_json::json;
use tokio::time::timeout;

const DIALECTS: [Dialect; 2] = [Dialect::Json, Dialect::Advanced];

fn builder(node: Node, program: &str, dialect: Dialect) -> ClusterBuilder {
    let program = Program::new(node.binary()).arg(tools::program(program)).arg(dialect.to_string());
    Cluster::builder()
        .program(program)
        .serialization(dialect)
        .drain_timeout(Duration::from_millis(1))
}

async fn received(messages: &mut Messages) -> ReceivedMessage {
    let message = timeout(DEADLINE, messages.next()).await;
    message.expect("a message comes in time").expect("the primary is there")
}

async fn stop(mut cluster: Cluster) {
    cluster.stop(Stage::Disconnect).await.unwrap();
    let over = |event| matches!(event, Event::Over(Outcome::Stopped)).then_some(());
    event(&mut cluster, over).await;
    assert!(cluster.next_event().await.is_none());
}

async fn echoes(node: Node, dialect: Dialect) {
    let cluster = builder(node, "echo.js", dialect).start().unwrap();
    let mut messages = cluster.messages();
    let slot = cluster.fork().await.unwrap();
    let greeting = received(&mut messages).await;
    assert_eq!(greeting.message.to_json(), json!({ "ready": greeting.info.pid }));
    for sent in [json!("text"), json!({ "a": [1, 2.5, null, true], "ü": "\u{2028}" }), json!(7)] {
        cluster.handle().send(slot, Value::from(sent.clone())).await.unwrap();
        assert_eq!(received(&mut messages).await.message.to_json(), sent, "{node:?} {dialect}");
    }
    stop(cluster).await;
}

#[tokio::test]
async fn messages_go_both_ways_in_both_serializations() {
    for node in Node::ALL {
        for dialect in DIALECTS {
            echoes(node, dialect).await;
        }
    }
}

/// The last of what `messages.js` sends.
fn is_large_buffer(value: &Value) -> bool {
    matches!(value, Value::Bytes(bytes) if bytes.bytes == [1; 200_000])
}

type Check = fn(&Value) -> bool;

/// Values that only `advanced` can carry, as `messages.js` sends them.
const KINDS: [(&str, Check); 9] = [
    ("date", |value| *value == Value::Date(0.0)),
    ("regular expression", |value| matches!(value, Value::RegExp(it) if it.source == "a+")),
    ("map with a set", |value| match value {
        Value::Map(entries) => matches!(&entries[0].1, Value::Set(members) if members.len() == 3),
        _ => false,
    }),
    ("error", |value| matches!(value, Value::Error(_))),
    ("typed array", |value| matches!(value, Value::Bytes(it) if it.bytes == [1, 2, 3])),
    ("array with holes", |value| matches!(value, Value::SparseArray(it) if it.length == 3)),
    ("big integer", |value| matches!(value.get("big"), Some(Value::BigInt(_)))),
    ("circle", |value| value.get("self") == Some(&Value::Reference(0))),
    ("boxed string", |value| *value == Value::Boxed(Box::new(Value::String("s".into())))),
];

/// What only `advanced` can carry arrives as it was sent.
#[tokio::test]
async fn advanced_messages_keep_their_types() {
    for node in Node::ALL {
        let cluster = builder(node, "messages.js", Dialect::Advanced).start().unwrap();
        let mut messages = cluster.messages();
        cluster.fork().await.unwrap();
        let mut values = Vec::new();
        while !values.last().is_some_and(is_large_buffer) {
            values.push(received(&mut messages).await.message);
        }
        for (what, is_kind) in KINDS {
            assert!(values.iter().any(is_kind), "{node:?}: no {what} came");
        }
        stop(cluster).await;
    }
}

#[tokio::test]
async fn handles_that_workers_send_are_delivered() {
    for node in Node::ALL {
        let cluster = builder(node, "handles.js", Dialect::Json).start().unwrap();
        let mut messages = cluster.messages();
        cluster.fork().await.unwrap();
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let received = received(&mut messages).await;
            let handle = received.handle.expect("a handle comes with it");
            kinds.push((received.message.to_json()["carries"].clone(), handle.kind));
        }
        assert!(matches!(&kinds[0], (what, HandleKind::NetSocket { .. }) if what == "socket"));
        assert!(matches!(&kinds[1], (what, HandleKind::NetServer) if what == "server"));
        assert!(matches!(&kinds[2], (what, HandleKind::DgramSocket { .. }) if what == "udp"));
        let last = received(&mut messages).await;
        assert_eq!(last.message, Value::from(json!("behind the handles")));
        assert!(last.handle.is_none());
        stop(cluster).await;
    }
}

#[tokio::test]
async fn a_socket_that_is_sent_to_a_worker_is_the_worker_s() {
    for node in Node::ALL {
        let cluster = builder(node, "echo.js", Dialect::Json).start().unwrap();
        let mut messages = cluster.messages();
        let slot = cluster.fork().await.unwrap();
        let pid = received(&mut messages).await.info.pid;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let handle =
            Handle { kind: HandleKind::NetSocket { key: None }, fd: OwnedFd::from(socket) };
        let message = Value::from(json!("take it"));
        cluster.handle().send_handle(slot, message.clone(), handle).await.unwrap();
        assert_eq!(received(&mut messages).await.message, message);
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut greeting = String::new();
        client.read_to_string(&mut greeting).unwrap();
        assert_eq!(greeting, format!("hello from {pid}\n"));
        stop(cluster).await;
    }
}

#[tokio::test]
async fn a_retired_slot_is_not_filled_again() {
    let mut cluster = builder(Node::V20, "echo.js", Dialect::Json).start().unwrap();
    let mut messages = cluster.messages();
    let (kept, retired) = (cluster.fork().await.unwrap(), cluster.fork().await.unwrap());
    for _ in 0..2 {
        received(&mut messages).await;
    }
    cluster.handle().retire(retired).await.unwrap();
    let gone = |event| match event {
        Event::Exited { info, leaving: Some(_), .. } => Some(info.slot),
        _ => None,
    };
    assert_eq!(event(&mut cluster, gone).await, retired);
    let left = cluster.handle().workers().await.unwrap();
    assert_eq!(left.iter().map(|worker| worker.info.slot).collect::<Vec<_>>(), [kept]);
    assert!(cluster.handle().retire(SlotId(99)).await.is_err());
    stop(cluster).await;
}

#[tokio::test]
async fn without_restarts_whoever_drives_it_forks_anew() {
    let restart = RestartSettings { mode: RestartMode::Never, ..RestartSettings::default() };
    let builder = builder(Node::V20, "echo.js", Dialect::Json).restart(restart);
    let mut cluster = builder.start().unwrap();
    let mut messages = cluster.messages();
    for round in 0..2 {
        let slot = cluster.fork().await.unwrap();
        let first = received(&mut messages).await;
        assert_eq!(first.info.slot, slot, "round {round}");
        cluster.handle().signal(slot, Signal::KILL).await.unwrap();
        let exited = |event| match event {
            Event::Exited { info, status, leaving: None, .. } => Some((info.slot, status)),
            Event::RestartScheduled { .. } => panic!("it was restarted"),
            _ => None,
        };
        let expected = (slot, ExitStatus::Signal(Signal::KILL.number()));
        assert_eq!(event(&mut cluster, exited).await, expected);
    }
    stop(cluster).await;
}

#[tokio::test]
async fn a_dropped_cluster_ends_its_workers() {
    let cluster = builder(Node::V20, "echo.js", Dialect::Json).start().unwrap();
    let mut messages = cluster.messages();
    cluster.fork().await.unwrap();
    let pid = received(&mut messages).await.info.pid;
    drop(cluster);
    let pid = i32::try_from(pid).unwrap();
    let ended = || (!forkyard_tests::processes::is_alive(pid)).then_some(());
    forkyard_tests::waiting::until("the worker ends", ended);
}

/// Its workers would not survive.
#[tokio::test]
async fn who_does_not_lend_its_first_thread_is_not_upgraded() {
    let mut cluster = builder(Node::V20, "echo.js", Dialect::Json).start().unwrap();
    let mut messages = cluster.messages();
    let slot = cluster.fork().await.unwrap();
    received(&mut messages).await;
    let error = cluster.handle().upgrade().await.unwrap_err();
    assert!(matches!(error, RequestError::NotUpgraded { .. }), "{error}");
    assert!(error.to_string().contains("forkyard::host"), "{error}");
    cluster.handle().send(slot, Value::from(json!("still"))).await.unwrap();
    assert_eq!(received(&mut messages).await.message, Value::from(json!("still")));
    cluster.stop(Stage::Disconnect).await.unwrap();
    let over = |event| matches!(event, Event::Over(Outcome::Stopped)).then_some(());
    event(&mut cluster, over).await;
}
