//! Signals by number and by name.

use std::error::Error;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::str::FromStr;

/// The last signal number of Linux, `_NSIG` of `asm/signal.h`.
const LAST: i32 = 64;

/// A signal of Linux, numbered 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

/// Defines the constants, and the table of names beside them.
macro_rules! named_signals {
    ($($name:ident = $number:expr, $what:literal;)*) => {
        impl Signal {
            $(
                #[doc = concat!("`SIG", stringify!($name), "`: ", $what, ".")]
                pub const $name: Self = Self($number);
            )*
        }

        const NAMES: &[(Signal, &str)] = &[$((Signal::$name, concat!("SIG", stringify!($name)))),*];
    };
}

named_signals! {
    HUP = libc::SIGHUP, "the terminal is gone, or by convention: reload";
    INT = libc::SIGINT, "interrupted from the keyboard";
    QUIT = libc::SIGQUIT, "quit from the keyboard, with a core dump";
    ILL = libc::SIGILL, "illegal instruction";
    TRAP = libc::SIGTRAP, "breakpoint";
    ABRT = libc::SIGABRT, "the program aborted itself";
    BUS = libc::SIGBUS, "bad memory access";
    FPE = libc::SIGFPE, "arithmetic error";
    KILL = libc::SIGKILL, "the end; cannot be caught";
    USR1 = libc::SIGUSR1, "for the program to define";
    SEGV = libc::SIGSEGV, "invalid memory reference";
    USR2 = libc::SIGUSR2, "for the program to define";
    PIPE = libc::SIGPIPE, "wrote to a pipe nobody reads";
    ALRM = libc::SIGALRM, "a timer of alarm(2)";
    TERM = libc::SIGTERM, "please end";
    STKFLT = libc::SIGSTKFLT, "unused";
    CHLD = libc::SIGCHLD, "a child ended or stopped";
    CONT = libc::SIGCONT, "go on after a stop";
    STOP = libc::SIGSTOP, "stop; cannot be caught";
    TSTP = libc::SIGTSTP, "stopped from the keyboard";
    TTIN = libc::SIGTTIN, "a background process read the terminal";
    TTOU = libc::SIGTTOU, "a background process wrote to the terminal";
    URG = libc::SIGURG, "urgent data on a socket";
    XCPU = libc::SIGXCPU, "over the limit of processor time";
    XFSZ = libc::SIGXFSZ, "over the limit of file size";
    VTALRM = libc::SIGVTALRM, "a timer of processor time";
    PROF = libc::SIGPROF, "a profiling timer";
    WINCH = libc::SIGWINCH, "the terminal changed its size";
    IO = libc::SIGIO, "a descriptor is ready";
    PWR = libc::SIGPWR, "power failure";
    SYS = libc::SIGSYS, "a forbidden system call";
}

impl Signal {
    /// The signal of that number, if there is one: 1 to 64.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        if number >= 1 && number <= LAST { Some(Self(number)) } else { None }
    }

    /// All signals, real-time ones included.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (1..=LAST).map(Self)
    }

    /// The number, as `kill -l` counts.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The name with its prefix, such as `"SIGTERM"`; `None` for real-time
    /// signals, which have numbers only.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(signal, _)| *signal == self).map(|(_, name)| *name)
    }

    /// The same signal for rustix.
    pub(crate) fn for_rustix(self) -> rustix::process::Signal {
        // SAFETY: the number is between 1 and 64, so not zero and known to the
        // kernel. rustix asks further that no signal reserved by libc be used,
        // for libc's sake; it is only ever sent to another process here, which
        // any process of the user may do with any signal.
        unsafe { rustix::process::Signal::from_raw_unchecked(self.0) }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `TERM`, `SIGTERM`, `sigterm` or `15`.
impl FromStr for Signal {
    type Err = ParseSignalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = match text.parse() {
            Ok(number) => Self::from_number(number),
            Err(_) => by_name(&text.to_ascii_uppercase()),
        };
        found.ok_or_else(|| ParseSignalError { text: text.to_owned() })
    }
}

fn by_name(upper: &str) -> Option<Signal> {
    let bare = upper.strip_prefix("SIG").unwrap_or(upper);
    NAMES.iter().find(|(_, name)| name.strip_prefix("SIG") == Some(bare)).map(|(signal, _)| *signal)
}

/// Whether this process ignores a signal, as `nohup(1)` has it ignore `SIGHUP`. Whoever
/// starts a process so does not want it to mind the signal.
///
/// # Errors
///
/// `EINVAL` for a number that is none, which a [`Signal`] cannot be.
pub fn is_ignored(signal: Signal) -> io::Result<bool> {
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks only; `current` is a writable sigaction.
    let result = unsafe { libc::sigaction(signal.number(), ptr::null(), current.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed to begin with, which is a valid sigaction, and filled in by the call.
    Ok(unsafe { current.assume_init() }.sa_sigaction == libc::SIG_IGN)
}

/// Has this process ignore a signal. Children that [`super::spawn`] starts do not inherit
/// that.
///
/// # Errors
///
/// `EINVAL` for `KILL` and `STOP`, which cannot be ignored.
pub fn ignore(signal: Signal) -> io::Result<()> {
    // SAFETY: all zeros is a valid sigaction: no flags, an empty mask.
    let mut ignored: libc::sigaction = unsafe { std::mem::zeroed() };
    ignored.sa_sigaction = libc::SIG_IGN;
    // SAFETY: `ignored` is valid and installs no handler.
    let result = unsafe { libc::sigaction(signal.number(), &raw const ignored, ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A text that names no signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseSignalError {
    text: String,
}

impl fmt::Display for ParseSignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "read {:?} as a signal: expected a name like TERM or a number to {LAST}",
            self.text
        )
    }
}

impl Error for ParseSignalError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_numbers() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(text.parse(), Ok(Signal::TERM), "{text}");
        }
        assert_eq!("34".parse(), Ok(Signal(34)));
    }

    #[test]
    fn refuses_what_is_no_signal() {
        for text in ["", "SIG", "SIGSIGTERM", "0", "65", "-9", "9 ", "NOPE"] {
            assert!(text.parse::<Signal>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_name_reads_back() {
        for (signal, name) in NAMES {
            assert_eq!(name.parse(), Ok(*signal));
            assert_eq!(signal.to_string(), *name);
        }
    }

    #[test]
    fn real_time_signals_show_their_number() {
        assert_eq!(Signal(40).name(), None);
        assert_eq!(Signal(40).to_string(), "40");
    }
}
