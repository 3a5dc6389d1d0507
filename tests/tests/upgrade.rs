//! The primary executes the program that is on disk by then, and neither workers nor clients
//! notice. One test for each sentence of that contract, and some more.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{fs, io};

use forkyard_tests::client::{self, Connection, Reuse, Target};
use forkyard_tests::load::Load;
use forkyard_tests::{Event, Forkyard, Launch, Node, OnDisk, ports, processes, tools, waiting};
use rustix::process::Signal;

const POLICIES: [&str; 5] = ["kernel", "round-robin", "least-connections", "ip-hash", "shared"];

fn launch(program: &str, on_disk: &OnDisk) -> Launch {
    Launch::run(program).on_disk(on_disk).impatient()
}

/// Two workers of a program that remembers nothing.
fn serving(on_disk: &OnDisk) -> (Forkyard, Vec<i32>) {
    let forkyard = launch("recorded.js", on_disk).workers(2).start();
    let workers = forkyard.wait_listening(2);
    (forkyard, workers)
}

fn upgrade_to_new(forkyard: &Forkyard, on_disk: &OnDisk) {
    on_disk.renew();
    forkyard.upgrade();
}

/// The upgrades that came to nothing so far.
fn wait_failed(forkyard: &Forkyard, count: usize) -> Event {
    forkyard.wait_count("upgrade_failed", count).pop().expect("at least one")
}

fn ask(connection: &mut Connection, path: &str) -> i32 {
    connection.ask(path, Reuse::KeepAlive).expect("it can be asked");
    connection.answer().expect("an answer").pid()
}

fn children(forkyard: &Forkyard) -> Vec<i32> {
    let mut children = processes::children(forkyard.pid());
    children.sort_unstable();
    children
}

fn stop_cleanly(forkyard: Forkyard) {
    let ended = forkyard.stop();
    ended.assert_code(0).assert_no_panic().assert_nobody_left();
    assert_eq!(ended.all("primary_started").count(), 1, "{}", ended.text());
    assert_eq!(ended.all("stopped").count(), 1, "{}", ended.text());
}

#[test]
fn process_workers_and_connections_stay() {
    for policy in POLICIES {
        let on_disk = OnDisk::new();
        let launch = launch("recorded.js", &on_disk).workers(2).option("--policy", policy);
        let forkyard = launch.start();
        let workers = forkyard.wait_listening(2);
        let mut connection = Connection::open(&forkyard.target()).expect("a connection");
        let before = ask(&mut connection, "/before");
        upgrade_to_new(&forkyard, &on_disk);
        assert_eq!(ask(&mut connection, "/after"), before, "{policy}");
        assert_eq!(children(&forkyard), workers, "{policy}");
        let upgraded = forkyard.wait("primary_upgraded");
        assert_eq!(upgraded.pid(), forkyard.pid());
        assert!(!upgraded.text("version").is_empty() && upgraded.number("pause_ms").is_some());
        client::get(&forkyard.target(), "/new").expect("new connections are served");
        let started = forkyard.events().iter().filter(|event| event.is("worker_started")).count();
        assert_eq!(started, 2, "{policy}: nobody was started anew");
        stop_cleanly(forkyard);
    }
}

#[test]
fn a_request_under_way_is_answered() {
    let on_disk = OnDisk::new();
    let release = on_disk.path("release");
    let launch = launch("recorded.js", &on_disk).workers(1);
    let forkyard = launch.worker_env("RELEASE", &release).start();
    let workers = forkyard.wait_listening(1);
    let mut connection = client::asked(&forkyard.target(), "/hold/x").expect("a connection");
    upgrade_to_new(&forkyard, &on_disk);
    fs::write(&release, "").expect("a file");
    assert_eq!(connection.answer().expect("an answer").pid(), workers[0]);
    stop_cleanly(forkyard);
}

/// Several upgrades while clients ask as fast as they can, with kept connections or with a new
/// one for each request.
#[test]
fn clients_lose_nothing() {
    for policy in POLICIES {
        let on_disk = OnDisk::new();
        let launch = launch("recorded.js", &on_disk).workers(2).option("--policy", policy);
        let forkyard = launch.start();
        forkyard.wait_listening(2);
        for load in [Load::short(&forkyard.target()), Load::keep_alive(&forkyard.target())] {
            let load = load.threads(4).requests(u64::MAX).start();
            load.wait_answered(50);
            for _ in 0..3 {
                upgrade_to_new(&forkyard, &on_disk);
                load.wait_answered(50);
            }
            load.stop().assert_nothing_lost();
        }
        stop_cleanly(forkyard);
    }
}

#[test]
fn no_old_code_runs_after_it() {
    let on_disk = OnDisk::new();
    let (forkyard, _) = serving(&on_disk);
    let count = |what: &str| {
        let path = format!("/proc/{}/{what}", forkyard.pid());
        fs::read_dir(path).expect("a live process").count()
    };
    // It looks at the lanes by a clock for a moment, and then has them watched.
    let has_clock = || {
        let open = fs::read_dir(format!("/proc/{}/fd", forkyard.pid())).expect("a live process");
        let target = |entry: io::Result<fs::DirEntry>| fs::read_link(entry.ok()?.path()).ok();
        open.filter_map(target).any(|target| target.ends_with("anon_inode:[timerfd]"))
    };
    waiting::until("the primary to be at rest", || (!has_clock()).then_some(()));
    let (threads, descriptors) = (count("task"), count("fd"));
    for _ in 0..3 {
        upgrade_to_new(&forkyard, &on_disk);
        on_disk.assert_is_all_of(forkyard.pid());
        // It serves a moment before everybody has taken up work.
        waiting::until("as many threads and descriptors as before", || {
            ((count("task"), count("fd")) == (threads, descriptors)).then_some(())
        });
    }
    let name = fs::read_to_string(format!("/proc/{}/comm", forkyard.pid())).expect("its name");
    assert_eq!(name, "forkyard\n");
    stop_cleanly(forkyard);
}

/// Each way in which a new program can be no good, and what is said then.
#[test]
fn a_program_that_is_no_good_changes_nothing() {
    let on_disk = OnDisk::new();
    let launch = launch("recorded.js", &on_disk).workers(2);
    let forkyard = launch.option("--upgrade-timeout", "2s").start();
    let workers = forkyard.wait_listening(2);
    let mut connection = Connection::open(&forkyard.target()).expect("a connection");
    let served_by = ask(&mut connection, "/first");
    let attempts: [(&str, &dyn Fn(), &str, &str); 6] = [
        ("ends", &|| on_disk.script("echo 'out of luck' >&2; exit 3"), "code 3", "out of luck"),
        ("crashes", &|| on_disk.script("kill -SEGV $$"), "SIGSEGV", ""),
        ("hangs", &|| on_disk.script("trap '' TERM; sleep 1000"), "2s", ""),
        ("is mute", &|| on_disk.script("exit 0"), "cannot take over", ""),
        ("may not be executed", &|| on_disk.put("#!/bin/sh\n", 0o644), "Permission denied", ""),
        ("is garbage", &|| on_disk.put("garbage", 0o755), "is no executable", ""),
    ];
    for (number, (what, put, reason, words)) in attempts.iter().enumerate() {
        put();
        forkyard.signal(Signal::USR2);
        let failed = wait_failed(&forkyard, number + 1);
        assert!(failed.text("reason").contains(reason), "a program that {what}: {failed:?}");
        assert!(failed.raw.contains(words), "a program that {what}: {failed:?}");
        assert_eq!(failed.text("level"), "warn");
        assert_eq!(ask(&mut connection, "/again"), served_by, "a program that {what}");
        client::get(&forkyard.target(), "/new").expect("new connections are served");
        waiting::until("the children to be the workers", || {
            (children(&forkyard) == workers).then_some(())
        });
    }
    fs::remove_file(on_disk.binary()).expect("it is there");
    forkyard.signal(Signal::USR2);
    let failed = wait_failed(&forkyard, attempts.len() + 1);
    assert!(failed.text("reason").contains("No such file"), "{failed:?}");
    upgrade_to_new(&forkyard, &on_disk);
    assert_eq!(ask(&mut connection, "/last"), served_by);
    stop_cleanly(forkyard);
}

/// What a program of another format is given, made by exchanging the state on the way.
#[test]
fn a_program_that_cannot_read_the_state_is_refused() {
    let on_disk = OnDisk::new();
    let (forkyard, workers) = serving(&on_disk);
    on_disk.script("true");
    let real = on_disk.path("real");
    let exchange = format!(
        "#!/usr/bin/env python3\n\
         import fcntl, os, sys\n\
         what, state, other = os.environ['FORKYARD_UPGRADE'].split(':')\n\
         memory = os.memfd_create('state', os.MFD_ALLOW_SEALING)\n\
         os.write(memory, b'{{\"format\": 999, \"new\": true}}')\n\
         fcntl.fcntl(memory, 1033, 15)\n\
         os.environ['FORKYARD_UPGRADE'] = f'{{what}}:{{memory}}:{{other}}'\n\
         os.execv('{}', sys.argv)\n",
        real.display()
    );
    on_disk.put(&exchange, 0o755);
    forkyard.signal(Signal::USR2);
    let failed = wait_failed(&forkyard, 1);
    assert!(failed.raw.contains("format 999"), "{failed:?}");
    client::get(&forkyard.target(), "/still").expect("it serves on");
    assert_eq!(children(&forkyard), workers);
    stop_cleanly(forkyard);
}

/// A program that is ready when it is tried out, and is not when it matters: the one before it
/// is gone back to.
#[test]
fn a_program_that_fails_in_the_end_is_gone_back_from() {
    let on_disk = OnDisk::new();
    let (forkyard, workers) = serving(&on_disk);
    let mut connection = Connection::open(&forkyard.target()).expect("a connection");
    let served_by = ask(&mut connection, "/first");
    on_disk.script("test $what = take-over && set -- run --no-such-option\nexec $real \"$@\"");
    forkyard.signal(Signal::USR2);
    let failed = wait_failed(&forkyard, 1);
    assert!(failed.text("reason").contains("before it had taken over"), "{failed:?}");
    assert_eq!(ask(&mut connection, "/again"), served_by);
    client::get(&forkyard.target(), "/new").expect("new connections are served");
    assert_eq!(children(&forkyard), workers);
    upgrade_to_new(&forkyard, &on_disk);
    on_disk.assert_is_all_of(forkyard.pid());
    assert_eq!(ask(&mut connection, "/last"), served_by);
    stop_cleanly(forkyard);
}

/// Makes the next program fail while it takes over: it may have few more descriptors than the
/// one before had, and needs two of each that it is left until it has taken over.
fn lacks_descriptors(forkyard: &Forkyard, on_disk: &OnDisk) {
    let path = format!("/proc/{}/fd", forkyard.pid());
    let limit = fs::read_dir(path).expect("a live process").count() + 20;
    on_disk.script(&format!("test $what = take-over && ulimit -n {limit}\nexec $real \"$@\""));
}

/// A program that is ready when it is tried out, has read the state when it matters, and cannot
/// start then. Nothing that it has looked at is the worse for it.
#[test]
fn a_program_that_cannot_start_in_the_end_is_gone_back_from() {
    let on_disk = OnDisk::new();
    let socket = on_disk.path("app.sock");
    let launch = launch("recorded.js", &on_disk).workers(8).worker_env("SOCKET", &socket);
    let forkyard = launch.start();
    let workers = forkyard.wait_listening(8);
    let target = Target::unix(&socket);
    let mut connection = Connection::open(&target).expect("a connection");
    let served_by = ask(&mut connection, "/first");
    lacks_descriptors(&forkyard, &on_disk);
    forkyard.signal(Signal::USR2);
    let failed = wait_failed(&forkyard, 1);
    let reason = failed.text("reason");
    assert!(reason.contains("could not start"), "{failed:?}");
    assert!(reason.contains("Too many open files"), "{failed:?}");
    assert_eq!(ask(&mut connection, "/again"), served_by);
    client::get(&target, "/new").expect("new connections are served");
    assert_eq!(children(&forkyard), workers);
    processes::signal(workers[0], Signal::KILL);
    let slot = forkyard.wait_exited(workers[0]).slot();
    forkyard.wait_replaced(slot, &workers);
    on_disk.renew();
    stop_cleanly(forkyard);
    assert!(!socket.exists());
}

/// Whether it had come to look for them, or had failed with them in hand.
#[test]
fn inherited_sockets_are_gone_back_with() {
    let on_disk = OnDisk::new();
    let release = on_disk.path("release");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = Target::port(listener.local_addr().expect("an address").port());
    let launch = launch("starts-slowly.js", &on_disk).workers(8).worker_env("FD", "7");
    let wrapper = ["sh", "-c", "exec \"$0\" \"$@\" 7<&0 </dev/null"];
    let launch = launch.worker_env("RELEASE", &release).wrapped(&wrapper).stdin(listener);
    let forkyard = launch.start();
    forkyard.wait_count("worker_online", 8);
    on_disk.script("test $what = take-over && set -- run ''\nexec $real \"$@\"");
    forkyard.signal(Signal::USR2);
    wait_failed(&forkyard, 1);
    lacks_descriptors(&forkyard, &on_disk);
    forkyard.signal(Signal::USR2);
    wait_failed(&forkyard, 2);
    fs::write(&release, "").expect("a file");
    forkyard.wait_listening(8);
    client::get(&target, "/x").expect("it is served");
    stop_cleanly(forkyard);
}

/// A script that waits until the test lets it go on, and says when it has begun.
fn waits(on_disk: &OnDisk) {
    let (begun, go) = (on_disk.path("begun"), on_disk.path("go"));
    on_disk.script(&format!(
        "touch '{}'\nwhile ! test -e '{}'; do sleep 0.01; done\nexec $real \"$@\"",
        begun.display(),
        go.display()
    ));
}

fn wait_begun(on_disk: &OnDisk) {
    waiting::until("the new program to begin", || on_disk.path("begun").exists().then_some(()));
}

#[test]
fn there_is_one_at_a_time() {
    let on_disk = OnDisk::new();
    let (forkyard, workers) = serving(&on_disk);
    waits(&on_disk);
    forkyard.signal(Signal::USR2);
    wait_begun(&on_disk);
    forkyard.signal(Signal::USR2);
    let failed = wait_failed(&forkyard, 1);
    assert!(failed.text("reason").contains("another upgrade"), "{failed:?}");
    client::get(&forkyard.target(), "/meanwhile").expect("it serves meanwhile");
    fs::write(on_disk.path("go"), "").expect("a file");
    forkyard.wait("primary_upgraded");
    assert_eq!(children(&forkyard), workers);
    stop_cleanly(forkyard);
}

/// And everybody who had come to rest works again.
#[test]
fn a_program_that_is_replaced_while_it_is_tried_out_is_not_executed() {
    let on_disk = OnDisk::new();
    let (forkyard, workers) = serving(&on_disk);
    let failed = fail_late(&forkyard, &on_disk);
    assert!(failed.text("reason").contains("replaced once more"), "{failed:?}");
    client::get(&forkyard.target(), "/still").expect("it serves on");
    assert_eq!(children(&forkyard), workers);
    processes::signal(workers[0], Signal::KILL);
    let slot = forkyard.wait_exited(workers[0]).slot();
    forkyard.wait_replaced(slot, &workers);
    upgrade_to_new(&forkyard, &on_disk);
    stop_cleanly(forkyard);
}

#[test]
fn a_stop_outranks_it() {
    let on_disk = OnDisk::new();
    let (forkyard, _) = serving(&on_disk);
    waits(&on_disk);
    forkyard.signal(Signal::USR2);
    wait_begun(&on_disk);
    let ended = forkyard.stop();
    ended.assert_code(0).assert_no_panic().wait_nobody_left();
    assert_eq!(ended.all("primary_upgraded").count(), 0, "{}", ended.text());
}

#[test]
fn there_is_none_while_it_stops() {
    let on_disk = OnDisk::new();
    let launch = Launch::run("ignores-sigterm.js").on_disk(&on_disk).workers(1);
    let forkyard = launch.start();
    forkyard.wait_listening(1);
    forkyard.signal(Signal::TERM);
    forkyard.wait("stopping");
    forkyard.signal(Signal::USR2);
    let failed = wait_failed(&forkyard, 1);
    assert!(failed.text("reason").contains("stopping"), "{failed:?}");
    for _ in 0..2 {
        forkyard.signal(Signal::TERM);
    }
    forkyard.wait_exit().assert_code(0).assert_nobody_left();
}

/// In between the two programs nobody is there to mind a signal.
#[test]
fn a_signal_in_between_is_not_lost() {
    let on_disk = OnDisk::new();
    let (forkyard, _) = serving(&on_disk);
    on_disk.script("test $what = take-over && kill -TERM $$\nexec $real \"$@\"");
    forkyard.signal(Signal::USR2);
    let ended = forkyard.wait_exit();
    ended.assert_code(0).assert_no_panic().assert_nobody_left();
    assert_eq!(ended.all("primary_upgraded").count(), 1, "{}", ended.text());
    let signals: Vec<_> = ended.all("signal_received").map(|event| event.text("signal")).collect();
    assert_eq!(signals, ["SIGTERM"]);
}

/// In between the two programs nobody is there to see a worker die.
#[test]
fn a_death_in_between_is_noticed() {
    let on_disk = OnDisk::new();
    let (forkyard, workers) = serving(&on_disk);
    on_disk
        .script(&format!("test $what = take-over && kill -KILL {}\nexec $real \"$@\"", workers[0]));
    forkyard.upgrade();
    let exited = forkyard.wait_exited(workers[0]);
    assert_eq!(exited.text("signal"), "SIGKILL");
    let new = forkyard.wait_replaced(exited.slot(), &workers);
    assert!(children(&forkyard).contains(&new));
    stop_cleanly(forkyard);
}

#[test]
fn supervision_goes_on_after_two_in_a_row() {
    let on_disk = OnDisk::new();
    let (forkyard, mut workers) = serving(&on_disk);
    for _ in 0..2 {
        upgrade_to_new(&forkyard, &on_disk);
        let old = workers[0];
        processes::signal(old, Signal::KILL);
        let slot = forkyard.wait_exited(old).slot();
        let new = forkyard.wait_replaced(slot, &workers);
        workers = vec![new, workers[1]];
    }
    waiting::until("the workers", || (children(&forkyard).len() == 2).then_some(()));
    stop_cleanly(forkyard);
}

/// Those that were started before, between and after two upgrades.
#[test]
fn no_worker_outlives_the_primary_afterwards() {
    let on_disk = OnDisk::new();
    let (forkyard, workers) = serving(&on_disk);
    upgrade_to_new(&forkyard, &on_disk);
    processes::signal(workers[0], Signal::KILL);
    let slot = forkyard.wait_exited(workers[0]).slot();
    let second = forkyard.wait_replaced(slot, &workers);
    upgrade_to_new(&forkyard, &on_disk);
    assert!(processes::is_alive(workers[1]) && processes::is_alive(second));
    forkyard.signal(Signal::KILL);
    forkyard.wait_exit().wait_nobody_left();
}

/// Comes to nothing when everything has come to rest already.
fn fail_late(forkyard: &Forkyard, on_disk: &OnDisk) -> Event {
    let before = forkyard.events().iter().filter(|event| event.is("upgrade_failed")).count();
    for file in ["begun", "go"] {
        // It is only there from the second time on.
        let _ = fs::remove_file(on_disk.path(file));
    }
    waits(on_disk);
    forkyard.signal(Signal::USR2);
    wait_begun(on_disk);
    on_disk.put("garbage", 0o755);
    fs::write(on_disk.path("go"), "").expect("a file");
    wait_failed(forkyard, before + 1)
}

/// Each stream's numbers, in order, one by one, up to the last that was written: whether
/// upgrades succeed or come to nothing.
#[test]
fn output_is_complete_to_the_last_byte() {
    let on_disk = OnDisk::new();
    let forkyard = launch("counts.js", &on_disk).workers(1).start();
    forkyard.wait_listening(1);
    for round in 1..=3 {
        upgrade_to_new(&forkyard, &on_disk);
        fail_late(&forkyard, &on_disk);
        let reached = round * 100;
        forkyard.wait_line("more lines", |line| line == format!("out {reached}"));
    }
    let ended = forkyard.stop();
    ended.assert_code(0).assert_no_panic();
    let lines: Vec<_> = ended.all("output").filter_map(Event::line).collect();
    let last = lines.iter().find_map(|line| line.strip_prefix("the last is ")).expect("the last");
    let last: usize = last.parse().expect("a number");
    for (prefix, first) in [("out ", 0), ("err ", 0), ("begun ", 1)] {
        let seen: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix(prefix)).collect();
        let expected: Vec<_> = (first..last + first).map(|number| number.to_string()).collect();
        assert_eq!(seen, expected, "lines that begin with {prefix:?}");
    }
    assert_eq!(lines.len(), 3 * last + 1, "and nothing else");
}

#[test]
fn a_line_goes_on_where_it_was() {
    let on_disk = OnDisk::new();
    let forkyard = launch("half-line.js", &on_disk).workers(1).start();
    forkyard.wait_listening(1);
    upgrade_to_new(&forkyard, &on_disk);
    forkyard.signal(Signal::USR1);
    for fd in [1, 2] {
        let whole = format!("half {fd} and the other half");
        forkyard.wait_line("the whole line", |line| line == whole);
    }
    stop_cleanly(forkyard);
}

#[test]
fn a_socket_s_file_is_kept_and_removed_in_the_end() {
    let on_disk = OnDisk::new();
    let socket = on_disk.path("app.sock");
    let launch = launch("recorded.js", &on_disk).workers(2).worker_env("SOCKET", &socket);
    let forkyard = launch.start();
    forkyard.wait_listening(2);
    let inode = || fs::metadata(&socket).expect("the file").permissions().mode();
    let before = inode();
    upgrade_to_new(&forkyard, &on_disk);
    assert_eq!(inode(), before);
    client::get(&Target::unix(&socket), "/x").expect("it is served");
    stop_cleanly(forkyard);
    assert!(!socket.exists());
}

#[test]
fn exit_codes_are_kept() {
    let on_disk = OnDisk::new();
    let launch = launch("recorded.js", &on_disk).workers(1).option("--no-restart-codes", "7");
    let forkyard = launch.start();
    forkyard.wait_listening(1);
    upgrade_to_new(&forkyard, &on_disk);
    // It ends without an answer.
    let _ = client::get(&forkyard.target(), "/exit/7");
    let ended = forkyard.wait_exit();
    ended.assert_code(7).assert_nobody_left();
    assert_eq!(ended.all("app_finished").count(), 1);
}

/// A socket that the command was started with is there for the workers of the next program,
/// also if none of them had asked for it before.
#[test]
fn inherited_sockets_stay_inherited() {
    let on_disk = OnDisk::new();
    let release = on_disk.path("release");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = Target::port(listener.local_addr().expect("an address").port());
    let launch = launch("starts-slowly.js", &on_disk).workers(1).worker_env("FD", "7");
    let wrapper = ["sh", "-c", "exec \"$0\" \"$@\" 7<&0 </dev/null"];
    let launch = launch.worker_env("RELEASE", &release).wrapped(&wrapper).stdin(listener);
    let forkyard = launch.start();
    forkyard.wait("worker_online");
    for _ in 0..2 {
        upgrade_to_new(&forkyard, &on_disk);
    }
    fs::write(&release, "").expect("a file");
    let workers = forkyard.wait_listening(1);
    assert_eq!(client::get(&target, "/x").expect("it is served").pid(), workers[0]);
    stop_cleanly(forkyard);
}

/// Connections that workers were offered and have not taken are still the primary's.
#[test]
fn what_a_worker_has_not_taken_goes_to_another_one_afterwards() {
    let on_disk = OnDisk::new();
    let launch = launch("recorded.js", &on_disk).workers(2).option("--policy", "round-robin");
    let forkyard = launch.start();
    let workers = forkyard.wait_listening(2);
    let port = forkyard.port();
    for worker in &workers {
        processes::signal(*worker, Signal::STOP);
        waiting::until("a stopped worker", || {
            (processes::state(*worker) == Some('T')).then_some(())
        });
    }
    let ask = |path| client::asked(&Target::port(port), path).expect("a connection");
    let mut clients = [ask("/one"), ask("/two")];
    waiting::until("both to be accepted", || {
        (processes::accept_queue(port) == Some(0)).then_some(())
    });
    upgrade_to_new(&forkyard, &on_disk);
    processes::signal(workers[0], Signal::KILL);
    forkyard.wait_exited(workers[0]);
    processes::signal(workers[1], Signal::CONT);
    for client in &mut clients {
        assert_ne!(client.answer().expect("an answer").pid(), workers[0]);
    }
    stop_cleanly(forkyard);
}

/// The limit of open files that workers get is the one from before the primary raised its own,
/// and their environment is without what is for the primary alone.
#[test]
fn workers_are_started_as_before() {
    let on_disk = OnDisk::new();
    let program = on_disk.path("program");
    let script = "#!/bin/sh\nenv | grep UPGRADE\necho limit $(ulimit -n)\nexec sleep 1000\n";
    fs::write(&program, script).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    let launch = launch("plain.js", &on_disk).own_interpreter().program(&program).workers(1);
    let forkyard = launch.wrapped(&["prlimit", "--nofile=777:4096"]).start();
    forkyard.wait_line("its limit", |line| line == "limit 777");
    upgrade_to_new(&forkyard, &on_disk);
    upgrade_to_new(&forkyard, &on_disk);
    processes::signal(children(&forkyard)[0], Signal::KILL);
    forkyard.until("the limit of the next", |events| {
        let lines: Vec<_> = events.iter().filter_map(Event::line).collect();
        (lines.len() >= 2).then(|| assert_eq!(lines, ["limit 777"; 2]))
    });
    stop_cleanly(forkyard);
}

/// It may be gone from the disk: the next program has no need of it.
#[test]
fn what_workers_were_started_from_is_not_looked_for() {
    let on_disk = OnDisk::new();
    let variables = on_disk.path("variables");
    fs::write(&variables, "COLOR=blue\n").expect("a file");
    let launch = launch("recorded.js", &on_disk).workers(1).option("--env-file", &variables);
    let forkyard = launch.start();
    let workers = forkyard.wait_listening(1);
    fs::remove_file(&variables).expect("it is there");
    upgrade_to_new(&forkyard, &on_disk);
    assert_eq!(children(&forkyard), workers);
    stop_cleanly(forkyard);
}

/// A roll goes on in the next program where it was.
#[test]
fn a_roll_goes_on() {
    let on_disk = OnDisk::new();
    let release = on_disk.path("release");
    let launch = launch("starts-slowly.js", &on_disk).workers(2);
    fs::write(&release, "").expect("a file");
    let forkyard = launch.worker_env("RELEASE", &release).start();
    let workers = forkyard.wait_listening(2);
    fs::remove_file(&release).expect("it is there");
    forkyard.signal(Signal::HUP);
    forkyard.wait_for("a successor that waits", |event| {
        event.is("roll_step") && event.text("phase") == "waiting"
    });
    upgrade_to_new(&forkyard, &on_disk);
    client::get(&forkyard.target(), "/meanwhile").expect("it is served meanwhile");
    fs::write(&release, "").expect("a file");
    forkyard.wait("roll_finished");
    waiting::until("the new workers alone", || {
        let children = children(&forkyard);
        (children.len() == 2 && children.iter().all(|pid| !workers.contains(pid))).then_some(())
    });
    stop_cleanly(forkyard);
}

/// So does a reload that waits for its end; and if the upgrade comes to nothing, it is not put
/// off once more.
#[test]
fn a_reload_that_waits_goes_on_waiting() {
    let on_disk = OnDisk::new();
    let release = on_disk.path("release");
    fs::write(&release, "").expect("a file");
    let launch = launch("starts-slowly.js", &on_disk).workers(1);
    let forkyard = launch.worker_env("RELEASE", &release).start();
    forkyard.wait_listening(1);
    fs::remove_file(&release).expect("it is there");
    forkyard.signal(Signal::HUP);
    forkyard.wait_for("a successor that waits", |event| {
        event.is("roll_step") && event.text("phase") == "waiting"
    });
    forkyard.signal(Signal::HUP);
    forkyard.wait("reload_put_off");
    fail_late(&forkyard, &on_disk);
    upgrade_to_new(&forkyard, &on_disk);
    fs::write(&release, "").expect("a file");
    forkyard.wait_count("roll_finished", 2);
    let events = forkyard.events();
    assert_eq!(events.iter().filter(|event| event.is("reload_put_off")).count(), 1);
    stop_cleanly(forkyard);
}

/// Whoever does not read the command's output keeps it as it is.
#[test]
fn a_reader_that_has_stopped_keeps_it_from_happening() {
    let on_disk = OnDisk::new();
    let launch = launch("flood-one.js", &on_disk).workers(2).arg("1");
    let launch = launch.worker_env("PORT", ports::free().to_string());
    let forkyard = launch.unread(forkyard_tests::Stream::Stdout).start();
    forkyard.wait_full();
    let workers = forkyard.wait_listening(1);
    forkyard.signal(Signal::USR2);
    let failed = wait_failed(&forkyard, 1);
    assert!(failed.text("reason").contains("written"), "{failed:?}");
    client::get(&forkyard.target(), "/still").expect("it serves on");
    assert!(processes::is_alive(workers[0]));
    forkyard.signal(Signal::TERM);
    waiting::until("the workers to end", || {
        (forkyard.processes() == [forkyard.pid()]).then_some(())
    });
    forkyard.stop().assert_code(0).assert_no_panic().assert_nobody_left();
}

#[test]
fn the_first_process_of_a_namespace_is_upgraded_too() {
    let on_disk = OnDisk::new();
    let unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let launch = launch("orphans.js", &on_disk).workers(1).wrapped(&unshare);
    let forkyard = launch.start();
    assert_eq!(forkyard.primary_pid(), 1);
    let primary = processes::children(forkyard.pid())[0];
    on_disk.renew();
    processes::signal(primary, Signal::USR2);
    forkyard.wait("primary_upgraded");
    on_disk.assert_is_all_of(primary);
    waiting::until("the orphans to be reaped", || {
        let children = processes::children(primary);
        (children.len() == 1 && processes::is_alive(children[0])).then_some(())
    });
    processes::signal(primary, Signal::TERM);
    forkyard.wait_exit().assert_code(0).assert_no_panic();
}

/// A worker that dies in between is no orphan, though nobody has taken charge of it yet when the
/// next program learns that some child has ended.
#[test]
fn the_first_process_of_a_namespace_reaps_its_workers_as_such() {
    let on_disk = OnDisk::new();
    let unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let launch = launch("recorded.js", &on_disk).workers(4).wrapped(&unshare);
    let forkyard = launch.start();
    let workers = forkyard.wait_listening(4);
    let numbers: Vec<_> = workers.iter().map(ToString::to_string).collect();
    on_disk.script(&format!(
        "test $what = take-over && kill -KILL {}\nexec $real \"$@\"",
        numbers.join(" ")
    ));
    let primary = processes::children(forkyard.pid())[0];
    processes::signal(primary, Signal::USR2);
    forkyard.wait("primary_upgraded");
    for worker in &workers {
        assert_eq!(forkyard.wait_exited(*worker).text("signal"), "SIGKILL");
    }
    waiting::until("four workers in their places", || {
        (processes::children(primary).len() == 4).then_some(())
    });
    processes::signal(primary, Signal::TERM);
    forkyard.wait_exit().assert_code(0).assert_no_panic();
}

/// A program of somebody's own on the library. Its workers' output is not captured here.
#[test]
fn a_program_on_the_library_is_upgraded_too() {
    let program = Path::new(env!("CARGO_BIN_EXE_rust-host"));
    let launch = Launch::of(program).program(Node::V24.binary());
    let forkyard = launch.arg(tools::program("recorded.js")).start();
    let workers = forkyard.wait_listening(2);
    let mut connection = Connection::open(&forkyard.target()).expect("a connection");
    let served_by = ask(&mut connection, "/before");
    for _ in 0..2 {
        forkyard.upgrade();
        assert_eq!(ask(&mut connection, "/after"), served_by);
        assert_eq!(children(&forkyard), workers);
    }
    forkyard.stop().assert_code(0).assert_no_panic().assert_nobody_left();
}
