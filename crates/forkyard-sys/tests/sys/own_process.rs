//! Tests, and parts of tests, that need a process of their own: they change
//! what belongs to the whole process, or are to be killed. The test program runs
//! itself again, with the name of the one test in the environment.

use std::env;
use std::process::Command;

const ROLE: &str = "FORKYARD_SYS_TEST_ROLE";

/// Runs `body` in a process of its own and fails if it does. `test` is the name
/// of the calling test.
pub fn run(test: &str, body: impl FnOnce()) {
    if is_this(test) {
        return body();
    }
    let output = command(test).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("1 passed"), "no test is called {test}");
}

/// Whether this is the process started by [`command`] for that test.
pub fn is_this(test: &str) -> bool {
    env::var_os(ROLE).is_some_and(|role| role == test)
}

/// A command that runs that test, and no other, in a new process.
pub fn command(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, test);
    command
}
