//! The thread that watches.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::tree::{Changes, Tree, Trouble, Watched};

/// How long it waits for more to happen before it looks: who writes a file writes it in many
/// pieces, and the kernel tells of a run of them but once.
const GATHER: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// What the thread has to say.
#[derive(Debug)]
pub(super) enum Report {
    Changed(Changes),
    Watching(Watched),
    Trouble(Trouble),
}

pub(super) struct Watcher {
    tree: Tree,
    reports: mpsc::Sender<Report>,
    /// Has an end when nobody is interested any more.
    woken: OwnedFd,
}

/// Nobody is interested any more.
struct Over;

impl Watcher {
    pub(super) fn new(tree: Tree, reports: mpsc::Sender<Report>, woken: OwnedFd) -> Self {
        Self { tree, reports, woken }
    }

    /// Goes on until nobody is interested any more.
    pub(super) fn run(mut self) {
        while self.turn().is_ok() {}
    }

    fn turn(&mut self) -> Result<(), Over> {
        if self.tree.is_stale() {
            let (watched, trouble) = self.tree.renew();
            self.report(Report::Watching(watched))?;
            self.complain(trouble)?;
        }
        self.wait()?;
        match self.tree.look() {
            Ok((changes, trouble)) => {
                if !changes.is_empty() {
                    self.report(Report::Changed(changes))?;
                }
                self.complain(trouble)
            }
            Err(error) => self.give_up(error),
        }
    }

    /// Waits until something has happened, and a little longer.
    fn wait(&self) -> Result<(), Over> {
        self.until_ready(&[PollFd::new(&self.tree, PollFlags::IN)], None)?;
        self.until_ready(&[], Some(&GATHER))
    }

    fn until_ready(&self, what: &[PollFd<'_>], limit: Option<&Timespec>) -> Result<(), Over> {
        let mut waits = vec![PollFd::new(&self.woken, PollFlags::IN)];
        waits.extend_from_slice(what);
        while let Err(error) = poll(&mut waits, limit) {
            // There is no other error that does not come again.
            if error != Errno::INTR {
                return Err(Over);
            }
        }
        if waits[0].revents().is_empty() { Ok(()) } else { Err(Over) }
    }

    fn complain(&self, trouble: Option<Trouble>) -> Result<(), Over> {
        trouble.map_or(Ok(()), |trouble| self.report(Report::Trouble(trouble)))
    }

    fn give_up(&self, error: io::Error) -> Result<(), Over> {
        self.report(Report::Trouble(Trouble::Deaf(error)))?;
        Err(Over)
    }

    /// Waits if there are too many already.
    fn report(&self, report: Report) -> Result<(), Over> {
        self.reports.blocking_send(report).map_err(|_| Over)
    }
}
