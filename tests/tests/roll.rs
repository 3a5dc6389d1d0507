//! What a roll does step by step: whom it waits for, in which order, from which settings,
//! and what becomes of it when something else happens meanwhile.

use std::fs;
use std::io::Write;

use forkyard_tests::client;
use forkyard_tests::load::{Load, Tally};
use forkyard_tests::processes::signal;
use forkyard_tests::record::Record;
use forkyard_tests::releases::{Release, Releases};
use forkyard_tests::{Ended, Event, Forkyard, Launch, Node, rolls, tools};
use rustix::process::Signal;

/// A version that listens once the file at `RELEASE` exists.
fn held_back(record: &Record) -> Release {
    Release::of("starts-slowly.js").env("RELEASE", record.release_path())
}

/// A few short requests, none of which may be lost.
fn asked(forkyard: &Forkyard) -> Tally {
    let tally = Load::short(&forkyard.target()).threads(4).requests(100).run();
    tally.assert_nothing_lost();
    tally
}

fn assert_stops(forkyard: Forkyard) -> Ended {
    let ended = forkyard.stop();
    ended.assert_code(0).assert_nobody_left().assert_no_panic();
    ended
}

/// The version that counts when the roll begins is the generation's for good: also when a
/// worker is restarted while `current` leads somewhere else already.
#[test]
fn a_symlink_counts_as_it_is_when_the_roll_begins() {
    let releases = Releases::new();
    let forkyard = Launch::releases(&releases).workers(2).start();
    forkyard.wait_listening(2);
    assert_eq!(asked(&forkyard).versions(), ["1"]);
    releases.deploy("2", &Release::good());
    assert_eq!(asked(&forkyard).versions(), ["1"], "not before the reload");
    forkyard.reload_through(1);
    assert_eq!(asked(&forkyard).versions(), ["2"]);
    releases.deploy("3", &Release::good());
    let old: Vec<_> = forkyard.wait_count("worker_started", 4).iter().map(Event::pid).collect();
    signal(forkyard.seated()[0], Signal::KILL);
    forkyard.wait_replaced(0, &old);
    assert_eq!(asked(&forkyard).versions(), ["2"], "a restart is no reload");
    assert_stops(forkyard);
}

#[test]
fn environment_files_are_read_anew() {
    let releases = Releases::new();
    let file = releases.file("env");
    fs::write(&file, "VERSION=first\n").expect("the file of variables");
    let launch = Launch::run("release.js").workers(1).option("--env-file", &file);
    let forkyard = launch.start();
    forkyard.wait_listening(1);
    assert_eq!(asked(&forkyard).versions(), ["first"]);
    fs::write(&file, "VERSION=second\n").expect("the file of variables");
    forkyard.reload_through(1);
    assert_eq!(asked(&forkyard).versions(), ["second"]);
    fs::write(&file, "no variable\n").expect("the file of variables");
    forkyard.reload();
    let failed = forkyard.wait("reload_failed");
    assert!(failed.text("reason").contains("NAME=VALUE"), "{failed:?}");
    assert_eq!(asked(&forkyard).versions(), ["second"], "it serves on");
    assert_stops(forkyard);
}

/// How many workers there are is among the settings that are read anew.
#[test]
fn the_number_of_workers_is_read_anew() {
    let releases = Releases::new();
    let file = releases.file("env");
    let write = |workers: usize| {
        fs::write(&file, format!("WEB_CONCURRENCY={workers}\n")).expect("the file of variables");
    };
    write(2);
    let launch = Launch::run("release.js").option("--env-file", &file);
    let forkyard = launch.env_remove("WEB_CONCURRENCY").start();
    let mut gone = forkyard.wait_listening(2).len();
    for (reload, workers) in [3, 1].into_iter().enumerate() {
        write(workers);
        forkyard.reload_through(reload + 1);
        forkyard.wait_count("worker_exited", gone);
        gone += workers;
        assert_eq!(forkyard.seated().len(), workers);
        let served = asked(&forkyard).by_worker();
        assert!(served.keys().all(|pid| forkyard.seated().contains(pid)), "{served:?}");
    }
    assert_stops(forkyard);
}

/// Slot after slot, and never more workers at work than the surge allows.
#[test]
fn the_slots_take_their_turns() {
    for (surge, at_once) in [("1", 1), ("2", 2), ("50%", 2), ("8", 4)] {
        let launch = Launch::run("release.js").workers(4).option("--surge", surge);
        let forkyard = launch.start();
        forkyard.wait_listening(4);
        forkyard.reload_through(1);
        forkyard.wait_count("worker_exited", 4);
        let ended = assert_stops(forkyard);
        let most = rolls::most_at_work(&ended.events);
        assert!((5..=4 + at_once).contains(&most), "{most} with --surge {surge}");
        let mut order = rolls::order(&ended.events);
        if at_once > 1 {
            order.sort_unstable();
        }
        assert_eq!(order, [0, 1, 2, 3], "each once, with --surge {surge}");
    }
}

#[test]
fn a_step_follows_on_the_other_and_is_told() {
    let launch = Launch::run("release.js").workers(1).option("--check", "/healthz");
    let forkyard = launch.start();
    forkyard.wait_listening(1);
    let finished = forkyard.reload_through(1);
    let started = forkyard.wait("roll_started");
    assert_eq!(started.text("reason"), "reload");
    assert_eq!(started.number("slots"), Some(1));
    assert_eq!(started.number("generation"), finished.number("generation"));
    assert!(finished.number("took_ms").is_some());
    let events = forkyard.events();
    let phases = rolls::phases(&events, 0);
    assert_eq!(phases, ["starting", "waiting", "checking", "settling", "seated"]);
    assert_stops(forkyard);
}

/// Listening is not enough for who is to say that it is ready.
#[test]
fn a_message_makes_ready_when_asked_for() {
    for option in [&["--wait-ready"][..], &["--ready=message"]] {
        let record = Record::new();
        record.release();
        let launch = Launch::run("says-ready.js").workers(1);
        let launch = launch.worker_env("RELEASE", record.release_path());
        let forkyard = option.iter().fold(launch, |launch, name| launch.flag(name)).start();
        let old = forkyard.wait_listening(1)[0];
        fs::remove_file(record.release_path()).expect("from now on nobody is ready");
        forkyard.reload();
        let successor = forkyard.wait_replaced(0, &[old]);
        assert_eq!(asked(&forkyard).by_worker().into_keys().collect::<Vec<_>>(), [old]);
        let seated = forkyard.events().iter().any(|event| rolls::is_phase(event, "seated"));
        assert!(!seated, "it listens, but has not said that it is ready");
        record.release();
        forkyard.wait_rolled(1);
        assert_eq!(asked(&forkyard).by_worker().into_keys().collect::<Vec<_>>(), [successor]);
        assert_stops(forkyard);
    }
}

/// `READY=1` on `NOTIFY_SOCKET`, from a program that is neither Node nor listens.
#[test]
fn a_notification_makes_ready_when_asked_for() {
    let record = Record::new();
    record.release();
    let launch = Launch::run("says-ready.py").interpreter("python3").workers(1);
    let launch = launch.worker_env("RELEASE", record.release_path()).option("--ready", "notify");
    let forkyard = launch.start();
    forkyard.wait_line("the first", |line| line == "ready");
    fs::remove_file(record.release_path()).expect("from now on nobody is ready");
    forkyard.reload();
    forkyard.until("a successor that runs", |events| {
        let up = events.iter().filter(|event| event.line() == Some("not ready yet"));
        (up.count() == 2).then_some(())
    });
    let seated = forkyard.events().iter().any(|event| rolls::is_phase(event, "seated"));
    assert!(!seated, "it runs, but has not said that it is ready");
    record.release();
    forkyard.wait_rolled(1);
    assert_stops(forkyard);
}

/// A second reload begins when the first is over, with what is on disk by then.
#[test]
fn a_second_reload_waits() {
    let (releases, record) = (Releases::new(), Record::new());
    let forkyard = Launch::releases(&releases).workers(2).start();
    forkyard.wait_listening(2);
    releases.deploy("2", &held_back(&record));
    forkyard.reload();
    forkyard.wait_phase(0, "waiting");
    forkyard.reload();
    forkyard.wait("reload_put_off");
    releases.deploy("3", &Release::good());
    record.release();
    forkyard.wait_rolled(2);
    assert_eq!(asked(&forkyard).versions(), ["3"]);
    let ended = assert_stops(forkyard);
    assert_eq!(rolls::order(&ended.events), [0, 1, 0, 1], "one after the other");
    assert_eq!(rolls::most_at_work(&ended.events), 3);
}

#[test]
fn a_second_reload_is_refused_when_asked_for() {
    let (releases, record) = (Releases::new(), Record::new());
    let launch = Launch::releases(&releases).workers(2).option("--reload", "refuse");
    let forkyard = launch.start();
    forkyard.wait_listening(2);
    releases.deploy("2", &held_back(&record));
    forkyard.reload();
    forkyard.wait_phase(0, "waiting");
    forkyard.reload();
    let refused = forkyard.wait("reload_put_off");
    assert!(refused.text("message").contains("refused"), "{refused:?}");
    record.release();
    forkyard.wait_rolled(1);
    releases.deploy("3", &Release::good());
    forkyard.reload_through(2);
    assert_eq!(asked(&forkyard).versions(), ["3"]);
    let ended = assert_stops(forkyard);
    assert_eq!(ended.all("roll_started").count(), 2, "{}", ended.text());
}

/// An operator's stop outranks the roll: neither predecessors nor successors outlive it.
#[test]
fn a_stop_ends_a_roll() {
    let (releases, record) = (Releases::new(), Record::new());
    let forkyard = Launch::releases(&releases).workers(2).impatient().start();
    forkyard.wait_listening(2);
    releases.deploy("2", &held_back(&record));
    forkyard.reload();
    forkyard.wait_phase(0, "waiting");
    let ended = assert_stops(forkyard);
    assert_eq!(ended.all("roll_aborted").count(), 1, "{}", ended.text());
    assert_eq!(ended.all("worker_exited").count(), 3, "{}", ended.text());
    assert_eq!(rolls::order(&ended.events), [0_i64; 0]);
}

/// Whoever only crashes is replaced by a version that does not.
#[test]
fn a_roll_ends_a_crash_loop() {
    let releases = Releases::new();
    releases.deploy("2", &Release::of("crash-at-boot.js"));
    let launch = Launch::releases(&releases).workers(2).option("--restart-limit", "100000");
    let launch = launch.option("--restart-delay", "20ms").option("--restart-max-delay", "20ms");
    let forkyard = launch.start();
    forkyard.wait_count("worker_exited", 6);
    releases.deploy("3", &Release::good());
    forkyard.reload_through(1);
    assert_eq!(asked(&forkyard).versions(), ["3"]);
    // One that was just being started when it was over is told of afterwards, and ends.
    let seated = forkyard.seated();
    forkyard.until("all others to be gone", |events| {
        let of = |name: &'static str| events.iter().filter(move |event| event.is(name));
        let is_gone = |pid: i32| of("worker_exited").any(|event| event.pid() == pid);
        let mut others = of("worker_started").map(Event::pid).filter(|pid| !seated.contains(pid));
        others.all(is_gone).then_some(())
    });
    let ended = assert_stops(forkyard);
    let finished = position(&ended.events, |event| event.is("roll_finished"));
    let after = &ended.events[finished..];
    assert!(!after.iter().any(|event| event.is("restart_scheduled")), "it is over: {after:?}");
}

fn position(events: &[Event], wanted: impl Fn(&Event) -> bool) -> usize {
    events.iter().position(wanted).expect("it has been said")
}

/// The seat is free then, and the successor gets it once it is ready; a worker of the old
/// generation may serve meanwhile.
#[test]
fn who_is_killed_while_its_successor_boots_is_replaced_once() {
    let (releases, record) = (Releases::new(), Record::new());
    let forkyard = Launch::releases(&releases).workers(2).start();
    forkyard.wait_listening(2);
    let victim = forkyard.seated()[0];
    releases.deploy("2", &held_back(&record));
    forkyard.reload();
    forkyard.wait_phase(0, "waiting");
    signal(victim, Signal::KILL);
    forkyard.wait_exited(victim);
    assert_eq!(asked(&forkyard).versions(), ["1"], "there is always somebody");
    record.release();
    forkyard.wait_rolled(1);
    let answer = client::get(&forkyard.target(), "/").expect("an answer");
    assert!(forkyard.seated().contains(&answer.pid()));
    assert_eq!(forkyard.seated().len(), 2);
    assert_stops(forkyard);
}

/// A version whose worker crashes in its seat while the roll is under way is no good.
#[test]
fn a_crash_in_the_new_seat_turns_the_roll_back() {
    let releases = Releases::new();
    let forkyard = Launch::releases(&releases).workers(2).start();
    forkyard.wait_listening(2);
    let old = forkyard.seated();
    // Only slot 0's is soon ready, so that there is time.
    releases.deploy("2", &Release::of("slot-0-only.js"));
    forkyard.reload();
    let seated = forkyard.wait_phase(0, "seated").pid();
    forkyard.wait_phase(1, "waiting");
    signal(seated, Signal::KILL);
    let failed = forkyard.wait("roll_failed");
    assert_eq!((failed.slot(), failed.pid()), (0, seated), "{failed:?}");
    forkyard.wait("roll_rolled_back");
    // The seat it left is filled by a restart.
    let back = forkyard.wait_replaced(0, &[old[0], seated]);
    assert_eq!(forkyard.seated(), [back, old[1]]);
    assert_eq!(asked(&forkyard).versions(), ["1"]);
    assert_stops(forkyard);
}

/// `r` on the terminal is a reload.
#[test]
fn a_key_reloads() {
    let command = [
        tools::forkyard().display().to_string(),
        "run --workers 1 --interpreter".to_owned(),
        Node::V24.binary().display().to_string(),
        tools::program("release.js").display().to_string(),
    ];
    let (keys, mut keyboard) = std::io::pipe().expect("a pipe");
    let launch = Launch::terminal(&format!("exec {}", command.join(" "))).stdin(keys);
    let forkyard = launch.start();
    forkyard.wait_for("a worker", |line| line.raw.contains("listening on"));
    keyboard.write_all(b"r").expect("the key");
    forkyard.wait_for("the reload", |line| line.raw.contains("reload finished"));
    forkyard.signal_children(Signal::TERM);
    forkyard.wait_exit().assert_code(0);
}

/// Who was started so that a hang-up does not reach it is not reloaded by one either.
#[test]
fn under_nohup_a_hang_up_is_no_reload() {
    let forkyard = Launch::run("release.js").workers(1).wrapped(&["nohup"]).start();
    forkyard.wait_listening(1);
    forkyard.reload();
    asked(&forkyard);
    let ended = assert_stops(forkyard);
    assert_eq!(ended.all("roll_started").count(), 0, "{}", ended.text());
    assert_eq!(ended.all("worker_started").count(), 1, "{}", ended.text());
}
