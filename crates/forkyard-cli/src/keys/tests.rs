//! Keys on real terminals, which `script` makes. The test program runs itself there, with
//! the name of a part in the environment.

use std::env;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::*;

const PART: &str = "FORKYARD_KEYS_TEST";

/// Only a failing test takes that long.
const DEADLINE: Duration = Duration::from_secs(30);

/// Output is still made lines of, and Ctrl-C a signal.
const TAKEN_OVER: &str = "part: opost isig -icanon -echo";

/// A terminal with a shell's command line on it. Ended when dropped.
struct Screen {
    script: Child,
    shown: Arc<(Mutex<String>, Condvar)>,
    /// How much of it has been looked at.
    seen: usize,
}

impl Screen {
    fn run(line: &str) -> Self {
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--command", line, "/dev/null"])
            .env(PART, "print_keys")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let shown = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let (mut output, to) = (script.stdout.take().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut piece = [0; 256];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                to.0.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
                to.1.notify_all();
            }
        });
        Self { script, shown, seen: 0 }
    }

    fn types(&mut self, keys: &str) {
        self.script.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for it to be shown, after what has been seen already.
    fn sees(&mut self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        let mut shown = self.shown.0.lock().unwrap();
        loop {
            if let Some(at) = shown[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} in {:?}", &shown[self.seen..]);
            shown = self.shown.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    /// All that is shown from here on to the end.
    fn rest(mut self) -> String {
        drop(self.script.stdin.take());
        self.script.wait().unwrap();
        let shown = self.shown.0.lock().unwrap();
        shown[self.seen..].to_owned()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// A command that runs [`print_keys`].
fn printer() -> String {
    let this = env::current_exe().unwrap();
    format!("{} --exact keys::tests::print_keys --nocapture --test-threads=1", this.display())
}

/// The part that runs on the terminal: tells of each key, and ends at the third.
#[test]
fn print_keys() {
    let Some(part) = env::var_os(PART) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let started = Keys::start().unwrap();
        let ignored = |signal| forkyard_sys::process::is_ignored(signal).unwrap();
        assert!([Signal::TTIN, Signal::TTOU].map(ignored) == [true; 2], "would be stopped");
        let Some(mut keys) = started else { return println!("no keys") };
        println!("part: {}", modes());
        if part == "resume" {
            return resume(keys).await;
        }
        for count in 1..=3 {
            assert_eq!(keys.next().await, Key::Reload);
            println!("part: key {count}");
            assert!(part != "panic", "part: panics");
        }
    });
}

/// Somebody has changed the modes while this was stopped, as some shells do.
async fn resume(mut keys: Keys) {
    let stty = Command::new("stty").args(["icanon", "echo"]).stdin(Stdio::inherit()).status();
    assert!(stty.unwrap().success());
    println!("part: {}", modes());
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::CONT)
        .unwrap();
    let taken_over = async {
        while !modes().contains("-icanon") {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        key = keys.next() => panic!("nobody has typed {key:?}"),
        taken = tokio::time::timeout(DEADLINE, taken_over) => taken.unwrap(),
    }
    println!("part: {}", modes());
}

/// What `stty` says of the modes that matter.
fn modes() -> String {
    let stty = Command::new("stty").arg("-a").stdin(Stdio::inherit()).output().unwrap();
    let all = String::from_utf8(stty.stdout).unwrap();
    let known = ["icanon", "-icanon", "echo", "-echo", "isig", "-isig", "opost", "-opost"];
    let words = all.split([' ', ';', '\n']).filter(|word| known.contains(word));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn keys_come_one_by_one_and_the_terminal_is_as_it_was_afterwards() {
    let mut screen = Screen::run(&format!("stty -a; {}; stty -a", printer()));
    screen.sees(TAKEN_OVER);
    for (typed, count) in [("r", 1), ("R\r", 2), ("r\n", 3)] {
        screen.types(typed);
        screen.sees(&format!("part: key {count}"));
    }
    let rest = screen.rest();
    assert!(rest.contains(" icanon "), "{rest:?}");
    assert!(rest.contains(" echo "), "{rest:?}");
}

#[test]
fn a_program_that_fails_leaves_the_terminal_as_it_was() {
    let mut screen = Screen::run(&format!("{PART}=panic {}; stty -a", printer()));
    screen.sees(TAKEN_OVER);
    screen.types("r");
    screen.sees("part: panics");
    let rest = screen.rest();
    assert!(rest.contains(" icanon "), "{rest:?}");
}

#[test]
fn what_was_changed_while_it_was_stopped_is_changed_again() {
    let mut screen = Screen::run(&format!("{PART}=resume {}", printer()));
    screen.sees(TAKEN_OVER);
    screen.sees("part: opost isig icanon");
    screen.sees(TAKEN_OVER);
}

/// As somebody at a shell does it: Ctrl-Z, then to the background and to the front again.
#[test]
fn a_job_control_shell_can_take_it_and_give_it_back() {
    let mut screen = Screen::run("bash --norc --noprofile -i");
    screen.types(&format!("{}\n", printer()));
    screen.sees(TAKEN_OVER);
    screen.types("r");
    screen.sees("part: key 1");
    screen.types("\x1a");
    screen.sees("Stopped");
    screen.types("fg\n");
    screen.types("r");
    screen.sees("part: key 2");
    screen.types("\x1a");
    screen.sees("Stopped");
    screen.types("bg\n");
    screen.types("echo r $((40 + 2))\n");
    screen.sees("r 42");
    screen.types("jobs\n");
    screen.sees("Running");
    screen.types("fg\n");
    screen.types("r");
    screen.sees("part: key 3");
}

#[test]
fn without_a_terminal_there_are_no_keys() {
    let this = env::current_exe().unwrap();
    let mut command = Command::new(this);
    command.args(["--exact", "keys::tests::print_keys", "--nocapture", "--test-threads=1"]);
    let output = command.env(PART, "print_keys").stdin(Stdio::null()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("no keys"));
}

/// A pager would want them.
#[test]
fn with_output_that_goes_elsewhere_there_are_no_keys() {
    let mut screen = Screen::run(&format!("{} | cat", printer()));
    screen.sees("no keys");
}

#[test]
fn only_the_key_itself_is_meant() {
    for typed in ["r", "R", "r\n", "r\r", "rr", "rR\n"] {
        assert_eq!(meant(typed.as_bytes()), Some(Key::Reload), "{typed:?}");
    }
    for typed in ["", "\n", "x", "error", "\x1br", "r\nx", "\x1b[r", "r r"] {
        assert_eq!(meant(typed.as_bytes()), None, "{typed:?}");
    }
}
