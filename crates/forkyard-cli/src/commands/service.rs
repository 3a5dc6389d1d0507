//! Where `startup` and `unstartup` find the units that they are about.

use std::io::Write;
use std::path::PathBuf;

use forkyard_sys::process::own_user;

use crate::boot::Scope;
use crate::exit_code::Failure;

/// The system's user.
const ROOT: u32 = 0;

/// Whose systemd is meant: the machine's for root, if nothing else is said.
pub(super) fn scope(said: Option<Scope>) -> Scope {
    let own = if own_user() == ROOT { Scope::System } else { Scope::User };
    said.unwrap_or(own)
}

/// Where its units are.
pub(super) fn folder(scope: Scope) -> Result<PathBuf, Failure> {
    let dir = scope.folder(|name| std::env::var_os(name));
    dir.ok_or_else(|| {
        Failure::usage("failed to find the folder of your units: HOME is not set".to_owned())
    })
}

/// That nobody reads it changes nothing about what has been done.
pub(super) fn say(text: &str) {
    let mut stdout = anstream::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
