//! `forkyard reload`, `forkyard upgrade` and the control socket of a running app.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use forkyard_tests::command::Ended;
use forkyard_tests::{Forkyard, Launch, Node, OnDisk, Stream, client, processes, tools, waiting};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

/// A folder for sockets, and an app whose program can be replaced.
struct Place {
    temp: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { temp: tempfile::tempdir().unwrap() };
        place.install("plain.js");
        place
    }

    fn program(&self) -> PathBuf {
        self.temp.path().join("web.js")
    }

    fn sockets(&self) -> PathBuf {
        self.temp.path().join("run")
    }

    /// Has another program be found in the place of the present one, which stays as it is for
    /// whoever is just starting it.
    fn install(&self, program: &str) {
        let (file, link) = (self.temp.path().join(program), self.temp.path().join("new"));
        fs::copy(tools::program(program), &file).unwrap();
        symlink(&file, &link).unwrap();
        fs::rename(link, self.program()).unwrap();
    }

    fn launch(&self) -> Launch {
        Launch::run("plain.js").program(self.program()).env("FORKYARD_RUNTIME_DIR", self.sockets())
    }

    fn serving(&self, workers: usize) -> Forkyard {
        let forkyard = self.launch().workers(workers).start();
        forkyard.wait_listening(workers);
        forkyard
    }

    /// The socket of the only app.
    fn socket(&self) -> PathBuf {
        let entries = fs::read_dir(self.sockets()).unwrap().map(|entry| entry.unwrap().path());
        let mut sockets = entries.filter(|path| path.extension().is_some_and(|end| end == "sock"));
        sockets.next().expect("a socket")
    }

    fn reload(&self, app: &[&str]) -> Ended {
        let launch = self.ask("reload");
        app.iter().fold(launch, |launch, app| launch.program(app)).finish()
    }

    fn ask(&self, verb: &'static str) -> Launch {
        Launch::bare(verb).env("FORKYARD_RUNTIME_DIR", self.sockets())
    }

    /// Has `forkyard reload` wait for a successor that listens once `release` is called.
    fn reload_slowly(&self, app: &Forkyard) -> Forkyard {
        self.install("starts-slowly.js");
        let reload = self.ask("reload").start();
        app.wait_for("a successor that is waited for", |event| {
            event.is("roll_step") && event.text("phase") == "waiting"
        });
        reload
    }

    /// An app whose next program is to be waited for.
    fn before_slow_one(&self) -> Launch {
        self.launch().workers(1).impatient().worker_env("RELEASE", self.temp.path().join("release"))
    }

    fn release(&self) {
        fs::write(self.temp.path().join("release"), "").unwrap();
    }
}

fn started(launch: Launch) -> Forkyard {
    let forkyard = launch.start();
    forkyard.wait_listening(1);
    forkyard
}

fn ask(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_reload_ends_with_0_when_everybody_is_replaced() {
    let place = Place::new();
    let forkyard = place.serving(2);
    let before = forkyard.wait_listening(2);
    let ended = place.reload(&[]);
    ended.assert_code(0);
    assert!(ended.text().contains("reload finished after"), "{}", ended.text());
    for slot in [0, 1] {
        forkyard.wait_replaced(slot, &before);
    }
    forkyard.stop().assert_code(0);
}

#[test]
fn a_bad_build_ends_it_with_4_and_says_who_why_and_what_it_wrote() {
    let place = Place::new();
    let forkyard = place.serving(2);
    place.install("crash-at-boot.js");
    let ended = place.reload(&["web"]);
    ended.assert_code(4);
    let said = ended.text();
    let why = "the reload failed: worker 3 in slot 0 exited with code 1";
    for words in [why, "Error: no database", "the reload is undone"] {
        assert_eq!(said.matches(words).count(), 1, "once: {said}");
    }
    client::get(&forkyard.target(), "/").expect("the old generation serves on");
    forkyard.stop().assert_code(0);
}

/// Machines read the app's own answers on stdout, one object a line.
#[test]
fn it_can_be_followed_by_machines() {
    let place = Place::new();
    let forkyard = place.serving(2);
    let ended = place.ask("reload").flag("--json").finish();
    ended.assert_code(0);
    assert_eq!(ended.lines(Stream::Stderr), [""; 0]);
    let progress: Vec<_> =
        ended.events.iter().filter(|line| line.text("update") == "progress").collect();
    let seated = progress.iter().filter(|line| line.text("phase") == "seated");
    assert_eq!(seated.map(|line| line.slot()).collect::<Vec<_>>(), [0, 1]);
    let last = ended.events.last().expect("a line");
    assert_eq!((last.text("update"), last.number("took_ms").is_some()), ("finished", true));

    place.install("crash-at-boot.js");
    let ended = place.ask("reload").flag("--json").finish();
    ended.assert_code(4);
    assert!(!ended.lines(Stream::Stderr).join("").contains("no database"), "it is in the outcome");
    let failed = ended.events.iter().find(|line| line.text("update") == "failed");
    let failed = &failed.expect("how it ended").json;
    assert_eq!((&failed["worker"]["slot"], &failed["worker"]["worker"]), (&json!(0), &json!(5)));
    assert_eq!(failed["reason"], "exited with code 1");
    let tail = failed["stderr_tail"].as_array().expect("lines");
    assert!(tail.contains(&json!("Error: no database today")), "{tail:?}");
    forkyard.stop().assert_code(0);
}

/// The one that waits takes what is on disk by then, and ends as its own reload does.
#[test]
fn a_second_one_waits_for_the_first() {
    let place = Place::new();
    let forkyard = started(place.before_slow_one());
    let first = place.reload_slowly(&forkyard);
    let second = place.ask("reload").start();
    forkyard.wait("reload_put_off");
    place.install("crash-at-boot.js");
    place.release();
    first.wait_exit().assert_code(0);
    second.wait_exit().assert_code(4).assert_says(&["this one begins after it", "no database"]);
    forkyard.stop().assert_code(0);
}

#[test]
fn a_second_one_is_refused_by_an_app_that_is_to() {
    let place = Place::new();
    let forkyard = started(place.before_slow_one().option("--reload", "refuse"));
    let first = place.reload_slowly(&forkyard);
    place.reload(&[]).assert_code(4).assert_says(&["refused: another reload is under way"]);
    place.release();
    first.wait_exit().assert_code(0);
    forkyard.stop().assert_code(0);
}

#[test]
fn an_app_that_is_stopped_meanwhile_says_so() {
    let place = Place::new();
    let forkyard = started(place.before_slow_one());
    let reload = place.reload_slowly(&forkyard);
    forkyard.stop().assert_code(0);
    reload.wait_exit().assert_code(4).assert_says(&["the reload failed: the app is stopping"]);
}

/// An interpreter that is asked for its version may take its time.
struct SlowInterpreter {
    hang: PathBuf,
    asked: PathBuf,
}

impl SlowInterpreter {
    /// An app that is run by it. It is fast at first.
    fn launch(place: &Place) -> (Self, Launch) {
        let path = |name: &str| place.temp.path().join(name);
        let (node, hang, asked) = (path("node"), path("hang"), path("asked"));
        let script = format!(
            "#!/bin/sh\nwhile test $1 = --version -a -e '{0}'; do touch '{1}'; sleep 0.01; done\n\
             exec '{2}' \"$@\"\n",
            hang.display(),
            asked.display(),
            Node::V22.binary().display()
        );
        fs::write(&node, script).unwrap();
        fs::set_permissions(&node, fs::Permissions::from_mode(0o755)).unwrap();
        let launch = place.launch().workers(1).interpreter(node);
        (Self { hang, asked }, launch.program(tools::program("typed.ts")))
    }

    /// Has `forkyard reload` wait for it.
    fn reload(&self, place: &Place) -> Forkyard {
        fs::write(&self.hang, "").unwrap();
        let reload = place.ask("reload").start();
        waiting::until("the interpreter to be asked", || self.asked.exists().then_some(()));
        reload
    }

    fn answer(&self) {
        fs::remove_file(&self.hang).unwrap();
    }
}

#[test]
fn a_reload_that_still_looks_for_its_program_holds_up_no_stop() {
    let place = Place::new();
    let (interpreter, launch) = SlowInterpreter::launch(&place);
    let forkyard = started(launch);
    let reload = interpreter.reload(&place);
    forkyard.stop().assert_code(0);
    reload.wait_exit().assert_code(4).assert_says(&["the app is stopping"]);
}

#[test]
fn an_app_that_is_stopping_refuses() {
    let place = Place::new();
    place.install("deaf.js");
    let forkyard = place.launch().workers(1).start();
    let worker = forkyard.wait_listening(1)[0];
    forkyard.wait_line("the worker to be deaf", |line| line.contains("deaf"));
    forkyard.signal(Signal::TERM);
    forkyard.wait("stopping");
    place.reload(&[]).assert_code(4).assert_says(&["refused: the app is stopping"]);
    processes::signal(worker, Signal::KILL);
    forkyard.wait_exit().assert_code(0);
}

/// It is over, and waits only for somebody to read what its worker wrote.
#[test]
fn an_app_that_is_over_refuses() {
    let place = Place::new();
    place.install("last-words.js");
    let launch = place.launch().workers(1).arg("1").arg("10000").option("--no-restart-codes", "0");
    let mut forkyard = launch.unread(Stream::Stdout).start();
    forkyard.wait("app_finished");
    for verb in ["reload", "upgrade"] {
        place.ask(verb).finish().assert_code(4).assert_says(&["the app is stopping"]);
    }
    forkyard.read();
    forkyard.wait_exit().assert_code(0);
}

#[test]
fn an_app_that_is_killed_meanwhile_is_noticed() {
    let place = Place::new();
    let forkyard = started(place.before_slow_one());
    let pid = forkyard.pid();
    let reload = place.reload_slowly(&forkyard);
    forkyard.signal(Signal::KILL);
    let ended = format!("process {pid}, ended before it had told the outcome");
    reload.wait_exit().assert_code(1).assert_says(&[&ended]);
}

#[test]
fn an_upgrade_ends_with_0_when_the_next_version_serves() {
    let (place, on_disk) = (Place::new(), OnDisk::new());
    let forkyard = started(place.launch().workers(1).on_disk(&on_disk));
    let pid = forkyard.pid();
    for _ in 0..2 {
        on_disk.renew();
        let ended = place.ask("upgrade").program("web").finish();
        ended.assert_code(0).assert_says(&[&format!("primary {pid} runs forkyard ")]);
        on_disk.assert_is_all_of(pid);
    }
    let status = ask(&place.socket(), "GET /v1/status");
    assert!(status.contains(r#""upgrade":{"update":"finished","#), "{status}");
    place.reload(&["web"]).assert_code(0);
    forkyard.stop().assert_code(0);
}

#[test]
fn an_upgrade_to_what_is_no_good_ends_with_4_and_says_why() {
    let (place, on_disk) = (Place::new(), OnDisk::new());
    let forkyard = started(place.launch().workers(1).on_disk(&on_disk));
    on_disk.script("echo 'out of luck' >&2; exit 3");
    let words = ["the upgrade failed, and has changed nothing", "code 3", "out of luck"];
    place.ask("upgrade").finish().assert_code(4).assert_says(&words);
    // Ready when it is tried out, and not when it matters: the image before it has come back.
    on_disk.script("test $what = take-over && set -- run --no-such-option\nexec $real \"$@\"");
    let words = ["the upgrade failed, and has changed nothing", "before it had taken over"];
    place.ask("upgrade").finish().assert_code(4).assert_says(&words);
    client::get(&forkyard.target(), "/").expect("the old one serves on");
    place.ask("upgrade").program("shop").finish().assert_code(5);
    forkyard.stop().assert_code(0);
}

/// It is stopped while the next version is still being tried out, which never ends by itself.
#[test]
fn an_app_that_is_stopped_during_an_upgrade_says_so() {
    let (place, on_disk) = (Place::new(), OnDisk::new());
    for (flags, words) in [
        (&[][..], r"the upgrade failed, and has changed nothing: the app is stopping"),
        (&["--json"], r#"{"update":"failed","reason":"the app is stopping","stderr_tail":[]}"#),
    ] {
        on_disk.renew();
        let forkyard = started(place.launch().workers(1).on_disk(&on_disk));
        let begun = on_disk.path(&format!("begun{}", flags.len()));
        on_disk.script(&format!("touch '{}'\nexec sleep 1000", begun.display()));
        let upgrade = flags.iter().fold(place.ask("upgrade"), |ask, flag| ask.flag(flag)).start();
        waiting::until("the new program to be tried out", || begun.exists().then_some(()));
        forkyard.stop().assert_code(0);
        upgrade.wait_exit().assert_code(4).assert_says(&[words]);
    }
}

#[test]
fn a_second_upgrade_at_a_time_is_refused() {
    let (place, on_disk) = (Place::new(), OnDisk::new());
    let forkyard = started(place.launch().workers(1).on_disk(&on_disk));
    let (begun, go) = (on_disk.path("begun"), on_disk.path("go"));
    let wait = format!(
        "touch '{}'\nwhile ! test -e '{}'; do sleep 0.01; done\nexec $real \"$@\"",
        begun.display(),
        go.display()
    );
    on_disk.script(&wait);
    let first = place.ask("upgrade").start();
    waiting::until("the new program to be tried out", || begun.exists().then_some(()));
    let second = place.ask("upgrade").finish();
    second.assert_code(4).assert_says(&["another upgrade is under way"]);
    fs::write(go, "").unwrap();
    first.wait_exit().assert_code(0);
    forkyard.stop().assert_code(0);
}

/// Also where the signal that wants a reload is ignored.
#[test]
fn a_reload_that_waits_goes_on_waiting_after_an_upgrade() {
    let (place, on_disk) = (Place::new(), OnDisk::new());
    let forkyard = started(place.before_slow_one().on_disk(&on_disk).wrapped(&["nohup"]));
    let first = place.reload_slowly(&forkyard);
    let second = place.ask("reload").start();
    forkyard.wait("reload_put_off");
    forkyard.upgrade();
    place.release();
    forkyard.wait_count("roll_finished", 2);
    for reload in [first, second] {
        reload.wait_exit().assert_code(0);
    }
    forkyard.stop().assert_code(0);
}

/// It has not come further than that, so the next program begins it. Also where the signal that
/// wants a reload is ignored.
#[test]
fn a_reload_that_still_looks_for_its_program_goes_on_after_an_upgrade() {
    let (place, on_disk) = (Place::new(), OnDisk::new());
    let (interpreter, launch) = SlowInterpreter::launch(&place);
    let forkyard = started(launch.on_disk(&on_disk).wrapped(&["nohup"]));
    let reload = interpreter.reload(&place);
    forkyard.upgrade();
    interpreter.answer();
    reload.wait_exit().assert_code(0).assert_says(&["reload finished after"]);
    forkyard.wait("roll_finished");
    assert_eq!(forkyard.events().iter().filter(|event| event.is("roll_started")).count(), 1);
    forkyard.stop().assert_code(0);
}

#[test]
fn a_reload_is_followed_through_an_upgrade() {
    let (place, on_disk) = (Place::new(), OnDisk::new());
    let forkyard = started(place.before_slow_one().on_disk(&on_disk));
    let reload = place.reload_slowly(&forkyard);
    forkyard.upgrade();
    place.release();
    reload.wait_exit().assert_code(0).assert_says(&["reload finished after"]);
    forkyard.wait("roll_finished");
    forkyard.stop().assert_code(0);
}

#[test]
fn an_app_that_is_stopped_after_an_upgrade_says_so() {
    let (place, on_disk) = (Place::new(), OnDisk::new());
    let forkyard = started(place.before_slow_one().on_disk(&on_disk));
    let first = place.reload_slowly(&forkyard);
    let second = place.ask("reload").start();
    forkyard.wait("reload_put_off");
    forkyard.upgrade();
    for reload in [&first, &second] {
        reload.wait_for("it to follow the next image", |event| event.raw.contains("was upgraded"));
    }
    forkyard.stop().assert_code(0);
    for reload in [first, second] {
        reload.wait_exit().assert_code(4).assert_says(&["the app is stopping"]);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let place = Place::new();
    let file = place.temp.path().join("env");
    fs::write(&file, "A=1\n").unwrap();
    let forkyard = place.launch().workers(1).option("--env-file", &file).start();
    forkyard.wait_listening(1);
    fs::write(&file, "no variable\n").unwrap();
    let ended = place.reload(&[]);
    ended.assert_code(4);
    assert!(ended.text().contains("the reload was refused"), "{}", ended.text());
    forkyard.stop().assert_code(0);
}

#[test]
fn apps_are_found_by_name_and_by_process_id() {
    let place = Place::new();
    let first = place.serving(1);
    let second = place.serving(1);
    let several = place.reload(&["web"]);
    several.assert_code(5);
    let pid = second.primary_pid().to_string();
    assert!(several.text().contains(&format!("web ({pid})")), "{}", several.text());
    place.reload(&[&pid]).assert_code(0);
    second.wait("roll_finished");
    let unknown = place.reload(&["wbe"]);
    unknown.assert_code(5);
    unknown.assert_says(&["there is no app \"wbe\"; did you mean \"web\"?", &pid]);
    first.stop().assert_code(0);
    place.reload(&["web"]).assert_code(0);
    second.stop().assert_code(0);
    place.reload(&[]).assert_code(5);
}

/// A primary that was killed could not clean up.
#[test]
fn what_a_killed_primary_has_left_is_in_nobody_s_way() {
    let place = Place::new();
    let forkyard = place.serving(1);
    let socket = place.socket();
    forkyard.signal(Signal::KILL);
    let _ = forkyard.wait_exit();
    assert!(socket.exists());
    place.reload(&[]).assert_code(5);
    assert!(!socket.exists());
}

#[test]
fn nobody_else_can_reach_the_socket() {
    let place = Place::new();
    let forkyard = place.serving(1);
    let socket = place.socket();
    assert_eq!(fs::metadata(place.sockets()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    assert!(ask(&socket, "GET /v1/status").starts_with("HTTP/1.1 200"));

    // Even somebody to whom folder and socket were opened by mistake is turned away.
    for path in [place.temp.path(), &place.sockets()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    // Debian always has it, and everybody may run it.
    let script = "my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die qq(no socket: $!);\
                  $SIG{PIPE} = q(IGNORE);\
                  syswrite $s, qq(GET /v1/status HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n);\
                  my $read = sysread $s, my $answer, 100;\
                  print defined $read ? qq(heard $read) : qq(cut off);";
    let stranger = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args(["perl", "-MIO::Socket::UNIX", "-e", script])
        .arg(&socket)
        .output()
        .unwrap();
    let heard = String::from_utf8_lossy(&stranger.stdout).into_owned();
    assert!(["heard 0", "cut off"].contains(&heard.as_str()), "{stranger:?}");
    let ended = forkyard.stop();
    ended.assert_code(0);
    let warned = ended.all("log").find(|event| event.text("message").contains("turned away"));
    let warned = warned.expect("an object like all that is said");
    assert_eq!(
        (warned.text("level"), warned.text("target")),
        ("warn", "forkyard_control::server::serving")
    );
}

#[test]
fn whoever_says_nothing_or_nonsense_disturbs_nobody() {
    let place = Place::new();
    let forkyard = place.serving(1);
    let socket = place.socket();
    let silent: Vec<_> = (0..5).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut babbler = UnixStream::connect(&socket).unwrap();
    babbler.write_all(&[0xff; 4096]).unwrap();
    assert!(ask(&socket, "DELETE /v9/everything").starts_with("HTTP/1.1 404"));
    place.reload(&[]).assert_code(0);
    drop(silent);
    forkyard.stop().assert_code(0);
}

/// It asked, and never reads what it is answered.
#[test]
fn whoever_does_not_listen_holds_nobody_up() {
    let place = Place::new();
    let forkyard = place.serving(1);
    let mut deaf = UnixStream::connect(place.socket()).unwrap();
    write!(deaf, "POST /v1/reload HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    forkyard.wait("roll_finished");
    place.reload(&[]).assert_code(0);
    let ended = forkyard.stop();
    ended.assert_code(0);
    drop(deaf);
}

#[test]
fn any_name_will_do() {
    let place = Place::new();
    let name = format!("../my shop {}", "é".repeat(200));
    let forkyard = started(place.launch().workers(1).option("--name", &name));
    assert!(fs::read_dir(place.sockets()).unwrap().count() > 0);
    place.reload(&[&name]).assert_code(0);
    forkyard.stop().assert_code(0);
}

#[test]
fn a_folder_that_is_not_ours_alone_keeps_nobody_from_serving() {
    let place = Place::new();
    fs::create_dir(place.sockets()).unwrap();
    fs::set_permissions(place.sockets(), fs::Permissions::from_mode(0o777)).unwrap();
    let forkyard = place.serving(1);
    let ended = forkyard.stop();
    ended.assert_code(0);
    let warnings: Vec<_> = ended.all("warning").map(|event| event.text("message")).collect();
    assert!(
        warnings.iter().any(|text| text.contains("there is no control socket")),
        "{warnings:?}"
    );
}

#[test]
fn one_can_do_without() {
    let place = Place::new();
    let forkyard = place.launch().workers(1).flag("--no-control").start();
    forkyard.wait_listening(1);
    place.reload(&[]).assert_code(5);
    forkyard.stop().assert_code(0);
}

/// The next program has a socket under the same name, and reloads what it has taken over.
#[test]
fn an_upgraded_primary_is_asked_as_before() {
    let (place, on_disk) = (Place::new(), OnDisk::new());
    let forkyard = place.launch().on_disk(&on_disk).workers(2).start();
    let workers = forkyard.wait_listening(2);
    let before = place.socket();
    on_disk.renew();
    forkyard.upgrade();
    assert_eq!(place.socket(), before);
    let status = ask(&before, "GET /v1/status");
    assert!(workers.iter().all(|pid| status.contains(&pid.to_string())), "{status}");
    place.reload(&[]).assert_code(0);
    forkyard.wait("roll_finished");
    forkyard.stop().assert_code(0).assert_nobody_left();
    assert!(!before.exists());
}
