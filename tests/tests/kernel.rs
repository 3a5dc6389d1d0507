//! The policy `kernel`: every worker accepts from a socket of its own, and the kernel deals.
//! Where that is not permitted, only what is done instead is tested.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use forkyard_tests::client::{self, Connection, Target};
use forkyard_tests::load::Load;
use forkyard_tests::processes::signal;
use forkyard_tests::record::Record;
use forkyard_tests::{DEADLINE, Forkyard, Launch, waiting};
use rustix::process::Signal;
use serde_json::json;

/// `recorded.js` with its record, served by `workers`.
fn recorded(record: &Record, workers: usize) -> Launch {
    let launch = Launch::run("recorded.js").workers(workers).option("--policy", "kernel");
    let launch = launch.worker_env("RECORD", record.path());
    launch.worker_env("RELEASE", record.release_path())
}

/// Started, with all its workers; `None` where the system does not permit it.
fn by_kernel(launch: Launch, workers: usize) -> Option<Forkyard> {
    let forkyard = launch.start();
    forkyard.wait_listening(workers);
    let bound = forkyard.wait("listener_bound");
    let is_permitted = bound.text("policy") == "kernel";
    if !is_permitted {
        assert!(bound.text("reason").contains("not permitted"), "{bound:?}");
    }
    is_permitted.then_some(forkyard)
}

/// Without what it takes to load a program into the kernel.
fn without_bpf(launch: Launch) -> Launch {
    if !rustix::process::geteuid().is_root() {
        return launch;
    }
    let gone = "-bpf,-sys_admin";
    launch.wrapped(&["setpriv", "--bounding-set", gone, "--inh-caps", gone])
}

/// Opens `count` connections with a request each, whose ids are numbers from `first` on.
fn ask_without_waiting(target: &Target, first: usize, count: usize) -> Vec<Connection> {
    let ask = |n: usize| client::asked(target, &format!("/{n}"));
    (first..first + count).map(|n| ask(n).expect("a connection is never refused")).collect()
}

fn answers(asked: &mut [Connection]) -> Vec<i32> {
    let answer = |connection: &mut Connection| connection.answer().map(|reply| reply.pid());
    asked.iter_mut().map(|connection| answer(connection).expect("an answer")).collect()
}

/// Every request was begun once.
fn assert_begun_once(record: &Record) {
    for (id, workers) in &record.read().requests {
        assert_eq!(workers.len(), 1, "request {id} was begun by {workers:?}");
    }
}

#[test]
fn the_kernel_deals_evenly() {
    const WORKERS: usize = 3;
    /// A worker that gets no processor for long has others serve what waits for it.
    const SHORT_OF: usize = 10;
    let launch = Launch::run("sticky-sockets.js").workers(WORKERS);
    let launch = launch.option("--policy", "kernel");
    let Some(forkyard) = by_kernel(launch, WORKERS) else { return };
    let workers = forkyard.wait_listening(WORKERS);
    let (mut counts, mut open) = ([0; WORKERS], Vec::new());
    for _ in 0..WORKERS * 100 {
        let mut connection = Connection::open(&forkyard.target()).expect("a connection");
        connection.send(b"hello\n").expect("sent");
        let line = connection.line().expect("an echo");
        let at = workers.iter().position(|pid| line == format!("{pid} hello"));
        counts[at.unwrap_or_else(|| panic!("nobody's echo: {line}"))] += 1;
        open.push(connection);
    }
    assert!(counts.iter().all(|count| 100_usize.abs_diff(*count) <= SHORT_OF), "{counts:?}");
}

/// By a worker that stands still, what waits for it is served while it does, and also when it
/// is killed over it.
#[test]
fn what_waits_for_a_dead_worker_is_served_by_others() {
    let record = Record::new();
    let Some(forkyard) = by_kernel(recorded(&record, 3), 3) else { return };
    let workers = forkyard.wait_listening(3);
    signal(workers[0], Signal::STOP);
    let mut asked = ask_without_waiting(&forkyard.target(), 0, 30);
    signal(workers[0], Signal::KILL);
    forkyard.wait_exited(workers[0]);
    asked.extend(ask_without_waiting(&forkyard.target(), 30, 30));
    let by = answers(&mut asked);
    assert!(!by.contains(&workers[0]), "{by:?}");
    assert_begun_once(&record);
}

/// The blocked one goes on only after the others have answered everybody.
fn serves_beside_a_blocked_worker(path: &str) -> Option<(Record, Forkyard, i32)> {
    let record = Record::new();
    let forkyard = by_kernel(recorded(&record, 4), 4)?;
    let target = forkyard.target();
    let _blocker = client::asked(&target, &format!("/{path}/b")).expect("asked");
    let blocked = record.wait_request("b");
    let by = answers(&mut ask_without_waiting(&target, 0, 100));
    assert!(!by.contains(&blocked), "{by:?}");
    // Later ones too, of which some are dealt to it once more, to see whether it is awake.
    for round in 0..20 {
        let by = answers(&mut ask_without_waiting(&target, 100 + round * 20, 20));
        assert!(!by.contains(&blocked), "{by:?}");
    }
    Some((record, forkyard, blocked))
}

#[test]
fn a_worker_that_sleeps_in_a_call_keeps_nobody_waiting() {
    let Some((record, ..)) = serves_beside_a_blocked_worker("block") else { return };
    assert_begun_once(&record);
}

#[test]
fn a_worker_that_computes_keeps_nobody_waiting_and_is_dealt_to_afterwards() {
    let Some((record, forkyard, blocked)) = serves_beside_a_blocked_worker("spin") else { return };
    let target = forkyard.target();
    record.release();
    waiting::until("the worker to serve again", || {
        (client::get(&target, "/again").expect("an answer").pid() == blocked).then_some(())
    });
    let exited = forkyard.events().iter().any(|event| event.is("worker_exited"));
    assert!(!exited, "nobody had to be ended");
}

/// Workers that block for about as long as it takes until they are noticed: they wake up while
/// the primary takes what waits for them.
#[test]
fn workers_that_wake_up_while_they_are_helped_out_lose_nothing() {
    let record = Record::new();
    let Some(forkyard) = by_kernel(recorded(&record, 3), 3) else { return };
    let target = forkyard.target();
    let short = Load::short(&target).threads(8).start();
    let blocking = [10, 15, 20, 30].map(|ms| {
        Load::short(&target).threads(1).requests(u64::MAX).folder(&format!("/busy/{ms}/")).start()
    });
    blocking.iter().for_each(|load| load.wait_answered(50));
    short.wait_answered(500);
    for load in blocking.into_iter().chain([short]) {
        load.stop().assert_nothing_lost();
    }
    let ended = forkyard.stop();
    ended.assert_code(0).assert_no_panic().assert_nobody_left();
}

#[test]
fn where_it_is_not_permitted_the_primary_deals_and_says_why() {
    for asked in ["auto", "kernel"] {
        let launch = Launch::run("recorded.js").workers(2).option("--policy", asked);
        let forkyard = without_bpf(launch).start();
        forkyard.wait_listening(2);
        let bound = forkyard.wait("listener_bound");
        assert_eq!(bound.text("policy"), "round-robin", "{asked}");
        assert!(bound.text("reason").contains("CAP_BPF"), "{bound:?}");
        Load::short(&forkyard.target()).requests(200).run().assert_nothing_lost();
    }
}

/// The datagrams of one peer come to one worker; those of many to all.
#[test]
fn datagrams_of_a_peer_stay_with_a_worker() {
    let options = json!({"address": "127.0.0.1", "port": 0}).to_string();
    let forkyard = Launch::run("listen.js").workers(2).arg("udp").arg(options).start();
    let listening = forkyard.wait_json("listening", 2);
    let port = listening[0]["listening"]["port"].as_u64().and_then(|port| port.try_into().ok());
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port.expect("a port")));
    let bound = forkyard.wait("listener_bound");
    if bound.text("policy") != "kernel" {
        assert!(bound.text("reason").contains("not permitted"), "{bound:?}");
        return;
    }
    let of_peers: Vec<_> = (0..32).map(|_| served_by_one(server)).collect();
    let mut workers = of_peers.clone();
    workers.sort_unstable();
    workers.dedup();
    assert_eq!(workers.len(), 2, "{of_peers:?}");
}

/// The worker that answers each datagram of a peer.
fn served_by_one(server: SocketAddr) -> u64 {
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    peer.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let mut answered = (0..4).map(|_| {
        peer.send_to(b"hello", server).expect("sent");
        let mut buffer = [0; 512];
        let (length, _) = peer.recv_from(&mut buffer).expect("an answer");
        let answer: serde_json::Value = serde_json::from_slice(&buffer[..length]).expect("JSON");
        answer["pid"].as_u64().expect("a pid")
    });
    let first = answered.next().expect("one answer");
    assert!(answered.all(|worker| worker == first), "all of them by {first}");
    first
}
