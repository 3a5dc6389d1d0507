//! A home folder of its own with background apps in it, ended with the test.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Target;
use crate::{Node, processes, tools, waiting};

/// What of the environment of a test no app is to have.
const FOREIGN: [&str; 4] = ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WEB_CONCURRENCY"];

/// The folders of one user: where the settings are, the home folder, the sockets.
#[derive(Debug)]
pub struct Yard {
    temp: TempDir,
}

/// What a command has said, and how it ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Yard {
    /// With nothing in it.
    ///
    /// # Panics
    ///
    /// If there is no room for it.
    #[must_use]
    pub fn new() -> Self {
        let temp = tempfile::tempdir().expect("a folder for the test");
        let yard = Self { temp };
        fs::create_dir(yard.folder()).expect("a folder for the app");
        yard
    }

    /// Where commands are given, and settings files are.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.temp.path().join("app")
    }

    /// The home folder, which need not be there yet.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.temp.path().join("home")
    }

    /// The folder of the sockets, which need not be there yet.
    #[must_use]
    pub fn sockets(&self) -> PathBuf {
        self.temp.path().join("run")
    }

    /// Puts a program of `tests/programs` here, under another name. Returns where it is.
    ///
    /// # Panics
    ///
    /// If that is not possible.
    pub fn install(&self, program: &str, name: &str) -> PathBuf {
        let (new, path) = (self.folder().join(".new"), self.folder().join(name));
        fs::copy(tools::program(program), &new).expect("the program can be copied");
        fs::rename(new, &path).expect("the program can be put in place");
        path
    }

    /// Puts a file here.
    ///
    /// # Panics
    ///
    /// If that is not possible.
    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.folder().join(name), content).expect("the file can be written");
    }

    /// The command with these words, to be run here.
    #[must_use]
    pub fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let node = Node::V24.binary();
        let path = [node.parent().unwrap_or(&node), Path::new("/usr/bin"), Path::new("/bin")];
        let path = std::env::join_paths(path).expect("paths without colons");
        let mut command = Command::new(tools::forkyard());
        command
            .args(words)
            .current_dir(self.folder())
            .env("PATH", path)
            .env("FORKYARD_HOME", self.home())
            .env("FORKYARD_RUNTIME_DIR", self.sockets());
        FOREIGN.iter().for_each(|name| {
            command.env_remove(name);
        });
        command
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// If it cannot be run, or dies of a signal.
    #[must_use]
    pub fn ask<S: AsRef<OsStr>>(&self, words: &[S]) -> Answer {
        Answer::of(&mut self.command(words))
    }

    /// Runs it to its end, which has to be a good one.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn done<S: AsRef<OsStr> + std::fmt::Debug>(&self, words: &[S]) -> Answer {
        let answer = self.ask(words);
        assert_eq!(answer.code, 0, "{words:?}: {answer:#?}");
        answer
    }

    /// The apps, as `ls --json` has them.
    ///
    /// # Panics
    ///
    /// If it has none.
    #[must_use]
    pub fn list(&self) -> Vec<Value> {
        let list = self.done(&["ls", "--json"]).stdout;
        serde_json::from_str(&list).expect("an array of apps")
    }

    /// One app, as `ls --json` has it.
    ///
    /// # Panics
    ///
    /// If it is not there.
    #[must_use]
    pub fn app(&self, name: &str) -> Value {
        let apps = self.list();
        let app = apps.iter().find(|app| app["name"] == name);
        app.unwrap_or_else(|| panic!("no {name} in {apps:#?}")).clone()
    }

    /// How an app is, in a word.
    ///
    /// # Panics
    ///
    /// If it is not there.
    #[must_use]
    pub fn state(&self, name: &str) -> String {
        self.app(name)["state"].as_str().unwrap_or_default().to_owned()
    }

    /// Its primary.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn primary(&self, name: &str) -> i32 {
        number(&self.app(name)["pid"])
    }

    /// Its workers that serve, by slot.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn workers(&self, name: &str) -> Vec<i32> {
        let app = self.app(name);
        let mut workers: Vec<_> = app["workers"]
            .as_array()
            .expect("an app that runs has workers")
            .iter()
            .filter(|worker| worker["state"] == "ready")
            .map(|worker| (worker["slot"].as_u64(), number(&worker["pid"])))
            .collect();
        workers.sort_unstable();
        workers.into_iter().map(|(_, pid)| pid).collect()
    }

    /// Where it serves.
    ///
    /// # Panics
    ///
    /// If it serves nowhere.
    #[must_use]
    pub fn target(&self, name: &str) -> Target {
        let app = self.app(name);
        let address = app["listeners"][0]["address"].as_str().expect("it listens").to_owned();
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        Target::port(port.expect("an address with a port"))
    }

    /// Waits until an app is as it should be.
    ///
    /// # Panics
    ///
    /// If it never is.
    pub fn wait_state(&self, name: &str, wanted: &str) {
        waiting::until(wanted, || (self.state(name) == wanted).then_some(()));
    }

    /// The control sockets that are there.
    #[must_use]
    pub fn socket_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.sockets()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.ends_with(".sock")).collect()
    }

    /// The primaries that have a socket here.
    fn primaries(&self) -> Vec<i32> {
        let pid = |name: String| name.strip_suffix(".sock")?.rsplit('.').next()?.parse().ok();
        self.socket_names().into_iter().filter_map(pid).collect()
    }
}

impl Default for Yard {
    fn default() -> Self {
        Self::new()
    }
}

/// Their workers end with them.
impl Drop for Yard {
    fn drop(&mut self) {
        for primary in self.primaries() {
            processes::signal(primary, Signal::KILL);
            waiting::until("the end of a primary", || {
                (!processes::is_alive(primary)).then_some(())
            });
        }
    }
}

impl Answer {
    /// What a command says, run to its end.
    ///
    /// # Panics
    ///
    /// If it cannot be run, or dies of a signal.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the command can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(!stderr.contains("panicked"), "{stderr}");
        let code = output.status.code();
        Self { code: code.unwrap_or_else(|| panic!("ended by a signal: {stderr}")), stdout, stderr }
    }

    /// Makes sure of the code, and that the words are said in that order or another.
    ///
    /// # Panics
    ///
    /// If not.
    pub fn assert(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{self:#?}");
        let all = format!("{}{}", self.stdout, self.stderr);
        for word in words {
            assert!(all.contains(word), "no {word:?} in {self:#?}");
        }
        self
    }
}

fn number(pid: &Value) -> i32 {
    pid.as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a process id")
}
