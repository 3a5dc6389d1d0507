//! `forkyard reload` and the control socket of a running app.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use forkyard_tests::command::Ended;
use forkyard_tests::{Forkyard, Launch, OnDisk, client, tools};
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

    /// Puts another program in the place of the present one.
    fn install(&self, program: &str) {
        fs::copy(tools::program(program), self.program()).unwrap();
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
        let launch = Launch::bare("reload").env("FORKYARD_RUNTIME_DIR", self.sockets());
        app.iter().fold(launch, |launch, app| launch.program(app)).finish()
    }
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
    for words in ["the reload failed: worker 3 in slot 0 exited with code 1", "no database today"] {
        assert!(said.contains(words), "{said}");
    }
    client::get(&forkyard.target(), "/").expect("the old generation serves on");
    forkyard.stop().assert_code(0);
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
    assert!(unknown.text().contains("no app \"wbe\" is running; there are web"));
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
    forkyard.signal(rustix::process::Signal::KILL);
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
    forkyard.stop().assert_code(0);
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
