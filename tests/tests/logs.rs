//! What is kept in files, and how it is read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use forkyard_tests::{Ended, Forkyard, Launch, OnDisk, Stream, kept, processes, waiting};
use rustix::process::Signal;
use serde_json::Value;

const LINES: usize = 10_000;

fn launch(program: &str, folder: &Path) -> Launch {
    Launch::run(program).workers(1).impatient().option("--log-dir", folder)
}

/// What workers wrote to it.
fn texts(folder: &Path, stem: &str) -> Vec<String> {
    let text = |object: &Value| object["line"].as_str().map(str::to_owned);
    kept::objects(folder, stem).iter().filter_map(text).collect()
}

/// All that the worker wrote before its end is there, in order, to the last byte.
#[test]
fn nothing_is_missing_of_a_worker_that_ends_at_once() {
    for end in ["exit", "kill"] {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = temp.path().join("logs");
        let launch = launch("flood.js", &folder).arg(LINES.to_string()).arg(end);
        let ended = launch.option("--restart-limit", "0").finish();
        ended.assert_code(3).assert_no_panic();
        let out = (0..LINES).map(|n| format!("out {n} {}", "x".repeat(n % 100)));
        let out: Vec<_> = out.chain(["the last of stdout".to_owned()]).collect();
        let err = (0..LINES).map(|n| format!("err {n}"));
        let err: Vec<_> = err.chain(["the last of stderr".to_owned()]).collect();
        assert!(texts(&folder, "out") == out, "{end}: stdout");
        assert!(texts(&folder, "err") == err, "{end}: stderr");
        assert_eq!(ended.lines(Stream::Stdout), Vec::<&str>::new(), "it is printed nowhere else");
    }
}

/// The same events as on stderr, and nobody else can read any of it.
#[test]
fn what_happens_is_kept_as_well() {
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().join("a/logs");
    let ended =
        launch("flood.js", &folder).arg("1").arg("exit").option("--restart-limit", "0").finish();
    let kept: Vec<_> = kept::objects(&folder, "forkyard");
    let said: Vec<_> = ended.events.iter().map(|event| event.json.clone()).collect();
    assert_eq!(kept.len(), said.len());
    for (kept, said) in kept.iter().zip(&said) {
        assert_eq!(kept["event"], said["event"]);
    }
    let mode = |path: &Path| fs::metadata(path).expect("it").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for name in ["out.log", "err.log", "forkyard.log"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_folder_in_which_others_can_write_is_refused() {
    let temp = tempfile::tempdir().expect("a folder");
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o777)).expect("its mode");
    let ended = launch("flood.js", temp.path()).finish();
    ended.assert_code(2).assert_says(&["others can write"]);
    assert_eq!(fs::read_dir(temp.path()).expect("it").count(), 0);
}

/// The numbers that were written, in order, and how many the worker says there were.
fn assert_numbers(lines: &[String], count: usize) {
    let expected = (0..count).map(|n| format!("{n} {}", "x".repeat(80)));
    let expected: Vec<_> = expected.chain([format!("end {count}")]).collect();
    assert_same(lines, &expected);
}

fn assert_same(lines: &[String], expected: &[String]) {
    let differs = lines.iter().zip(expected).position(|(seen, expected)| seen != expected);
    let at = differs.unwrap_or(lines.len().min(expected.len()));
    assert_eq!(lines.get(at), expected.get(at), "line {at} of {}", expected.len());
}

/// Has the worker tell how many lines it wrote, and waits until that is in the log.
fn end_numbers(forkyard: &Forkyard, folder: &Path) -> usize {
    processes::signal(forkyard.wait("worker_started").pid(), Signal::USR1);
    waiting::until("the last line", || {
        let last = texts(folder, "out").pop()?;
        last.strip_prefix("end ")?.parse().ok()
    })
}

/// The command is replaced again and again while a worker writes all the time.
#[test]
fn an_upgrade_loses_no_line() {
    let (temp, on_disk) = (tempfile::tempdir().expect("a folder"), OnDisk::new());
    let folder = temp.path().join("logs");
    let forkyard = launch("numbers.js", &folder).on_disk(&on_disk).start();
    for _ in 0..3 {
        let before = texts(&folder, "out").len();
        waiting::until("more lines", || (texts(&folder, "out").len() > before).then_some(()));
        on_disk.renew();
        forkyard.upgrade();
    }
    let count = end_numbers(&forkyard, &folder);
    assert_numbers(&texts(&folder, "out"), count);
    forkyard.stop().assert_code(0).assert_no_panic();
    let events = kept::objects(&folder, "forkyard");
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((count("primary_started"), count("primary_upgraded"), count("stopped")), (1, 3, 1));
}

/// As logrotate does, and then somebody who clears up: the log goes on in a new file.
#[test]
fn a_log_that_is_moved_or_removed_goes_on() {
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().join("logs");
    let forkyard = launch("numbers.js", &folder).start();
    kept::wait_line(&folder, "out", |_| true);
    let (log, moved) = (folder.join("out.log"), temp.path().join("moved"));
    fs::rename(&log, &moved).expect("it is moved");
    kept::wait_line(&folder, "out", |_| true);
    let count = end_numbers(&forkyard, &folder);
    let mut lines = Vec::new();
    for path in [&moved, &log] {
        let text = fs::read_to_string(path).expect("a log");
        let line = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
        lines.extend(text.lines().map(|text| line(text)["line"].as_str().expect("it").to_owned()));
    }
    assert_numbers(&lines, count);
    fs::remove_dir_all(&folder).expect("it is removed");
    forkyard.stop().assert_code(0).assert_no_panic();
}

/// A small disk of the command's own that is nearly full.
struct SmallDisk {
    temp: tempfile::TempDir,
}

impl SmallDisk {
    const ROOM: &str = "mount -t tmpfs -o size=16m none \"$0\" \
         && head -c 16300k /dev/zero > \"$0/ballast\" && exec \"$@\"";

    /// Starts a program whose logs are there.
    fn start(program: &str) -> (Self, Forkyard) {
        let temp = tempfile::tempdir().expect("a folder");
        let dir = temp.path().to_str().expect("UTF-8").to_owned();
        let namespace = ["unshare", "--user", "--map-root-user", "--mount"];
        let wrapper = [&namespace[..], &["sh", "-c", Self::ROOM, &dir]].concat();
        let forkyard = launch(program, &temp.path().join("logs")).wrapped(&wrapper).start();
        (Self { temp }, forkyard)
    }

    /// As the command sees it.
    fn path(&self, forkyard: &Forkyard, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", forkyard.pid()));
        root.join(self.temp.path().strip_prefix("/").expect("absolute")).join(name)
    }
}

/// It is told once, and told when it is over; what is missing is counted where it is missing.
#[test]
fn a_full_disk_is_outlasted() {
    let (disk, forkyard) = SmallDisk::start("numbers.js");
    let failed = forkyard.wait("log_failed");
    assert!(failed.text("log").ends_with("out.log"), "{failed:?}");
    let folder = disk.path(&forkyard, "logs");
    // Until more has been written than is kept for better times.
    let worker = forkyard.wait("worker_started").pid();
    let written = || fs::read_to_string(format!("/proc/{worker}/io")).expect("its figures");
    let bytes = |io: String| {
        let line = io.lines().find_map(|line| line.strip_prefix("wchar: ").map(str::to_owned));
        line.and_then(|count| count.parse::<usize>().ok())
    };
    let before = bytes(written()).expect("a number");
    waiting::until("a long flood", || (bytes(written())? > before + (1 << 20)).then_some(()));
    fs::remove_file(disk.path(&forkyard, "ballast")).expect("there is room again");
    let again = forkyard.wait("log_works_again");
    processes::signal(worker, Signal::USR1);
    let lost = usize::try_from(again.number("lines_lost").expect("a count")).expect("a count");
    assert!(lost > 0, "{again:?}");
    assert_eq!(forkyard.events().iter().filter(|event| event.is("log_failed")).count(), 1);
    // The disk is small: it may be full again before the worker was told to end.
    let objects = waiting::until("the gap", || {
        let objects = kept::objects(&folder, "out");
        objects.iter().any(|object| object["event"] == "lines_lost").then_some(objects)
    });
    let gap = objects.iter().position(|object| object["event"] == "lines_lost").expect("it");
    assert_eq!(objects[gap]["lines"].as_u64(), u64::try_from(lost).ok());
    let number = |object: &Value| {
        let number = object["line"].as_str().and_then(|line| line.split(' ').next());
        number.and_then(|number| number.parse::<usize>().ok())
    };
    for (expected, object) in objects[..gap].iter().enumerate() {
        assert_eq!(number(object), Some(expected));
    }
    if let Some(next) = objects.get(gap + 1).and_then(number) {
        assert_eq!(next, gap + lost);
    }
    forkyard.stop().assert_code(0).assert_no_panic().assert_nobody_left();
}

/// Its logs are emptied while they are written, and go on with a whole line.
#[test]
fn logs_can_be_emptied() {
    let (home, runtime) = (private_folder(), private_folder());
    let folder = home.path().join("logs/numbers");
    let of_test = |launch: Launch| {
        let launch = launch.env("FORKYARD_HOME", home.path());
        launch.env("FORKYARD_RUNTIME_DIR", runtime.path())
    };
    let forkyard = of_test(launch("numbers.js", &folder)).start();
    kept::wait_line(&folder, "out", |_| true);
    fs::write(folder.join("out-20250102T030405.678Z.log"), "old").expect("a rotated file");
    of_test(Launch::bare("flush")).program("numbers").finish().assert_code(0);
    let count = end_numbers(&forkyard, &folder);
    let lines = texts(&folder, "out");
    let first = lines[0].split(' ').next().and_then(|number| number.parse::<usize>().ok());
    let first = first.expect("a number");
    assert!(first > 0, "what was there is gone");
    let expected = (first..count).map(|n| format!("{n} {}", "x".repeat(80)));
    let expected: Vec<_> = expected.chain([format!("end {count}")]).collect();
    assert_same(&lines, &expected);
    forkyard.stop().assert_code(0).assert_no_panic();
}

/// A home folder with the logs of an app.
fn kept_app(home: &Path, lines: usize) -> Ended {
    let launch = launch("flood.js", &home.join("logs/shop")).arg(lines.to_string()).arg("exit");
    launch.option("--restart-limit", "0").as_text().finish()
}

fn private_folder() -> tempfile::TempDir {
    let temp = tempfile::tempdir().expect("a folder");
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o700)).expect("its mode");
    temp
}

fn logs(home: &Path) -> Launch {
    Launch::bare("logs").env("FORKYARD_HOME", home)
}

#[test]
fn the_last_lines_are_shown() {
    let home = private_folder();
    kept_app(home.path(), 100);
    let shown = logs(home.path()).program("shop").option("--lines", "3").flag("--out").finish();
    let lines = shown.assert_code(0).lines(Stream::Stdout);
    let texts: Vec<_> = lines.iter().map(|line| line.splitn(3, ' ').last().expect("it")).collect();
    let long = |n: usize| format!("out {n} {}", "x".repeat(n % 100));
    assert_eq!(texts, [&long(98), &long(99), "the last of stdout"]);
    let failed = logs(home.path()).flag("--grep").program("app failed").finish();
    let lines = failed.assert_code(0).lines(Stream::Stdout);
    assert!(!lines.is_empty() && lines.iter().all(|line| line.contains("forkyard/")), "{lines:?}");
    let json = logs(home.path()).flag("--err").flag("--json").program("shop").finish();
    let last = json.events.last().expect("lines");
    assert_eq!((last.text("app"), last.text("line")), ("shop", "the last of stderr"));
    assert_eq!(json.events.len(), 20);
}

#[test]
fn who_asks_for_logs_of_nobody_is_told_whose_there_are() {
    let home = private_folder();
    kept_app(home.path(), 1);
    let ended = logs(home.path()).program("web").finish();
    ended.assert_code(5).assert_says(&["web", "those of shop"]);
    logs(home.path()).flag("--grep").program("(").finish().assert_code(2);
}

#[test]
fn what_is_written_is_followed() {
    let home = private_folder();
    let folder = home.path().join("logs/shop");
    let forkyard = launch("numbers.js", &folder).start();
    kept::wait_line(&folder, "out", |_| true);
    let follower = logs(home.path()).flag("--follow").flag("--out").flag("--json");
    let follower = follower.option("--lines", "all").program("shop").start();
    let count = end_numbers(&forkyard, &folder);
    let last = format!("end {count}");
    follower.wait_line("the last line", |line| line == last);
    let seen: Vec<_> =
        follower.events().iter().filter_map(|event| event.line().map(str::to_owned)).collect();
    assert_numbers(&seen, count);
    follower.signal(Signal::INT);
    assert_eq!(follower.wait_exit().signal(), Some(Signal::INT.as_raw()));
    forkyard.stop().assert_code(0);
}
