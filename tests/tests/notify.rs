//! What the service manager that has started the command is told.

use std::fs;

use forkyard_tests::client;
use forkyard_tests::manager::Manager;
use forkyard_tests::processes::signal;
use forkyard_tests::record::Record;
use forkyard_tests::releases::{Release, Releases};
use forkyard_tests::{Forkyard, Launch, OnDisk};
use rustix::process::Signal;

const READY: &str = "READY=1";
const RELOADING: &str = "RELOADING=1";
const STOPPING: &str = "STOPPING=1";

fn serving(manager: &Manager, launch: Launch) -> Forkyard {
    let forkyard = manager.launch(launch.workers(2)).start();
    manager.wait_line(READY);
    forkyard
}

#[test]
fn it_is_told_when_all_workers_are_ready_and_not_before() {
    let (manager, record) = (Manager::new(), Record::new());
    let launch = Launch::run("starts-slowly.js").worker_env("RELEASE", record.release_path());
    let forkyard = manager.launch(launch.workers(2)).start();
    forkyard.wait_count("worker_online", 2);
    manager.wait_line("STATUS=starting: 0 of 2 workers ready");
    assert_eq!(manager.lifecycle(), [""; 0]);
    record.release();
    manager.wait_line(READY);
    manager.wait_line("STATUS=2 of 2 workers ready, generation 0");
    forkyard.stop().assert_code(0).assert_no_panic();
    manager.wait_line("EXIT_STATUS=0");
    assert_eq!(manager.lifecycle(), [READY, STOPPING]);
}

#[test]
fn a_crash_is_in_the_status_until_the_slot_has_a_worker_again() {
    let manager = Manager::new();
    let launch = Launch::run("plain.js").option("--restart-delay", "20ms");
    let forkyard = serving(&manager, launch);
    let worker = forkyard.wait_listening(2)[0];
    signal(worker, Signal::KILL);
    manager.wait_lines("a crash", 1, |line| {
        line.starts_with("STATUS=1 of 2 workers ready") && line.contains("SIGKILL")
    });
    manager.wait_count("STATUS=2 of 2 workers ready, generation 0", 2);
    forkyard.stop().assert_code(0);
    manager.wait_line("EXIT_STATUS=0");
    assert_eq!(manager.lifecycle(), [READY, STOPPING], "it has been ready once");
}

#[test]
fn a_reload_is_told_from_beginning_to_end_good_or_bad() {
    let (manager, releases) = (Manager::new(), Releases::new());
    let forkyard = serving(&manager, Launch::releases(&releases));
    forkyard.reload();
    manager.wait_count(READY, 2);
    manager.wait_line("STATUS=2 of 2 workers ready, generation 1");
    releases.deploy("2", &Release::of("crash-at-boot.js"));
    forkyard.reload();
    manager.wait_count(READY, 3);
    manager.wait_lines("why", 1, |line| {
        line.starts_with("STATUS=2 of 2 workers ready, generation 1; ") && line.contains("exited")
    });
    assert_eq!(manager.lifecycle(), [READY, RELOADING, READY, RELOADING, READY]);
    let times = manager.wait_lines("a time", 2, |line| line.starts_with("MONOTONIC_USEC="));
    let time = |line: &String| line["MONOTONIC_USEC=".len()..].parse::<u64>().expect("a number");
    assert!(time(&times[0]) < time(&times[1]), "{times:?}");
    forkyard.stop().assert_code(0).assert_no_panic();
}

#[test]
fn a_stop_is_told_with_the_time_that_it_may_take() {
    let manager = Manager::new();
    let launch = Launch::run("plain.js").option("--shutdown-delay", "1h");
    let launch = launch.option("--drain-timeout", "20s").option("--term-timeout", "3s");
    let forkyard = serving(&manager, launch);
    forkyard.signal(Signal::TERM);
    manager.wait_line(STOPPING);
    manager.wait_line("EXTEND_TIMEOUT_USEC=3633000000");
    client::get(&forkyard.target(), "/").expect("it serves on");
    forkyard.stop().assert_code(0);
    manager.wait_line("EXTEND_TIMEOUT_USEC=33000000");
    manager.wait_line("STATUS=stopped");
}

#[test]
fn an_app_that_fails_says_why() {
    let manager = Manager::new();
    let launch = Launch::run("crash-at-boot.js").workers(1).option("--restart-delay", "1ms");
    manager.launch(launch.option("--restart-limit", "1")).finish().assert_code(3);
    manager.wait_line("EXIT_STATUS=3");
    manager.wait_lines("why", 2, |line| line.contains("slot 0 needed more than 1 restart"));
    assert_eq!(manager.lifecycle(), [STOPPING]);
}

#[test]
fn a_command_line_that_makes_no_sense_is_told_too() {
    let manager = Manager::new();
    manager
        .launch(Launch::run("plain.js").program("/no/such-program.js"))
        .finish()
        .assert_code(127);
    manager.wait_line("EXIT_STATUS=127");
    manager.wait_lines("why", 1, |line| {
        line.starts_with("STATUS=") && line.contains("such-program.js")
    });
}

#[test]
fn an_upgrade_is_no_news_and_the_next_image_goes_on_telling() {
    let (manager, on_disk, record) = (Manager::new(), OnDisk::new(), Record::new());
    let launch = Launch::run("starts-slowly.js").on_disk(&on_disk);
    let launch = launch.worker_env("RELEASE", record.release_path());
    let launch = launch.env("WATCHDOG_USEC", "40000");
    let forkyard = manager.launch(launch.workers(2)).start();
    forkyard.wait_count("worker_online", 2);
    on_disk.renew();
    forkyard.upgrade();
    record.release();
    manager.wait_line(READY);
    forkyard.upgrade();
    fs::remove_file(record.release_path()).expect("from now on nobody is ready");
    forkyard.reload();
    manager.wait_line(RELOADING);
    forkyard.upgrade();
    manager.wait_line("STATUS=reloading: 2 of 2 workers ready");
    record.release();
    manager.wait_count(READY, 2);
    let before = manager.lines().len();
    manager.wait_lines("a sign of life after that", before + 1, |_| true);
    forkyard.stop().assert_code(0).assert_no_panic();
    assert_eq!(manager.lifecycle(), [READY, RELOADING, READY, STOPPING]);
    assert!(manager.lines().iter().all(|line| !line.starts_with("MAINPID")), "it stays the same");
}

#[test]
fn signs_of_life_are_given_if_they_are_wanted_of_this_process() {
    let manager = Manager::new();
    let launch = Launch::run("plain.js").env("WATCHDOG_USEC", "40000");
    let forkyard = serving(&manager, launch);
    manager.wait_count("WATCHDOG=1", 3);
    forkyard.stop().assert_code(0);

    let manager = Manager::new();
    let launch = Launch::run("plain.js").env("WATCHDOG_USEC", "40000").env("WATCHDOG_PID", "1");
    let forkyard = serving(&manager, launch);
    forkyard.stop().assert_code(0);
    manager.wait_line("EXIT_STATUS=0");
    assert!(!manager.lines().contains(&"WATCHDOG=1".to_owned()), "it is for somebody else");
}

#[test]
fn nobody_there_keeps_nothing_from_running() {
    let record = Record::new();
    let launch = Launch::run("plain.js").workers(1);
    let forkyard = launch.env("NOTIFY_SOCKET", record.file("nobody")).start();
    forkyard.wait_listening(1);
    forkyard.stop().assert_code(0).assert_no_panic();

    let launch = Launch::run("plain.js").workers(1).env("NOTIFY_SOCKET", "vsock:2:9999");
    let forkyard = launch.start();
    assert!(forkyard.wait("warning").text("message").contains("vsock:2:9999"));
    forkyard.wait_listening(1);
    forkyard.stop().assert_code(0);
}
