//! The command under test, from its start to its end.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use serde_json::Value;

use crate::client::Target;
use crate::events::{Event, Log, Stream, story};
use crate::releases::Releases;
use crate::unread::Unread;
use crate::{DEADLINE, Node, OnDisk, processes, tools};

/// Every process of a run has this variable, with a value of the run's own.
const MARK: &str = "FORKYARD_TEST_RUN";

/// The command as it will be started: `forkyard run …` in JSON unless told otherwise.
#[derive(Debug)]
pub struct Launch {
    binary: PathBuf,
    wrapper: Vec<OsString>,
    verb: Option<&'static str>,
    options: Vec<OsString>,
    program: Option<OsString>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    without_env: Vec<OsString>,
    stdin: Option<OwnedFd>,
    unread: Vec<Stream>,
    cwd: Option<PathBuf>,
}

impl Launch {
    /// `forkyard run` on a file of `tests/programs`, with the newest Node.
    #[must_use]
    pub fn run(program: &str) -> Self {
        let launch = Self::bare("run").option("--log-format", "json");
        launch.node(Node::V24).program(tools::program(program))
    }

    /// `forkyard run` on the release that counts, with the newest Node.
    #[must_use]
    pub fn releases(releases: &Releases) -> Self {
        let launch = Self::bare("run").option("--log-format", "json");
        launch.node(Node::V24).program(releases.program())
    }

    /// `forkyard VERB` and nothing more.
    #[must_use]
    pub fn bare(verb: &'static str) -> Self {
        Self {
            binary: tools::forkyard().to_path_buf(),
            wrapper: Vec::new(),
            verb: Some(verb),
            options: Vec::new(),
            program: None,
            args: Vec::new(),
            env: Vec::new(),
            without_env: Vec::new(),
            stdin: None,
            unread: Vec::new(),
            cwd: None,
        }
    }

    /// `BINARY run` in place of the command, or a binary alone when nothing is said to be
    /// run by it.
    #[must_use]
    pub fn of(binary: &Path) -> Self {
        let is_primary = binary.extension().is_some_and(|extension| extension == "js");
        let verb = is_primary.then_some("run");
        Self { binary: binary.to_path_buf(), verb, ..Self::bare("run") }
    }

    /// The command is found here, and may be exchanged there.
    #[must_use]
    pub fn on_disk(mut self, on_disk: &OnDisk) -> Self {
        self.binary = on_disk.binary();
        self
    }

    /// A line for the shell, on a terminal of its own made by `script`.
    #[must_use]
    pub fn terminal(line: &str) -> Self {
        let launch = Self { binary: "script".into(), verb: None, ..Self::bare("run") };
        launch.option("--quiet", "--return").option("--command", line).program("/dev/null")
    }

    /// The program to run.
    #[must_use]
    pub fn program(mut self, program: impl Into<OsString>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// How many workers.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        self.option("--workers", workers.to_string())
    }

    /// The Node that runs the program. The last one named counts.
    #[must_use]
    pub fn node(self, node: Node) -> Self {
        self.interpreter(node.binary())
    }

    /// What runs the program. The last one named counts.
    #[must_use]
    pub fn interpreter(mut self, interpreter: impl Into<OsString>) -> Self {
        self.without_mut("--interpreter");
        self.option("--interpreter", interpreter)
    }

    /// Whatever the command finds by itself runs the program.
    #[must_use]
    pub fn own_interpreter(mut self) -> Self {
        self.without_mut("--interpreter");
        self
    }

    /// It says what it has to say to people, not in JSON.
    #[must_use]
    pub fn as_text(mut self) -> Self {
        self.without_mut("--log-format");
        self
    }

    /// Takes back an option that has a value.
    fn without_mut(&mut self, name: &str) {
        if let Some(at) = self.options.iter().position(|option| option == name) {
            self.options.drain(at..at + 2);
        }
    }

    /// An option with a value.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.options.extend([name.into(), value.into()]);
        self
    }

    /// With a stop that does not wait long for workers that do not go when asked.
    #[must_use]
    pub fn impatient(self) -> Self {
        self.option("--drain-timeout", "300ms").option("--term-timeout", "300ms")
    }

    /// An option without a value.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.options.push(name.into());
        self
    }

    /// A variable for the workers, by `--env`.
    #[must_use]
    pub fn worker_env(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let mut pair = OsString::from(name);
        pair.push("=");
        pair.push(value);
        self.option("--env", pair)
    }

    /// An argument of the program.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// A variable of the command's own environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A variable the command does not get.
    #[must_use]
    pub fn env_remove(mut self, name: &str) -> Self {
        self.without_env.push(name.into());
        self
    }

    /// The command's own working directory.
    #[must_use]
    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = Some(cwd.into());
        self
    }

    /// What the command gets as its standard input, instead of nothing.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<OwnedFd>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// Nobody reads this stream of the command until [`Forkyard::read`].
    #[must_use]
    pub fn unread(mut self, stream: Stream) -> Self {
        self.unread.push(stream);
        self
    }

    /// A command that starts the command, such as `setpriv`.
    #[must_use]
    pub fn wrapped(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(OsString::from).collect();
        self
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// When the system cannot.
    #[must_use]
    pub fn start(mut self) -> Forkyard {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{run}", std::process::id());
        let unread: Vec<_> = self.unread.drain(..).map(Unread::new).collect();
        let mut command = self.command();
        command.env(MARK, &mark);
        unread.iter().for_each(|pipe| pipe.give_to(&mut command));
        let mut child = command.spawn().expect("the command under test starts");
        // It holds the pipes' writing ends.
        drop(command);
        let log = Arc::new(Log::default());
        if let Some(stdout) = child.stdout.take() {
            log.follow(Stream::Stdout, stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            log.follow(Stream::Stderr, stderr);
        }
        Forkyard { child, mark: format!("{MARK}={mark}"), log, unread, ended: None }
    }

    /// Starts it and waits for its end.
    #[must_use]
    pub fn finish(self) -> Ended {
        self.start().wait_exit()
    }

    fn command(self) -> Command {
        let mut words: Vec<OsString> = self.wrapper;
        words.push(self.binary.into());
        words.extend(self.verb.map(OsString::from));
        words.extend(self.options);
        words.extend(self.program);
        words.extend(self.args);
        let mut command = Command::new(&words[0]);
        self.without_env.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.args(&words[1..]).envs(self.env).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(self.stdin.map_or_else(Stdio::null, Stdio::from));
        // A signal from the terminal of the person who runs the tests is not for it.
        command.process_group(0);
        if let Some(cwd) = self.cwd {
            command.current_dir(cwd);
        }
        command
    }
}

/// The command, started. All that it started ends when this is dropped.
#[derive(Debug)]
pub struct Forkyard {
    child: Child,
    mark: String,
    log: Arc<Log>,
    unread: Vec<Unread>,
    ended: Option<ExitStatus>,
}

/// The command, ended.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// All it said.
    pub events: Vec<Event>,
    forkyard: Forkyard,
}

impl Forkyard {
    /// The process that was started: the primary, unless it was started by a wrapper.
    ///
    /// # Panics
    ///
    /// When the system's process ids outgrow an `i32`.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// The process id that the primary itself gives.
    #[must_use]
    pub fn primary_pid(&self) -> i32 {
        self.wait("primary_started").pid()
    }

    /// Waits until `find` gives something for all that was said so far.
    ///
    /// # Panics
    ///
    /// As all waits here: when the [`DEADLINE`] passes, with all that was said.
    pub fn until<T>(&self, what: &str, find: impl FnMut(&[Event]) -> Option<T>) -> T {
        self.log.until(what, find)
    }

    /// Waits for an event for which `wanted` holds, be it said already or not.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        self.until(what, |events| events.iter().find(|event| wanted(event)).cloned())
    }

    /// Waits for the first event of that name.
    pub fn wait(&self, name: &str) -> Event {
        self.wait_for(name, |event| event.is(name))
    }

    /// Waits until there are `count` events of that name, and gives these.
    pub fn wait_count(&self, name: &str, count: usize) -> Vec<Event> {
        self.until(&format!("{count} × {name}"), |events| {
            let found: Vec<_> = events.iter().filter(|event| event.is(name)).cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// Waits until `count` workers have said that they listen, and gives their ids.
    pub fn wait_listening(&self, count: usize) -> Vec<i32> {
        self.until(&format!("{count} workers that listen"), |events| {
            let mut pids: Vec<_> = listening(events).map(Event::pid).collect();
            pids.sort_unstable();
            pids.dedup();
            (pids.len() >= count).then_some(pids)
        })
    }

    /// Waits until this worker listens.
    pub fn wait_worker_listening(&self, pid: i32) {
        self.until(&format!("worker {pid} to listen"), |events| {
            listening(events).any(|event| event.pid() == pid).then_some(())
        });
    }

    /// Waits until the worker has ended, and gives the event that says so.
    pub fn wait_exited(&self, pid: i32) -> Event {
        let this = |event: &Event| event.is("worker_exited") && event.pid() == pid;
        self.wait_for(&format!("the end of worker {pid}"), this)
    }

    /// Waits until a worker listens in that slot that is none of `old`, and gives its id.
    pub fn wait_replaced(&self, slot: i64, old: &[i32]) -> i32 {
        self.until(&format!("a new worker in slot {slot}"), |events| {
            let new = |event: &&Event| event.slot() == slot && !old.contains(&event.pid());
            listening(events).find(new).map(Event::pid)
        })
    }

    /// Waits for the first listener on TCP and gives its port.
    pub fn port(&self) -> u16 {
        self.until("a listener on TCP", |events| {
            listening(events).find_map(|event| port_of(event.text("address")))
        })
    }

    /// Waits until this worker listens on TCP and gives its port.
    pub fn port_of(&self, pid: i32) -> u16 {
        self.until(&format!("worker {pid} to listen on TCP"), |events| {
            let of_worker = listening(events).filter(|event| event.pid() == pid);
            of_worker.filter_map(|event| port_of(event.text("address"))).next()
        })
    }

    /// Waits for the first listener on TCP and gives its port on 127.0.0.1.
    pub fn target(&self) -> Target {
        Target::port(self.port())
    }

    /// Waits for a line that a worker wrote for which `wanted` holds.
    pub fn wait_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Event {
        self.wait_for(what, |event| event.line().is_some_and(&wanted))
    }

    /// Waits until workers wrote `count` lines of JSON that have this field, and gives
    /// the objects.
    pub fn wait_json(&self, field: &str, count: usize) -> Vec<Value> {
        self.until(&format!("{count} lines with {field:?} from workers"), |events| {
            let all = events.iter().filter_map(Event::output_json);
            let found: Vec<_> = all.filter(|json| json.get(field).is_some()).collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// All that was said so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.log.events()
    }

    /// Has the command execute what is on disk now, and waits until that has taken over.
    pub fn upgrade(&self) {
        let before = self.events().iter().filter(|event| event.is("primary_upgraded")).count();
        self.signal(Signal::USR2);
        self.wait_count("primary_upgraded", before + 1);
    }

    /// Sends a signal to the command.
    pub fn signal(&self, signal: Signal) {
        processes::signal(self.pid(), signal);
    }

    /// Sends a signal to the children of what was started: to the command, where a
    /// wrapper was started.
    pub fn signal_children(&self, signal: Signal) {
        processes::children(self.pid()).into_iter().for_each(|pid| processes::signal(pid, signal));
    }

    /// The processes of this run that are still there, the command among them.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let alive = |pid: &i32| processes::is_alive(*pid);
        processes::with_environment(&self.mark).into_iter().filter(alive).collect()
    }

    /// Waits until no more fits into the streams that nobody reads.
    pub fn wait_full(&self) {
        self.unread.iter().for_each(Unread::wait_full);
    }

    /// Reads the streams that were left unread so far.
    pub fn read(&mut self) {
        for pipe in self.unread.drain(..) {
            self.log.follow(pipe.stream(), pipe.into_reader());
        }
    }

    /// Asks it to stop by SIGTERM and waits until it has.
    #[must_use]
    pub fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait_exit()
    }

    /// Waits until it has ended and all its output is read.
    ///
    /// # Panics
    ///
    /// When it does not end within the [`DEADLINE`].
    #[must_use]
    pub fn wait_exit(mut self) -> Ended {
        let pid = Pid::from_raw(self.pid()).expect("invariant: the id of a child");
        let handle = pidfd_open(pid, PidfdFlags::empty()).expect("a handle of the child");
        let deadline = Timespec { tv_sec: 30, tv_nsec: 0 };
        let mut waits = [PollFd::new(&handle, PollFlags::IN)];
        let ready = poll(&mut waits, Some(&deadline)).expect("poll");
        assert!(ready > 0, "the command does not end; it said:\n{}", story(&self.events()));
        let status = self.child.wait().expect("the end of the child");
        self.ended = Some(status);
        self.log.until_closed();
        Ended { status, events: self.log.events(), forkyard: self }
    }

    /// Ends, by SIGKILL, every process that carries the mark of this run.
    fn kill_all(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for pid in left.into_iter().filter_map(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            crate::waiting::nap();
        }
    }
}

impl Drop for Forkyard {
    fn drop(&mut self) {
        self.kill_all();
    }
}

impl Ended {
    /// The exit code.
    ///
    /// # Panics
    ///
    /// When a signal ended it.
    #[must_use]
    pub fn code(&self) -> i32 {
        let said = || story(&self.events);
        self.status.code().unwrap_or_else(|| panic!("{:?}; it said:\n{}", self.status, said()))
    }

    /// The signal that ended it, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Fails the test unless it ended with this code.
    ///
    /// # Panics
    ///
    /// When it did not.
    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code(), code, "the exit code; it said:\n{}", story(&self.events));
        self
    }

    /// Fails the test if a process of the run is still there.
    ///
    /// # Panics
    ///
    /// When one is.
    pub fn assert_nobody_left(&self) -> &Self {
        let left = self.forkyard.processes();
        assert!(left.is_empty(), "still there: {left:?}; it said:\n{}", story(&self.events));
        self
    }

    /// Fails the test if a worker had to be told twice to leave before it had disconnected. From
    /// then on it has nothing to finish, and how soon its process ends is up to the machine.
    ///
    /// # Panics
    ///
    /// When one had to.
    pub fn assert_nobody_hurried(&self) -> &Self {
        let mut disconnected = BTreeSet::new();
        for event in &self.events {
            match event {
                event if event.is("worker_disconnected") => drop(disconnected.insert(event.pid())),
                event if event.is("stop_escalated") => {
                    let pid = event.pid();
                    assert!(disconnected.contains(&pid), "{pid} is hurried:\n{}", self.text());
                }
                _ => {}
            }
        }
        self
    }

    /// Waits until no process of the run is there any more.
    pub fn wait_nobody_left(&self) -> &Self {
        crate::waiting::until("all processes of the run to end", || {
            self.forkyard.processes().is_empty().then_some(())
        });
        self
    }

    /// All lines of a stream, as they were.
    #[must_use]
    pub fn lines(&self, stream: Stream) -> Vec<&str> {
        let of_stream = |event: &&Event| event.stream == stream;
        self.events.iter().filter(of_stream).map(|event| event.raw.as_str()).collect()
    }

    /// All it said, as text, for messages and for looking for words.
    #[must_use]
    pub fn text(&self) -> String {
        self.events.iter().map(|event| format!("{}\n", event.raw)).collect()
    }

    /// Fails the test unless all these words stand in what it said.
    ///
    /// # Panics
    ///
    /// When one does not.
    pub fn assert_says(&self, words: &[&str]) -> &Self {
        let text = self.text();
        for word in words {
            assert!(text.contains(word), "it does not say {word:?}; it said:\n{text}");
        }
        self
    }

    /// Fails the test if the command panicked.
    ///
    /// # Panics
    ///
    /// When it did.
    pub fn assert_no_panic(&self) -> &Self {
        let text = self.text();
        assert!(!text.contains("panicked at"), "it panicked:\n{text}");
        self
    }

    /// The events of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.is(name))
    }
}

fn listening(events: &[Event]) -> impl Iterator<Item = &Event> {
    events.iter().filter(|event| event.is("worker_listening"))
}

/// The port of an address on TCP, such as `[::]:8000`.
fn port_of(address: &str) -> Option<u16> {
    if address.starts_with("udp:") || address.starts_with("unix:") {
        return None;
    }
    address.rsplit_once(':')?.1.parse().ok()
}

const _: () = assert!(DEADLINE.as_secs() == 30, "wait_exit's deadline is the same");
