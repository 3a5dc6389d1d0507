//! Node's cluster protocol, as primary: every way to listen, to leave and to talk, on
//! every Node. These tests pass under Node's own primary as well:
//! `FORKYARD_BIN=$PWD/tests/reference/primary.js cargo test -p forkyard-tests --test protocol`.

#![expect(clippy::panic, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use forkyard_tests::client::{self, Connection, Failure, Target};
use forkyard_tests::record::Record;
use forkyard_tests::tls::Identity;
use forkyard_tests::{
    DEADLINE, Forkyard, Launch, Node, on_every_node, ports, processes, tools, waiting,
};
use serde_json::{Value, json};
use tempfile::TempDir;

on_every_node![
    serves_on_ipv4,
    serves_on_ipv6,
    serves_on_both_stacks_without_a_host,
    serves_on_ipv6_only,
    serves_on_a_host_name,
    gives_all_workers_the_same_port_for_port_0,
    serves_on_a_unix_socket_and_removes_it,
    opens_a_unix_socket_to_everybody_when_asked,
    serves_on_a_unix_socket_with_a_long_path,
    serves_datagrams,
    serves_on_an_inherited_listener,
    serves_datagrams_on_an_inherited_socket,
    leaves_exclusive_listeners_to_the_worker,
    leaves_reuse_port_listeners_to_the_worker,
    serves_several_servers_of_one_worker,
    reports_a_port_in_use_to_the_program,
    reports_a_missing_right_to_the_program,
    reports_the_same_port_twice_to_the_program,
    binds_anew_what_was_closed,
    shares_ticket_keys_over_tls_1_2,
    shares_ticket_keys_over_tls_1_3,
    serves_https,
    serves_http2,
    gives_what_one_worker_declines_to_another,
    lets_a_worker_disconnect,
    lets_a_worker_kill_itself,
    lets_a_worker_close_its_channel,
    disconnects_workers_when_it_stops,
    takes_all_messages_in_json,
    takes_all_messages_in_advanced,
    answers_the_handles_of_a_worker,
    runs_es_modules,
    runs_common_js_modules,
    runs_an_ordinary_cluster_program,
];

/// `listen.js` with these pairs of kind and options.
fn listening(node: Node, servers: &[(&str, Value)]) -> Launch {
    let launch = Launch::run("listen.js").node(node).workers(2);
    servers
        .iter()
        .fold(launch, |launch, (kind, options)| launch.arg(*kind).arg(options.to_string()))
}

/// What `server` of each of two workers is bound to, after checking that it is the same.
fn bound(forkyard: &Forkyard, server: usize) -> Value {
    let addresses = forkyard.until(&format!("server {server} of two workers"), |events| {
        let all = events.iter().filter_map(forkyard_tests::Event::output_json);
        let of_server = all.filter(|json| json["server"] == server && !json["listening"].is_null());
        let found: Vec<_> = of_server.map(|json| json["listening"].clone()).collect();
        (found.len() >= 2).then_some(found)
    });
    assert_eq!(addresses[0], addresses[1], "the workers listen on the same address");
    addresses[0].clone()
}

/// The port `server` of each of two workers is bound to.
fn bound_port(forkyard: &Forkyard, server: usize) -> u16 {
    let address = bound(forkyard, server);
    let port = address["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    port.unwrap_or_else(|| panic!("no port in {address}"))
}

/// Connects until `count` workers have answered for `server`.
fn served_by(target: &Target, server: usize, count: usize) {
    let mut workers = BTreeSet::new();
    for _ in 0..500 {
        let text = client::read_all(target).expect("an answer");
        let answer: Value = serde_json::from_str(&text).expect("an answer in JSON");
        assert_eq!(answer["server"], server, "the server that was asked answers");
        workers.insert(answer["pid"].as_i64().expect("a pid"));
        if workers.len() == count {
            return;
        }
    }
    panic!("500 connections reached only the workers {workers:?}");
}

fn loopback_v4(port: u16) -> Target {
    Target::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn loopback_v6(port: u16) -> Target {
    Target::Tcp(SocketAddr::from((Ipv6Addr::LOCALHOST, port)))
}

fn serves_on_ipv4(node: Node) {
    let forkyard = listening(node, &[("net", json!({"host": "127.0.0.1", "port": 0}))]).start();
    served_by(&loopback_v4(bound_port(&forkyard, 0)), 0, 2);
    forkyard.wait_listening(2);
    forkyard.stop().assert_code(0).assert_nobody_left();
}

fn serves_on_ipv6(node: Node) {
    let forkyard = listening(node, &[("net", json!({"host": "::1", "port": 0}))]).start();
    served_by(&loopback_v6(bound_port(&forkyard, 0)), 0, 2);
}

fn serves_on_both_stacks_without_a_host(node: Node) {
    let forkyard = listening(node, &[("net", json!({"port": 0}))]).start();
    let port = bound_port(&forkyard, 0);
    served_by(&loopback_v4(port), 0, 2);
    served_by(&loopback_v6(port), 0, 2);
}

fn serves_on_ipv6_only(node: Node) {
    let options = json!({"host": "::", "port": 0, "ipv6Only": true});
    let forkyard = listening(node, &[("net", options)]).start();
    let port = bound_port(&forkyard, 0);
    served_by(&loopback_v6(port), 0, 2);
    assert_eq!(client::read_all(&loopback_v4(port)).err(), Some(Failure::Refused));
}

fn serves_on_a_host_name(node: Node) {
    let forkyard = listening(node, &[("net", json!({"host": "localhost", "port": 0}))]).start();
    let address = bound(&forkyard, 0);
    let port = bound_port(&forkyard, 0);
    let v6 = address["address"].as_str().is_some_and(|host| host.contains(':'));
    served_by(&if v6 { loopback_v6(port) } else { loopback_v4(port) }, 0, 2);
}

fn gives_all_workers_the_same_port_for_port_0(node: Node) {
    let options = json!({"host": "127.0.0.1", "port": 0});
    let twice = [("net", options.clone()), ("net", options)];
    let forkyard = listening(node, &twice).start();
    let (first, second) = (bound_port(&forkyard, 0), bound_port(&forkyard, 1));
    assert_ne!(first, second, "each server of a worker has a port of its own");
    served_by(&loopback_v4(first), 0, 2);
    served_by(&loopback_v4(second), 1, 2);
}

fn serves_on_a_unix_socket_and_removes_it(node: Node) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("app.sock");
    let forkyard = listening(node, &[("net", json!({"path": path}))]).start();
    bound(&forkyard, 0);
    served_by(&Target::unix(&path), 0, 2);
    let mode = fs::metadata(&path).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o002, 0, "others may not write to it: {mode:o}");
    forkyard.stop().assert_code(0);
    assert!(!path.exists(), "the socket is gone at the end");
}

fn opens_a_unix_socket_to_everybody_when_asked(node: Node) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("app.sock");
    let options = json!({"path": path, "readableAll": true, "writableAll": true});
    let forkyard = listening(node, &[("net", options)]).start();
    bound(&forkyard, 0);
    let metadata = fs::metadata(&path).expect("the socket");
    assert!(metadata.file_type().is_socket());
    let mode = metadata.permissions().mode();
    assert_eq!(mode & 0o666, 0o666, "everybody may read and write: {mode:o}");
    served_by(&Target::unix(&path), 0, 2);
}

/// A path too long for a Unix socket is bound by its shorter form, relative to the
/// primary's directory.
fn serves_on_a_unix_socket_with_a_long_path(node: Node) {
    let folder = TempDir::new().expect("a folder");
    let deep = folder.path().join("d".repeat(120));
    fs::create_dir(&deep).expect("a deep folder");
    let short = folder.path().join("s");
    std::os::unix::fs::symlink(&deep, &short).expect("a short way to it");
    let servers = [("net", json!({"path": "app.sock"}))];
    let forkyard = listening(node, &servers).cwd(&deep).start();
    bound(&forkyard, 0);
    served_by(&Target::unix(&short.join("app.sock")), 0, 2);
    forkyard.stop().assert_code(0);
    assert!(!deep.join("app.sock").exists(), "the socket is gone at the end");
}

fn serves_datagrams(node: Node) {
    let v4 = json!({"address": "127.0.0.1", "port": 0});
    let v6 = json!({"address": "::1", "port": 0, "socket": "udp6"});
    let forkyard = listening(node, &[("udp", v4), ("udp", v6)]).start();
    let v4_port = bound_port(&forkyard, 0);
    let v6_port = bound_port(&forkyard, 1);
    answers_datagrams((Ipv4Addr::LOCALHOST, v4_port).into(), 0);
    answers_datagrams((Ipv6Addr::LOCALHOST, v6_port).into(), 1);
}

fn answers_datagrams(address: SocketAddr, server: usize) {
    let socket = UdpSocket::bind(SocketAddr::new(address.ip(), 0)).expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    for text in ["one", "two", "three"] {
        socket.send_to(text.as_bytes(), address).expect("sent");
        let mut buffer = [0; 1000];
        let (length, _) = socket.recv_from(&mut buffer).expect("an answer");
        let answer: Value = serde_json::from_slice(&buffer[..length]).expect("JSON");
        assert_eq!((&answer["got"], &answer["server"]), (&json!(text), &json!(server)));
    }
}

/// The descriptor that a program names by `{fd}`: one of the primary's.
const INHERITED: i32 = 9;

/// Starts the command with its standard input as the descriptor [`INHERITED`].
const AS_INHERITED: [&str; 4] = ["sh", "-c", r#"exec 9<&0 </dev/null; exec "$@""#, "sh"];

fn serves_on_an_inherited_listener(node: Node) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    listener.set_nonblocking(true).expect("a listener that does not block");
    let launch = listening(node, &[("net", json!({"fd": INHERITED}))])
        .stdin(listener)
        .wrapped(&AS_INHERITED);
    let forkyard = launch.start();
    forkyard.wait_json("listening", 2);
    served_by(&loopback_v4(port), 0, 2);
}

fn serves_datagrams_on_an_inherited_socket(node: Node) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let address = socket.local_addr().expect("its address");
    socket.set_nonblocking(true).expect("a socket that does not block");
    let forkyard = listening(node, &[("udp", json!({"fd": INHERITED}))])
        .stdin(socket)
        .wrapped(&AS_INHERITED)
        .start();
    forkyard.wait_json("listening", 2);
    answers_datagrams(address, 0);
}

/// The worker binds by itself, so the second one finds the port taken.
fn leaves_exclusive_listeners_to_the_worker(node: Node) {
    let port = ports::free();
    let options = json!({"host": "127.0.0.1", "port": port, "exclusive": true});
    let forkyard = listening(node, &[("net", options)]).start();
    let errors = forkyard.wait_json("error", 1);
    assert_eq!(errors[0]["error"], "EADDRINUSE");
    forkyard.wait_json("listening", 1);
    served_by(&loopback_v4(port), 0, 1);
    assert!(!forkyard.events().iter().any(|event| event.is("listener_bound")));
}

/// Where Node has `reusePort`, each worker binds by itself; where it has not, the
/// option is unknown and the primary binds as ever. Either way both workers serve.
fn leaves_reuse_port_listeners_to_the_worker(node: Node) {
    let port = ports::free();
    let options = json!({"host": "127.0.0.1", "port": port, "reusePort": true});
    let forkyard = listening(node, &[("net", options)]).start();
    assert_eq!(bound_port(&forkyard, 0), port);
    served_by(&loopback_v4(port), 0, 2);
    let by_primary = forkyard.events().iter().any(|event| event.is("listener_bound"));
    assert_eq!(by_primary, node < Node::V22);
}

fn serves_several_servers_of_one_worker(node: Node) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("app.sock");
    let servers = [
        ("net", json!({"host": "127.0.0.1", "port": 0})),
        ("http", json!({"host": "::1", "port": 0})),
        ("net", json!({"path": path})),
        ("udp", json!({"address": "127.0.0.1", "port": 0})),
    ];
    let forkyard = listening(node, &servers).start();
    served_by(&loopback_v4(bound_port(&forkyard, 0)), 0, 2);
    let http = client::get(&loopback_v6(bound_port(&forkyard, 1)), "/x").expect("an answer");
    assert_eq!((&http.json()["server"], &http.json()["path"]), (&json!(1), &json!("/x")));
    bound(&forkyard, 2);
    served_by(&Target::unix(&path), 2, 2);
    answers_datagrams((Ipv4Addr::LOCALHOST, bound_port(&forkyard, 3)).into(), 3);
}

fn reports_a_port_in_use_to_the_program(node: Node) {
    let servers = |port: u16| [("net", json!({"host": "127.0.0.1", "port": port}))];
    let first = listening(node, &servers(0)).start();
    let port = bound_port(&first, 0);
    let second = listening(node, &servers(port)).start();
    for error in second.wait_json("error", 2) {
        assert_eq!((&error["error"], &error["server"]), (&json!("EADDRINUSE"), &json!(0)));
    }
    served_by(&loopback_v4(port), 0, 2);
}

/// A Unix socket in a folder where the primary may not write.
fn reports_a_missing_right_to_the_program(node: Node) {
    let folder = TempDir::new().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).expect("read-only");
    let path = folder.path().join("app.sock");
    let launch = listening(node, &[("net", json!({"path": path}))]);
    let forkyard = without_privileges(launch).start();
    for error in forkyard.wait_json("error", 2) {
        assert_eq!(error["error"], "EACCES");
    }
}

/// Takes from root what lets it write everywhere and bind every port.
fn without_privileges(launch: Launch) -> Launch {
    if !rustix::process::geteuid().is_root() {
        return launch;
    }
    let gone = "-dac_override,-dac_read_search,-net_bind_service";
    launch.wrapped(&["setpriv", "--bounding-set", gone, "--inh-caps", gone])
}

fn reports_the_same_port_twice_to_the_program(node: Node) {
    let forkyard = Launch::run("same-port-twice.js").node(node).workers(1).start();
    assert_eq!(forkyard.wait_json("second", 1)[0]["second"], "EADDRINUSE");
    assert_eq!(client::read_all(&forkyard.target()), Ok("first\n".into()));
}

fn binds_anew_what_was_closed(node: Node) {
    let forkyard = Launch::run("close-and-listen.js").node(node).workers(1).start();
    let rounds = forkyard.wait_json("round", 5);
    assert!(rounds.iter().all(|round| round["port"] == rounds[0]["port"]), "{rounds:?}");
    let target = loopback_v4(forkyard.port());
    assert_eq!(client::read_all(&target), Ok("open\n".into()));
}

/// Runs a client program of the tests and gives what it prints.
fn run_client(program: &str, args: &[&str]) -> Vec<Value> {
    let mut node = Command::new(Node::V24.binary());
    let output = node.arg(tools::program(program)).args(args).output().expect("node starts");
    let printed: Option<Vec<Value>> = serde_json::from_slice(&output.stdout).ok();
    printed.unwrap_or_else(|| panic!("{program} failed: {output:?}"))
}

/// All but the first connection resumed the session of the first, whoever served it.
fn assert_resumed_across_workers(answers: &[Value]) {
    let reused: Vec<_> = answers.iter().map(|answer| answer["reused"] == true).collect();
    let expected: Vec<_> = (0..answers.len()).map(|at| at > 0).collect();
    assert_eq!(reused, expected, "{answers:#?}");
    let workers: BTreeSet<_> = answers.iter().map(|answer| answer["pid"].as_i64()).collect();
    assert_eq!(workers.len(), 2, "both workers served: {answers:#?}");
}

fn shares_ticket_keys(node: Node, version: &str) {
    let identity = Identity::new();
    let servers = [("tls", json!({"host": "127.0.0.1", "port": 0}))];
    let forkyard = identity.given_to(listening(node, &servers)).start();
    let port = bound_port(&forkyard, 0).to_string();
    let answers = run_client("tls-client.js", &[&port, "20", version]);
    assert!(answers.iter().all(|answer| answer["protocol"] == version));
    assert_resumed_across_workers(&answers);
}

fn shares_ticket_keys_over_tls_1_2(node: Node) {
    shares_ticket_keys(node, "TLSv1.2");
}

fn shares_ticket_keys_over_tls_1_3(node: Node) {
    shares_ticket_keys(node, "TLSv1.3");
}

fn serves_https(node: Node) {
    let identity = Identity::new();
    let servers = [("https", json!({"host": "127.0.0.1", "port": 0}))];
    let forkyard = identity.given_to(listening(node, &servers)).start();
    let port = bound_port(&forkyard, 0).to_string();
    assert_resumed_across_workers(&run_client("https-client.js", &[&port, "20"]));
}

fn serves_http2(node: Node) {
    let identity = Identity::new();
    let servers = [
        ("http2s", json!({"host": "127.0.0.1", "port": 0})),
        ("http2", json!({"host": "127.0.0.1", "port": 0})),
    ];
    let forkyard = identity.given_to(listening(node, &servers)).start();
    let secure = format!("https://127.0.0.1:{}", bound_port(&forkyard, 0));
    assert_resumed_across_workers(&run_client("http2-client.js", &[&secure, "20"]));
    let clear = format!("http://127.0.0.1:{}", bound_port(&forkyard, 1));
    let answers = run_client("http2-client.js", &[&clear, "4"]);
    assert!(answers.iter().all(|answer| answer["server"] == 1), "{answers:?}");
}

/// Two workers that take one connection each: the second connection is served by the
/// other worker, and a third one by whoever is free again first.
/// Only what is handed over can be declined; what Node accepts by itself beyond
/// `maxConnections` it closes.
fn gives_what_one_worker_declines_to_another(node: Node) {
    let launch = Launch::run("max-connections.js").node(node).workers(2);
    let forkyard = launch.option("--policy", "round-robin").start();
    forkyard.wait_listening(2);
    let target = forkyard.target();
    let connect = || Connection::open(&target).expect("a connection");
    let pid = |connection: &mut Connection| -> Option<i64> {
        let line = connection.line().expect("a line of the server");
        serde_json::from_str::<Value>(&line).ok()?["pid"].as_i64()
    };
    let (mut first, mut second) = (connect(), connect());
    let (one, other) = (pid(&mut first), pid(&mut second));
    assert_ne!(one, other, "each worker has one connection");
    let mut third = connect();
    drop(first);
    assert_eq!(pid(&mut third), one, "the worker that is free again has the third");
}

/// Has the first worker leave by `path`, checks what the primary says of its end, and
/// that another one serves in its slot.
fn leaves_by(node: Node, path: &str, said: &[&str]) -> forkyard_tests::Event {
    let forkyard = Launch::run("leave.js").node(node).workers(1).start();
    let old = forkyard.wait_listening(1);
    let answer = client::get(&forkyard.target(), path).expect("an answer");
    assert_eq!(answer.pid(), old[0]);
    let exited = forkyard.wait_exited(old[0]);
    for line in said {
        forkyard.wait_line(line, |written| written == *line);
    }
    let new = forkyard.wait_replaced(0, &old);
    let target = loopback_v4(forkyard.port_of(new));
    assert_eq!(client::get(&target, "/").map(|reply| reply.pid()), Ok(new));
    exited
}

fn lets_a_worker_disconnect(node: Node) {
    let exited = leaves_by(node, "/disconnect", &["disconnected", "exit 0 true"]);
    assert_eq!(exited.number("code"), Some(0));
    assert_eq!(exited.json["expected"], true);
}

fn lets_a_worker_kill_itself(node: Node) {
    let exited = leaves_by(node, "/kill", &["exit 0 true"]);
    assert_eq!(exited.number("code"), Some(0));
    assert_eq!(exited.json["expected"], true);
}

/// Node ends a worker whose channel closes behind its back.
fn lets_a_worker_close_its_channel(node: Node) {
    let exited = leaves_by(node, "/channel", &["exit 0 undefined"]);
    assert_eq!(exited.number("code"), Some(0));
}

/// A worker that is asked to disconnect finishes the request it has.
fn disconnects_workers_when_it_stops(node: Node) {
    let record = Record::new();
    let launch = Launch::run("recorded.js").node(node).workers(2);
    let launch = launch.worker_env("RECORD", record.path());
    let forkyard = launch.worker_env("RELEASE", record.release_path()).start();
    forkyard.wait_listening(2);
    let mut held = client::asked(&forkyard.target(), "/hold/a").expect("asked");
    let worker = record.wait_request("a");
    processes::signal(forkyard.pid(), rustix::process::Signal::TERM);
    forkyard.wait("stopping");
    record.release();
    assert_eq!(held.answer().map(|reply| reply.pid()), Ok(worker), "the request was finished");
    let ended = forkyard.wait_exit();
    ended.assert_code(0).assert_nobody_left();
}

fn takes_all_messages(node: Node, serialization: &str) {
    let launch = Launch::run("messages.js").node(node).workers(1).arg(serialization);
    let forkyard = launch.option("--serialization", serialization).start();
    let sent = forkyard.wait_json("messages", 1);
    assert_eq!(sent[0]["failed"], json!([]), "all messages were sent");
    let worker = forkyard.wait_listening(1);
    let answer = client::get(&forkyard.target(), "/").expect("an answer");
    assert_eq!(answer.pid(), worker[0]);
    let ended = forkyard.stop();
    ended.assert_code(0).assert_no_panic();
    assert_eq!(ended.all("worker_started").count(), 1, "the worker never ended before");
    assert_eq!(ended.all("channel_trouble").count(), 0, "{}", ended.text());
}

fn takes_all_messages_in_json(node: Node) {
    takes_all_messages(node, "json");
}

fn takes_all_messages_in_advanced(node: Node) {
    takes_all_messages(node, "advanced");
}

fn answers_the_handles_of_a_worker(node: Node) {
    for serialization in ["json", "advanced"] {
        let launch = Launch::run("handles.js").node(node).workers(1);
        let forkyard = launch.option("--serialization", serialization).start();
        let sent = forkyard.wait_json("sent", 1);
        assert_eq!(sent[0]["sent"].as_array().map(Vec::len), Some(4), "{sent:?}");
        client::get(&forkyard.target(), "/").expect("an answer");
        let ended = forkyard.stop();
        ended.assert_code(0).assert_nobody_left();
        assert_eq!(ended.all("stop_escalated").count(), 0, "it disconnects when asked");
    }
}

fn runs_es_modules(node: Node) {
    runs_module(node, "module.mjs");
}

fn runs_common_js_modules(node: Node) {
    runs_module(node, "module.cjs");
}

fn runs_module(node: Node, program: &str) {
    let forkyard = Launch::run(program).node(node).workers(2).start();
    forkyard.wait_listening(2);
    let answer = client::get(&forkyard.target(), "/").expect("an answer").json();
    let from = answer["from"].as_str().expect("where the module is");
    assert!(Path::new(from).ends_with(program), "{from}");
}

/// A file with a primary branch runs its worker branch only.
fn runs_an_ordinary_cluster_program(node: Node) {
    let forkyard = Launch::run("cluster-app.js").node(node).workers(2).start();
    forkyard.wait_listening(2);
    let target = forkyard.target();
    let mut served = BTreeSet::new();
    waiting::until("both workers to serve", || {
        let answer = client::get(&target, "/").expect("an answer").json();
        served.insert(answer["worker"].as_i64().expect("the id of a worker"));
        (served.len() == 2).then_some(())
    });
    let ended = forkyard.stop();
    assert!(!ended.text().contains("the primary branch ran"));
    ended.assert_code(0);
}

/// Deno's workers speak the protocol for TCP.
#[test]
fn serves_from_deno_workers() {
    let launch = Launch::run("deno.mjs").interpreter(tools::deno()).workers(2);
    let forkyard = launch.option("--node-args", "run -A").env("DENO_NO_UPDATE_CHECK", "1").start();
    let workers = forkyard.wait_listening(2);
    assert_eq!(forkyard.wait("listener_bound").text("policy"), "round-robin", "the default here");
    let target = forkyard.target();
    let mut served = BTreeSet::new();
    waiting::until("both workers to serve", || {
        let reply = client::get(&target, "/").expect("an answer");
        assert_eq!(reply.json()["runtime"], "deno");
        served.insert(reply.pid());
        (served.len() == 2).then_some(())
    });
    assert!(served.iter().all(|pid| workers.contains(pid)));
    processes::signal(workers[0], rustix::process::Signal::KILL);
    forkyard.wait_exited(workers[0]);
    forkyard.wait_listening(3);
    client::get(&target, "/").expect("an answer");
}
