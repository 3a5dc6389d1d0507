//! Executing a program that is told of its sockets as systemd tells (`sd_listen_fds(3)`): by
//! `LISTEN_FDS`, their count, and `LISTEN_PID`, the number of the process they are meant for.
//!
//! That number is known only after the fork, when nothing may be allocated any more. So the
//! whole environment is written down before, with room for the number, and the child puts that
//! in and executes the program by itself.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Command;
use std::ptr;

const COUNT: &str = "LISTEN_FDS";
const OWNER: &str = "LISTEN_PID";
/// What else systemd says of the sockets that it passes: their names, and the process once more.
/// Of those that this process was started with, which the child does not get.
const NOT_OF_THESE: [&str; 2] = ["LISTEN_FDNAMES", "LISTEN_PIDFDID"];
/// As many digits as a process number can have, and the zero byte behind them.
const OWNER_ROOM: usize = 11;

/// A program with its arguments and environment, ready to be executed.
pub(super) struct Announced {
    program: CString,
    arguments: Strings,
    environment: Strings,
    /// `LISTEN_PID=`, the number, and zeros.
    owner: Box<[u8]>,
}

/// Strings, and the null-terminated list of where they are.
struct Strings {
    _kept: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

// SAFETY: the pointers are to the heap memory of `_kept` and of `Announced::owner`, which moves
// with neither and is only read through them.
unsafe impl Send for Strings {}
// SAFETY: as above.
unsafe impl Sync for Strings {}

impl Strings {
    fn new(strings: impl IntoIterator<Item = OsString>) -> io::Result<Self> {
        let kept = strings.into_iter().map(|text| CString::new(text.into_vec()));
        let kept = kept.collect::<Result<Vec<_>, _>>()?;
        let pointers = kept.iter().map(|text| text.as_ptr());
        let pointers = pointers.chain([ptr::null()]).collect();
        Ok(Self { _kept: kept, pointers })
    }
}

impl Announced {
    /// What the command would execute, with this process's environment and its own changes to
    /// it, and with `sockets` descriptors announced.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a zero byte in an argument or a variable.
    pub(super) fn new(command: &Command, sockets: usize) -> io::Result<Self> {
        let program = CString::new(command.get_program().as_bytes())?;
        let arguments = [command.get_program()].into_iter().chain(command.get_args());
        let arguments = Strings::new(arguments.map(OsStr::to_owned))?;
        let mut owner = format!("{OWNER}=").into_bytes();
        owner.resize(owner.len() + OWNER_ROOM, 0);
        let owner = owner.into_boxed_slice();
        let mut environment = Strings::new(variables(command, sockets))?;
        environment.pointers.insert(0, owner.as_ptr().cast());
        Ok(Self { program, arguments, environment, owner })
    }

    /// Executes it, with this process's number told. Returns only if that failed.
    /// Async-signal-safe.
    pub(super) fn execute(&mut self) -> io::Error {
        // SAFETY: cannot fail, and touches nothing.
        let number = unsafe { libc::getpid() };
        write_number(&mut self.owner[OWNER.len() + 1..], number.unsigned_abs());
        let pointers = &self.environment.pointers;
        // SAFETY: both lists end with a null pointer, and the strings live longer than this. This
        // is the only thread, so nobody else reads `environ`, where execvp(3) looks for `PATH`.
        unsafe {
            environ = pointers.as_ptr();
            libc::execvp(self.program.as_ptr(), self.arguments.pointers.as_ptr());
        }
        io::Error::last_os_error()
    }
}

unsafe extern "C" {
    /// See environ(7).
    static mut environ: *const *const libc::c_char;
}

fn variables(command: &Command, sockets: usize) -> Vec<OsString> {
    let mut variables: BTreeMap<_, _> = std::env::vars_os().collect();
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => variables.insert(name.to_owned(), value.to_owned()),
            None => variables.remove(name),
        };
    }
    for name in [OWNER].iter().chain(&NOT_OF_THESE) {
        variables.remove(OsStr::new(name));
    }
    variables.insert(COUNT.into(), sockets.to_string().into());
    let join = |(name, value): (OsString, OsString)| [name, value].join(OsStr::new("="));
    variables.into_iter().map(join).collect()
}

/// In decimal, without allocating.
fn write_number(room: &mut [u8], number: u32) {
    let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
    let mut rest = number;
    for digit in room[..digits].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are() {
        for number in [0, 7, 10, 4_194_304, u32::MAX] {
            let mut room = [0; OWNER_ROOM];
            write_number(&mut room, number);
            assert_eq!(&room[..number.to_string().len()], number.to_string().as_bytes());
        }
    }
}
