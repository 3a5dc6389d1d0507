//! A reload that nobody notices: clients of every kind ask on while one generation follows
//! on the other, and not a single request is lost. The programs have not one line about how
//! they end.

use std::collections::BTreeSet;
use std::time::Duration;

use forkyard_tests::client::{Connection, Reply, Reuse, Target};
use forkyard_tests::load::{Load, Running, Tally};
use forkyard_tests::record::Record;
use forkyard_tests::tls::Identity;
use forkyard_tests::websocket::WebSocket;
use forkyard_tests::{Forkyard, Launch, Node, on_every_node};

const RUST_WORKER: &str = env!("CARGO_BIN_EXE_rust-worker");

/// How many workers each app has.
const WORKERS: usize = 2;

/// How often each is reloaded.
const RELOADS: usize = 3;

/// No client waits longer, however busy the machine is, unless somebody forgot it.
const PATIENCE: Duration = Duration::from_secs(10);

on_every_node![
    plain_clients_notice_nothing,
    requests_in_flight_are_answered,
    https_clients_notice_nothing,
    http2_clients_notice_nothing,
    websockets_are_kept_until_the_drain_time_out,
];

fn server(node: Node) -> Launch {
    Launch::run("release.js").node(node).workers(WORKERS)
}

/// Clients that keep their connections and are always busy, such that keep them and are
/// mostly idle, and such that do not keep them.
fn all_kinds(target: &Target) -> [Load; 3] {
    [
        Load::keep_alive(target).threads(4),
        Load::mostly_idle(target, 8).threads(2),
        Load::short(target).threads(4),
    ]
}

/// Reloads under these loads until every predecessor has gone, and gives what became of
/// each load.
fn reload_under(forkyard: &Forkyard, loads: &[Load]) -> Vec<Tally> {
    forkyard.wait_listening(WORKERS);
    let start = |load: &Load| load.clone().modest().patience(PATIENCE).start();
    let running: Vec<Running> = loads.iter().map(start).collect();
    for number in 1..=RELOADS {
        running.iter().for_each(|load| load.wait_answered(100));
        forkyard.reload_through(number);
    }
    forkyard.wait_count("worker_exited", WORKERS * RELOADS);
    running.iter().for_each(|load| load.wait_answered(100));
    running.into_iter().map(Running::stop).collect()
}

/// Nothing was lost, and nobody had to be told twice to finish.
fn assert_unnoticed(forkyard: Forkyard, tallies: &[Tally]) {
    tallies.iter().for_each(Tally::assert_nothing_lost);
    let ended = forkyard.stop();
    ended.assert_code(0).assert_nobody_left().assert_no_panic().assert_nobody_hurried();
}

/// Workers of every generation answered.
fn assert_all_served(forkyard: &Forkyard, tallies: &[Tally]) {
    for started in forkyard.wait_count("worker_started", WORKERS * (RELOADS + 1)) {
        let served = tallies.iter().any(|tally| tally.by_worker().contains_key(&started.pid()));
        assert!(served, "{started:?} served nobody");
    }
}

fn plain_clients_notice_nothing(node: Node) {
    let forkyard = server(node).start();
    let tallies = reload_under(&forkyard, &all_kinds(&forkyard.target()));
    assert_all_served(&forkyard, &tallies);
    assert_unnoticed(forkyard, &tallies);
}

fn https_clients_notice_nothing(node: Node) {
    let identity = Identity::new();
    let forkyard = identity.given_to(server(node)).worker_env("SERVE", "https").start();
    let tallies = reload_under(&forkyard, &all_kinds(&identity.target(forkyard.port())));
    assert_unnoticed(forkyard, &tallies);
}

fn http2_clients_notice_nothing(node: Node) {
    let identity = Identity::new();
    let forkyard = identity.given_to(server(node)).worker_env("SERVE", "http2s").start();
    let target = identity.target(forkyard.port());
    // Some of the streams are short, others are open when GOAWAY comes.
    let loads = [Load::http2(&target), Load::http2(&target).folder("/slow/50/")];
    let tallies = reload_under(&forkyard, &loads);
    assert_unnoticed(forkyard, &tallies);
}

#[test]
fn http2_clients_without_tls_notice_nothing() {
    let forkyard = server(Node::V24).worker_env("SERVE", "http2").start();
    let target = forkyard.target();
    let loads = [Load::http2(&target), Load::http2(&target).folder("/slow/50/")];
    let tallies = reload_under(&forkyard, &loads);
    assert_unnoticed(forkyard, &tallies);
}

#[test]
fn clients_on_a_unix_socket_notice_nothing() {
    let folder = Record::new();
    let socket = folder.file("app.sock");
    let forkyard = server(Node::V24).worker_env("SOCKET", &socket).start();
    let tallies = reload_under(&forkyard, &all_kinds(&Target::unix(&socket)));
    assert_all_served(&forkyard, &tallies);
    assert_unnoticed(forkyard, &tallies);
    assert!(!socket.exists(), "the socket's file goes with the app");
}

#[test]
fn clients_of_a_shared_socket_notice_nothing() {
    let forkyard = server(Node::V24).option("--policy", "shared").start();
    let tallies = reload_under(&forkyard, &all_kinds(&forkyard.target()));
    assert_unnoticed(forkyard, &tallies);
}

#[test]
fn clients_of_a_shared_unix_socket_notice_nothing() {
    let folder = Record::new();
    let socket = folder.file("app.sock");
    let launch = server(Node::V24).worker_env("SOCKET", &socket).option("--policy", "shared");
    let forkyard = launch.start();
    let tallies = reload_under(&forkyard, &all_kinds(&Target::unix(&socket)));
    assert_unnoticed(forkyard, &tallies);
}

/// Node's own `disconnect` races with kept connections, but not with others.
#[test]
fn short_connections_notice_nothing_without_the_agent() {
    let forkyard = server(Node::V24).flag("--no-agent").start();
    let tallies = reload_under(&forkyard, &[Load::short(&forkyard.target())]);
    assert_all_served(&forkyard, &tallies);
    assert_unnoticed(forkyard, &tallies);
}

#[test]
fn clients_of_rust_workers_notice_nothing() {
    let launch = Launch::run("plain.js").own_interpreter().program(RUST_WORKER).workers(WORKERS);
    let forkyard = launch.start();
    let tallies = reload_under(&forkyard, &[Load::short(&forkyard.target())]);
    assert_all_served(&forkyard, &tallies);
    assert_unnoticed(forkyard, &tallies);
}

/// Whoever takes six seconds to boot is waited for, and the others serve meanwhile.
#[test]
fn a_slow_boot_is_waited_for() {
    let launch = server(Node::V24).worker_env("BOOT_MS", "6000").option("--surge", "100%");
    let forkyard = launch.start();
    forkyard.wait_listening(WORKERS);
    let loads = all_kinds(&forkyard.target()).map(|load| load.modest().patience(PATIENCE).start());
    forkyard.reload_through(1);
    forkyard.wait_count("worker_exited", WORKERS);
    loads.iter().for_each(|load| load.wait_answered(100));
    let tallies = loads.map(Running::stop);
    assert_unnoticed(forkyard, &tallies);
}

/// Requests that take five seconds are begun by one generation and outlive the reload.
fn requests_in_flight_are_answered(node: Node) {
    let forkyard = server(node).start();
    let workers = forkyard.wait_listening(WORKERS);
    let target = forkyard.target();
    let asked: Vec<_> = (0..6).map(|number| ask_slowly(&forkyard, &target, number)).collect();
    forkyard.reload_through(1);
    for (number, mut connection) in asked.into_iter().enumerate() {
        let reply: Reply = connection.answer().expect("an answer, for all the reload");
        assert_eq!(reply.json()["id"], format!("slow{number}"));
        assert!(workers.contains(&reply.pid()), "answered by who had begun it");
        assert!(!reply.keeps_alive, "whoever leaves says so");
    }
    workers.iter().for_each(|worker| drop(forkyard.wait_exited(*worker)));
    assert_unnoticed(forkyard, &[]);
}

/// A request that takes five seconds, once a worker has begun it.
fn ask_slowly(forkyard: &Forkyard, target: &Target, number: usize) -> Connection {
    let mut connection = Connection::open(target).expect("a connection");
    let path = format!("/slow/5000/slow{number}");
    connection.ask(&path, Reuse::KeepAlive).expect("it can be asked");
    let begun = format!("begun slow{number}");
    forkyard.wait_line(&begun, |line| line == begun);
    connection
}

fn open_websockets(target: &Target) -> Vec<WebSocket> {
    (0..4).map(|_| WebSocket::open(target).expect("a WebSocket")).collect()
}

/// Asks on all of them and gives who answered.
fn ask_all(sockets: &mut [WebSocket]) -> Vec<i32> {
    let ask = |socket: &mut WebSocket| socket.ask("hello").expect("an answer").pid();
    sockets.iter_mut().map(ask).collect()
}

/// They end by the drain time-out, and neither before nor after.
fn websockets_are_kept_until_the_drain_time_out(node: Node) {
    let launch = Launch::run("websockets.js").node(node).workers(WORKERS);
    let forkyard = launch.option("--drain-timeout", "4s").start();
    let workers = forkyard.wait_listening(WORKERS);
    let target = forkyard.target();
    let mut old = open_websockets(&target);
    let before = ask_all(&mut old);
    forkyard.reload_through(1);
    assert_eq!(ask_all(&mut old), before, "they are where they were");
    let new = ask_all(&mut open_websockets(&target));
    assert!(new.iter().all(|pid| !workers.contains(pid)), "new ones are at the new workers");
    old.into_iter().for_each(|socket| drop(socket.wait_end()));
    for worker in &workers {
        assert_eq!(forkyard.wait_exited(*worker).json["expected"], true);
    }
    let ended = forkyard.stop();
    let stages: Vec<_> = ended.all("stop_escalated").map(|event| event.text("stage")).collect();
    // On a busy machine one worker may have them all.
    let holders: BTreeSet<_> = before.iter().collect();
    assert_eq!(stages, vec!["terminate"; holders.len()], "{}", ended.text());
}

/// The time-out is a bound, not a wait.
#[test]
fn a_worker_leaves_with_its_last_websocket() {
    let launch = Launch::run("websockets.js").workers(WORKERS).option("--drain-timeout", "1h");
    let forkyard = launch.start();
    let workers = forkyard.wait_listening(WORKERS);
    let mut sockets = open_websockets(&forkyard.target());
    forkyard.reload_through(1);
    ask_all(&mut sockets);
    drop(sockets);
    workers.iter().for_each(|worker| drop(forkyard.wait_exited(*worker)));
    assert_unnoticed(forkyard, &[]);
}
