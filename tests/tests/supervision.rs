//! Crashes, restarts, stops: what the primary does about its workers.

use std::fs;

use forkyard_tests::client::{self, Target};
use forkyard_tests::processes::{self, signal};
use forkyard_tests::record::Record;
use forkyard_tests::{Event, Forkyard, Launch, Node, Stream, tools, waiting};
use rustix::process::Signal;

/// No time-out of a stop comes by itself within a test.
const NEVER: &str = "1h";

#[test]
fn a_killed_worker_is_noticed_said_and_replaced() {
    let forkyard = Launch::run("plain.js").workers(2).start();
    let workers = forkyard.wait_listening(2);
    signal(workers[0], Signal::KILL);
    let exited = forkyard.wait_exited(workers[0]);
    assert_eq!(exited.text("signal"), "SIGKILL");
    assert!(exited.json["code"].is_null());
    assert_eq!(exited.json["expected"], false);
    let new = forkyard.wait_replaced(exited.slot(), &workers);
    let ids: Vec<_> = forkyard.wait_count("worker_started", 3);
    assert_eq!(ids[2].pid(), new);
    assert_eq!(ids[2].slot(), exited.slot(), "the seat stays the same");
    assert!(ids[..2].iter().all(|id| id.number("worker") != ids[2].number("worker")));
    forkyard.stop().assert_code(0).assert_nobody_left();
}

/// Every way to crash is told as it was, with the last words of the worker.
#[test]
fn every_end_of_a_worker_is_told_as_it_was() {
    let folder = Record::new();
    let socket = folder.file("app.sock");
    let launch = Launch::run("crash-when-asked.js").workers(1).option("--restart-limit", "100");
    let forkyard = launch.worker_env("SOCKET", &socket).start();
    let target = Target::unix(&socket);
    let ends = [
        ("/throw", Some(1), "", "thrown as asked"),
        ("/reject", Some(1), "", "rejected as asked"),
        ("/exit/42", Some(42), "", ""),
        ("/abort", None, "SIGABRT", ""),
        ("/segv", None, "SIGSEGV", ""),
    ];
    let mut old = forkyard.wait_listening(1);
    for (path, code, signal_name, last_words) in ends {
        let reply = client::get(&target, path).expect("an answer before the end");
        assert_eq!(reply.body, "as you wish");
        let worker = *old.last().expect("a worker");
        let exited = forkyard.wait_exited(worker);
        assert_eq!((exited.number("code"), exited.text("signal")), (code, signal_name), "{path}");
        assert_eq!(exited.json["expected"], false, "{path}");
        let tail = exited.json["stderr_tail"].to_string();
        assert!(tail.contains(last_words), "{path}: {tail}");
        old.push(forkyard.wait_replaced(0, &old));
    }
}

/// The first crash of a worker that was well costs no wait; a program that keeps
/// crashing waits longer each time, up to the limit given.
#[test]
fn restarts_back_off() {
    let folder = Record::new();
    folder.release();
    let launch = Launch::run("crash-loop.js").workers(1).worker_env("PORT", "0");
    let launch = launch.worker_env("RELEASE", folder.release_path());
    let launch = launch.option("--restart-delay", "20ms").option("--restart-max-delay", "100ms");
    let forkyard = launch.option("--restart-limit", "9").start();
    let worker = forkyard.wait_listening(1)[0];
    fs::remove_file(folder.release_path()).expect("from now on it crashes at boot");
    signal(worker, Signal::KILL);
    let ended = forkyard.wait_exit();
    ended.assert_code(3);
    let delay = |event: &Event| event.number("delay_ms").expect("a delay");
    let delays: Vec<_> = ended.all("restart_scheduled").map(delay).collect();
    assert_eq!(delays[0], 0, "the first crash of a healthy worker: {delays:?}");
    assert!(delays[1..].iter().all(|&delay| delay > 0), "then it waits: {delays:?}");
    assert!(delays.iter().all(|&delay| delay <= 100), "but not too long: {delays:?}");
    let last = delays[delays.len() - 1];
    assert!(last > delays[1], "and longer each time: {delays:?}");
}

#[test]
fn a_program_that_only_crashes_fails_the_app() {
    let launch = Launch::run("crash-at-boot.js").workers(2).option("--restart-delay", "1ms");
    let ended = launch.option("--restart-limit", "4").finish();
    ended.assert_code(3).assert_nobody_left().assert_no_panic();
    let failed: Vec<_> = ended.all("app_failed").collect();
    assert_eq!(failed.len(), 1, "{}", ended.text());
    let tail = failed[0].json["stderr_tail"].to_string();
    assert!(tail.contains("no database today"), "{tail}");
    let restarts =
        |slot| ended.all("restart_scheduled").filter(|event| event.slot() == slot).count();
    assert_eq!(restarts(0).max(restarts(1)), 4, "as many restarts of a slot as allowed");
}

/// Having listened before the crash is no excuse: what crashes again and again fails.
#[test]
fn a_program_that_crashes_once_it_listens_fails_the_app() {
    let folder = Record::new();
    fs::write(folder.file("crash"), "").expect("the file that makes it crash");
    let launch = Launch::run("crash-once-listening.js").workers(1);
    let launch = launch.worker_env("CRASH", folder.file("crash")).option("--restart-delay", "1ms");
    let ended = launch.option("--restart-limit", "4").finish();
    ended.assert_code(3).assert_nobody_left();
    let crashed =
        |event: &Event| event.json["expected"] == false && event.number("code") == Some(1);
    assert!(ended.all("worker_exited").all(crashed), "{}", ended.text());
    assert_eq!(ended.all("worker_exited").count(), 5, "{}", ended.text());
}

/// A healthy worker does not survive the failure of its app.
#[test]
fn a_failed_app_is_stopped_whole() {
    let folder = Record::new();
    let launch = Launch::run("channel.js").workers(2).arg("half-line-and-exit");
    let launch = launch.worker_env("ONCE", folder.file("once"));
    let forkyard = launch.option("--restart-limit", "0").start();
    let ended = forkyard.wait_exit();
    ended.assert_code(3).assert_nobody_left();
}

#[test]
fn some_exit_codes_mean_no_restart() {
    for code in ["0", "42"] {
        let launch = Launch::run("exit-at-boot.js").workers(2).arg(code);
        let ended = launch.option("--no-restart-codes", "0,42").finish();
        assert_eq!(ended.all("worker_started").count(), 2, "{}", ended.text());
        assert_eq!(ended.all("restart_scheduled").count(), 0, "{}", ended.text());
        let finished: Vec<_> = ended.all("app_finished").collect();
        assert_eq!(finished.len(), 1, "{}", ended.text());
        assert_eq!(finished[0].number("code"), code.parse().ok(), "{:?}", finished[0]);
        assert_eq!(ended.code().to_string(), code);
        ended.assert_nobody_left();
    }
}

#[test]
fn a_worker_that_does_not_listen_in_time_is_ended() {
    let folder = Record::new();
    let launch = Launch::run("starts-slowly.js").workers(1);
    let launch = launch.worker_env("RELEASE", folder.release_path());
    let forkyard =
        launch.option("--start-timeout", "500ms").option("--restart-limit", "50").start();
    let late = forkyard.wait("start_timeout");
    let exited = forkyard.wait_exited(late.pid());
    assert_eq!(exited.json["expected"], false, "it counts as a crash");
    forkyard.wait("restart_scheduled");
    folder.release();
    let workers = forkyard.wait_listening(1);
    assert!(!workers.contains(&late.pid()));
    forkyard.stop().assert_code(0).assert_nobody_left();
}

#[test]
fn a_program_that_never_listens_is_welcome() {
    let forkyard = Launch::run("queue-worker.js").workers(2).impatient().start();
    for worker in forkyard.wait_count("worker_online", 2) {
        let pid = worker.pid();
        forkyard.wait_for("its word", |event| {
            event.line() == Some("waiting for jobs") && event.pid() == pid
        });
    }
    let ended = forkyard.stop();
    ended.assert_code(0).assert_nobody_left();
    assert_eq!(ended.all("worker_started").count(), 2, "{}", ended.text());
}

#[test]
fn every_stop_signal_stops_it() {
    let stops = [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")];
    for (stop, name) in stops {
        let forkyard = Launch::run("plain.js").workers(2).start();
        forkyard.wait_listening(2);
        forkyard.signal(stop);
        let ended = forkyard.wait_exit();
        ended.assert_code(0).assert_nobody_left();
        let signals: Vec<_> = ended.all("signal_received").map(|e| e.text("signal")).collect();
        assert_eq!(signals, [name]);
        assert_eq!(ended.all("stopping").count(), 1);
        assert_eq!(ended.all("stop_escalated").count(), 0, "they go when asked");
        assert_eq!(ended.all("restart_scheduled").count(), 0, "nobody is restarted");
        assert_eq!(ended.all("stopped").count(), 1);
        let expected = |event: &Event| event.json["expected"] == true;
        assert!(ended.all("worker_exited").all(expected), "{}", ended.text());
    }
}

/// Disconnect, then SIGTERM, then SIGKILL.
#[test]
fn a_stop_grows_more_severe() {
    let forkyard = Launch::run("ignores-sigterm.js").workers(2).impatient().start();
    forkyard.wait_listening(2);
    let ended = forkyard.stop();
    ended.assert_code(0).assert_nobody_left();
    for slot in 0..2 {
        let of_slot = ended.all("stop_escalated").filter(|event| event.slot() == slot);
        let stages: Vec<_> = of_slot.map(|event| event.text("stage")).collect();
        assert_eq!(stages, ["terminate", "kill"], "slot {slot}");
    }
    for word in ["disconnect ignored", "SIGTERM ignored"] {
        let said = ended.events.iter().filter(|event| event.line() == Some(word)).count();
        assert_eq!(said, 2, "{word}: {}", ended.text());
    }
    assert!(ended.all("worker_exited").all(|event| event.text("signal") == "SIGKILL"));
}

#[test]
fn another_signal_hurries_the_stop() {
    let launch = Launch::run("ignores-sigterm.js").workers(2);
    let launch = launch.option("--drain-timeout", NEVER).option("--term-timeout", NEVER);
    let forkyard = launch.start();
    forkyard.wait_listening(2);
    forkyard.signal(Signal::INT);
    forkyard.wait("stopping");
    forkyard.signal(Signal::INT);
    forkyard.wait_for("SIGTERM to the workers", |event| event.text("stage") == "terminate");
    forkyard.signal(Signal::INT);
    forkyard.wait_exit().assert_code(0).assert_nobody_left();
}

#[test]
fn a_deaf_worker_is_killed_in_the_end() {
    let forkyard = Launch::run("deaf.js").workers(2).impatient().start();
    forkyard.wait_listening(2);
    forkyard.stop().assert_code(0).assert_nobody_left();
}

/// A stop outranks every restart: also one that is due only later.
#[test]
fn a_stop_beats_a_pending_restart() {
    let launch = Launch::run("crash-at-boot.js").workers(2).option("--restart-limit", "1000");
    let launch = launch.option("--restart-delay", NEVER).option("--restart-max-delay", NEVER);
    let forkyard = launch.start();
    forkyard.until("both workers to wait for a restart", |events| {
        let later =
            |event: &&Event| event.is("restart_scheduled") && event.number("delay_ms") > Some(0);
        let mut slots: Vec<_> = events.iter().filter(later).map(Event::slot).collect();
        slots.dedup();
        (slots.len() >= 2).then_some(())
    });
    forkyard.stop().assert_code(0).assert_nobody_left();
}

/// A stop amid a crash loop schedules nobody any more. A start that was under way when it
/// came may still be told, one for each slot.
#[test]
fn a_stop_ends_a_crash_loop() {
    let launch = Launch::run("crash-at-boot.js").workers(2).option("--restart-limit", "100000");
    let launch = launch.option("--restart-delay", "1ms").option("--restart-max-delay", "1ms");
    let forkyard = launch.start();
    forkyard.wait_count("worker_exited", 6);
    let ended = forkyard.stop();
    ended.assert_code(0).assert_nobody_left();
    let stopping = ended.events.iter().position(|event| event.is("stopping")).expect("it stops");
    let after = |name: &str| -> Vec<i64> {
        let named = ended.events[stopping..].iter().filter(|event| event.is(name));
        named.map(Event::slot).collect()
    };
    assert_eq!(after("restart_scheduled"), Vec::<i64>::new(), "{}", ended.text());
    let mut started = after("worker_started");
    started.sort_unstable();
    assert!(started.windows(2).all(|pair| pair[0] != pair[1]), "{}", ended.text());
}

/// A stop before any worker is up.
#[test]
fn a_stop_at_once_is_heeded() {
    let forkyard = Launch::run("plain.js").workers(2).start();
    forkyard.wait("primary_started");
    forkyard.stop().assert_code(0).assert_nobody_left();
}

/// The ids of the children of the worker of `grandchildren.js`.
fn grandchildren(forkyard: &Forkyard) -> [i32; 2] {
    let said = forkyard.wait_json("meek", 1);
    let pid = |name: &str| said[0][name].as_i64().and_then(|pid| i32::try_from(pid).ok());
    ["meek", "stubborn"].map(|name| pid(name).expect("a pid"))
}

#[test]
fn grandchildren_do_not_survive_a_stop() {
    let forkyard = Launch::run("grandchildren.js").workers(1).impatient().start();
    forkyard.wait_listening(1);
    let children = grandchildren(&forkyard);
    assert!(children.iter().all(|&child| processes::is_alive(child)));
    // Killed by then, but nobody's children to wait for.
    forkyard.stop().assert_code(0).wait_nobody_left();
}

#[test]
fn grandchildren_do_not_survive_the_end_of_their_worker() {
    let forkyard = Launch::run("grandchildren.js").workers(1).impatient().start();
    let worker = forkyard.wait_listening(1)[0];
    let children = grandchildren(&forkyard);
    signal(worker, Signal::KILL);
    forkyard.wait_exited(worker);
    waiting::until("the grandchildren to end", || {
        (!children.iter().any(|&child| processes::is_alive(child))).then_some(())
    });
    forkyard.wait_replaced(0, &[worker]);
}

/// Kills the primary itself and waits for all that it started to be gone.
fn dies_with_its_primary(launch: Launch, ready: impl FnOnce(&Forkyard)) {
    let forkyard = launch.start();
    ready(&forkyard);
    signal(forkyard.primary_pid(), Signal::KILL);
    forkyard.wait_exit().wait_nobody_left();
}

#[test]
fn no_worker_outlives_its_primary() {
    let listening = |forkyard: &Forkyard| {
        forkyard.wait_listening(2);
    };
    dies_with_its_primary(Launch::run("plain.js").workers(2), listening);
    dies_with_its_primary(Launch::run("ignores-sigterm.js").workers(2), listening);
    dies_with_its_primary(Launch::run("deaf.js").workers(2), |forkyard| {
        for worker in forkyard.wait_listening(2) {
            let deaf =
                |event: &Event| event.line() == Some("deaf from here on") && event.pid() == worker;
            forkyard.wait_for("a deaf worker", deaf);
        }
    });
    dies_with_its_primary(Launch::run("queue-worker.js").workers(2), |forkyard| {
        forkyard.wait_count("worker_online", 2);
    });
}

/// As PID 1 of a container the primary inherits orphans, reaps them, and still takes
/// the signals of whoever stops the container.
#[test]
fn it_is_a_good_first_process() {
    let (forkyard, primary) = first_process(Launch::run("orphans.js"));
    forkyard.wait_line("its orphans", |line| line == "five orphans");
    wait_only_worker(primary);
    stop_first_process(forkyard, primary);
}

/// The orphans that a worker leaves are killed with its group. They end long before the
/// worker is reaped, because its last words find no reader.
#[test]
fn the_first_process_reaps_what_a_dead_worker_leaves() {
    let launch = Launch::run("children-and-words.js").unread(Stream::Stdout);
    let (mut forkyard, primary) = first_process(launch);
    forkyard.wait_full();
    let worker = processes::children(primary)[0];
    waiting::until("its children", || (processes::children(worker).len() == 2).then_some(()));
    signal(worker, Signal::KILL);
    forkyard.wait("worker_exited");
    wait_only_worker(primary);
    forkyard.read();
    stop_first_process(forkyard, primary);
}

#[test]
fn the_first_process_forwards_signals() {
    let (forkyard, primary) = first_process(Launch::run("signals.js"));
    forkyard.wait_line("a worker that listens for signals", |line| line == "listening for signals");
    let signals =
        [(Signal::USR1, "SIGUSR1"), (Signal::QUIT, "SIGQUIT"), (Signal::WINCH, "SIGWINCH")];
    for (number, name) in signals {
        signal(primary, number);
        forkyard.wait_line(name, |line| line == name);
    }
    stop_first_process(forkyard, primary);
}

/// The command as PID 1 of a namespace of its own with one worker, and its process id
/// outside.
fn first_process(launch: Launch) -> (Forkyard, i32) {
    let unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let forkyard = launch.workers(1).impatient().wrapped(&unshare).start();
    assert_eq!(forkyard.primary_pid(), 1);
    let primary = processes::children(forkyard.pid())[0];
    (forkyard, primary)
}

/// Waits until the primary has one child and that is alive.
fn wait_only_worker(primary: i32) {
    waiting::until("the orphans to be reaped", || {
        let children = processes::children(primary);
        (children.len() == 1 && processes::is_alive(children[0])).then_some(())
    });
}

fn stop_first_process(forkyard: Forkyard, primary: i32) {
    signal(primary, Signal::TERM);
    let ended = forkyard.wait_exit();
    ended.assert_code(0).assert_no_panic();
    assert_eq!(ended.all("stopped").count(), 1, "{}", ended.text());
}

#[test]
fn who_is_not_the_first_process_forwards_what_is_the_program_s() {
    let forkyard = Launch::run("signals.js").workers(1).impatient().start();
    forkyard.wait_line("a worker that listens for signals", |line| line == "listening for signals");
    forkyard.signal(Signal::USR1);
    forkyard.wait_line("SIGUSR1", |line| line == "SIGUSR1");
    forkyard.stop().assert_code(0);
}

/// It is told by the same signal as the wish for a reload.
#[test]
fn the_end_of_its_terminal_stops_it() {
    let command = [
        tools::forkyard().display().to_string(),
        "run --workers 1 --interpreter".to_owned(),
        Node::V24.binary().display().to_string(),
        tools::program("queue-worker.js").display().to_string(),
    ];
    let forkyard = Launch::terminal(&format!("exec {}", command.join(" "))).start();
    forkyard.wait_for("the worker's line", |event| event.raw.contains("waiting for jobs"));
    // Whoever holds the terminal is gone, and with it the terminal.
    forkyard.signal(Signal::KILL);
    waiting::until("the end of all that ran on the terminal", || {
        forkyard.processes().is_empty().then_some(())
    });
}

/// The terminal that hangs up is not the end of what `nohup` started.
#[test]
fn nohup_outlives_a_hang_up() {
    let forkyard = Launch::run("plain.js").workers(1).wrapped(&["nohup"]).start();
    forkyard.wait_listening(1);
    forkyard.signal(Signal::HUP);
    client::get(&forkyard.target(), "/").expect("it serves on");
    let ended = forkyard.stop();
    ended.assert_code(0);
    let told: Vec<_> = ended.all("signal_received").map(|event| event.text("signal")).collect();
    assert!(!told.contains(&"SIGHUP"), "{told:?}");
}
