//! Apps in the background: started, listed, changed, stopped, and what is left when they die.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use forkyard_tests::client::get;
use forkyard_tests::{Yard, kept, processes, waiting};
use rustix::process::Signal;

/// Tells what it is asked for.
const WRITES: &str = "require('http').createServer((request, response) => {
    console.log('asked for ' + request.url);
    response.end();
}).listen(0, '127.0.0.1');";

/// An app that serves with two workers.
fn serving() -> Yard {
    let yard = Yard::new();
    yard.install("plain.js", "web.js");
    yard.done(&["start", "web.js", "-w", "2"]);
    yard
}

#[test]
fn an_app_is_started_listed_reloaded_scaled_stopped_and_forgotten() {
    let yard = serving();
    let workers = yard.workers("web");
    assert_eq!(workers.len(), 2);
    assert!(workers.contains(&get(&yard.target("web"), "/").unwrap().pid()));
    yard.done(&["ls"]).assert(0, &["web", "running", "2/2"]);
    yard.done(&["show", "web"]).assert(0, &["web: running", "web.js", "generation", "kernel"]);

    yard.done(&["reload", "web"]).assert(0, &["reload finished"]);
    assert!(yard.workers("web").iter().all(|pid| !workers.contains(pid)));
    yard.done(&["scale", "web", "+1"]);
    assert_eq!(yard.workers("web").len(), 3);
    yard.done(&["scale", "web", "1"]);
    waiting::until("one worker", || (yard.workers("web").len() == 1).then_some(()));

    let primary = yard.primary("web");
    yard.done(&["stop", "web"]).assert(0, &["web stopped after"]);
    assert!(!processes::is_alive(primary));
    assert_eq!(yard.state("web"), "stopped");
    yard.done(&["start", "web"]);
    // What it was scaled to still holds.
    assert_eq!(yard.workers("web").len(), 1);
    yard.done(&["delete", "web"]);
    assert!(yard.list().is_empty());
    assert!(!yard.home().join("apps/web.json").exists());
}

#[test]
fn a_program_that_crashes_at_boot_is_told_with_its_last_words() {
    let yard = Yard::new();
    yard.install("crash-at-boot.js", "bad.js");
    let started = yard.ask(&["start", "bad.js", "-w", "1", "--restart-limit", "1"]);
    started.assert(3, &["bad did not get ready", "slot 0 needed more than 1 restart"]);
    assert!(started.stderr.contains("wrote to stderr"), "{started:#?}");
    assert_eq!(yard.app("bad")["end"]["code"], 3);
    yard.done(&["ls"]).assert(0, &["failed (3)"]);
    yard.done(&["show", "bad"]).assert(0, &["bad: failed (3)", "needed more than 1 restart"]);
}

#[test]
fn what_cannot_be_started_is_told_before_anything_is() {
    let yard = Yard::new();
    yard.ask(&["start", "nothing.js"]).assert(127, &["nothing.js"]);
    yard.install("plain.js", "web.js");
    yard.ask(&["start", "web.js", "--name", "a b"]).assert(2, &["other characters", "--name"]);
    yard.ask(&["start", "web.js", "--environment", "production"]).assert(2, &["settings file"]);
    assert!(yard.socket_names().is_empty());
}

#[test]
fn an_unknown_app_is_told_with_the_nearest_name() {
    let yard = serving();
    for verb in ["show", "stop", "reload", "restart", "delete", "upgrade", "flush"] {
        yard.ask(&[verb, "wbe"]).assert(5, &["there is no app \"wbe\"", "did you mean \"web\"?"]);
    }
    yard.ask(&["scale", "wbe", "2"]).assert(5, &["did you mean \"web\"?"]);
    yard.ask(&["signal", "USR2", "wbe"]).assert(5, &["did you mean \"web\"?"]);
    yard.done(&["stop", "web"]);
    yard.ask(&["reload", "web"]).assert(5, &["web does not run", "forkyard start web"]);
}

#[test]
fn a_second_start_leaves_the_first_alone() {
    let yard = serving();
    let primary = yard.primary("web");
    yard.done(&["start", "web.js"]).assert(0, &["runs already", "forkyard reload web"]);
    assert_eq!(yard.primary("web"), primary);
}

/// They are started at the same time; one wins, and the other says why it does not.
#[test]
fn of_two_starts_at_once_one_starts() {
    let yard = Yard::new();
    yard.install("plain.js", "web.js");
    let commands: Vec<_> = (0..4)
        .map(|_| {
            let mut command = yard.command(&["start", "web.js", "-w", "1"]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let mut codes: Vec<_> = commands
        .into_iter()
        .map(|command| command.wait_with_output().unwrap().status.code().unwrap())
        .collect();
    codes.sort_unstable();
    assert!(codes.iter().all(|code| [0, 4].contains(code)) && codes[0] == 0, "{codes:?}");
    assert_eq!(yard.list().len(), 1);
    assert_eq!(yard.workers("web").len(), 1);
}

#[test]
fn a_primary_that_is_killed_takes_its_workers_with_it_is_said_to_be_dead_and_can_be_started() {
    let yard = serving();
    let (primary, workers) = (yard.primary("web"), yard.workers("web"));
    processes::signal(primary, Signal::KILL);
    for pid in workers {
        waiting::until("the end of a worker", || (!processes::is_alive(pid)).then_some(()));
    }
    waiting::until("the primary's end", || (!processes::is_alive(primary)).then_some(()));
    // Its last threads may be a moment behind.
    yard.wait_state("web", "dead");
    assert!(yard.socket_names().is_empty());
    yard.done(&["show", "web"]).assert(0, &["killed"]);
    yard.done(&["start", "web"]);
    assert_eq!(yard.workers("web").len(), 2);
}

#[test]
fn what_is_saved_is_started_again() {
    let yard = serving();
    yard.install("plain.js", "jobs.js");
    yard.done(&["start", "jobs.js", "-w", "1"]);
    yard.done(&["start", "jobs.js", "-w", "1", "--name", "idle"]);
    yard.done(&["stop", "idle"]);
    yard.done(&["save"]).assert(0, &["saved: jobs, web"]);
    yard.done(&["delete", "all"]);
    assert!(yard.list().is_empty());
    yard.done(&["resurrect"]);
    assert_eq!((yard.workers("web").len(), yard.workers("jobs").len()), (2, 1));
    assert_eq!(yard.list().len(), 2);
    // What runs already is left alone.
    let primary = yard.primary("web");
    yard.done(&["resurrect"]).assert(0, &["runs already"]);
    assert_eq!(yard.primary("web"), primary);
}

#[test]
fn nothing_saved_is_said() {
    Yard::new().ask(&["resurrect"]).assert(4, &["forkyard save"]);
}

#[test]
fn an_app_is_restarted_as_a_whole_or_slot_by_slot() {
    let yard = serving();
    let (primary, before) = (yard.primary("web"), yard.workers("web"));
    yard.done(&["restart", "web", "--slot", "1"]).assert(0, &["restart finished"]);
    let after = yard.workers("web");
    assert_eq!((after[0], yard.primary("web")), (before[0], primary));
    assert_ne!(after[1], before[1]);
    yard.done(&["restart", "web"]);
    assert_ne!(yard.primary("web"), primary);
    assert_eq!(yard.workers("web").len(), 2);
}

#[test]
fn an_app_has_the_environment_and_the_folder_it_was_started_in() {
    let yard = Yard::new();
    yard.install("plain.js", "show.js");
    let mut start = yard.command(&["start", "show.js", "-w", "1"]);
    let started = forkyard_tests::Answer::of(start.env("COLOUR_OF_THE_APP", "green"));
    started.assert(0, &["ready"]);
    yard.done(&["stop", "show"]);
    // Whoever starts it again has another environment, and is somewhere else.
    let mut start = yard.command(&["start", "show"]);
    start.current_dir("/").env("COLOUR_OF_THE_APP", "red");
    forkyard_tests::Answer::of(&mut start).assert(0, &["ready"]);
    let worker = yard.workers("show")[0];
    let environment = fs::read(format!("/proc/{worker}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(environment.contains("COLOUR_OF_THE_APP=green"), "{environment}");
    let folder = fs::read_link(format!("/proc/{worker}/cwd")).unwrap();
    assert_eq!(folder, yard.folder().canonicalize().unwrap());
}

/// The worker goes on writing, and what it writes then is the beginning of the file.
#[test]
fn log_files_are_emptied_while_they_are_written() {
    let yard = Yard::new();
    yard.write("web.js", WRITES);
    yard.done(&["start", "web.js", "-w", "1"]);
    let (target, folder) = (yard.target("web"), yard.home().join("logs/web"));
    get(&target, "/before").unwrap();
    kept::wait_line(&folder, "out", |line| line.contains("asked for /before"));
    yard.done(&["flush", "web"]).assert(0, &["log files"]);
    let left = kept::lines(&folder, "out");
    assert!(!left.iter().any(|line| line.contains("/before")), "{left:?}");
    get(&target, "/after").unwrap();
    kept::wait_line(&folder, "out", |line| line.contains("asked for /after"));
    let shown = yard.done(&["logs", "web"]);
    shown.assert(0, &["asked for /after"]);
    assert!(!shown.stdout.contains("/before"), "{shown:#?}");
}

#[test]
fn an_app_may_have_its_logs_elsewhere() {
    let yard = Yard::new();
    yard.write("web.js", WRITES);
    yard.write(
        "forkyard.toml",
        "[app.web]\nprogram = \"web.js\"\nworkers = 1\n\
        [app.web.log]\ndir = \"logs\"\nformat = \"json\"\n",
    );
    yard.done(&["start"]);
    get(&yard.target("web"), "/there").unwrap();
    kept::wait_line(&yard.folder().join("logs"), "out", |line| {
        line.starts_with('{') && line.contains("asked for /there")
    });
    yard.done(&["logs", "web"]).assert(0, &["asked for /there"]);
}

#[test]
fn the_environment_and_the_settings_of_an_app_are_shown_without_secrets() {
    let yard = Yard::new();
    yard.install("plain.js", "web.js");
    yard.write("web.env", "FROM_FILE=quiet\n");
    let words = ["start", "web.js", "-w", "1", "--env-file", "web.env", "--env"];
    let mut start = yard.command(&words);
    start.args(["API_KEY=quiet", "--env", "COLOUR=green"]).env("DB_PASSWORD", "quiet");
    forkyard_tests::Answer::of(&mut start).assert(0, &["ready"]);
    for state in ["running", "stopped"] {
        let shown = yard.done(&["env", "web"]);
        shown.assert(0, &["API_KEY=***", "COLOUR=green", "DB_PASSWORD=***", "FROM_FILE=***"]);
        assert!(!shown.stdout.contains("quiet"), "{shown:#?}");
        let json = yard.done(&["env", "web", "--show-secrets", "--json"]);
        json.assert(0, &["\"API_KEY\":\"quiet\"", "\"FROM_FILE\":\"quiet\""]);
        let described = yard.done(&["show", "web"]);
        described.assert(0, &[state, "env.COLOUR = green", "env.API_KEY = ***", "workers = 1"]);
        assert!(!described.stdout.contains("quiet"), "{described:#?}");
        yard.done(&["stop", "web"]);
    }
}

/// The old workers serve on.
#[test]
fn a_settings_file_that_is_broken_refuses_a_reload_and_changes_nothing() {
    let yard = Yard::new();
    yard.install("plain.js", "web.js");
    yard.write("forkyard.toml", "[app.web]\nprogram = \"web.js\"\nworkers = 1\n");
    yard.done(&["start"]);
    let workers = yard.workers("web");
    yard.write("forkyard.toml", "[app.web]\nprogram = \"web.js\"\nworkers = \"many\"\n");
    let refused = yard.ask(&["reload", "web"]);
    refused.assert(2, &["forkyard.toml", "many"]);
    assert_eq!(yard.workers("web"), workers);
    assert_eq!(get(&yard.target("web"), "/").unwrap().pid(), workers[0]);
    yard.write("forkyard.toml", "[app.web]\nprogram = \"web.js\"\nworkers = 2\n");
    yard.done(&["reload", "web"]);
    assert_eq!(yard.workers("web").len(), 2);
}

/// Also those of the primary, which stays the same process; and they are kept for the next start.
#[test]
fn a_reload_applies_what_has_changed_in_the_settings_file() {
    let yard = Yard::new();
    yard.install("plain.js", "web.js");
    let file = |rest: &str| {
        yard.write("forkyard.toml", &format!("[app.web]\nprogram = \"web.js\"\n{rest}\n"));
    };
    file("workers = 1\nrestart.limit = 5");
    yard.done(&["start"]);
    let primary = yard.primary("web");
    file("workers = 2\nrestart.limit = 7\ndrain.grace = \"1s\"\npolicy = \"round-robin\"");
    yard.done(&["reload", "web"]).assert(0, &["reload finished", "forkyard restart web"]);
    assert_eq!((yard.primary("web"), yard.workers("web").len()), (primary, 2));
    let new = ["restart.limit = 7", "drain.grace = 1s"];
    yard.done(&["show", "web"]).assert(0, &new);
    yard.done(&["stop", "web"]);
    file("workers = \"many\"");
    yard.done(&["start", "web"]);
    assert_eq!(yard.workers("web").len(), 2);
    yard.done(&["show", "web"]).assert(0, &new);
}

#[test]
fn a_home_that_cannot_be_used_is_named_with_the_way_out() {
    let yard = Yard::new();
    yard.install("plain.js", "web.js");
    fs::create_dir(yard.home()).unwrap();
    fs::set_permissions(yard.home(), fs::Permissions::from_mode(0o755)).unwrap();
    let started = yard.ask(&["start", "web.js"]);
    started.assert(2, &["chmod 700", "FORKYARD_HOME"]);
}

#[test]
fn nobody_else_can_read_what_is_kept() {
    let yard = serving();
    for file in ["apps/web.json", "apps", "locks", "logs"] {
        let mode = fs::metadata(yard.home().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file}: {mode:o}");
    }
}
