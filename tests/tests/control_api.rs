//! What can be asked of a running app by its control socket.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forkyard_tests::control::{Following, Socket, Told};
use forkyard_tests::{Forkyard, Launch, OnDisk, processes, tools, waiting};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder for sockets, and an app whose program can be replaced.
struct Place(TempDir);

impl Place {
    fn new(program: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.install(program);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Has another program be found in the place of the present one, which stays as it is.
    fn install(&self, program: &str) {
        fs::copy(tools::program(program), self.path(program)).unwrap();
        symlink(self.path(program), self.path("new")).unwrap();
        fs::rename(self.path("new"), self.path("web.js")).unwrap();
    }

    fn launch(&self, workers: usize) -> Launch {
        let launch = Launch::run("plain.js").program(self.path("web.js")).workers(workers);
        launch
            .worker_env("RELEASE", self.path("release"))
            .env("FORKYARD_RUNTIME_DIR", self.path("run"))
    }

    fn release(&self) {
        fs::write(self.path("release"), "").unwrap();
    }

    fn serving(&self, workers: usize) -> (Forkyard, Socket) {
        let forkyard = self.launch(workers).start();
        forkyard.wait("app_ready");
        (forkyard, self.socket())
    }

    fn socket(&self) -> Socket {
        Socket::only_one(&self.path("run"))
    }
}

/// The last of what is told, which is the outcome.
fn outcome(following: Following) -> Told {
    following.rest().pop().expect("an outcome")
}

fn workers(status: &Value) -> &[Value] {
    status["workers"].as_array().unwrap()
}

/// The process in a slot that is ready.
fn ready(status: &Value, slot: u32) -> Option<i64> {
    let is_it = |worker: &&Value| worker["slot"] == slot && worker["state"] == "ready";
    workers(status).iter().find(is_it).and_then(|worker| worker["pid"].as_i64())
}

/// Waits until these slots, and no others, have workers.
fn wait_slots(socket: &Socket, slots: &[u32]) {
    waiting::until(&format!("the slots {slots:?}"), || {
        let status = socket.status();
        let mut there: Vec<_> = workers(&status).iter().map(|worker| &worker["slot"]).collect();
        there.sort_by_key(|slot| slot.as_u64());
        (there == slots.iter().collect::<Vec<_>>()).then_some(())
    });
}

#[test]
fn the_status_tells_of_the_app_and_of_every_worker() {
    let place = Place::new("plain.js");
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(1);
    let (forkyard, socket) = place.serving(2);
    let status = socket.status();
    assert_eq!((&status["api"], &status["app"]), (&json!(1), &json!("web")));
    assert_eq!(status["state"], "running");
    assert_eq!(status["pid"], forkyard.pid());
    let since = |value: &Value| Duration::from_millis(value.as_u64().unwrap());
    assert!(since(&status["started"]) >= before, "{status}");
    assert_eq!(status["image_started"], status["started"]);
    assert_eq!(workers(&status).len(), 2);
    for worker in workers(&status) {
        assert_eq!((&worker["state"], &worker["restarts"]), (&json!("ready"), &json!(0)));
        assert!(since(&worker["started"]) >= before, "{worker}");
        assert!(worker["memory_bytes"].as_u64().unwrap() > 1_000_000, "{worker}");
        assert!(worker["cpu_ms"].is_u64(), "{worker}");
    }
    let first = ready(&status, 0).unwrap();
    processes::signal(i32::try_from(first).unwrap(), Signal::KILL);
    let status = waiting::until("its successor", || {
        let status = socket.status();
        ready(&status, 0).is_some_and(|pid| pid != first).then_some(status)
    });
    let restarts: Vec<_> = workers(&status).iter().map(|worker| &worker["restarts"]).collect();
    assert_eq!(restarts.iter().filter(|restarts| ***restarts == 1).count(), 1, "{status}");
    forkyard.stop().assert_code(0);
}

/// As whoever has started it in the background does.
#[test]
fn an_app_can_be_followed_until_it_is_ready() {
    let place = Place::new("starts-slowly.js");
    let forkyard = place.launch(1).start();
    forkyard.wait("worker_online");
    let mut following = place.socket().follow("GET /v1/events", "");
    let first = following.next().unwrap();
    assert_eq!((first.name.as_str(), &first.json["state"]), ("status", &json!("starting")));
    assert_eq!(first.json["workers"][0]["state"], "starting");
    place.release();
    following.until_event("app_ready");
    assert_eq!(place.socket().status()["state"], "running");
    forkyard.stop().assert_code(0);
}

#[test]
fn whoever_follows_is_told_what_the_app_itself_says() {
    let place = Place::new("plain.js");
    let (forkyard, socket) = place.serving(1);
    let mut following = socket.follow("GET /v1/events", "");
    assert_eq!(following.next().unwrap().name, "status");
    let worker = forkyard.wait_listening(1)[0];
    processes::signal(worker, Signal::KILL);
    forkyard.wait_count("worker_listening", 2);
    let ended = forkyard.stop();
    ended.assert_code(0);
    let told = following.rest();
    assert!(told.iter().any(|told| told.name == "worker_exited"), "{told:#?}");
    let last = told.last().unwrap();
    assert_eq!((last.name.as_str(), &last.json["code"]), ("stopped", &json!(0)));
    for Told { name, json } in told {
        assert_eq!(json["event"], *name);
        let mut said = json.clone();
        assert!(said.as_object_mut().unwrap().remove("text").is_some(), "{json}");
        assert!(ended.events.iter().any(|event| event.json == said), "{json}");
    }
}

#[test]
fn a_stop_ends_the_app() {
    let place = Place::new("plain.js");
    let (forkyard, socket) = place.serving(1);
    let mut following = socket.follow("GET /v1/events", "");
    let answer = socket.ask("POST /v1/stop", "");
    assert_eq!((answer.code, &answer.json["pid"]), (202, &json!(forkyard.pid())));
    following.until_event("stop_wanted");
    let ended = forkyard.wait_exit();
    ended.assert_code(0).assert_nobody_left();
    assert_eq!(ended.all("stopping").next().unwrap().text("stage"), "disconnect");
}

/// Whoever is asked politely never goes.
#[test]
fn a_stop_can_be_hurried() {
    let place = Place::new("deaf.js");
    let forkyard = place.launch(1).option("--drain-timeout", "1h").start();
    forkyard.wait_line("the worker to be deaf", |line| line.contains("deaf"));
    let socket = place.socket();
    assert_eq!(socket.ask("POST /v1/stop", r#"{"stage":"disconnect"}"#).code, 202);
    forkyard.wait("stopping");
    assert_eq!(socket.status()["state"], "stopping");
    // A signal goes on from there.
    forkyard.signal(Signal::TERM);
    let terminate =
        |event: &forkyard_tests::Event| event.is("stopping") && event.text("stage") == "terminate";
    forkyard.wait_for("the next step", terminate);
    assert_eq!(socket.ask("POST /v1/stop", r#"{"stage":"kill"}"#).code, 202);
    forkyard.wait_exit().assert_code(0).assert_nobody_left();
}

#[test]
fn the_worker_of_a_slot_can_be_replaced() {
    let place = Place::new("plain.js");
    let (forkyard, socket) = place.serving(2);
    let before = socket.status();
    let told = socket.follow("POST /v1/restart", r#"{"slot":1}"#).rest();
    let slots: Vec<_> = told.iter().filter(|told| told.json["phase"] == "seated").collect();
    assert_eq!(slots.len(), 1, "{told:#?}");
    assert_eq!(told.last().unwrap().name, "finished");
    let after = socket.status();
    assert_eq!(ready(&after, 0), ready(&before, 0));
    assert_ne!(ready(&after, 1), ready(&before, 1));
    assert_eq!(after["generation"], before["generation"]);
    let told = outcome(socket.follow("POST /v1/restart", r#"{"slot":7}"#));
    assert_eq!(
        (told.name.as_str(), &told.json["reason"]),
        ("refused", &json!("there is no such slot"))
    );
    forkyard.stop().assert_code(0);
}

/// What is on disk by then is no concern of a restart.
#[test]
fn all_workers_can_be_replaced_by_the_same_program() {
    let place = Place::new("plain.js");
    let (forkyard, socket) = place.serving(2);
    place.install("crash-at-boot.js");
    let before = socket.status();
    assert_eq!(outcome(socket.follow("POST /v1/restart", "{}")).name, "finished");
    let after = socket.status();
    for slot in [0, 1] {
        assert_ne!(ready(&after, slot), ready(&before, slot));
    }
    assert_eq!(outcome(socket.follow("POST /v1/reload", "")).name, "failed");
    forkyard.stop().assert_code(0);
}

/// It is begun by the next program.
#[test]
fn a_restart_waits_for_a_reload_also_through_an_upgrade() {
    let (place, on_disk) = (Place::new("plain.js"), OnDisk::new());
    let forkyard = place.launch(1).on_disk(&on_disk).start();
    forkyard.wait("app_ready");
    place.install("starts-slowly.js");
    let mut reload = place.socket().follow("POST /v1/reload", "");
    reload.until("a successor that is waited for", |told| told.json["phase"] == "waiting");
    let mut restart = place.socket().follow("POST /v1/restart", r#"{"slot":0}"#);
    assert_eq!(restart.next().unwrap().name, "waiting");
    forkyard.upgrade();
    place.release();
    let started = forkyard.wait_count("roll_started", 2);
    assert_eq!(
        started.iter().map(|event| event.text("reason")).collect::<Vec<_>>(),
        ["reload", "replace"]
    );
    forkyard.wait_count("roll_finished", 2);
    forkyard.stop().assert_code(0);
}

#[test]
fn the_number_of_workers_can_be_changed() {
    let place = Place::new("plain.js");
    let (forkyard, socket) = place.serving(1);
    let told = socket.follow("POST /v1/scale", r#"{"workers":3}"#).rest();
    assert_eq!(told.last().unwrap().name, "finished", "{told:#?}");
    let status = socket.status();
    assert!([0, 1, 2].iter().all(|slot| ready(&status, *slot).is_some()), "{status}");
    let first = ready(&status, 0);
    // As many as there are.
    let told = socket.follow("POST /v1/scale", r#"{"workers":3}"#).rest();
    assert_eq!(told.iter().map(|told| told.name.as_str()).collect::<Vec<_>>(), ["finished"]);

    assert_eq!(outcome(socket.follow("POST /v1/scale", r#"{"workers":1}"#)).name, "finished");
    wait_slots(&socket, &[0]);
    assert_eq!(ready(&socket.status(), 0), first, "the highest slots go");
    let answer = socket.ask("POST /v1/scale", r#"{"workers":0}"#);
    assert_eq!(answer.code, 400, "{answer:?}");
    forkyard.stop().assert_code(0);
}

#[test]
fn a_reload_keeps_the_number_also_after_an_upgrade() {
    let (place, on_disk) = (Place::new("plain.js"), OnDisk::new());
    let forkyard = place.launch(1).on_disk(&on_disk).start();
    forkyard.wait("app_ready");
    let scale = place.socket().follow("POST /v1/scale", r#"{"workers":2}"#);
    assert_eq!(outcome(scale).name, "finished");
    for _ in 0..2 {
        assert_eq!(outcome(place.socket().follow("POST /v1/reload", "")).name, "finished");
        wait_slots(&place.socket(), &[0, 1]);
        on_disk.renew();
        forkyard.upgrade();
    }
    forkyard.stop().assert_code(0);
}

/// Where one cannot be kept waiting, it is told why.
#[test]
fn the_number_is_not_changed_during_a_reload() {
    let place = Place::new("plain.js");
    let (forkyard, socket) = place.serving(1);
    place.install("starts-slowly.js");
    let mut reload = socket.follow("POST /v1/reload", "");
    reload.until("a successor that is waited for", |told| told.json["phase"] == "waiting");
    assert_eq!(socket.status()["state"], "reloading");
    let told = outcome(socket.follow("POST /v1/scale", r#"{"workers":2}"#));
    assert_eq!(told.name, "refused", "{told:?}");
    assert!(told.json["reason"].as_str().unwrap().contains("under way"), "{told:?}");
    place.release();
    assert_eq!(outcome(reload).name, "finished");
    forkyard.stop().assert_code(0);
}

#[test]
fn whoever_waits_for_workers_hears_what_becomes_of_it() {
    let place = Place::new("starts-slowly.js");
    let forkyard = place.launch(1).impatient().start();
    forkyard.wait("worker_online");
    let socket = place.socket();
    let mut first = socket.follow("POST /v1/scale", r#"{"workers":2}"#);
    first.until("the new worker", |told| told.json["event"] == "worker_started");
    let mut second = socket.follow("POST /v1/scale", r#"{"workers":3}"#);
    let told = outcome(first);
    assert!(told.json["reason"].as_str().unwrap().contains("meanwhile"), "{told:?}");
    second.until("the new worker", |told| told.json["event"] == "worker_started");
    let ended = forkyard.stop();
    ended.assert_code(0);
    let told = outcome(second);
    assert_eq!(
        (told.name.as_str(), &told.json["reason"]),
        ("failed", &json!("the app is stopping"))
    );
}

#[test]
fn workers_can_be_sent_a_signal() {
    let place = Place::new("signals.js");
    let forkyard = place.launch(2).start();
    forkyard.until("both to listen for signals", |events| {
        let listening = events.iter().filter_map(forkyard_tests::Event::line);
        (listening.filter(|line| line.contains("listening")).count() == 2).then_some(())
    });
    let socket = place.socket();
    let answer = socket.ask("POST /v1/signal", r#"{"signal":"USR1"}"#);
    let got = answer.json["workers"].as_array().unwrap();
    assert_eq!((answer.code, got.len()), (200, 2), "{answer:?}");
    let heard = |line: &'static str, count: usize| {
        forkyard.until(line, move |events| {
            let lines = events.iter().filter(|event| event.line() == Some(line));
            (lines.count() >= count).then_some(())
        });
    };
    heard("SIGUSR1", 2);
    let answer = socket.ask("POST /v1/signal", r#"{"signal":"SIGUSR2","slot":1}"#);
    assert_eq!(answer.json["workers"][0]["slot"], 1, "{answer:?}");
    heard("SIGUSR2", 1);
    for (body, why) in [
        (r#"{"signal":"SIGNAL"}"#, "SIGNAL"),
        (r#"{"signal":"USR1","slot":7}"#, "there is no worker in slot 7"),
    ] {
        let answer = socket.ask("POST /v1/signal", body);
        assert_eq!(answer.code, 409, "{answer:?}");
        assert!(answer.error().contains(why), "{answer:?}");
    }
    let ended = forkyard.stop();
    ended.assert_code(0);
    let lines = ended.events.iter().filter(|event| event.line() == Some("SIGUSR2"));
    assert_eq!(lines.count(), 1, "the other one did not get it");
}

#[test]
fn settings_are_shown_and_log_files_are_missed() {
    let place = Place::new("plain.js");
    let forkyard = place.launch(1).worker_env("TOKEN", "very secret").start();
    forkyard.wait("app_ready");
    let socket = place.socket();
    let hidden = socket.ask("GET /v1/settings", "").json;
    assert!(hidden["program"].as_str().unwrap().ends_with("web.js"), "{hidden}");
    assert_eq!(hidden["env"]["TOKEN"], "***");
    let shown = socket.ask("GET /v1/settings?secrets=show", "").json;
    assert_eq!(shown["env"]["TOKEN"], "very secret");
    let answer = socket.ask("POST /v1/logs/flush", "");
    assert_eq!(answer.code, 409, "{answer:?}");
    assert!(answer.error().contains("no log files"), "{answer:?}");
    forkyard.stop().assert_code(0);
}

#[test]
fn an_upgrade_changes_when_the_image_began_and_nothing_else() {
    let (place, on_disk) = (Place::new("plain.js"), OnDisk::new());
    let forkyard = place.launch(1).on_disk(&on_disk).start();
    forkyard.wait("app_ready");
    let before = place.socket().status();
    let following = place.socket().follow("GET /v1/events", "");
    on_disk.renew();
    forkyard.upgrade();
    // The connection was not to outlive the image.
    drop(following.rest());
    let after = place.socket().status();
    assert!(after["image_started"].as_u64() > before["image_started"].as_u64(), "{after}");
    assert_eq!((&after["state"], &after["pid"]), (&json!("running"), &before["pid"]));
    assert_eq!(after["started"], before["started"]);
    for field in ["slot", "pid", "state", "started", "restarts"] {
        assert_eq!(after["workers"][0][field], before["workers"][0][field], "{field}");
    }
    forkyard.stop().assert_code(0);
}
