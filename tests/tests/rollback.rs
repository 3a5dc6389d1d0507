//! A bad version never gets in: whatever is wrong with it, the reload fails and says why,
//! the old generation serves on, no client notices, and the next reload is free to succeed.

use std::time::Duration;

use forkyard_tests::load::{Load, Running, Tally};
use forkyard_tests::releases::{Release, Releases};
use forkyard_tests::{Event, Forkyard, Launch, rolls};

/// No client waits longer, however busy the machine is, unless somebody forgot it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A version that must not get in.
struct Bad {
    release: Release,
    options: &'static [(&'static str, &'static str)],
    /// What has to stand in the reason.
    why: &'static str,
    /// What has to stand in its last words.
    last_words: &'static str,
}

impl Bad {
    fn new(release: Release, why: &'static str) -> Self {
        Self { release, options: &[], why, last_words: "" }
    }

    fn options(self, options: &'static [(&'static str, &'static str)]) -> Self {
        Self { options, ..self }
    }

    fn last_words(self, last_words: &'static str) -> Self {
        Self { last_words, ..self }
    }
}

#[test]
fn a_crash_at_boot_does_not_get_in() {
    let bad = Bad::new(Release::of("crash-at-boot.js"), "exited with code 1");
    never_gets_in(bad.last_words("no database today"));
}

#[test]
fn who_never_listens_does_not_get_in() {
    let bad = Bad::new(Release::of("queue-worker.js"), "did not listen within 5s");
    never_gets_in(bad.options(&[("--ready-timeout", "5s")]));
}

#[test]
fn a_boot_that_takes_too_long_does_not_get_in() {
    let slow = Release::good().env("BOOT_MS", "3600000");
    // Enough for the good version that comes after it, on a busy machine.
    let bad = Bad::new(slow, "did not listen within 5s");
    never_gets_in(bad.options(&[("--ready-timeout", "5s")]));
}

/// It is ready and crashes before it has settled.
#[test]
fn who_listens_and_crashes_does_not_get_in() {
    let bad = Bad::new(Release::of("listens-and-crashes.js"), "exited with code 1");
    never_gets_in(bad.options(&[("--settle", "2s")]).last_words("listening was too much"));
}

/// To end well is no sign of being ready.
#[test]
fn who_exits_with_0_does_not_get_in() {
    let bad = Bad::new(Release::of("exit-at-boot.js").arg("0"), "exited with code 0");
    never_gets_in(bad);
}

#[test]
fn who_fails_its_check_does_not_get_in() {
    let bad = Bad::new(Release::good().env("HEALTH", "fails"), "500");
    never_gets_in(bad.options(&[("--check", "/healthz")]));
}

#[test]
fn who_does_not_answer_its_check_does_not_get_in() {
    let bad = Bad::new(Release::good().env("HEALTH", "hangs"), "failed its check");
    never_gets_in(bad.options(&[("--check", "/healthz"), ("--check-timeout", "3s")]));
}

#[test]
fn a_program_that_is_no_program_does_not_get_in() {
    let bad = Bad::new(Release::of("not-executable.sh"), "exited with code 1");
    never_gets_in(bad.last_words("SyntaxError"));
}

/// Two workers of version 1, asked by clients that keep their connections and such that do
/// not.
struct Scene {
    releases: Releases,
    forkyard: Forkyard,
    loads: [Running; 2],
    old: Vec<i32>,
}

impl Scene {
    fn new(options: &[(&str, &str)]) -> Self {
        let releases = Releases::new();
        let launch = Launch::releases(&releases).workers(2);
        let with = |launch: Launch, (name, value): &(&str, &str)| launch.option(name, *value);
        let forkyard = options.iter().fold(launch, with).start();
        let old = seats(forkyard.wait_listening(2));
        let target = forkyard.target();
        let loads = [Load::keep_alive(&target), Load::short(&target)];
        let loads = loads.map(|load| load.threads(4).modest().patience(PATIENCE).start());
        let scene = Self { releases, forkyard, loads, old };
        scene.wait_answered();
        scene
    }

    fn wait_answered(&self) {
        self.loads.iter().for_each(|load| load.wait_answered(100));
    }

    /// Tries this version and waits until all is as before; gives the event that says what
    /// failed.
    fn reload_in_vain(&self, version: &str, release: &Release) -> Event {
        self.releases.deploy(version, release);
        self.forkyard.reload();
        let failed = self.forkyard.wait("roll_failed");
        self.forkyard.wait("roll_rolled_back");
        self.wait_answered();
        failed
    }

    /// A later version gets in, as if nothing had been. Gives what became of the clients.
    fn reload_and_stop(self, version: &str) -> [Tally; 2] {
        self.releases.deploy(version, &Release::good());
        self.forkyard.reload();
        self.forkyard.wait("roll_finished");
        self.wait_answered();
        let tallies = self.loads.map(Running::stop);
        self.forkyard.stop().assert_code(0).assert_nobody_left().assert_no_panic();
        tallies
    }
}

fn seats(mut pids: Vec<i32>) -> Vec<i32> {
    pids.sort_unstable();
    pids
}

fn never_gets_in(bad: Bad) {
    let scene = Scene::new(bad.options);
    let failed = scene.reload_in_vain("2", &bad.release);
    assert_fits(&failed, &bad);
    assert_eq!(seats(scene.forkyard.seated()), scene.old, "the old ones sit where they sat");
    let events = scene.forkyard.events();
    let ended: Vec<_> = events.iter().filter(|event| event.is("worker_exited")).collect();
    assert!(ended.iter().all(|event| event.pid() == failed.pid()), "{ended:?}");
    assert_eq!(rolls::order(&events), [0_i64; 0], "nobody has taken over");
    let tallies = scene.reload_and_stop("3");
    for tally in tallies {
        tally.assert_nothing_lost();
        assert_eq!(tally.versions(), ["1", "3"], "{tally}");
    }
}

fn assert_fits(failed: &Event, bad: &Bad) {
    assert!(failed.text("reason").contains(bad.why), "{failed:?}");
    assert!(failed.json["stderr_tail"].to_string().contains(bad.last_words), "{failed:?}");
    assert!(failed.number("worker").is_some() && failed.number("generation").is_some());
    assert_eq!(failed.slot(), 0, "the first is the last: {failed:?}");
}

/// The first successor is well and takes over, the second is not: the first is replaced
/// back, by what the old generation was started from.
#[test]
fn who_has_taken_over_is_replaced_back() {
    let scene = Scene::new(&[]);
    let once = scene.releases.file("once");
    let bad = Release::of("fails-second.js").env("ONCE", once);
    let failed = scene.reload_in_vain("2", &bad);
    assert_eq!(failed.slot(), 1, "{failed:?}");
    assert!(failed.json["stderr_tail"].to_string().contains("there is one already"), "{failed:?}");
    let events = scene.forkyard.events();
    assert_eq!(rolls::order(&events), [0, 0], "slot 0 forth and back");
    let untouched = events.iter().find(|event| event.is("worker_started") && event.slot() == 1);
    let untouched = untouched.expect("slot 1 had a worker").pid();
    let seated = scene.forkyard.seated();
    assert_eq!(seated[1], untouched, "who was not replaced stays");
    assert!(!scene.old.contains(&seated[0]));
    let tally = Load::short(&scene.forkyard.target()).requests(100).run();
    assert_eq!(tally.versions(), ["1"], "{tally}");
    scene.forkyard.wait_exited(rolled_back(&events));
    for tally in scene.reload_and_stop("3") {
        tally.assert_nothing_lost();
        assert!(tally.versions().ends_with(&["3"]), "{tally}");
    }
}

/// The worker of slot 0 that had taken over for a while.
fn rolled_back(events: &[Event]) -> i32 {
    let seated = events.iter().find(|event| rolls::is_phase(event, "seated"));
    seated.expect("somebody has taken over").pid()
}

/// A program that is gone from the disk is no reason to start a roll.
#[test]
fn a_release_that_is_missing_does_not_get_in() {
    let scene = Scene::new(&[]);
    scene.releases.switch("none");
    scene.forkyard.reload();
    let failed = scene.forkyard.wait("reload_failed");
    assert!(failed.text("reason").contains("app.js"), "{failed:?}");
    assert_eq!(seats(scene.forkyard.seated()), scene.old);
    for tally in scene.reload_and_stop("3") {
        tally.assert_nothing_lost();
    }
}

/// For people: which worker, why, and its last words, and that all is as it was.
#[test]
fn the_message_says_who_why_and_what_it_said() {
    let releases = Releases::new();
    let launch = Launch::releases(&releases).as_text().workers(2);
    let forkyard = launch.start();
    let listens = |line: &Event| line.raw.contains("listen") && line.raw.contains("127.0.0.1");
    forkyard.wait_for("a worker that listens", listens);
    releases.deploy("2", &Release::of("crash-at-boot.js"));
    forkyard.reload();
    forkyard.wait_for("the end of it", |line| line.raw.contains("the reload is undone"));
    forkyard.stop().assert_code(0).assert_says(&[
        "reload: 2 workers to replace",
        "reload failed: worker 3 in slot 0 exited with code 1",
        "no database today",
    ]);
}
