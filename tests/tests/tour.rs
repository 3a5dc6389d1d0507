//! The README's tour: three apps in three languages from one file, and what is done with them.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use forkyard_tests::client::{Target, get};
use forkyard_tests::{Yard, processes, waiting};
use rustix::process::Signal;

const RUST_WORKER: &str = env!("CARGO_BIN_EXE_rust-worker");

/// As the README has it, with ports of the system's choice and the programs of these tests.
fn settings() -> String {
    format!(
        r#"
[app.web]
program = "web.js"
workers = 2
groups = "site"

[app.api]
program = "api.py"
interpreter = "python3"
workers = 2
listen = "127.0.0.1:0"
groups = "site"

[app.fast]
program = {RUST_WORKER:?}
workers = 2
depends_on = ["web", "api"]
"#
    )
}

fn yard() -> Yard {
    let yard = Yard::new();
    yard.install("plain.js", "web.js");
    yard.install("inherited.py", "api.py");
    yard.write("forkyard.toml", &settings());
    yard
}

fn serves(target: &Target) {
    get(target, "/hello").unwrap();
}

fn all_serve(yard: &Yard) {
    for app in ["web", "api", "fast"] {
        waiting::until("two workers", || (yard.workers(app).len() == 2).then_some(()));
        serves(&yard.target(app));
    }
}

/// What is written, line by line, to its end.
fn lines_of(output: ChildStdout) -> Receiver<String> {
    let (told, lines) = mpsc::sync_channel(1000);
    thread::spawn(move || {
        let all = BufReader::new(output).lines().map_while(Result::ok);
        all.take_while(|line| told.send(line.clone()).is_ok()).for_each(drop);
    });
    lines
}

#[test]
fn three_apps_in_three_languages_are_looked_after_from_one_file() {
    let yard = yard();
    let started = yard.done(&["start"]);
    let order: Vec<_> = started.stdout.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(order.last(), Some(&"fast"), "it depends on the others: {started:#?}");
    all_serve(&yard);
    yard.done(&["ls"]).assert(0, &["web", "api", "fast", "running"]);

    // Reload and scale, by group and by name.
    let before = [yard.workers("web"), yard.workers("api")].concat();
    yard.done(&["reload", "site"]);
    let after = [yard.workers("web"), yard.workers("api")].concat();
    assert!(after.iter().all(|pid| !before.contains(pid)), "{before:?} {after:?}");
    yard.done(&["scale", "web", "3"]);
    assert_eq!(yard.workers("web").len(), 3);
    yard.done(&["scale", "web", "-1"]);

    // A worker is killed while its app's log is followed.
    let mut follow = yard.command(&["logs", "web", "--follow", "--lines", "0"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines_of(follow.stdout.take().unwrap());
    waiting::until("two workers", || (yard.workers("web").len() == 2).then_some(()));
    let victim = yard.workers("web")[0];
    processes::signal(victim, Signal::KILL);
    let told = waiting::until("word of its end", || {
        lines.try_iter().find(|line| line.contains("was ended by SIGKILL"))
    });
    assert!(told.contains(&victim.to_string()), "{told}");
    follow.kill().unwrap();
    follow.wait().unwrap();
    waiting::until("another worker", || {
        let workers = yard.workers("web");
        (workers.len() == 2 && !workers.contains(&victim)).then_some(())
    });

    // All of it comes back as it was.
    yard.done(&["save"]).assert(0, &["saved: api, fast, web"]);
    yard.done(&["stop", "all"]);
    for app in ["web", "api", "fast"] {
        assert_eq!(yard.state(app), "stopped");
    }
    yard.done(&["resurrect"]);
    all_serve(&yard);
    yard.done(&["delete", "all"]);
    assert!(yard.list().is_empty());
}
