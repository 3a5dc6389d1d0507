//! What is wrong with the command line or with a worker's channel is said, has the
//! right exit code, and harms nobody else.

use std::fs;
use std::net::TcpListener;

use forkyard_tests::client::Target;
use forkyard_tests::load::Load;
use forkyard_tests::record::Record;
use forkyard_tests::{Ended, Launch, Node, processes, tools, waiting};

/// The end of a command that could not do what it was asked to.
fn refused(launch: Launch, code: i32, says: &[&str]) -> Ended {
    let ended = launch.finish();
    ended.assert_code(code).assert_says(says).assert_no_panic().assert_nobody_left();
    assert_eq!(ended.all("worker_online").count(), 0, "{}", ended.text());
    ended
}

fn run() -> Launch {
    Launch::bare("run").option("--interpreter", Node::V24.binary())
}

#[test]
fn a_missing_program_is_named() {
    refused(run().program("no/such/app.js"), 127, &["no/such/app.js"]);
    refused(run().program("no/such/program"), 127, &["no/such/program"]);
}

#[test]
fn a_folder_is_no_program() {
    let folder = tools::program("plain.js");
    let folder = folder.parent().expect("its folder");
    refused(run().program(folder), 126, &["programs", "directory"]);
}

#[test]
fn a_file_that_may_not_be_executed_is_named() {
    let program = tools::program("not-executable.sh");
    let launch = Launch::bare("run").program(program);
    let ended = refused(launch, 126, &["not-executable.sh", "chmod +x"]);
    assert!(!ended.text().contains("executed all the same"));
}

/// Without a Node anywhere, it says how to get one and what runs without.
#[test]
fn a_missing_node_is_explained() {
    let launch = Launch::bare("run").env("PATH", "/no/such/folder");
    let launch = launch.program(tools::program("plain.js"));
    refused(launch, 127, &["node", "forkyard demo"]);
}

#[test]
fn a_missing_interpreter_is_named() {
    let launch = Launch::bare("run").interpreter("/no/such/node");
    refused(launch.program(tools::program("plain.js")), 127, &["/no/such/node"]);
}

#[test]
fn wrong_usage_is_explained() {
    let program = tools::program("plain.js");
    let with = |name: &str, value: &str| run().option(name, value).program(&program);
    refused(with("--workers", "0"), 2, &["--workers"]);
    refused(with("--workers", "100000"), 2, &["--workers", "100000"]);
    refused(with("--workers", "-1"), 2, &["--workers"]);
    refused(with("--workers", "many"), 2, &["--workers", "many", "max"]);
    refused(with("--workers", "99999999999999999999"), 2, &["--workers"]);
    refused(with("--policy", "random"), 2, &["random", "round-robin", "shared"]);
    refused(with("--policy", "8000=random"), 2, &["random"]);
    refused(with("--env", "NOVALUE"), 2, &["NOVALUE"]);
    refused(with("--log-format", "xml"), 2, &["xml", "json"]);
    refused(with("--serialization", "xml"), 2, &["xml", "advanced"]);
    refused(with("--restart-delay", "soon"), 2, &["soon"]);
    refused(with("--no-restart-codes", "300"), 2, &["300"]);
    refused(with("--cwd", "/no/such/folder"), 2, &["/no/such/folder"]);
    refused(with("--no-such-option", "x"), 2, &["--no-such-option"]);
    refused(run(), 2, &["PROGRAM"]);
    refused(Launch::bare("walk"), 2, &["walk"]);
}

/// The program's own error is what ends the workers; the primary names the port.
#[test]
fn a_port_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let launch = Launch::run("plain.js").workers(2).option("--restart-delay", "1ms");
    let launch = launch.option("--restart-limit", "3").worker_env("PORT", port.to_string());
    let ended = launch.finish();
    ended.assert_code(3).assert_no_panic().assert_nobody_left();
    let failed: Vec<_> = ended.all("listen_failed").collect();
    assert!(!failed.is_empty(), "{}", ended.text());
    for event in failed {
        assert_eq!(event.text("address"), format!("127.0.0.1:{port}"));
        assert_eq!(event.text("code"), "EADDRINUSE");
        assert!(event.text("message").contains(&port.to_string()), "{event:?}");
    }
}

/// Runs `channel.js`, whose first worker does `misdeed`, among `workers`, and checks
/// that the others serve as if nothing were, and that the stop is clean.
fn misbehaves(misdeed: &str, when: &str, serialization: &str) -> Ended {
    let folder = Record::new();
    let launch = Launch::run("channel.js").workers(3).arg(misdeed).arg(when);
    let launch = launch.option("--serialization", serialization).impatient();
    let forkyard = launch.worker_env("ONCE", folder.file("once")).start();
    let culprit = forkyard.wait_json("wrote", 1)[0]["pid"].as_i64().expect("its pid");
    let others = forkyard.until("two workers that behave", |events| {
        let listening = events.iter().filter(|event| event.is("worker_listening"));
        let mut pids: Vec<_> = listening.map(forkyard_tests::Event::pid).collect();
        pids.retain(|&pid| i64::from(pid) != culprit);
        (pids.len() >= 2).then_some(pids)
    });
    // Not the first listener told of: that one may be forged.
    let target = Target::port(forkyard.port_of(others[0]));
    let tally = Load::short(&target).requests(300).run();
    tally.assert_nothing_lost();
    assert!(others.iter().all(|&pid| processes::is_alive(pid)), "the others are unharmed");
    let primary = forkyard.primary_pid();
    let resident = processes::resident_bytes(primary);
    assert!(resident < 64 << 20, "the primary holds {resident} bytes");
    let ended = forkyard.stop();
    ended.assert_code(0).assert_no_panic().assert_nobody_left();
    ended
}

/// The trouble on the channel is said, and whose channel it is.
fn is_trouble(misdeed: &str, serialization: &str) {
    for when in ["at once", "serving"] {
        let ended = misbehaves(misdeed, when, serialization);
        let trouble: Vec<_> = ended.all("channel_trouble").collect();
        assert!(!trouble.is_empty(), "{misdeed}: {}", ended.text());
        assert!(trouble.iter().all(|event| event.slot() == trouble[0].slot()));
        assert!(trouble.len() < 50, "it is not said again and again: {}", trouble.len());
    }
}

#[test]
fn garbage_on_a_channel() {
    is_trouble("garbage", "json");
}

#[test]
fn bytes_without_end_on_a_channel() {
    is_trouble("endless", "json");
}

#[test]
fn deeply_nested_json_on_a_channel() {
    is_trouble("nested", "json");
}

#[test]
fn binary_on_a_channel() {
    misbehaves("binary", "serving", "json");
    misbehaves("bun-dialect", "serving", "json");
}

#[test]
fn half_a_line_on_a_channel() {
    misbehaves("half-line", "serving", "json");
    misbehaves("half-line", "at once", "json");
}

/// What comes before the end is half a message; the crash is an ordinary one.
#[test]
fn half_a_line_before_a_crash() {
    let folder = Record::new();
    let launch = Launch::run("channel.js").workers(2).arg("half-line-and-exit").arg("serving");
    let forkyard = launch.worker_env("ONCE", folder.file("once")).start();
    let culprit = forkyard.wait_json("wrote", 1)[0]["pid"].as_i64().expect("its pid");
    let culprit = i32::try_from(culprit).expect("a pid");
    let exited = forkyard.wait_exited(culprit);
    assert_eq!(exited.number("code"), Some(9));
    forkyard.wait_replaced(exited.slot(), &[culprit]);
    Load::short(&forkyard.target()).requests(100).run().assert_nothing_lost();
    forkyard.stop().assert_code(0).assert_no_panic();
}

#[test]
fn forged_queries_on_a_channel() {
    for when in ["at once", "serving"] {
        let ended = misbehaves("forged-queries", when, "json");
        let bound = |event: &&forkyard_tests::Event| event.is("listener_bound");
        let removed = |event: &&forkyard_tests::Event| event.text("address").contains("/etc/");
        assert_eq!(ended.events.iter().filter(bound).filter(removed).count(), 0);
        assert!(fs::metadata("/etc/hostname").is_ok(), "a file that is no socket is left alone");
    }
}

#[test]
fn forged_answers_on_a_channel() {
    misbehaves("forged-answers", "at once", "json");
    misbehaves("forged-answers", "serving", "json");
}

#[test]
fn forged_acts_on_a_channel() {
    misbehaves("forged-acts", "at once", "json");
    misbehaves("forged-acts", "serving", "json");
}

#[test]
fn lengths_that_lie_on_a_channel() {
    is_trouble("advanced-lengths", "advanced");
    is_trouble("advanced-garbage", "advanced");
    misbehaves("advanced-zero", "serving", "advanced");
    is_trouble("endless", "advanced");
}

/// A forged `accepted` must not make the primary drop connections it still owes.
#[test]
fn forged_answers_lose_no_connection() {
    let folder = Record::new();
    let launch = Launch::run("channel.js").workers(2).arg("forged-answers").arg("serving");
    let forkyard = launch.worker_env("ONCE", folder.file("once")).start();
    forkyard.wait_listening(2);
    let running = Load::short(&forkyard.target()).requests(2_000).start();
    forkyard.wait_json("wrote", 1);
    running.finish().assert_nothing_lost();
    waiting::until("the primary to be there", || {
        processes::is_alive(forkyard.primary_pid()).then_some(())
    });
}

/// A worker that writes without end takes nothing from the others, and a stop ends it as it
/// ends every worker that does not go when asked. It does not serve: with its event loop
/// blocked it would hold up the connections it had been offered, as any blocked worker does.
#[test]
fn a_flood_on_a_channel() {
    misbehaves("unknown-commands", "at once", "json");
    misbehaves("queries", "at once", "json");
}
