//! The library's worker side: what a worker in Rust can do under Forkyard's primary and
//! under Node's, and that nothing is lost when it leaves.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};

use forkyard::{
    Cluster, ClusterBuilder, Dialect, Event, ExitStatus, Handle, HandleKind, Outcome, Policy,
    Program, SlotId, Stage, Value,
};
use forkyard_tests::client::{Connection, Failure, Target};
use forkyard_tests::load::{Load, Running};
use forkyard_tests::watching::event;
use forkyard_tests::{DEADLINE, Forkyard, Launch, Node, ports, tools};
use serde_json::json;
use tokio::time::timeout;

/// Serves by axum as the documentation says.
const RUST_WORKER: &str = env!("CARGO_BIN_EXE_rust-worker");
const RUST_WAYS: &str = env!("CARGO_BIN_EXE_rust-ways");
const POLICIES: [Policy; 5] =
    [Policy::Kernel, Policy::RoundRobin, Policy::LeastConnections, Policy::IpHash, Policy::Shared];

/// A worker that does one thing, under `forkyard run`.
fn under_forkyard(way: &str) -> Launch {
    Launch::run("plain.js").own_interpreter().program(RUST_WAYS).arg(way).workers(1)
}

/// The same under Node's own primary.
fn under_node(node: Node, way: &str) -> Launch {
    let launch = Launch::of(&tools::node_primary()).option("--interpreter", RUST_WAYS);
    let launch = launch.program(tools::program("plain.js")).arg(way).workers(1);
    launch.wrapped(&[&node.binary().display().to_string()])
}

fn under_every_primary(way: &str) -> impl Iterator<Item = Launch> {
    let forkyard = std::iter::once(under_forkyard(way));
    forkyard.chain(Node::ALL.map(|node| under_node(node, way)))
}

/// It says that it leaves, serves what it has, and ends as it likes.
fn leaves_in_peace(forkyard: &Forkyard) {
    let worker = forkyard.wait_listening(1)[0];
    let mut client = Connection::open(&forkyard.target()).unwrap();
    let said = forkyard.wait_json("disconnected", 1);
    assert_eq!(said[0]["accept"], json!({ "Err": "not connected" }));
    client.send(b"still there?\n").unwrap();
    assert_eq!(client.line().unwrap(), format!("{worker} still there?"));
    let exited = forkyard.wait_exited(worker);
    assert_eq!(exited.number("code"), Some(0), "{exited:?}");
    assert_eq!(exited.json["expected"], true, "{exited:?}");
    let escalated = forkyard.events().iter().any(|event| event.is("stop_escalated"));
    assert!(!escalated, "nobody hurried it");
}

#[test]
fn a_worker_that_disconnects_keeps_its_connections() {
    for launch in under_every_primary("disconnect") {
        leaves_in_peace(&launch.start());
    }
}

#[test]
fn an_address_can_be_listened_on_again() {
    for policy in POLICIES.map(Policy::name) {
        for launch in under_every_primary("relisten") {
            let address = format!("127.0.0.1:{}", ports::free());
            let launch = launch.worker_env("LISTEN", address);
            let forkyard = launch.option("--policy", policy).start();
            let said = forkyard.wait_json("outcomes", 1);
            assert_eq!(said[0]["outcomes"], json!(vec!["listened"; 10]), "{policy}");
        }
    }
}

#[test]
fn connections_come_as_a_stream() {
    for policy in POLICIES.map(Policy::name) {
        let forkyard = under_forkyard("stream").option("--policy", policy).start();
        let worker = forkyard.wait_listening(1)[0];
        for n in 0..20 {
            let mut client = Connection::open(&forkyard.target()).unwrap();
            client.send(format!("{n}\n").as_bytes()).unwrap();
            assert_eq!(client.line().unwrap(), format!("{worker} {n}"));
        }
        let ended = forkyard.stop();
        ended.assert_code(0).assert_nobody_left();
        let said = |event: &forkyard_tests::Event| event.output_json();
        let said: Vec<_> = ended.events.iter().filter_map(said).collect();
        assert_eq!(said, [json!({ "stream": "ended" })]);
    }
}

#[test]
fn datagrams_reach_rust_workers() {
    for launch in under_every_primary("udp") {
        let address: SocketAddr = ([127, 0, 0, 1], ports::free()).into();
        let forkyard = launch.worker_env("LISTEN", address.to_string()).start();
        let worker = forkyard.wait_listening(1)[0];
        forkyard.wait_json("again", 1);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.send_to(b"hello", address).unwrap();
        let mut datagram = [0; 64];
        let length = client.recv(&mut datagram).unwrap();
        assert_eq!(datagram[..length], *format!("{worker} hello").as_bytes());
        forkyard.stop().assert_code(0).assert_nobody_left();
    }
}

/// As documented: the address is the worker's until it ends.
#[test]
fn a_udp_address_is_bound_once() {
    let address = format!("127.0.0.1:{}", ports::free());
    let forkyard = under_forkyard("udp").worker_env("LISTEN", address).start();
    let said = forkyard.wait_json("again", 1);
    assert_eq!(said[0]["again"], json!({ "Err": "address in use" }));
}

fn builder(program: Program) -> ClusterBuilder {
    Cluster::builder().program(program)
}

/// Reads all events there are, up to the end, by which nobody may have been hurried or
/// have ended other than by itself.
async fn ends_in_peace(mut cluster: Cluster) {
    let look = |event| match event {
        Event::Escalated { info, stage } => panic!("{info:?} got {stage:?}"),
        Event::Exited { info, status, .. } if status != ExitStatus::Code(0) => {
            panic!("{info:?} ended with {status}")
        }
        Event::Over(outcome) => Some(outcome),
        _ => None,
    };
    assert_eq!(event(&mut cluster, look).await, Outcome::Stopped);
}

#[tokio::test]
async fn rust_workers_send_and_receive_messages() {
    for dialect in [Dialect::Json, Dialect::Advanced] {
        let builder = builder(Program::new(RUST_WAYS).arg("echo")).serialization(dialect);
        let cluster = builder.start().unwrap();
        let mut messages = cluster.messages();
        let slot = cluster.fork().await.unwrap();
        let mut next = async || {
            let message = timeout(DEADLINE, messages.next()).await;
            message.expect("a message comes in time").expect("the primary is there")
        };
        let greeting = next().await;
        assert_eq!(greeting.message.to_json(), json!({ "ready": greeting.info.pid }));
        for sent in [json!("text"), json!({ "a": [1, 2.5, null, true], "ü": "\u{2028}" }), json!(7)]
        {
            cluster.handle().send(slot, Value::from(sent.clone())).await.unwrap();
            assert_eq!(next().await.message.to_json(), sent, "{dialect}");
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let kind = HandleKind::DgramSocket { dgram_type: Some("udp4".into()) };
        let handle = Handle { kind, fd: socket.into() };
        let message = Value::from(json!("with a handle"));
        cluster.handle().send_handle(slot, message.clone(), handle).await.unwrap();
        assert_eq!(next().await.message, message, "it comes without the handle");
        cluster.stop(Stage::Disconnect).await.unwrap();
        ends_in_peace(cluster).await;
    }
}

/// Three workers that serve, and where.
async fn three_workers(policy: Policy) -> (Cluster, VecDeque<SlotId>, Target) {
    let mut cluster = builder(Program::new(RUST_WORKER)).policy(policy).start().unwrap();
    let mut slots = VecDeque::new();
    for _ in 0..3 {
        slots.push_back(cluster.fork().await.unwrap());
    }
    let mut addresses = Vec::new();
    for _ in 0..3 {
        addresses.push(listening(&mut cluster).await);
    }
    let target = Target::Tcp(addresses[0].parse().unwrap());
    (cluster, slots, target)
}

/// Waits for the next worker to listen.
async fn listening(cluster: &mut Cluster) -> String {
    let listening = |event| match event {
        Event::Listening { address, .. } => Some(address),
        Event::Escalated { info, stage } => panic!("{info:?} got {stage:?}"),
        _ => None,
    };
    event(cluster, listening).await
}

/// Workers come and go, and clients see nothing of it.
async fn retires_under(load: &Running, cluster: &mut Cluster, slots: &mut VecDeque<SlotId>) {
    for _ in 0..20 {
        load.wait_answered(100);
        slots.push_back(cluster.fork().await.unwrap());
        listening(cluster).await;
        let oldest = slots.pop_front().unwrap();
        cluster.handle().retire(oldest).await.unwrap();
    }
}

#[tokio::test]
async fn no_connection_is_lost_when_rust_workers_retire() {
    for policy in POLICIES {
        let (mut cluster, mut slots, target) = three_workers(policy).await;
        let load = Load::short(&target).requests(u64::MAX).start();
        retires_under(&load, &mut cluster, &mut slots).await;
        load.wait_answered(100);
        load.stop().assert_nothing_lost();
        cluster.stop(Stage::Disconnect).await.unwrap();
        ends_in_peace(cluster).await;
    }
}

/// Whoever is connected when all workers stop gets an answer or learns that there is none.
#[tokio::test]
async fn nobody_is_left_hanging_when_rust_workers_stop() {
    for policy in POLICIES {
        let (cluster, _, target) = three_workers(policy).await;
        let load = Load::short(&target).requests(u64::MAX).start();
        load.wait_answered(500);
        cluster.stop(Stage::Disconnect).await.unwrap();
        ends_in_peace(cluster).await;
        let tally = load.stop();
        assert_eq!(tally.count(&Failure::TimedOut), 0);
        assert_eq!(tally.count(&Failure::Wrong(String::new())), 0);
    }
}
