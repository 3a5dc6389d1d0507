//! Sockets that are there before the app, and a stop that is put off.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use forkyard_tests::client::{self, Target};
use forkyard_tests::processes::{self, signal};
use forkyard_tests::record::Record;
use forkyard_tests::{Forkyard, Launch, OnDisk, waiting};
use rustix::process::Signal;

/// Passes its standard input on as systemd passes a socket that is called `web`.
const ACTIVATE: [&str; 4] = [
    "sh",
    "-c",
    "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web; exec \"$@\"",
    "sh",
];

/// A socket as systemd holds it: it stays open, whatever becomes of the app.
struct Activated {
    listener: TcpListener,
}

impl Activated {
    fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").expect("a port") }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("its address").port()
    }

    fn target(&self) -> Target {
        Target::port(self.port())
    }

    fn launch(&self, launch: Launch) -> Launch {
        let socket = self.listener.try_clone().expect("another descriptor");
        launch.wrapped(&ACTIVATE).stdin(OwnedFd::from(socket))
    }

    /// A connection that has asked for `/`, whoever may answer.
    fn ask(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port())).expect("a connection");
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it can be asked");
        stream
    }
}

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[test]
fn a_worker_that_asks_for_the_address_of_a_socket_that_is_there_gets_it() {
    let activated = Activated::new();
    let port = activated.port().to_string();
    let launch = || activated.launch(Launch::run("plain.js").workers(2).worker_env("PORT", &port));
    let forkyard = launch().start();
    forkyard.wait_listening(2);
    let bound = forkyard.wait("listener_bound");
    assert_eq!(bound.text("address"), format!("127.0.0.1:{port}"));
    assert_eq!(
        (bound.text("policy"), bound.text("reason")),
        ("round-robin", "an inherited socket")
    );
    client::get(&activated.target(), "/").expect("an answer");
    forkyard.stop().assert_code(0).assert_no_panic();

    let waiting = activated.ask();
    let forkyard = launch().start();
    assert!(answer(waiting).contains("\"path\":\"/\""), "who came in between waits");
    forkyard.stop().assert_code(0);
}

#[test]
fn an_upgrade_keeps_the_sockets_that_are_there() {
    let (activated, on_disk) = (Activated::new(), OnDisk::new());
    let launch = Launch::run("inherited.py").interpreter("python3").on_disk(&on_disk).workers(1);
    let forkyard = activated.launch(launch.option("--listen", "systemd:web")).start();
    let worker = forkyard.wait_json("sockets", 1)[0]["pid"].clone();
    on_disk.renew();
    forkyard.upgrade();
    let before = client::get(&activated.target(), "/").expect("an answer").json();
    assert_eq!(before["pid"], worker);
    signal(
        before["pid"].as_i64().and_then(|pid| pid.try_into().ok()).expect("a pid"),
        Signal::KILL,
    );
    let said = forkyard.wait_json("sockets", 2);
    assert_eq!(said[1]["sockets"], 1);
    client::get(&activated.target(), "/").expect("an answer from the next worker");
    forkyard.stop().assert_code(0).assert_no_panic();
}

/// A worker that asks only after the upgrade gets the socket from the next image.
#[test]
fn after_an_upgrade_the_address_is_still_that_of_the_socket() {
    let (activated, on_disk, record) = (Activated::new(), OnDisk::new(), Record::new());
    let launch = Launch::run("starts-slowly.js").on_disk(&on_disk).workers(1);
    let launch = launch.worker_env("RELEASE", record.release_path());
    let launch = launch.worker_env("PORT", activated.port().to_string());
    let forkyard = activated.launch(launch).start();
    forkyard.wait("worker_online");
    on_disk.renew();
    forkyard.upgrade();
    record.release();
    forkyard.wait_listening(1);
    assert_eq!(forkyard.wait("listener_bound").text("reason"), "an inherited socket");
    client::get(&activated.target(), "/").expect("an answer");
    forkyard.stop().assert_code(0).assert_no_panic();
}

#[test]
fn sockets_that_are_there_are_inherited_by_name_or_number() {
    let activated = Activated::new();
    for named in ["systemd:web", "fd:3"] {
        let launch = Launch::run("inherited.py").interpreter("python3").workers(2);
        let launch = launch.option("--policy", "kernel").option("--listen", named);
        let forkyard = activated.launch(launch).start();
        assert_eq!(forkyard.wait_json("sockets", 2)[0]["blocking"][0], true, "{named}");
        let bound = forkyard.wait("listener_bound");
        assert_eq!(bound.text("address"), format!("127.0.0.1:{}", activated.port()));
        assert_eq!((bound.text("policy"), bound.text("reason")), ("shared", "an inherited socket"));
        client::get(&activated.target(), "/").expect("an answer");
        forkyard.stop().assert_code(0).assert_no_panic();
    }
}

#[test]
fn a_socket_that_is_not_there_is_said_with_those_that_are() {
    let activated = Activated::new();
    let launch = || Launch::run("inherited.py").interpreter("python3");
    let ended = activated.launch(launch().option("--listen", "systemd:api")).finish();
    ended.assert_code(2).assert_says(&["systemd:api", "it has passed: web"]);
    let ended = launch().option("--listen", "fd:3").finish();
    ended.assert_code(2).assert_says(&["fd:3", "descriptor 3"]);
}

/// One that is meant for another process is none of ours.
#[test]
fn sockets_for_somebody_else_are_not_touched() {
    let activated = Activated::new();
    let launch =
        Launch::run("inherited.py").interpreter("python3").option("--listen", "systemd:web");
    let script = ACTIVATE[2].replace("LISTEN_PID=$$", "LISTEN_PID=1");
    let launch = activated.launch(launch).wrapped(&["sh", "-c", &script, "sh"]);
    launch.finish().assert_code(2).assert_says(&["it has passed none"]);
}

fn serving(delay: &str) -> Forkyard {
    let launch = Launch::run("plain.js").workers(1).impatient();
    let forkyard = launch.option("--shutdown-delay", delay).start();
    forkyard.wait_listening(1);
    forkyard
}

fn wait_signals(forkyard: &Forkyard, count: usize) {
    forkyard.wait_count("signal_received", count);
}

#[test]
fn a_stop_that_is_put_off_serves_on_until_the_second_signal() {
    let forkyard = serving("1h");
    let target = forkyard.target();
    forkyard.signal(Signal::TERM);
    let put_off = forkyard.wait("stop_put_off");
    assert_eq!((put_off.text("signal"), put_off.number("delay_ms")), ("SIGTERM", Some(3_600_000)));
    client::get(&target, "/").expect("it serves on");
    signal(client::get(&target, "/").expect("it serves on").pid(), Signal::KILL);
    forkyard.wait_count("worker_listening", 2);
    client::get(&target, "/").expect("what crashes is replaced");
    let ended = forkyard.stop();
    ended.assert_code(0).assert_no_panic().assert_nobody_left();
    let stages: Vec<_> = ended.all("stopping").map(|event| event.text("stage")).collect();
    assert_eq!(stages, ["disconnect"], "the second signal begins the stop, and hurries nothing");
}

#[test]
fn a_stop_that_is_put_off_comes_by_itself() {
    let forkyard = serving("50ms");
    let ended = forkyard.stop();
    ended.assert_code(0).assert_no_panic();
    assert_eq!(ended.all("stop_put_off").count(), 1, "{}", ended.text());
    assert_eq!(ended.all("signal_received").count(), 0, "{}", ended.text());
}

#[test]
fn only_sigterm_is_put_off() {
    let forkyard = serving("1h");
    forkyard.signal(Signal::INT);
    let ended = forkyard.wait_exit();
    ended.assert_code(0);
    assert_eq!(ended.all("stop_put_off").count(), 0, "{}", ended.text());
}

#[test]
fn nothing_new_is_begun_while_a_stop_is_put_off() {
    let forkyard = serving("1h");
    forkyard.signal(Signal::TERM);
    forkyard.wait("stop_put_off");
    forkyard.signal(Signal::USR2);
    assert!(forkyard.wait("upgrade_failed").text("reason").contains("stopping"));
    forkyard.signal(Signal::HUP);
    assert!(forkyard.wait("reload_put_off").text("message").contains("stopping"));
    let ended = forkyard.stop();
    ended.assert_code(0);
    assert_eq!(ended.all("roll_started").count(), 0, "{}", ended.text());
}

/// The signal comes while the next version is tried out.
#[test]
fn an_upgrade_does_not_forget_that_a_stop_is_put_off() {
    let (on_disk, record) = (OnDisk::new(), Record::new());
    let launch = Launch::run("plain.js").on_disk(&on_disk).workers(1).impatient();
    let forkyard = launch.option("--shutdown-delay", "1h").start();
    forkyard.wait_listening(1);
    let (begun, release) = (record.file("begun"), record.release_path());
    on_disk.script(&format!(
        "test $what = rehearse && {{ : > {}; while ! test -e {}; do sleep 0.01; done; }}\n\
         exec $real \"$@\"",
        begun.display(),
        release.display()
    ));
    forkyard.signal(Signal::USR2);
    waiting::until("the rehearsal to begin", || begun.exists().then_some(()));
    forkyard.signal(Signal::TERM);
    forkyard.wait("stop_put_off");
    record.release();
    forkyard.wait("primary_upgraded");
    client::get(&forkyard.target(), "/").expect("it serves on");
    forkyard.signal(Signal::TERM);
    wait_signals(&forkyard, 1);
    let ended = forkyard.wait_exit();
    ended.assert_code(0).assert_no_panic();
    assert_eq!(ended.all("stop_put_off").count(), 1, "{}", ended.text());
}

/// As in a container: the first process, which nobody but the kernel looks after.
#[test]
fn the_first_process_serves_on_and_ends_as_its_app_does() {
    let unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let launch = Launch::run("plain.js").workers(1).impatient().wrapped(&unshare);
    let forkyard = launch.option("--shutdown-delay", "1h").start();
    forkyard.wait_listening(1);
    assert_eq!(forkyard.primary_pid(), 1);
    let primary = processes::children(forkyard.pid())[0];
    signal(primary, Signal::TERM);
    forkyard.wait("stop_put_off");
    client::get(&forkyard.target(), "/").expect("it serves on");
    signal(primary, Signal::TERM);
    forkyard.wait_exit().assert_code(0).assert_no_panic();

    let launch = Launch::run("crash-at-boot.js").workers(1).wrapped(&unshare);
    let launch = launch.option("--restart-limit", "1").option("--restart-delay", "1ms");
    launch.finish().assert_code(3).assert_no_panic();
}

/// Programs that know no abstract sockets say that they are ready.
#[test]
fn a_worker_notifies_by_a_file_that_goes_with_it() {
    let (record, on_disk) = (Record::new(), OnDisk::new());
    let sockets = record.file("run");
    let launch = Launch::run("says-ready.py").interpreter("python3").on_disk(&on_disk).workers(1);
    let launch = launch.env("FORKYARD_RUNTIME_DIR", &sockets).env("WATCHDOG_USEC", "3600000000");
    let launch = launch.worker_env("RELEASE", record.release_path()).option("--ready", "notify");
    let forkyard = launch.start();
    forkyard.wait_line("the worker", |line| line == "not ready yet");
    on_disk.renew();
    forkyard.upgrade();
    record.release();
    let said = &forkyard.wait_json("notified", 1)[0];
    assert!(said["watchdog"].is_null(), "that is for the primary: {said}");
    let path = std::path::PathBuf::from(said["notified"].as_str().expect("a path"));
    assert_eq!(path.parent(), Some(&*sockets));
    assert!(path.exists());
    forkyard.stop().assert_code(0).assert_no_panic();
    assert!(!path.exists(), "the file goes with its worker");
}
