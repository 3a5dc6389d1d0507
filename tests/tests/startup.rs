//! `forkyard startup` and `forkyard unstartup`, for a user's systemd of which there is only the
//! command.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use forkyard_tests::manager::Manager;
use forkyard_tests::{Answer, Yard};

/// A user's folders, and a `systemctl` that writes down what it is told.
struct Home {
    yard: Yard,
}

impl Home {
    fn new() -> Self {
        let home = Self { yard: Yard::new() };
        home.have_systemctl("");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.yard.folder().join(name)
    }

    /// One that does this besides.
    fn have_systemctl(&self, line: &str) {
        let log = self.path("told");
        let script = format!("#!/bin/sh\necho \"$*\" >> {}\n{line}\n", log.display());
        let file = self.path("bin/systemctl");
        fs::create_dir_all(self.path("bin")).unwrap();
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What `systemctl` was told.
    fn told(&self) -> Vec<String> {
        let told = fs::read_to_string(self.path("told")).unwrap_or_default();
        told.lines().map(str::to_owned).collect()
    }

    fn unit(&self) -> PathBuf {
        self.path("config/systemd/user/forkyard@.service")
    }

    fn run(&self, verb: &str, words: &[&str]) -> Answer {
        let mut command = self.yard.command(&[verb, "--user"]);
        command.args(words).env("XDG_CONFIG_HOME", self.path("config"));
        Answer::of(command.env("PATH", self.path("bin")))
    }
}

/// As systemd itself does it.
fn enable(unit: &Path, instance: &str) {
    let wants = unit.parent().unwrap().join("default.target.wants");
    fs::create_dir_all(&wants).unwrap();
    symlink(unit, wants.join(instance)).unwrap();
}

#[test]
fn the_unit_is_written_once_and_what_is_left_to_do_is_said() {
    let home = Home::new();
    let ended = home.run("startup", &["web", "my-app"]);
    let expected = [
        "written",
        "systemctl --user daemon-reload",
        "systemctl --user enable forkyard@web.service",
        "systemctl --user enable 'forkyard@my\\x2dapp.service'",
        "web cannot be started before it is known",
        "loginctl enable-linger",
    ];
    ended.assert(0, &expected);
    let text = fs::read_to_string(home.unit()).unwrap();
    assert!(
        text.contains(&format!("FORKYARD_RUNTIME_DIR={}", home.yard.sockets().display())),
        "{text}"
    );
    home.run("startup", &[]).assert(0, &["up to date already"]);
    assert_eq!(fs::read_to_string(home.unit()).unwrap(), text);
    assert_eq!(home.told(), [""; 0], "nothing is run unless that is wanted");
    fs::write(home.unit(), format!("{text}# from before\n")).unwrap();
    home.run("startup", &[]).assert(0, &["brought up to date"]);
    assert_eq!(fs::read_to_string(home.unit()).unwrap(), text);
}

#[test]
fn what_is_meant_to_run_is_enabled_and_what_runs_is_not_started_twice() {
    let home = Home::new();
    home.yard.install("plain.js", "web.js");
    for name in ["web", "idle"] {
        home.yard.done(&["start", "web.js", "-w", "1", "--name", name]);
    }
    home.yard.done(&["stop", "idle"]);
    home.run("startup", &["--now"]).assert(0, &["web runs by itself"]);
    assert_eq!(home.told(), ["--user daemon-reload", "--user enable forkyard@web.service"]);
    home.run("startup", &["idle"])
        .assert(0, &["systemctl --user enable --now forkyard@idle.service"]);
}

/// As the unit has it, with what is kept of the app.
#[test]
fn the_unit_starts_an_app_by_its_name() {
    let home = Home::new();
    home.yard.install("plain.js", "web.js");
    home.yard.done(&["start", "web.js", "-w", "1"]);
    home.yard.done(&["stop", "web"]);
    home.run("startup", &["web"]).assert(0, &[]);
    let text = fs::read_to_string(home.unit()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=:")).unwrap();
    let words: Vec<_> = line.split(' ').map(|word| word.replace("%I", "web")).collect();
    let manager = Manager::new();
    let mut command = home.yard.command(&words[1..]);
    assert_eq!(Path::new(&words[0]), Path::new(command.get_program()));
    let mut primary = command.env("NOTIFY_SOCKET", manager.address()).spawn().unwrap();
    manager.wait_line("READY=1");
    home.yard.done(&["stop", "web"]);
    assert!(primary.wait().unwrap().success());
    manager.wait_line("EXIT_STATUS=0");
}

#[test]
fn a_systemctl_that_fails_is_said() {
    let home = Home::new();
    home.have_systemctl("exit 7");
    let ended = home.run("startup", &["--now", "web"]);
    ended.assert(4, &["`systemctl --user daemon-reload` failed", "7"]);
    assert_eq!(home.told(), ["--user daemon-reload"]);
}

#[test]
fn all_is_taken_back() {
    let home = Home::new();
    home.run("unstartup", &[]).assert(0, &["there is no forkyard@.service"]);
    home.run("startup", &["web"]).assert(0, &[]);
    enable(&home.unit(), "forkyard@web.service");
    let ended = home.run("unstartup", &["--now"]);
    ended.assert(0, &["removed", "web is not started at boot any more"]);
    assert!(!home.unit().exists());
    let wants = fs::read_dir(home.unit().parent().unwrap().join("default.target.wants"));
    assert_eq!(wants.unwrap().count(), 0);
    assert_eq!(home.told(), ["--user daemon-reload"]);
}

#[test]
fn a_unit_of_somebody_else_is_left_alone_unless_that_is_wanted() {
    let home = Home::new();
    fs::create_dir_all(home.unit().parent().unwrap()).unwrap();
    fs::write(home.unit(), "[Service]\nExecStart=/bin/true\n").unwrap();
    for verb in ["startup", "unstartup"] {
        let ended = home.run(verb, &[]);
        ended.assert(4, &["was not written by `forkyard startup`", "--force"]);
    }
    home.run("startup", &["--force"]).assert(0, &[]);
    assert!(fs::read_to_string(home.unit()).unwrap().contains("run --app"));
}

#[test]
fn printing_does_nothing_and_needs_no_systemd() {
    let home = Home::new();
    fs::remove_file(home.path("bin/systemctl")).unwrap();
    let ended = home.run("startup", &["--print"]);
    ended.assert(0, &["[Service]", "Type=notify", "run --app %I"]);
    let ended = home.run("startup", &["web"]);
    ended.assert(0, &["no systemd", "@reboot", "resurrect"]);
    assert!(!home.unit().exists());
}

/// In the eyes of systemd itself, where it is installed.
#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let home = Home::new();
    home.run("startup", &["web"]).assert(0, &[]);
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--user", "--recursive-errors=no", "--man=no"]).arg(home.unit());
    // It has no runtime folder to put anything into.
    verify.env("XDG_RUNTIME_DIR", home.yard.folder());
    let Ok(found) = verify.output() else {
        println!("NOT TESTED: there is no systemd-analyze");
        return;
    };
    let said = String::from_utf8_lossy(&found.stderr).into_owned();
    assert!(found.status.success() && said.is_empty(), "{}: {said}", found.status);
}
