//! Addresses of the app's own: programs that speak no protocol serve them by sockets that they
//! are started with.

use std::collections::BTreeMap;
use std::path::Path;

use forkyard_tests::client::{self, Connection, Reuse, Target};
use forkyard_tests::load::Load;
use forkyard_tests::processes::signal;
use forkyard_tests::record::Record;
use forkyard_tests::{Event, Forkyard, Launch, OnDisk, ports};
use rustix::process::Signal;

const ANY_PORT: &str = "127.0.0.1:0";

/// `inherited.py`, by a policy, on an address.
fn launch(policy: &str, address: &str) -> Launch {
    let launch = Launch::run("inherited.py").interpreter("python3").option("--listen", address);
    launch.option("--policy", policy).option("--restart-limit", "1000")
}

/// The workers that have said what they were started with, as many as there are.
fn wait_serving(forkyard: &Forkyard, count: usize) -> Vec<i32> {
    let said = forkyard.wait_json("sockets", count);
    let pid = |said: &serde_json::Value| said["pid"].as_i64().and_then(|pid| pid.try_into().ok());
    said.iter().map(|said| pid(said).expect("a pid")).collect()
}

fn target(forkyard: &Forkyard) -> Target {
    let bound = forkyard.wait("listener_bound");
    Target::port(port_of(&bound))
}

fn port_of(bound: &Event) -> u16 {
    let port = bound.text("address").rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.expect("a port")
}

fn ask(target: &Target) -> i32 {
    client::get(target, "/x").expect("an answer").pid()
}

#[test]
fn workers_serve_one_socket_that_blocks_as_from_systemd() {
    let forkyard = launch("auto", ANY_PORT).option("--listen", ANY_PORT).workers(1).start();
    let said = &forkyard.wait_json("sockets", 1)[0];
    assert_eq!((&said["sockets"], &said["blocking"]), (&2.into(), &[true, true][..].into()));
    let bound = forkyard.wait_count("listener_bound", 2);
    for bound in bound {
        assert_eq!(bound.text("policy"), "shared");
        ask(&Target::port(port_of(&bound)));
    }
    forkyard.stop().assert_code(0).assert_no_panic().assert_nobody_left();
}

#[test]
fn a_worker_that_starts_does_not_have_the_others_wait_in_accept() {
    let forkyard = launch("shared", ANY_PORT).workers(2).start();
    let workers = wait_serving(&forkyard, 2);
    signal(workers[0], Signal::KILL);
    let said = forkyard.wait_json("sockets", 3);
    assert_eq!(said[2]["blocking"][0], false, "the other one has it set so");
    forkyard.stop().assert_no_panic();
}

#[test]
fn the_kernel_deals_evenly_to_sockets_of_their_own() {
    let forkyard = launch("kernel", ANY_PORT).workers(3).start();
    let workers = wait_serving(&forkyard, 3);
    assert_eq!(forkyard.wait("listener_bound").text("policy"), "kernel");
    let target = target(&forkyard);
    let mut served: BTreeMap<i32, usize> = BTreeMap::new();
    for _ in 0..30 {
        *served.entry(ask(&target)).or_default() += 1;
    }
    assert_eq!(served, workers.into_iter().map(|worker| (worker, 10)).collect());
    forkyard.stop().assert_code(0).assert_no_panic();
}

/// Has a worker block, so that it leaves what waits on its lane.
fn block(forkyard: &Forkyard, target: &Target) -> Connection {
    let held = client::asked(target, "/block/held").expect("it can be asked");
    forkyard.wait_line("it to block", |line| line == "blocked");
    held
}

#[test]
fn what_waits_for_a_worker_that_dies_is_served_by_the_others() {
    let record = Record::new();
    let launch = launch("kernel", ANY_PORT).worker_env("RELEASE", record.release_path());
    let forkyard = launch.workers(2).start();
    let workers = wait_serving(&forkyard, 2);
    let target = target(&forkyard);
    let served_before = ask(&target);
    // The next one in turn is the other one's.
    let mut held = block(&forkyard, &target);
    let other = *workers.iter().find(|worker| **worker != served_before).unwrap();
    let mut waiting: Vec<_> = (0..6).map(|_| client::asked(&target, "/y").unwrap()).collect();
    signal(other, Signal::KILL);
    for connection in &mut waiting {
        assert_ne!(connection.answer().expect("an answer").pid(), other);
    }
    assert!(held.answer().is_err());
    forkyard.stop().assert_no_panic();
}

#[test]
fn what_comes_while_nobody_is_there_waits() {
    for policy in ["kernel", "shared"] {
        let launch = launch(policy, ANY_PORT).option("--restart-delay", "300ms");
        let forkyard = launch.workers(1).start();
        let worker = wait_serving(&forkyard, 1)[0];
        let target = target(&forkyard);
        signal(worker, Signal::KILL);
        forkyard.wait_exited(worker);
        let mut waiting: Vec<_> = (0..4).map(|_| client::asked(&target, "/y").unwrap()).collect();
        for connection in &mut waiting {
            assert_ne!(connection.answer().expect("an answer").pid(), worker, "{policy}");
        }
        forkyard.stop().assert_no_panic();
    }
}

#[test]
fn a_reload_loses_nothing() {
    for policy in ["kernel", "ip-hash", "shared"] {
        let forkyard = launch(policy, ANY_PORT).workers(2).start();
        let before = wait_serving(&forkyard, 2);
        let running = Load::short(&target(&forkyard)).start();
        for round in 1..=3 {
            running.wait_answered(50);
            forkyard.signal(Signal::HUP);
            forkyard.wait_count("roll_finished", round);
        }
        running.wait_answered(50);
        let tally = running.stop();
        assert!(tally.lost.is_empty(), "{policy}: {:#?}", tally.lost);
        assert!(!before.contains(&ask(&target(&forkyard))));
        forkyard.stop().assert_code(0).assert_no_panic();
    }
}

#[test]
fn an_upgrade_keeps_them() {
    for policy in ["kernel", "shared"] {
        let on_disk = OnDisk::new();
        let forkyard = launch(policy, ANY_PORT).on_disk(&on_disk).workers(2).start();
        let workers = wait_serving(&forkyard, 2);
        let target = target(&forkyard);
        on_disk.renew();
        forkyard.upgrade();
        assert!(workers.contains(&ask(&target)));
        for worker in &workers {
            signal(*worker, Signal::KILL);
        }
        let all = wait_serving(&forkyard, 4);
        let by = ask(&target);
        assert!(all.contains(&by) && !workers.contains(&by));
        forkyard.stop().assert_code(0).assert_no_panic();
    }
}

#[test]
fn a_unix_socket_is_inherited_too() {
    let record = Record::new();
    let path = record.file("app.sock");
    let forkyard = launch("auto", path.to_str().unwrap()).workers(2).start();
    let workers = wait_serving(&forkyard, 2);
    assert!(workers.contains(&client::get(&Target::unix(&path), "/x").expect("an answer").pid()));
    forkyard.stop().assert_code(0);
    assert!(!Path::exists(&path), "the socket's file is removed with the app");
}

#[test]
fn an_address_that_is_taken_ends_the_start() {
    let port = ports::free();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    for policy in ["kernel", "shared"] {
        let ended = launch(policy, &format!("127.0.0.1:{port}")).workers(1).finish();
        ended.assert_code(1).assert_no_panic().assert_nobody_left();
        ended.assert_says(&["address already in use; stop the program that has it"]);
        assert_eq!(ended.all("worker_started").count(), 0);
    }
}

/// A Node program that listens there takes its connections as ever.
#[test]
fn a_node_program_may_listen_on_the_same_address() {
    let port = ports::free();
    let launch = Launch::run("recorded.js").option("--listen", format!("127.0.0.1:{port}"));
    let forkyard = launch.worker_env("PORT", port.to_string()).workers(2).start();
    let workers = forkyard.wait_listening(2);
    let mut connection = Connection::open(&Target::port(port)).unwrap();
    connection.ask("/x", Reuse::KeepAlive).unwrap();
    assert!(workers.contains(&connection.answer().expect("an answer").pid()));
    assert_eq!(forkyard.events().iter().filter(|event| is_bound(event)).count(), 1);
    forkyard.stop().assert_code(0).assert_no_panic();
}

fn is_bound(event: &Event) -> bool {
    event.name() == "listener_bound"
}
