//! The command line of `forkyard run`: what a program gets, and how it is found.

use std::collections::BTreeSet;
use std::path::Path;

use forkyard_tests::cgroups::OneCore;
use forkyard_tests::processes::signal;
use forkyard_tests::{Forkyard, Launch, Node, client, processes, tools};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What `show.js` says of its start.
fn shown(forkyard: &Forkyard) -> Value {
    forkyard.wait_json("argv", 1).remove(0)
}

#[test]
fn the_start_is_told() {
    let forkyard = Launch::run("plain.js").workers(3).start();
    let workers = forkyard.wait_listening(3);
    let started = forkyard.wait("primary_started");
    assert_eq!(started.number("workers"), Some(3));
    assert_eq!(started.pid(), forkyard.pid());
    assert!(Path::new(started.text("program")).ends_with("plain.js"), "{started:?}");
    assert_eq!(started.text("app"), "plain");
    let slots: BTreeSet<_> =
        forkyard.wait_count("worker_started", 3).iter().map(|e| e.slot()).collect();
    assert_eq!(slots, BTreeSet::from([0, 1, 2]));
    let online: BTreeSet<_> =
        forkyard.wait_count("worker_online", 3).iter().map(|e| e.pid()).collect();
    assert_eq!(online, workers.into_iter().collect());
    let bound = forkyard.wait("listener_bound");
    assert_eq!(bound.text("address"), format!("127.0.0.1:{}", forkyard.port()));
}

/// A plain server without any `cluster` in it is served by all workers.
#[test]
fn a_plain_server_runs_as_it_is() {
    let forkyard = Launch::run("plain.js").workers(2).start();
    let workers = forkyard.wait_listening(2);
    let target = forkyard.target();
    let mut served = BTreeSet::new();
    forkyard_tests::waiting::until("both workers to serve", || {
        served.insert(client::get(&target, "/").expect("an answer").pid());
        (served.len() == 2).then_some(())
    });
    assert!(served.iter().all(|pid| workers.contains(pid)));
}

#[test]
fn the_program_gets_its_arguments() {
    let launch = Launch::run("show.js").workers(1);
    let launch = launch.arg("one").arg("--workers").arg("two words").arg("-w").arg("--help");
    let shown = shown(&launch.start());
    assert_eq!(shown["argv"], json!(["one", "--workers", "two words", "-w", "--help"]));
    assert_eq!(shown["isWorker"], true);
}

#[test]
fn node_gets_its_arguments() {
    let launch = Launch::run("show.js").workers(1);
    let launch = launch.option("--node-args", "--no-warnings --stack-size=2000");
    let shown = shown(&launch.option("--node-args", "--trace-uncaught").start());
    let expected = json!(["--no-warnings", "--stack-size=2000", "--trace-uncaught"]);
    assert_eq!(shown["execArgv"], expected);
}

#[test]
fn workers_get_their_environment() {
    let launch = Launch::run("show.js").workers(1).env("INHERITED", "yes").env("BOTH", "outer");
    let launch = launch.worker_env("BOTH", "inner").worker_env("EQUALS", "a=b=c");
    let shown = shown(&launch.worker_env("EMPTY", "").start());
    let env = &shown["env"];
    assert_eq!(env["INHERITED"], "yes");
    assert_eq!(env["BOTH"], "inner");
    assert_eq!(env["EQUALS"], "a=b=c");
    assert_eq!(env["EMPTY"], "");
    for hidden in ["NODE_UNIQUE_ID", "NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE"] {
        assert!(env[hidden].is_null(), "Node itself takes {hidden} away");
    }
}

#[test]
fn workers_get_the_variables_of_files() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("shop.env");
    std::fs::write(&file, "# ours\nBOTH=file\nFILE='of the file'\nINHERITED=file\n")
        .expect("a file");
    let launch = Launch::run("show.js").workers(1).env("INHERITED", "yes");
    let launch = launch.option("--env-file", &file).worker_env("BOTH", "line");
    let shown = shown(&launch.start());
    let env = &shown["env"];
    let values = ["BOTH", "FILE", "INHERITED"].map(|name| env[name].as_str().unwrap_or_default());
    assert_eq!(values, ["line", "of the file", "file"]);
}

/// Whoever goes to `current` and runs a program there runs that of the release it leads to.
#[test]
fn a_program_named_through_a_symlink_is_the_file_it_leads_to() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path().canonicalize().expect("its path");
    let (release, current) = (folder.join("42"), folder.join("current"));
    std::fs::create_dir(&release).expect("a folder");
    std::fs::copy(tools::program("show.js"), release.join("show.js")).expect("a copy");
    std::os::unix::fs::symlink(&release, &current).expect("a symlink");
    let main = release.join("show.js");
    for node in Node::ALL {
        let launch = Launch::run("show.js").workers(1).node(node).program("./show.js");
        let shown = shown(&launch.cwd(&current).env("PWD", &current).start());
        assert_eq!(shown["main"], main.to_str().expect("UTF-8"));
        assert_eq!(shown["filename"], shown["main"]);
        assert_eq!(shown["cwd"], release.to_str().expect("UTF-8"));
    }
}

#[test]
fn workers_run_in_the_folder_given() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path().canonicalize().expect("its path");
    let shown = shown(&Launch::run("show.js").workers(1).option("--cwd", &folder).start());
    assert_eq!(shown["cwd"], folder.to_str().expect("UTF-8"));
}

#[test]
fn the_program_is_found_from_where_the_command_runs() {
    let programs = tools::program("show.js");
    let launch = Launch::run("show.js").workers(1).program("show.js");
    let forkyard = launch.cwd(programs.parent().expect("its folder")).start();
    assert_eq!(shown(&forkyard)["main"], programs.to_str().expect("UTF-8"));
}

#[test]
fn the_interpreter_is_the_one_given() {
    for node in Node::ALL {
        let shown = shown(&Launch::run("show.js").workers(1).node(node).start());
        let version = shown["version"].as_str().expect("a version");
        assert!(version.starts_with(&format!("v{}.", node.major())), "{version}");
    }
}

#[test]
fn node_is_found_on_the_path() {
    let bin = Node::V22.binary();
    let path = bin.parent().expect("its folder");
    let launch = Launch::run("show.js").workers(1).own_interpreter().env("PATH", path);
    let shown = shown(&launch.start());
    assert!(shown["version"].as_str().is_some_and(|version| version.starts_with("v22.")));
}

#[test]
fn the_app_has_the_name_given() {
    let forkyard = Launch::run("show.js").workers(1).option("--name", "shop").start();
    assert_eq!(forkyard.wait("primary_started").text("app"), "shop");
}

#[test]
fn typescript_runs_where_node_strips_types() {
    for node in [Node::V22, Node::V24] {
        for program in ["typed.ts", "typed.mts"] {
            let forkyard = Launch::run(program).node(node).workers(2).start();
            let workers = forkyard.wait_listening(2);
            let reply = client::get(&forkyard.target(), "/").expect("an answer");
            assert!(workers.contains(&reply.pid()), "{program}");
        }
    }
}

#[test]
fn other_programs_are_executed() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path().canonicalize().expect("its path");
    let launch = Launch::run("program.sh").workers(2).own_interpreter().impatient();
    let launch = launch.option("--cwd", &folder).worker_env("GREETING", "hello there");
    let forkyard = launch.arg("one").arg("two three").start();
    let directory = format!("directory: {}", folder.display());
    for line in ["args: one two three", "greeting: hello there", &directory] {
        forkyard.until(&format!("{line} of both workers"), |events| {
            let said = events.iter().filter(|event| event.line() == Some(line)).count();
            (said == 2).then_some(())
        });
    }
    let worker = forkyard.wait("worker_started");
    signal(worker.pid(), Signal::KILL);
    let exited = forkyard.wait_exited(worker.pid());
    assert_eq!(exited.text("signal"), "SIGKILL");
    let restarted = |event: &forkyard_tests::Event| {
        event.is("worker_started") && event.slot() == worker.slot() && event.pid() != worker.pid()
    };
    forkyard.wait_for("its successor", restarted);
    forkyard.stop().assert_code(0).assert_nobody_left();
}

/// How many workers `-w max` makes under this wrapper.
fn max_workers(wrapper: &[&str]) -> usize {
    let launch = Launch::run("queue-worker.js").wrapped(wrapper).option("-w", "max").impatient();
    let forkyard = launch.start();
    let workers = forkyard.wait("primary_started").number("workers").expect("a number");
    let workers = usize::try_from(workers).expect("a count");
    forkyard.wait_count("worker_online", workers);
    let ended = forkyard.stop();
    assert_eq!(ended.all("worker_started").count(), workers);
    workers
}

#[test]
fn max_means_one_worker_for_each_usable_core() {
    let cores = std::thread::available_parallelism().expect("a number of cores").get();
    assert_eq!(max_workers(&[]), cores);
    assert_eq!(max_workers(&["taskset", "--cpu-list", "0"]), 1, "affinity counts");
}

/// Only where the tests may make a control group, as in a container run by root.
#[test]
fn max_respects_a_cpu_quota() {
    if let Some(group) = OneCore::new() {
        let wrapper = group.wrapper();
        let wrapper: Vec<_> = wrapper.iter().map(String::as_str).collect();
        assert_eq!(max_workers(&wrapper), 1);
    }
}

#[test]
fn without_a_number_all_cores_are_used() {
    let forkyard = Launch::run("queue-worker.js").start();
    let cores = std::thread::available_parallelism().expect("a number of cores").get();
    let workers = forkyard.wait("primary_started").number("workers");
    assert_eq!(workers, i64::try_from(cores).ok());
}

#[test]
fn help_and_version_are_there() {
    let help = Launch::bare("run").program("--help").finish();
    help.assert_code(0).assert_says(&["--workers", "--policy", "--cwd", "--env", "--node-args"]);
    help.assert_says(&["--name", "--log-format", "--interpreter", "--restart-limit", "PROGRAM"]);
    let version = Launch::bare("--version").finish();
    version.assert_code(0).assert_says(&["forkyard "]);
}

/// `forkyard demo` needs nothing but the binary.
#[test]
fn the_demo_runs_without_node() {
    let launch = Launch::bare("demo").option("--log-format", "json").option("--workers", "2");
    let port = forkyard_tests::ports::free();
    let launch = launch.option("--port", port.to_string());
    let forkyard = launch.env("PATH", "/no/such/folder").start();
    let workers = forkyard.wait_listening(2);
    let target = forkyard.target();
    let reply = client::get(&target, "/").expect("an answer");
    assert_eq!(reply.status, 200);
    signal(workers[0], Signal::KILL);
    let exited = forkyard.wait_exited(workers[0]);
    forkyard.wait_replaced(exited.slot(), &workers);
    client::get(&target, "/").expect("an answer");
    assert!(processes::is_alive(workers[1]));
    forkyard.stop().assert_code(0).assert_nobody_left();
}
