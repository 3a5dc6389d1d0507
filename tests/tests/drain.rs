//! How a worker is asked to leave, and what becomes of one that does not.

use forkyard_tests::client::{Connection, Reuse};
use forkyard_tests::load::Load;
use forkyard_tests::processes::{self, signal};
use forkyard_tests::{Ended, Event, Forkyard, Launch};
use rustix::process::Signal;
use serde_json::json;

const RUST_WORKER: &str = env!("CARGO_BIN_EXE_rust-worker");

/// No time-out comes by itself within a test.
const NEVER: &str = "1h";

/// One worker that tells how it is asked to leave.
fn drained() -> Launch {
    Launch::run("drained.js").workers(1)
}

/// What became of a predecessor.
struct Left {
    exited: Event,
    /// All that it wrote.
    lines: Vec<String>,
    ended: Ended,
}

/// Reloads once, waits for the end of the predecessor, and stops.
fn leave(forkyard: Forkyard) -> Left {
    let worker = forkyard.wait_listening(1)[0];
    forkyard.reload_through(1);
    let exited = forkyard.wait_exited(worker);
    let ended = forkyard.stop();
    ended.assert_code(0).assert_nobody_left().assert_no_panic();
    Left { exited, lines: lines_of(&ended.events, worker), ended }
}

fn lines_of(events: &[Event], worker: i32) -> Vec<String> {
    let own = events.iter().filter(|event| event.is("output") && event.pid() == worker);
    own.filter_map(|event| event.line().map(str::to_owned)).collect()
}

/// The messages among the lines of `drained.js`.
fn messages(lines: &[String]) -> Vec<serde_json::Value> {
    let texts = lines.iter().filter_map(|line| line.strip_prefix("message "));
    texts.map(|text| serde_json::from_str(text).expect("a message as JSON")).collect()
}

/// How the command hurried workers, in order.
fn stages(ended: &Ended) -> Vec<&str> {
    ended.all("stop_escalated").map(|event| event.text("stage")).collect()
}

#[test]
fn the_program_is_told_that_it_is_drained() {
    let left = leave(drained().start());
    assert_eq!(messages(&left.lines), [json!("forkyard:drain")]);
    assert_eq!(
        (left.exited.number("code"), &left.exited.json["expected"]),
        (Some(0), &json!(true))
    );
    assert_eq!(stages(&left.ended), [""; 0], "{}", left.ended.text());
}

#[test]
fn the_program_is_told_to_shut_down_when_asked_for() {
    let left = leave(drained().flag("--shutdown-message").start());
    assert_eq!(messages(&left.lines), [json!("forkyard:drain"), json!("shutdown")]);
}

/// As under Node's own primary: no message, and the servers are closed.
#[test]
fn without_the_agent_the_program_is_told_nothing() {
    let left = leave(drained().flag("--no-agent").start());
    assert_eq!(left.lines, ["disconnected"]);
    assert_eq!(left.exited.json["expected"], true);
    assert_eq!(stages(&left.ended), [""; 0], "{}", left.ended.text());
}

/// A program that knows no channel gets its stop signal.
#[test]
fn any_other_program_gets_its_stop_signal() {
    let launch = Launch::run("plain.js").own_interpreter().program("/bin/sh").workers(1);
    let launch = launch.option("--ready", "started").arg("-c");
    let forkyard =
        launch.arg("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done");
    let forkyard = forkyard.option("--drain-timeout", NEVER).start();
    let worker = forkyard.wait_line("the shell", |line| line == "up").pid();
    forkyard.reload_through(1);
    let exited = forkyard.wait_exited(worker);
    assert_eq!(exited.json["expected"], true);
    forkyard
        .wait_for("its last words", |event| event.line() == Some("bye") && event.pid() == worker);
}

#[test]
fn a_rust_worker_leaves_when_asked() {
    let launch = Launch::run("plain.js").own_interpreter().program(RUST_WORKER).workers(1);
    let forkyard = launch.option("--drain-timeout", NEVER).start();
    let worker = forkyard.wait_listening(1)[0];
    forkyard.reload_through(1);
    assert_eq!(forkyard.wait_exited(worker).number("code"), Some(0));
}

/// Drain, then SIGTERM, then SIGKILL.
#[test]
fn a_drain_grows_more_severe() {
    let launch = drained().worker_env("STAY", "1");
    let launch = launch.option("--drain-timeout", "1s").option("--term-timeout", "300ms");
    let forkyard = launch.start();
    let worker = forkyard.wait_listening(1)[0];
    forkyard.reload_through(1);
    let exited = forkyard.wait_exited(worker);
    assert_eq!(exited.text("signal"), "SIGKILL");
    assert_eq!(exited.json["expected"], true, "nobody is to restart it");
    let ended = forkyard.stop();
    let own = ended.all("stop_escalated").filter(|event| event.pid() == worker);
    let stages: Vec<_> = own.map(|event| event.text("stage")).collect();
    assert_eq!(stages, ["terminate", "kill"], "{}", ended.text());
    assert!(lines_of(&ended.events, worker).contains(&"SIGTERM".to_owned()));
    assert_eq!(ended.all("worker_started").count(), 2, "{}", ended.text());
}

/// Idle connections are served on for the grace: they are told to close by an answer, not
/// by a reset.
#[test]
fn an_idle_connection_is_served_once_more_and_told_to_close() {
    let forkyard = drained().option("--drain-grace", "20s").start();
    let worker = forkyard.wait_listening(1)[0];
    let mut idle = Connection::open(&forkyard.target()).expect("a connection");
    idle.ask("/first", Reuse::KeepAlive).expect("it can be asked");
    assert!(idle.answer().expect("an answer").keeps_alive);
    // Its generation is long gone, but its grace is not over.
    (1..=3).for_each(|number| drop(forkyard.reload_through(number)));
    idle.ask("/second", Reuse::KeepAlive).expect("it can still be asked");
    let reply = idle.answer().expect("an answer from the one that leaves");
    assert_eq!((reply.pid(), reply.keeps_alive), (worker, false));
    assert_eq!(idle.rest(), Ok(String::new()), "then it is closed");
    // With the last connection gone it has nothing more to wait for.
    forkyard.wait_exited(worker);
}

/// Nobody waits for the grace who has nothing to be graceful about.
#[test]
fn a_worker_without_connections_leaves_at_once() {
    let forkyard = drained().option("--drain-grace", NEVER).option("--drain-timeout", NEVER);
    assert_eq!(leave(forkyard.start()).exited.number("code"), Some(0));
}

/// A new connection is the successor's from the hand-over on, whatever is still open.
#[test]
fn who_drains_gets_no_new_connection() {
    let forkyard = drained().option("--drain-timeout", NEVER).start();
    let worker = forkyard.wait_listening(1)[0];
    let target = forkyard.target();
    let held = hold(&forkyard);
    forkyard.reload_through(1);
    let tally = Load::short(&target).requests(200).run();
    tally.assert_nothing_lost();
    assert!(!tally.by_worker().contains_key(&worker), "{tally}");
    assert!(processes::is_alive(worker), "it is still there, for the one it has");
    drop(held);
    forkyard.wait_exited(worker);
}

/// A crash while draining is nobody's loss: there is a successor, and no restart.
#[test]
fn a_worker_killed_while_draining_is_not_restarted() {
    let forkyard = drained().option("--drain-timeout", NEVER).start();
    let worker = forkyard.wait_listening(1)[0];
    let held = hold(&forkyard);
    forkyard.reload_through(1);
    signal(worker, Signal::KILL);
    let exited = forkyard.wait_exited(worker);
    assert_eq!(exited.text("signal"), "SIGKILL");
    drop(held);
    let tally = Load::short(&forkyard.target()).requests(100).run();
    tally.assert_nothing_lost();
    let ended = forkyard.stop();
    ended.assert_code(0);
    assert_eq!(ended.all("worker_started").count(), 2, "{}", ended.text());
    assert_eq!(ended.all("restart_scheduled").count(), 0, "{}", ended.text());
}

/// A request that nobody answers for an hour, begun by the worker.
fn hold(forkyard: &Forkyard) -> Connection {
    let mut connection = Connection::open(&forkyard.target()).expect("a connection");
    connection.ask("/slow/3600000/held", Reuse::KeepAlive).expect("it can be asked");
    forkyard.wait_line("the request", |line| line == "begun held");
    connection
}

/// What drains is no exception: it goes with its primary.
#[test]
fn a_stop_ends_who_drains() {
    let forkyard = drained().impatient().start();
    let worker = forkyard.wait_listening(1)[0];
    let held = hold(&forkyard);
    forkyard.reload_through(1);
    let ended = forkyard.stop();
    ended.assert_code(0).assert_nobody_left();
    assert!(ended.all("worker_exited").any(|event| event.pid() == worker), "{}", ended.text());
    drop(held);
}

/// The child must not inherit the channel, or its end would never come.
#[test]
fn a_worker_with_a_child_leaves_at_once() {
    for agent in [&[][..], &["--no-agent"]] {
        let launch = Launch::run("keeps-a-child.js").workers(1).option("--drain-timeout", NEVER);
        let forkyard = agent.iter().fold(launch, |launch, flag| launch.flag(flag)).start();
        let worker = forkyard.wait_listening(1)[0];
        forkyard.reload_through(1);
        let left = |event: &Event| event.is("worker_disconnected") && event.pid() == worker;
        forkyard.wait_for("the end of its channel", left);
        forkyard.wait_exited(worker);
        forkyard.stop().assert_code(0).assert_nobody_left();
    }
}
