//! Signals to the primary.
//!
//! They are read from a descriptor, not caught: whatever arrives while nobody reads waits in
//! the kernel, also while this process executes another program at an upgrade.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;

use forkyard::{ClusterHandle, Signal};
use forkyard_sys::process::{is_ignored, is_init};
use forkyard_sys::reactor::Watched;
use tokio::io::Interest;

/// What an operator tells the command by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// Stop, or hurry if it is stopping already.
    Stop(&'static str),
    /// Replace all workers by those of the next generation.
    Reload,
    /// Replace the primary's program by the one that is on disk now.
    Upgrade,
    /// Hand the signal on to every worker.
    Forward(Signal),
    /// A child has ended that is no worker of ours.
    Reap,
}

/// Signals that wait to be read.
#[derive(Debug)]
pub(crate) struct HeldSignals(OwnedFd);

impl HeldSignals {
    /// Holds the signals back from now on, in this thread and in all that it starts. To be
    /// called before there is another one.
    pub(crate) fn hold() -> io::Result<Self> {
        let mut signals = vec![Signal::INT, Signal::TERM, Signal::USR1, Signal::USR2];
        // Not under `nohup`, which has it ignored.
        if !is_ignored(Signal::HUP)? {
            signals.push(Signal::HUP);
        }
        // What PID 1 has to care for besides.
        if is_init() {
            signals.extend([Signal::CHLD, Signal::QUIT, Signal::WINCH]);
        }
        forkyard_sys::signals::take(&signals).map(Self)
    }
}

/// The signals that are listened for.
#[derive(Debug)]
pub(crate) struct Signals {
    held: Watched,
    terminal: Terminal,
}

/// The terminal that the command was started on, if any. Its end is told by the same signal
/// as the wish for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Terminal {
    None,
    Stdin,
    Stderr,
}

impl Terminal {
    fn find() -> Self {
        match (io::stdin().is_terminal(), io::stderr().is_terminal()) {
            (true, _) => Self::Stdin,
            (false, true) => Self::Stderr,
            (false, false) => Self::None,
        }
    }

    /// A terminal that has been hung up is none any more.
    fn wish(self) -> Instruction {
        let is_there = match self {
            Self::None => true,
            Self::Stdin => io::stdin().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
        };
        if is_there { Instruction::Reload } else { Instruction::Stop("SIGHUP") }
    }
}

impl Signals {
    pub(crate) fn listen(held: HeldSignals) -> io::Result<Self> {
        let held = Watched::new(held.0, Interest::READABLE)?;
        Ok(Self { held, terminal: Terminal::find() })
    }

    /// May be dropped while it waits, and nothing is lost.
    pub(crate) async fn next(&mut self) -> Instruction {
        while let Ok(mut ready) = self.held.readable().await {
            match forkyard_sys::signals::next(self.held.get_ref()) {
                Ok(signal) => {
                    if let Some(wish) = self.wish(signal) {
                        return wish;
                    }
                }
                // That there is none is the only reason.
                Err(_) => ready.clear_ready(),
            }
        }
        // The runtime is ending.
        std::future::pending().await
    }

    /// Waits until somebody wants it to stop.
    pub(crate) async fn stop(&mut self) {
        while !matches!(self.next().await, Instruction::Stop(_)) {}
    }

    fn wish(&self, signal: Signal) -> Option<Instruction> {
        Some(match signal {
            Signal::INT => Instruction::Stop("SIGINT"),
            Signal::TERM => Instruction::Stop("SIGTERM"),
            Signal::HUP => self.terminal.wish(),
            Signal::USR2 => Instruction::Upgrade,
            Signal::USR1 | Signal::QUIT | Signal::WINCH => Instruction::Forward(signal),
            Signal::CHLD => Instruction::Reap,
            _ => return None,
        })
    }

    /// Whether this process has the duties of PID 1.
    pub(crate) fn is_init(&self) -> bool {
        is_init()
    }
}

/// Sends a signal to every worker.
pub(crate) async fn forward(cluster: &ClusterHandle, signal: Signal) {
    let workers = cluster.workers().await.unwrap_or_default();
    // During a roll a slot has more workers than the one that is seated, which is meant.
    let slots: BTreeSet<_> = workers.iter().map(|worker| worker.info.slot).collect();
    for slot in slots {
        // A worker that is gone needs no signal.
        let _ = cluster.signal(slot, signal).await;
    }
}

/// Reaps what others left to PID 1.
pub(crate) fn reap() -> io::Result<()> {
    // Workers are known to be ours by themselves; there are no other children.
    forkyard_sys::process::reap_orphans(|_| false).map(drop)
}
