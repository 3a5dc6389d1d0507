//! Signals to the primary.

use std::io::{self, IsTerminal};

use forkyard::{ClusterHandle, Signal};
use tokio::signal::unix::{self, SignalKind};

/// What an operator wants by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Stop, or hurry if it is stopping already.
    Stop(&'static str),
    /// Replace all workers by those of the next generation.
    Reload,
    /// Hand the signal on to every worker.
    Forward(Signal),
    /// A child has ended that is no worker of ours.
    Reap,
}

/// The signals that are listened for.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    /// Not under `nohup`, which has it ignored.
    hang_up: Option<unix::Signal>,
    user1: unix::Signal,
    user2: unix::Signal,
    terminal: Terminal,
    init: Option<Init>,
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
    fn wish(self) -> Wish {
        let is_there = match self {
            Self::None => true,
            Self::Stdin => io::stdin().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
        };
        if is_there { Wish::Reload } else { Wish::Stop("SIGHUP") }
    }
}

/// What PID 1 has to care for besides.
#[derive(Debug)]
struct Init {
    child: unix::Signal,
    quit: unix::Signal,
    window: unix::Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        let init = if forkyard_sys::process::is_init() { Some(Init::listen()?) } else { None };
        let hang_up = match forkyard_sys::process::is_ignored(Signal::HUP)? {
            true => None,
            false => Some(unix::signal(SignalKind::hangup())?),
        };
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hang_up,
            user1: unix::signal(SignalKind::user_defined1())?,
            user2: unix::signal(SignalKind::user_defined2())?,
            terminal: Terminal::find(),
            init,
        })
    }

    pub(crate) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::Stop("SIGINT"),
            _ = self.terminate.recv() => Wish::Stop("SIGTERM"),
            () = hung_up(self.hang_up.as_mut()) => self.terminal.wish(),
            _ = self.user1.recv() => Wish::Forward(Signal::USR1),
            _ = self.user2.recv() => Wish::Forward(Signal::USR2),
            wish = Init::next(self.init.as_mut()) => wish,
        }
    }

    /// Waits until somebody wants it to stop.
    pub(crate) async fn stop(&mut self) {
        while !matches!(self.next().await, Wish::Stop(_)) {}
    }

    /// Whether this process has the duties of PID 1.
    pub(crate) fn is_init(&self) -> bool {
        self.init.is_some()
    }
}

impl Init {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            child: unix::signal(SignalKind::child())?,
            quit: unix::signal(SignalKind::quit())?,
            window: unix::signal(SignalKind::window_change())?,
        })
    }

    async fn next(init: Option<&mut Self>) -> Wish {
        let Some(init) = init else { return std::future::pending().await };
        tokio::select! {
            _ = init.child.recv() => Wish::Reap,
            _ = init.quit.recv() => Wish::Forward(Signal::QUIT),
            _ = init.window.recv() => Wish::Forward(Signal::WINCH),
        }
    }
}

async fn hung_up(hang_up: Option<&mut unix::Signal>) {
    match hang_up {
        Some(hang_up) => drop(hang_up.recv().await),
        None => std::future::pending().await,
    }
}

/// Sends a signal to every worker.
pub(crate) async fn forward(cluster: &ClusterHandle, signal: Signal) {
    for info in cluster.workers().await.unwrap_or_default() {
        // A worker that is gone needs no signal.
        let _ = cluster.signal(info.slot, signal).await;
    }
}

/// Reaps what others left to PID 1.
pub(crate) fn reap() -> io::Result<()> {
    // Workers are known to be ours by themselves; there are no other children.
    forkyard_sys::process::reap_orphans(|_| false).map(drop)
}
