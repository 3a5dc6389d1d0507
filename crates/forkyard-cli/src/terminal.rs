//! The terminal's modes: keys one by one while the command runs, and as they were before
//! and after it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

/// What makes a terminal wait for whole lines and show them.
const BY_LINE: LocalModes = LocalModes::ICANON.union(LocalModes::ECHO);

/// A terminal that is shared with the shell and others.
#[derive(Debug)]
pub(crate) struct Terminal {
    fd: OwnedFd,
    state: Mutex<State>,
}

/// ```text
///   untouched ──take_over──▶ taken over ──give_back──▶ given back
/// ```
#[derive(Debug)]
enum State {
    Untouched,
    /// With the modes that were there before.
    TakenOver(Termios),
    GivenBack,
}

impl Terminal {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self { fd, state: Mutex::new(State::Untouched) }
    }

    /// Whether this process, and not the shell or another job, has it.
    pub(crate) fn is_ours(&self) -> bool {
        tcgetpgrp(&self.fd).is_ok_and(|foreground| foreground == getpgrp())
    }

    /// Has keys come one by one and unseen, if it is ours; to be called again whenever it
    /// may have become ours again. Ctrl-C and the like do what they always do.
    pub(crate) fn take_over(&self) -> io::Result<()> {
        let mut state = self.lock();
        if matches!(*state, State::GivenBack) || !self.is_ours() {
            return Ok(());
        }
        let mut modes = tcgetattr(&self.fd)?;
        if modes.local_modes.intersects(BY_LINE) {
            *state = State::TakenOver(modes.clone());
            modes.local_modes.remove(BY_LINE);
            modes.special_codes[SpecialCodeIndex::VMIN] = 1;
            modes.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(&self.fd, OptionalActions::Now, &modes)?;
        }
        Ok(())
    }

    /// Leaves it as it was, for good. What is not ours is left alone: whoever has it has
    /// set it up.
    pub(crate) fn give_back(&self) -> io::Result<()> {
        let mut state = self.lock();
        let before = std::mem::replace(&mut *state, State::GivenBack);
        if let State::TakenOver(modes) = before
            && self.is_ours()
        {
            tcsetattr(&self.fd, OptionalActions::Now, &modes)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

    use super::*;

    #[test]
    fn a_terminal_of_others_is_left_alone() {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let controller = openpt(flags).unwrap();
        unlockpt(&controller).unwrap();
        let terminal = Terminal::new(ioctl_tiocgptpeer(&controller, flags).unwrap());
        assert!(!terminal.is_ours());
        terminal.take_over().unwrap();
        assert!(tcgetattr(&terminal).unwrap().local_modes.contains(BY_LINE));
        assert!(matches!(*terminal.lock(), State::Untouched));
    }
}
