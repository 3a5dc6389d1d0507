//! What is typed on the terminal while the app runs: `r` for a roll.
//!
//! ```text
//!            ours: waits for keys ──read──▶ channel (bounded) ──▶ Keys::next
//!                    │      ▲
//!   read fails (EIO) │      │ SIGCONT, or a look every second
//!                    ▼      │
//!            another job's: waits
//! ```
//!
//! A thread of its own reads, in blocking reads: `O_NONBLOCK` would belong to the open file,
//! which the shell has too. Without a terminal, or with output that goes elsewhere, nothing
//! is read: a pager behind a pipe wants the keys for itself.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use forkyard::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;

use crate::terminal::Terminal;

/// How often a terminal that another job has is looked at. A shell that brings a job to the
/// front which was running behind it says nothing (bash does not send SIGCONT then).
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How many keys may wait: while one roll is asked for, a second one changes nothing.
const PRESSED: usize = 1;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A roll.
    Reload,
}

/// The keys of the terminal. Dropping it gives the terminal back.
#[derive(Debug)]
pub(crate) struct Keys {
    terminal: Arc<Terminal>,
    pressed: mpsc::Receiver<Key>,
    resumed: unix::Signal,
    /// Wakes the thread, and ends it when dropped.
    wake: OwnedFd,
}

impl Keys {
    /// Starts to read, if there is a terminal. From then on this process is not stopped for
    /// using the terminal while another job has it.
    pub(crate) fn start() -> io::Result<Option<Self>> {
        for signal in [Signal::TTIN, Signal::TTOU] {
            forkyard_sys::process::ignore(signal)?;
        }
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        if !(stdin.is_terminal() && stdout.is_terminal() && stderr.is_terminal()) {
            return Ok(None);
        }
        Self::of(Terminal::new(stdin.as_fd().try_clone_to_owned()?)).map(Some)
    }

    fn of(terminal: Terminal) -> io::Result<Self> {
        let resumed = unix::signal(SignalKind::from_raw(Signal::CONT.number()))?;
        let (woken, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let (keys, pressed) = mpsc::channel(PRESSED);
        let terminal = Arc::new(terminal);
        terminal.take_over()?;
        let reader = Reader { terminal: Arc::clone(&terminal), woken, keys };
        thread::Builder::new().name("forkyard-keys".into()).spawn(move || reader.run())?;
        Ok(Self { terminal, pressed, resumed, wake })
    }

    /// The next key; never, once the terminal is gone. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Key {
        loop {
            tokio::select! {
                key = self.pressed.recv() => match key {
                    Some(key) => return key,
                    None => std::future::pending().await,
                },
                _ = self.resumed.recv() => {
                    // A pipe that is full wakes as well.
                    let _ = rustix::io::write(&self.wake, &[0]);
                }
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // One that is gone is nobody's any more.
        let _ = self.terminal.give_back();
    }
}

/// The thread's part.
struct Reader {
    terminal: Arc<Terminal>,
    woken: OwnedFd,
    keys: mpsc::Sender<Key>,
}

/// What the thread was woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// Something was typed, or the terminal is gone.
    Typed,
    /// The terminal may have become ours again.
    Resumed,
    /// Nobody wants to know any more.
    Over,
}

impl Reader {
    /// Reads until nobody wants to know any more or the terminal is gone.
    fn run(self) {
        while matches!(self.turn(), Ok(News::Typed | News::Resumed)) {}
    }

    fn turn(&self) -> io::Result<News> {
        self.terminal.take_over()?;
        let news = self.wait()?;
        if news == News::Typed {
            self.read()?;
        }
        Ok(news)
    }

    fn wait(&self) -> io::Result<News> {
        let woken = PollFd::new(&self.woken, PollFlags::IN);
        if !self.terminal.is_ours() {
            let mut awaited = [woken];
            return match retry_poll(&mut awaited, Some(&LOOK_AGAIN))? {
                0 => Ok(News::Resumed),
                _ => self.why_woken(awaited[0].revents()),
            };
        }
        let mut awaited = [woken, PollFd::new(&self.terminal, PollFlags::IN)];
        retry_poll(&mut awaited, None)?;
        match awaited[0].revents() {
            nothing if nothing.is_empty() => Ok(News::Typed),
            something => self.why_woken(something),
        }
    }

    fn why_woken(&self, events: PollFlags) -> io::Result<News> {
        if !events.contains(PollFlags::IN) {
            return Ok(News::Over);
        }
        let mut taken = [0; 16];
        match rustix::io::read(&self.woken, &mut taken) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(News::Resumed),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&self) -> io::Result<()> {
        let mut typed = [0; 64];
        match rustix::io::read(&self.terminal, &mut typed) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                if let Some(key) = meant(&typed[..length]) {
                    // One that finds no room is asked for already.
                    let _ = self.keys.try_send(key);
                }
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            // It has just become another job's.
            Err(Errno::IO) if !self.terminal.is_ours() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What was typed at one go. Text that was pasted, or the sequence of a function key, has
/// more in it and asks for nothing.
fn meant(typed: &[u8]) -> Option<Key> {
    let letters = typed.strip_suffix(b"\n").or(typed.strip_suffix(b"\r")).unwrap_or(typed);
    let reload = !letters.is_empty() && letters.iter().all(|byte| matches!(byte, b'r' | b'R'));
    reload.then_some(Key::Reload)
}

fn retry_poll(fds: &mut [PollFd<'_>], limit: Option<&Timespec>) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| poll(fds, limit))?)
}

#[cfg(test)]
mod tests;
