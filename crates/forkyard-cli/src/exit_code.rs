//! The codes the command ends with. They are documented in `docs/exit-codes.md`.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use forkyard::Outcome;

/// Something went wrong that nobody foresaw.
const UNEXPECTED: u8 = 1;
/// The command line or what it names makes no sense.
const USAGE: u8 = 2;
/// The app was given up: its workers crashed too often.
const APP_FAILED: u8 = 3;
/// What a running app was asked for failed, and all goes on there as before; or it has been
/// stopped meanwhile.
const NOT_DONE: u8 = 4;
/// The app that was named does not run.
const NO_SUCH_APP: u8 = 5;
/// The program is there but cannot be executed, as shells have it.
const CANNOT_EXECUTE: u8 = 126;
/// The program or its interpreter is not there, as shells have it.
const NOT_FOUND: u8 = 127;

/// Why the command could not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub(crate) fn unexpected(what: &str, cause: &dyn Error) -> Self {
        Self { code: UNEXPECTED, message: format!("{what}: {}", chain(cause)) }
    }

    /// Something that the message tells, which is nobody's fault.
    pub(crate) fn because(message: String) -> Self {
        Self { code: UNEXPECTED, message }
    }

    /// As the app's own primary ended.
    pub(crate) fn of_app(code: u8, message: String) -> Self {
        // A start that came to nothing is none that went well.
        Self { code: if code == 0 { NOT_DONE } else { code }, message }
    }

    /// What became of several apps, each told by its name; the first one counts.
    pub(crate) fn several(failures: Vec<(&str, Failure)>) -> Self {
        let code = failures.first().map_or(UNEXPECTED, |(_, failure)| failure.code);
        let told: Vec<_> =
            failures.iter().map(|(app, failure)| format!("{app}: {failure}")).collect();
        Self { code, message: told.join("\n") }
    }

    pub(crate) fn usage(message: String) -> Self {
        Self { code: USAGE, message }
    }

    pub(crate) fn not_done(message: String) -> Self {
        Self { code: NOT_DONE, message }
    }

    pub(crate) fn no_such_app(message: String) -> Self {
        Self { code: NO_SUCH_APP, message }
    }

    pub(crate) fn cannot_execute(message: String) -> Self {
        Self { code: CANNOT_EXECUTE, message }
    }

    pub(crate) fn not_found(message: String) -> Self {
        Self { code: NOT_FOUND, message }
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    pub(crate) fn number(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The code for how an app ended.
pub(crate) fn number_of(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Stopped => 0,
        Outcome::Finished { code } => u8::try_from(*code).unwrap_or(UNEXPECTED),
        Outcome::Failed(_) => APP_FAILED,
    }
}
