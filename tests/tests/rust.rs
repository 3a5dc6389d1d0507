//! The library: workers in Rust under Forkyard's and under Node's own primary, and a
//! primary in Rust that gets what its Node workers send.

#![expect(clippy::panic, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::path::Path;

use forkyard_tests::client::Target;
use forkyard_tests::load::{Load, Tally};
use forkyard_tests::processes::signal;
use forkyard_tests::record::Record;
use forkyard_tests::{Event, Forkyard, Launch, Node, tools, waiting};
use rustix::process::Signal;
use serde_json::json;

const RUST_WORKER: &str = env!("CARGO_BIN_EXE_rust-worker");
const RUST_PRIMARY: &str = env!("CARGO_BIN_EXE_rust-primary");

/// Rust workers under `forkyard run`.
fn under_forkyard() -> Launch {
    Launch::run("plain.js").own_interpreter().program(RUST_WORKER).workers(2)
}

/// Rust workers under Node's own primary.
fn under_node(node: Node) -> Launch {
    let launch = Launch::of(&tools::node_primary()).option("--interpreter", RUST_WORKER);
    let node = node.binary().display().to_string();
    launch.program(tools::program("plain.js")).workers(2).wrapped(&[&node])
}

/// Nothing is lost, and everything is answered by both of these and nobody else.
fn assert_served_by(tally: &Tally, workers: &[i32]) {
    tally.assert_nothing_lost();
    let served: BTreeSet<_> = tally.by_worker().into_keys().collect();
    assert_eq!(served, workers.iter().copied().collect());
}

/// Serves under load, on short and on kept connections, and stops when asked.
fn serves_and_stops(forkyard: Forkyard) {
    let workers = forkyard.wait_listening(2);
    let target = forkyard.target();
    assert_served_by(&Load::short(&target).requests(2_000).run(), &workers);
    Load::keep_alive(&target).requests(2_000).run().assert_nothing_lost();
    let ended = forkyard.stop();
    ended.assert_code(0).assert_nobody_left().assert_no_panic();
    assert_eq!(ended.all("stop_escalated").count(), 0, "they go when asked");
}

#[test]
fn rust_workers_serve_by_every_policy_that_deals_evenly() {
    for policy in ["kernel", "round-robin", "least-connections"] {
        serves_and_stops(under_forkyard().option("--policy", policy).start());
    }
}

#[test]
fn rust_workers_serve_by_the_shared_policy() {
    let forkyard = under_forkyard().option("--policy", "shared").start();
    let workers = forkyard.wait_listening(2);
    let tally = Load::short(&forkyard.target()).requests(2_000).run();
    tally.assert_nothing_lost();
    assert!(tally.by_worker().keys().all(|pid| workers.contains(pid)));
    forkyard.stop().assert_code(0).assert_nobody_left();
}

#[test]
fn rust_workers_serve_with_the_advanced_serialization() {
    serves_and_stops(under_forkyard().option("--serialization", "advanced").start());
}

#[test]
fn rust_workers_serve_on_a_unix_socket() {
    let folder = Record::new();
    let path = folder.file("app.sock");
    for policy in ["round-robin", "shared"] {
        let launch = under_forkyard().worker_env("LISTEN", &path).option("--policy", policy);
        let forkyard = launch.start();
        forkyard.wait_listening(2);
        Load::short(&Target::unix(&path)).requests(500).run().assert_nothing_lost();
        forkyard.stop().assert_code(0);
        assert!(!path.exists(), "the socket is gone at the end");
    }
}

#[test]
fn rust_workers_are_replaced() {
    let forkyard = under_forkyard().start();
    let workers = forkyard.wait_listening(2);
    signal(workers[0], Signal::KILL);
    let exited = forkyard.wait_exited(workers[0]);
    let new = forkyard.wait_replaced(exited.slot(), &workers);
    let tally = Load::short(&forkyard.target()).requests(500).run();
    assert_served_by(&tally, &[workers[1], new]);
}

#[test]
fn rust_workers_serve_under_the_primary_of_every_node() {
    for node in Node::ALL {
        serves_and_stops(under_node(node).start());
    }
}

#[test]
fn rust_workers_serve_under_the_shared_policy_of_node() {
    let forkyard = under_node(Node::V24).option("--policy", "shared").start();
    forkyard.wait_listening(2);
    Load::short(&forkyard.target()).requests(500).run().assert_nothing_lost();
    forkyard.stop().assert_code(0).assert_nobody_left();
}

#[test]
fn rust_workers_speak_the_advanced_serialization_of_node() {
    serves_and_stops(under_node(Node::V24).option("--serialization", "advanced").start());
}

/// What a Node worker sends comes back as it went, handles included.
fn echoes(node: Node, serialization: &str) {
    let launch = Launch::of(Path::new(RUST_PRIMARY)).arg(serialization).arg(node.binary());
    let launch = launch.arg(tools::program("round-trip.js")).arg(serialization);
    let ended = launch.start().wait_exit();
    let said = |field: &str| {
        let mut all = ended.events.iter().rev().filter_map(|event: &Event| event.json.get(field));
        all.next().cloned().unwrap_or_else(|| panic!("no {field}: {}", ended.text()))
    };
    assert_eq!(said("differ"), json!([]), "Node {}", node.major());
    assert_eq!(said("socket"), "back: socket");
    if node > Node::V18 {
        assert_eq!(said("server"), "served by the server that came back");
    }
    assert_eq!(said("udp"), "to the socket that came back");
    ended.assert_code(0).assert_nobody_left();
}

#[test]
fn messages_and_handles_go_both_ways_in_json() {
    Node::ALL.into_iter().for_each(|node| echoes(node, "json"));
}

#[test]
fn messages_and_handles_go_both_ways_in_advanced() {
    Node::ALL.into_iter().for_each(|node| echoes(node, "advanced"));
}

/// The examples of the project, as they are, on the port they have.
#[test]
fn the_examples_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let target = Target::port(8000);
    let serves = |forkyard: &Forkyard| {
        let body = waiting::until("the example to serve", || {
            forkyard_tests::client::get(&target, "/").ok().map(|reply| reply.body)
        });
        assert!(body.starts_with("Hello from"), "{body}");
        forkyard.signal(Signal::TERM);
    };
    for example in ["hello.js", "plain.js"] {
        let launch = Launch::run("plain.js").workers(2).env_remove("PORT");
        let forkyard = launch.program(root.join("examples").join(example)).start();
        forkyard.wait_listening(2);
        serves(&forkyard);
        forkyard.wait_exit().assert_code(0).assert_nobody_left();
    }
    let forkyard = Launch::of(&tools::example("hello")).start();
    serves(&forkyard);
    forkyard.wait_exit().wait_nobody_left();
}
