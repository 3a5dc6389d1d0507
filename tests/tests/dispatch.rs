//! How connections reach workers, and what becomes of them when a worker does not stay:
//! nothing is lost but what a killed worker had already begun, nobody is refused, and
//! nothing is served twice.

use std::fs;

use forkyard_tests::client::{self, Connection, Failure, Reuse, Target};
use forkyard_tests::load::{Load, Lost, Tally};
use forkyard_tests::processes::{self, signal};
use forkyard_tests::record::Record;
use forkyard_tests::{Ended, Forkyard, Launch, ports, waiting};
use rustix::process::Signal;

/// How many workers are killed while clients ask.
const KILLS: usize = 6;

/// Restarts without end: the kills of a test are no sign of a broken program.
fn tireless(launch: Launch) -> Launch {
    launch.option("--restart-limit", "1000")
}

/// `recorded.js` with its record, served by `workers`.
fn recorded(record: &Record, workers: usize) -> Launch {
    let launch = tireless(Launch::run("recorded.js").workers(workers));
    let launch = launch.worker_env("RECORD", record.path());
    launch.worker_env("RELEASE", record.release_path())
}

/// The same where the primary accepts and hands over, which is what the test is about.
fn handed_over(record: &Record, workers: usize) -> Launch {
    recorded(record, workers).option("--policy", "round-robin")
}

/// Kills one worker after the other while `load` is under way, and gives the dead.
fn kill_workers_under(load: &Load, forkyard: &Forkyard, workers: usize) -> (Tally, Vec<i32>) {
    let mut alive = forkyard.wait_listening(workers);
    let mut dead = Vec::new();
    let running = load.start();
    for _ in 0..KILLS {
        running.wait_answered(200);
        let victim = alive.remove(0);
        signal(victim, Signal::KILL);
        dead.push(victim);
        let exited = forkyard.wait_exited(victim);
        alive.push(forkyard.wait_replaced(exited.slot(), &[dead.clone(), alive.clone()].concat()));
    }
    running.wait_answered(200);
    (running.stop(), dead)
}

/// The lost requests that no killed worker had begun: nobody may lose these.
fn not_begun<'a>(tally: &'a Tally, record: &Record, dead: &[i32]) -> Vec<&'a Lost> {
    let begun = record.read();
    tally.lost.iter().filter(|lost| !begun.had(lost.local_port, dead)).collect()
}

/// Every request was begun at most once, and every answered one exactly once.
fn assert_served_once(tally: &Tally, record: &Record) {
    let begun = record.read();
    for (id, workers) in &begun.requests {
        assert_eq!(workers.len(), 1, "request {id} was begun by {workers:?}");
    }
    for (id, worker) in &tally.answered {
        assert_eq!(begun.requests.get(id), Some(&vec![*worker]), "request {id}");
    }
}

fn assert_only_broken_connections(tally: &Tally) {
    let broken = |lost: &&Lost| !matches!(lost.failure, Failure::Reset | Failure::Closed);
    let others: Vec<_> = tally.lost.iter().filter(broken).collect();
    assert!(others.is_empty(), "no client is refused, kept waiting or misled: {others:#?}");
}

#[test]
fn kills_under_short_connections_lose_only_begun_requests() {
    let record = Record::new();
    let forkyard = handed_over(&record, 2).start();
    let load = Load::short(&forkyard.target());
    let (tally, dead) = kill_workers_under(&load, &forkyard, 2);
    assert_only_broken_connections(&tally);
    let not_begun = not_begun(&tally, &record, &dead);
    assert!(not_begun.is_empty(), "lost though no killed worker had them: {not_begun:#?}");
    assert_served_once(&tally, &record);
    forkyard.stop().assert_code(0).assert_nobody_left().assert_no_panic();
}

#[test]
fn kills_under_kept_connections_lose_only_begun_requests() {
    let record = Record::new();
    let forkyard = handed_over(&record, 2).start();
    let load = Load::keep_alive(&forkyard.target());
    let (tally, dead) = kill_workers_under(&load, &forkyard, 2);
    assert_only_broken_connections(&tally);
    let not_begun = not_begun(&tally, &record, &dead);
    assert!(not_begun.is_empty(), "lost though no killed worker had them: {not_begun:#?}");
    assert_served_once(&tally, &record);
}

/// Where workers accept by themselves, a kill can hit between the worker's accept and
/// its record of it: one connection a kill may be lost without a trace, and no more.
#[test]
fn kills_where_workers_accept_lose_only_begun_requests() {
    for policy in ["kernel", "shared"] {
        let record = Record::new();
        let forkyard = recorded(&record, 2).option("--policy", policy).start();
        let load = Load::short(&forkyard.target());
        let (tally, dead) = kill_workers_under(&load, &forkyard, 2);
        assert_only_broken_connections(&tally);
        let not_begun = not_begun(&tally, &record, &dead);
        assert!(not_begun.len() <= KILLS, "{policy}: no killed worker had them: {not_begun:#?}");
        assert_served_once(&tally, &record);
        if policy == "shared" {
            assert!(record.read().received.is_empty(), "no connection went over a channel");
        }
    }
}

#[test]
fn one_worker_killed_again_and_again_refuses_nobody() {
    let record = Record::new();
    let forkyard = handed_over(&record, 1).start();
    let load = Load::short(&forkyard.target());
    let (tally, dead) = kill_workers_under(&load, &forkyard, 1);
    assert_only_broken_connections(&tally);
    assert!(not_begun(&tally, &record, &dead).is_empty());
    assert_served_once(&tally, &record);
}

/// Opens `count` connections with a request each, ids `c0`, `c1`, …
fn ask_without_waiting(target: &Target, count: usize) -> Vec<Connection> {
    let ask = |n: usize| client::asked(target, &format!("/c{n}"));
    (0..count).map(|n| ask(n).expect("a connection is never refused")).collect()
}

/// Waits until the primary has taken at least one of `asked` connections from the
/// kernel. Nobody else can have: the workers stand still.
fn wait_handed_off(port: u16, asked: usize) {
    waiting::until("a connection to be handed off", || {
        let waiting = processes::accept_queue(port)?;
        ((waiting as usize) < asked).then_some(())
    });
}

fn answers(asked: &mut [Connection]) -> Vec<i32> {
    let answer = |connection: &mut Connection| connection.answer().map(|reply| reply.pid());
    asked.iter_mut().map(|connection| answer(connection).expect("an answer")).collect()
}

/// A worker that stands still has a connection it never took; another one serves it.
#[test]
fn a_connection_handed_to_a_stopped_worker_is_served_by_another() {
    let record = Record::new();
    let forkyard = handed_over(&record, 2).start();
    let workers = forkyard.wait_listening(2);
    workers.iter().for_each(|&worker| signal(worker, Signal::STOP));
    let mut asked = ask_without_waiting(&forkyard.target(), 10);
    wait_handed_off(forkyard.port(), 10);
    signal(workers[0], Signal::KILL);
    forkyard.wait_exited(workers[0]);
    signal(workers[1], Signal::CONT);
    let by = answers(&mut asked);
    assert!(!by.contains(&workers[0]), "the dead worker answered: {by:?}");
    let begun = record.read();
    assert!(begun.requests.values().all(|workers| workers.len() == 1), "{begun:?}");
}

/// The same with the last worker there is, and an event loop that is blocked by the
/// program itself.
#[test]
fn a_connection_handed_to_a_blocked_worker_is_served_by_its_successor() {
    let record = Record::new();
    let forkyard = handed_over(&record, 1).start();
    let worker = forkyard.wait_listening(1)[0];
    let target = forkyard.target();
    let mut blocker = client::asked(&target, "/block/b").expect("asked");
    assert_eq!(record.wait_request("b"), worker);
    let mut asked = ask_without_waiting(&target, 10);
    wait_handed_off(forkyard.port(), 10);
    signal(worker, Signal::KILL);
    let successor = forkyard.wait_replaced(0, &[worker]);
    assert_eq!(answers(&mut asked), [successor; 10]);
    assert!(blocker.answer().is_err(), "what the killed worker had begun is lost");
    let begun = record.read();
    assert_eq!(begun.requests.get("b"), Some(&vec![worker]), "it is not begun again");
}

/// Only what workers can take is accepted; the rest waits in the kernel's queue.
#[test]
fn accepts_no_more_than_it_can_place() {
    const ASKED: usize = 100;
    const WORKERS: usize = 2;
    /// A worker may have a few connections on the way at the same time, not many.
    const ON_THE_WAY: usize = 16;
    let record = Record::new();
    let forkyard = handed_over(&record, WORKERS).start();
    let workers = forkyard.wait_listening(WORKERS);
    workers.iter().for_each(|&worker| signal(worker, Signal::STOP));
    let mut asked = ask_without_waiting(&forkyard.target(), ASKED);
    wait_handed_off(forkyard.port(), ASKED);
    let waiting = processes::accept_queue(forkyard.port()).expect("a listener") as usize;
    assert!(waiting >= ASKED - WORKERS * ON_THE_WAY, "only {waiting} of {ASKED} wait");
    workers.iter().for_each(|&worker| signal(worker, Signal::CONT));
    assert_eq!(answers(&mut asked).len(), ASKED);
}

#[test]
fn a_worker_that_stands_still_does_not_stop_the_others() {
    let record = Record::new();
    let forkyard = recorded(&record, 2).start();
    let workers = forkyard.wait_listening(2);
    signal(workers[0], Signal::STOP);
    let running = Load::short(&forkyard.target()).threads(32).start();
    running.wait_answered(500);
    signal(workers[0], Signal::CONT);
    let tally = running.stop();
    tally.assert_nothing_lost();
    assert_served_once(&tally, &record);
}

/// While no worker is up, clients wait; the first worker that comes back serves them.
#[test]
fn clients_wait_while_no_worker_is_up() {
    let record = Record::new();
    let port = ports::free();
    record.release();
    let launch = tireless(Launch::run("crash-loop.js").workers(2));
    let launch = launch.option("--restart-max-delay", "100ms");
    let launch = launch.worker_env("PORT", port.to_string());
    let forkyard = launch.worker_env("RELEASE", record.release_path()).start();
    let workers = forkyard.wait_listening(2);
    fs::remove_file(record.release_path()).expect("no release");
    workers.iter().for_each(|&worker| signal(worker, Signal::KILL));
    workers.iter().for_each(|&worker| drop(forkyard.wait_exited(worker)));
    let target = Target::port(port);
    let mut asked = ask_without_waiting(&target, 10);
    forkyard.wait_count("worker_exited", 8);
    asked.extend(ask_without_waiting(&target, 10));
    record.release();
    let by = answers(&mut asked);
    assert!(by.iter().all(|pid| !workers.contains(pid)));
}

/// Port 0 stays the port it became, whoever comes and goes.
#[test]
fn the_listener_outlives_all_its_workers() {
    let forkyard = tireless(Launch::run("recorded.js").workers(2)).start();
    let workers = forkyard.wait_listening(2);
    let port = forkyard.port();
    workers.iter().for_each(|&worker| signal(worker, Signal::KILL));
    workers.iter().for_each(|&worker| drop(forkyard.wait_exited(worker)));
    let reply = client::get(&Target::port(port), "/x").expect("an answer of a successor");
    assert!(!workers.contains(&reply.pid()));
    let successors: Vec<_> = (0..2).map(|slot| forkyard.wait_replaced(slot, &workers)).collect();
    assert!(successors.iter().all(|&pid| forkyard.port_of(pid) == port));
    assert_eq!(forkyard.stop().all("listener_bound").count(), 1);
}

#[test]
fn connections_are_dealt_evenly() {
    let forkyard = Launch::run("sticky-sockets.js").workers(2).start();
    let workers = forkyard.wait_listening(2);
    let target = forkyard.target();
    let mut open = Vec::new();
    let mut counts = [0, 0];
    for _ in 0..40 {
        let mut connection = Connection::open(&target).expect("a connection");
        connection.send(b"hello\n").expect("sent");
        let line = connection.line().expect("an echo");
        let at = workers.iter().position(|pid| line == format!("{pid} hello"));
        counts[at.unwrap_or_else(|| panic!("nobody's echo: {line}"))] += 1;
        open.push(connection);
    }
    assert!(counts.iter().all(|&count| count >= 15), "{counts:?}");
}

#[test]
fn a_long_connection_stays_with_its_worker() {
    let forkyard = Launch::run("sticky-sockets.js").workers(2).start();
    forkyard.wait_listening(2);
    let mut connection = Connection::open(&forkyard.target()).expect("a connection");
    let mut seen = Vec::new();
    for _ in 0..20 {
        connection.send(b"ping\n").expect("sent");
        seen.push(connection.line().expect("an echo"));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

/// The policy in force is told, and tells how connections come.
#[test]
fn policies_are_chosen_per_listener() {
    let (first, second) = (Record::new(), Record::new());
    let folder = Record::new();
    let socket = folder.file("app.sock");
    let cases = [
        ("round-robin".to_owned(), "round-robin", &first),
        ("shared".to_owned(), "shared", &second),
    ];
    for (option, expected, record) in cases {
        let forkyard = recorded(record, 2).option("--policy", option).start();
        forkyard.wait_listening(2);
        assert_eq!(forkyard.wait("listener_bound").text("policy"), expected);
        client::get(&forkyard.target(), "/x").expect("an answer");
        assert_eq!(record.read().received.is_empty(), expected == "shared");
    }
    let port = ports::free();
    let launch = Launch::run("listen.js").workers(2).option("--policy", "shared");
    let launch = launch.option("--policy", format!("{port}=round-robin"));
    let launch = launch.option("--policy", format!("{}=round-robin", socket.display()));
    let launch = launch.arg("net").arg(format!(r#"{{"host":"127.0.0.1","port":{port}}}"#));
    let launch = launch.arg("net").arg(r#"{"host":"127.0.0.1","port":0}"#);
    let launch = launch.arg("net").arg(format!(r#"{{"path":{:?}}}"#, socket));
    let forkyard = launch.start();
    for event in forkyard.wait_count("listener_bound", 3) {
        let address = event.text("address");
        let chosen = address.ends_with(&format!(":{port}")) || address.starts_with("unix:");
        let expected = if chosen { "round-robin" } else { "shared" };
        assert_eq!(event.text("policy"), expected, "{address}");
    }
}

/// What a worker has accepted before the stop is answered; what no worker has, may be
/// refused, but is never half done.
#[test]
fn a_stop_under_load_finishes_what_was_begun() {
    let record = Record::new();
    let forkyard = recorded(&record, 2).start();
    forkyard.wait_listening(2);
    let target = forkyard.target();
    let mut held: Vec<_> =
        (0..4).map(|n| client::asked(&target, &format!("/hold/h{n}")).expect("asked")).collect();
    let holders: Vec<_> = (0..4).map(|n| record.wait_request(&format!("h{n}"))).collect();
    let running = Load::short(&target).start();
    running.wait_answered(500);
    forkyard.signal(Signal::TERM);
    forkyard.wait("stopping");
    record.release();
    assert_eq!(answers(&mut held), holders);
    let ended = forkyard.wait_exit();
    let tally = running.stop();
    let begun = record.read();
    let dropped: Vec<_> =
        tally.lost.iter().filter(|lost| begun.requests.contains_key(&lost.id)).collect();
    assert!(dropped.is_empty(), "begun but not answered: {dropped:#?}");
    assert_no_time_outs(&tally);
    assert_clean(&ended);
}

fn assert_no_time_outs(tally: &Tally) {
    assert_eq!(tally.count(&Failure::TimedOut), 0, "nobody is left hanging");
    assert_eq!(tally.count(&Failure::Wrong(String::new())), 0);
}

fn assert_clean(ended: &Ended) {
    ended.assert_code(0).assert_nobody_left().assert_no_panic().assert_nobody_hurried();
}

/// Descriptors and zombies: after load and kills the primary has what it had before; but for
/// the copies by which it watches the lanes of two workers at times.
#[test]
fn the_primary_keeps_nothing_of_what_is_over() {
    const WATCHED: usize = 2;
    for policy in ["kernel", "round-robin"] {
        let record = Record::new();
        let forkyard = recorded(&record, 2).option("--policy", policy).start();
        forkyard.wait_listening(2);
        let primary = forkyard.primary_pid();
        client::get(&forkyard.target(), "/first").expect("an answer");
        let before = processes::descriptors(primary);
        let load = Load::short(&forkyard.target()).requests(5_000);
        kill_workers_under(&load, &forkyard, 2);
        waiting::until(
            &format!("{policy}: the primary to have {before} descriptors again"),
            || (processes::descriptors(primary).abs_diff(before) <= WATCHED).then_some(()),
        );
        let children = processes::children(primary);
        let is_zombie = |child: &&i32| processes::state(**child) == Some('Z');
        let zombies: Vec<_> = children.iter().filter(is_zombie).collect();
        assert!(zombies.is_empty(), "{zombies:?}");
    }
}

/// Clients that come and go without a word harm nobody.
#[test]
fn clients_that_hang_up_are_no_trouble() {
    let record = Record::new();
    let forkyard = recorded(&record, 2).start();
    forkyard.wait_listening(2);
    let target = forkyard.target();
    for n in 0..200 {
        let mut connection = Connection::open(&target).expect("a connection");
        if n % 2 == 0 {
            connection.ask("/hung-up", Reuse::KeepAlive).expect("asked");
        }
    }
    Load::short(&target).requests(200).run().assert_nothing_lost();
}
