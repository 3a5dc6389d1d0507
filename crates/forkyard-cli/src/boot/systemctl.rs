//! The command by which systemd is told things.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::unit::Scope;

/// Why systemd was not told something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemctlError {
    #[error("failed to run `{line}`: {cause}")]
    NotRun { line: String, cause: io::Error },
    #[error("`{line}` failed, with {status}")]
    Failed { line: String, status: std::process::ExitStatus },
}

/// One call of `systemctl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Systemctl {
    scope: Scope,
    words: Vec<String>,
}

impl Systemctl {
    pub(crate) fn reload_units(scope: Scope) -> Self {
        Self::of(scope, &["daemon-reload"])
    }

    /// Has a unit started at boot.
    pub(crate) fn enable(scope: Scope, unit: &str) -> Self {
        Self::of(scope, &["enable", unit])
    }

    /// Has a unit started at boot, and now.
    pub(crate) fn enable_now(scope: Scope, unit: &str) -> Self {
        Self::of(scope, &["enable", "--now", unit])
    }

    pub(crate) fn start(scope: Scope, unit: &str) -> Self {
        Self::of(scope, &["start", unit])
    }

    fn of(scope: Scope, words: &[&str]) -> Self {
        Self { scope, words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    /// As it is typed into a shell.
    pub(crate) fn line(&self) -> String {
        let words = self.scope.systemctl().iter().copied();
        let words = words.chain(self.words.iter().map(String::as_str));
        words.map(shell_word).collect::<Vec<_>>().join(" ")
    }

    /// Runs it. What it has to say goes where ours goes.
    pub(crate) fn run(&self) -> Result<(), SystemctlError> {
        let line = || self.line();
        let (program, first) = self.scope.systemctl().split_first().unwrap_or((&"systemctl", &[]));
        let status = Command::new(program).args(first).args(&self.words).status();
        let status = status.map_err(|cause| SystemctlError::NotRun { line: line(), cause })?;
        status
            .success()
            .then_some(())
            .ok_or_else(|| SystemctlError::Failed { line: line(), status })
    }
}

/// Whether this machine has it.
pub(crate) fn is_there() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|dir: PathBuf| dir.join("systemctl").is_file())
}

/// Escaped names have backslashes.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.:@/".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_typed_as_they_are_said() {
        let (system, user) = (Scope::System, Scope::User);
        assert_eq!(Systemctl::reload_units(user).line(), "systemctl --user daemon-reload");
        let line = |unit| Systemctl::enable_now(system, unit).line();
        assert_eq!(line("forkyard@web.service"), "systemctl enable --now forkyard@web.service");
        assert_eq!(line("a\\x2db"), "systemctl enable --now 'a\\x2db'");
    }
}
