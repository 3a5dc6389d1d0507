//! As whom workers run, what they may use, and what tells them apart.
//!
//! Where these tests count they are run as root, which it takes to change users. Run by anybody
//! else, those that need it test that it is refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use forkyard_tests::client;
use forkyard_tests::load::Load;
use forkyard_tests::{Event, Forkyard, Launch, Node, OnDisk, on_every_node, ports, processes};
use rustix::process::Signal;
use serde_json::{Value, json};

on_every_node![workers_run_as_another_user];

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// What all workers said of themselves, once there are so many.
fn said(forkyard: &Forkyard, count: usize) -> Vec<Value> {
    forkyard.wait_json("uid", count)
}

/// Needs root: everybody else is refused. The agent's file, the pipes and the program can be used
/// by that user, and a reload loses nobody.
fn workers_run_as_another_user(node: Node) {
    let launch = Launch::run("limits.js").node(node).workers(2).option("--user", "nobody");
    if !is_root() {
        launch.finish().assert_code(2).assert_says(&["CAP_SETUID", "nobody"]);
        return;
    }
    let launch = launch.worker_env("LOGNAME", "somebody").option("--policy", "round-robin");
    let forkyard = launch.worker_env("SERVE_PORT", ports::free().to_string()).start();
    let target = forkyard.target();
    let load = Load::keep_alive(&target).threads(2).modest().start();
    for worker in said(&forkyard, 2) {
        assert_eq!((&worker["uid"], &worker["gid"]), (&json!(65534), &json!(65534)), "{worker}");
        assert_eq!(worker["groups"], json!([65534]));
        assert_eq!((&worker["user"], &worker["logname"]), (&json!("nobody"), &json!("somebody")));
        assert_eq!(worker["home"], json!("/nonexistent"));
        assert_eq!(worker["agent"], json!(true));
    }
    load.wait_answered(20);
    forkyard.reload_through(1);
    load.stop().assert_nothing_lost();
    assert_eq!(said(&forkyard, 4)[3]["uid"], json!(65534));
    forkyard.upgrade();
    processes::signal(forkyard.seated()[0], Signal::KILL);
    let after = said(&forkyard, 5).pop().expect("the fifth");
    assert_eq!((&after["uid"], &after["agent"]), (&json!(65534), &json!(true)), "{after}");
    forkyard.stop().assert_code(0).assert_nobody_left();
}

/// It is known before anything is started, also that nobody could end the workers.
#[test]
fn changing_users_without_privileges_is_refused_at_once() {
    let on_disk = OnDisk::new();
    let folder = on_disk.path("");
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("our folder");
    let launch = Launch::bare("run").option("--log-format", "json").on_disk(&on_disk);
    let launch = launch.option("--user", "root").program("/bin/sleep").arg("100").cwd("/");
    let launch = match is_root() {
        true => launch.wrapped(&["setpriv", "--reuid=1", "--regid=1", "--clear-groups"]),
        false => launch,
    };
    let ended = launch.finish();
    ended.assert_code(2).assert_says(&["--user root", "CAP_SETUID, CAP_SETGID and CAP_KILL"]);
    assert_eq!(ended.all("worker_started").count(), 0);
}

#[test]
fn a_user_or_group_that_is_not_there_is_refused_at_once() {
    let refused = |options: &[(&str, &str)]| {
        let launch = Launch::run("limits.js");
        options.iter().fold(launch, |launch, (name, value)| launch.option(name, *value)).finish()
    };
    refused(&[("--user", "no-such-user")]).assert_code(2).assert_says(&["no user no-such-user"]);
    let group = refused(&[("--user", "root"), ("--group", "no-such-group")]);
    group.assert_code(2).assert_says(&["no group no-such-group"]);
}

/// Needs root. The message says whose it is to mend.
#[test]
fn a_program_that_the_user_cannot_get_to_is_told_with_the_way_out() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("our folder");
    let program = folder.path().join("program");
    fs::copy("/bin/sleep", &program).expect("a copy");
    let launch = Launch::bare("run").option("--log-format", "json").workers(1);
    let launch = launch.option("--user", "nobody").option("--restart-limit", "0");
    let ended = launch.program(program).arg("100").finish();
    ended.assert_code(3).assert_says(&["user nobody must be able to get to it"]);
}

#[test]
fn workers_have_their_limits() {
    let launch = Launch::run("limits.js").workers(1).option("--nice", "4");
    let launch = launch.option("--open-files", "300").worker_env("INSTANCE_NAME", "MY_INSTANCE");
    let forkyard = launch.option("--instance-var", "MY_INSTANCE").start();
    let worker = said(&forkyard, 1).remove(0);
    assert_eq!(worker["nice"], json!(4));
    assert_eq!(worker["openFiles"], json!([300, 300]));
    assert_eq!(worker["instance"], json!("0"));
    assert_eq!(worker["instances"], json!(["MY_INSTANCE"]));
    assert!(processes::is_alive(forkyard.pid()));
    forkyard.stop().assert_code(0);
}

#[test]
fn a_limit_that_cannot_be_set_is_told_with_the_way_out() {
    let launch = Launch::run("limits.js").workers(1).option("--open-files", "99999999999");
    let ended = launch.option("--restart-limit", "0").finish();
    ended.assert_code(3).assert_says(&["its limit of open files", "fs.nr_open"]);
}

#[test]
fn each_worker_is_told_its_slot_as_pm2_does() {
    let forkyard = Launch::run("limits.js").workers(2).env("NODE_APP_INSTANCE", "7").start();
    let mut told: Vec<_> = said(&forkyard, 2)
        .into_iter()
        .map(|worker| (worker["slot"].clone(), worker["instance"].clone()))
        .collect();
    told.sort_by_key(|(slot, _)| slot.as_i64());
    assert_eq!(told, [(json!(0), json!("0")), (json!(1), json!("1"))]);
    forkyard.stop().assert_code(0);
}

/// Needs no word in the program: its successor comes first, and nothing is lost.
#[test]
fn a_worker_that_uses_too_much_memory_is_replaced() {
    let launch = Launch::run("limits.js").workers(2).option("--max-memory", "200M");
    let launch = launch.option("--policy", "round-robin").worker_env("HOG", "2");
    let forkyard = launch.worker_env("SERVE_PORT", ports::free().to_string()).start();
    let hog = forkyard.wait_for("worker 2", |event| {
        event.is("worker_listening") && event.number("worker") == Some(2)
    });
    forkyard.wait_listening(2);
    let target = forkyard.target();
    let load = Load::short(&target).threads(2).modest().start();
    forkyard_tests::waiting::until("worker 2 to be asked", || {
        let reply = client::get(&target, "/hog").ok()?;
        (reply.pid() == hog.pid()).then_some(())
    });
    let told = forkyard.wait("memory_limit_exceeded");
    assert_eq!((told.pid(), told.slot()), (hog.pid(), hog.slot()));
    // It may have been in the midst of taking it.
    assert!(told.number("bytes").is_some_and(|bytes| bytes > 200 << 20), "{told:?}");
    assert_eq!(told.number("limit_bytes"), Some(200 << 20));
    forkyard.wait_rolled(1);
    forkyard.wait_exited(hog.pid());
    load.stop().assert_nothing_lost();
    let ended = forkyard.stop();
    ended.assert_code(0);
    assert_eq!(ended.all("memory_limit_exceeded").count(), 1, "{}", ended.text());
}

fn own_port(base: u16) -> Launch {
    let launch = Launch::run("own-port.js").workers(2).option("--ready", "message");
    launch.option("--port-from", base.to_string())
}

fn holder(bound: &[Value], port: i64) -> i32 {
    let bound = bound.iter().find(|bound| bound["port"] == json!(port)).expect("somebody has it");
    bound["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a process")
}

/// No two that live have the same, and a port that is free is used again, also by the next image.
#[test]
fn each_worker_binds_a_port_of_its_own() {
    let base = ports::free();
    // So that a worker that has ended is replaced at once.
    let forkyard = own_port(base).option("--restart-reset-after", "1ms").start();
    let first = forkyard.wait_json("port", 2);
    let mut ports: Vec<_> = first.iter().map(|bound| bound["port"].as_i64()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [0, 1].map(|index| Some(i64::from(base) + index)));

    forkyard.upgrade();
    let victim = holder(&first, i64::from(base) + 1);
    processes::signal(victim, Signal::KILL);
    let again = forkyard.wait_json("port", 3);
    assert_eq!(again[2]["port"].as_i64(), Some(i64::from(base) + 1), "the other one lives");

    let before = forkyard.seated();
    forkyard.reload_through(1);
    let second = forkyard.wait_json("port", 5);
    before.iter().for_each(|pid| drop(forkyard.wait_exited(*pid)));
    assert_eq!(second[3]["port"].as_i64(), Some(i64::from(base) + 2), "beside its predecessor");
    let ended = forkyard.stop();
    ended.assert_code(0).assert_nobody_left();
    assert_eq!(ended.all("worker_exited").filter(|event| is_crash(event)).count(), 1);
}

fn is_crash(event: &Event) -> bool {
    event.json["expected"] == json!(false)
}

#[test]
fn ports_that_come_to_an_end_are_told_with_the_way_out() {
    let ended = own_port(65535).option("--restart-limit", "0").finish();
    ended.assert_code(3).assert_says(&["there is no port for it", "begin with a lower one"]);
}

#[test]
fn workers_get_the_stop_signal_that_they_are_to_get() {
    let launch = Launch::run("leaves-on-sigint.js").workers(1).flag("--no-agent");
    let launch = launch.option("--stop-signal", "SIGINT").option("--drain-timeout", "200ms");
    let forkyard = launch.option("--term-timeout", "20s").start();
    forkyard.wait_line("the worker to listen", |line| line == "listens");
    let ended = forkyard.stop();
    ended.assert_code(0);
    assert_eq!(ended.all("worker_exited").next().and_then(|event| event.number("code")), Some(42));
}

/// Where the system lets the command make one; else it says why not, and runs the app.
#[test]
fn workers_are_in_a_control_group_or_it_is_said_why_not() {
    let launch = Launch::run("limits.js").workers(1).option("--cgroup-memory", "1G");
    let forkyard = launch.option("--cgroup-cpus", "1.5").start();
    let worker = said(&forkyard, 1).remove(0);
    let cgroups = worker["cgroups"].as_str().expect("a text").to_owned();
    let ours = cgroups.lines().find_map(|line| {
        let path = line.strip_prefix("0::")?;
        path.contains("/forkyard-limits.").then(|| path.to_owned())
    });
    forkyard.upgrade();
    processes::signal(forkyard.seated()[0], Signal::KILL);
    assert_eq!(said(&forkyard, 2)[1]["cgroups"], json!(cgroups), "the next image goes on so");
    let ended = forkyard.stop();
    ended.assert_code(0);
    match ours {
        Some(path) => {
            let left = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
            assert!(!left.exists(), "{} is left", left.display());
        }
        None => {
            let said = ended.all("warning").filter(|event| event.raw.contains("--cgroup-memory"));
            assert_eq!(said.count(), 1, "{}", ended.text());
        }
    }
}

/// Needs root. It speaks for itself as a user whom the primary has not been.
#[test]
fn a_worker_of_another_user_can_say_that_it_is_ready() {
    if !is_root() {
        return;
    }
    let launch = Launch::run("says-ready.py").interpreter("/usr/bin/python3").workers(1);
    let launch = launch.option("--ready", "notify").option("--user", "nobody").impatient();
    let forkyard = launch.worker_env("RELEASE", "/").start();
    let first = forkyard.wait("worker_started").pid();
    forkyard.wait_line("the worker to be ready", |line| line == "ready");
    forkyard.reload_through(1);
    forkyard.wait_exited(first);
    forkyard.stop().assert_code(0);
}
