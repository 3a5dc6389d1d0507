//! Workers that wait to take over: booted up to their `listen()` call, and held there.

use forkyard_tests::client::{self, Target};
use forkyard_tests::load::Load;
use forkyard_tests::tls::Identity;
use forkyard_tests::{Forkyard, Launch, Node, on_every_node};
use rustix::process::Signal;

on_every_node![a_spare_takes_over_and_is_replaced_by_a_spare];

fn server(node: Node) -> Launch {
    Launch::run("release.js").node(node).workers(1).option("--spares", "1")
}

/// Waits until so many spares have come to stand by, and gives the last.
fn spare(forkyard: &Forkyard, number: usize) -> i32 {
    forkyard.wait_count("spare_ready", number)[number - 1].pid()
}

fn asked(target: &Target) -> i64 {
    let reply = client::get(target, "/x").expect("an answer");
    let answer: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    answer["pid"].as_i64().expect("a process id")
}

fn a_spare_takes_over_and_is_replaced_by_a_spare(node: Node) {
    let forkyard = server(node).start();
    let target = forkyard.target();
    let (serving, first) = (forkyard.wait_listening(1)[0], spare(&forkyard, 1));
    assert_eq!(asked(&target), i64::from(serving), "the spare's question is not answered");

    forkyard_tests::processes::signal(serving, Signal::KILL);
    assert_eq!(forkyard.wait("spare_promoted").pid(), first);
    assert_eq!(asked(&target), i64::from(first));

    let second = spare(&forkyard, 2);
    forkyard_tests::processes::signal(first, Signal::KILL);
    assert_eq!(forkyard.wait_count("spare_promoted", 2)[1].pid(), second);
    assert_eq!(asked(&target), i64::from(second));
    forkyard.stop().assert_code(0).assert_nobody_left();
}

/// The answer to its question brings the keys that all workers share, which TLS servers die
/// without; here nobody has brought any before.
#[test]
fn a_spare_may_speak_tls() {
    let identity = Identity::new();
    let launch = Launch::run("spare-listens.js").workers(1).option("--spares", "1");
    let forkyard = identity.given_to(launch).worker_env("SERVE", "https").start();
    let first = spare(&forkyard, 1);
    forkyard_tests::processes::signal(forkyard.wait("worker_started").pid(), Signal::KILL);
    forkyard.wait_worker_listening(first);
    let load = Load::short(&identity.target(forkyard.port())).threads(2).start();
    load.wait_answered(20);
    load.stop().assert_nothing_lost();
    forkyard.stop().assert_code(0);
}

#[test]
fn spares_are_reloaded_after_all_others() {
    let forkyard = server(Node::V24).start();
    let (serving, first) = (forkyard.wait_listening(1)[0], spare(&forkyard, 1));
    forkyard.reload_through(1);
    let second = spare(&forkyard, 2);
    forkyard.wait_exited(serving);
    forkyard.wait_exited(first);
    let seats = forkyard.seated();
    assert_eq!(seats.len(), 2);
    assert_eq!(seats[1], second, "slot 1 has the new spare");
    forkyard.stop().assert_code(0);
}

/// Nobody can hold back a program that binds by itself.
#[test]
fn a_program_that_does_not_ask_for_an_address_is_warned_about_once() {
    let launch = Launch::run("program.sh").own_interpreter().workers(1).option("--spares", "2");
    let forkyard = launch.option("--restart-reset-after", "300ms").impatient().start();
    let warning = forkyard.wait("spare_does_not_ask");
    assert_eq!(warning.text("level"), "warn");
    let ended = forkyard.stop();
    ended.assert_code(0);
    assert_eq!(ended.all("spare_does_not_ask").count(), 1);
}
