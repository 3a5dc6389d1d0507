//! Reloads because of files that have changed.
//!
//! ```text
//!   kernel (inotify) ──▶ thread: a Tree of watches ── reports (bounded) ──▶ Files ── quiet? ──▶ news
//! ```
//!
//! A thread of its own looks at directories, which may be many and on slow disks. What it reports
//! waits in [`Quiet`] until whoever writes has finished.

mod ignoring;
mod links;
mod quiet;
mod selection;
mod tree;
mod watcher;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Cause;
use quiet::Quiet;
use selection::Selection;
pub(crate) use selection::{Glob, GlobError};
use tree::Tree;
pub(crate) use tree::{Trouble, Watched};
use watcher::{Report, Watcher};

/// How many reports may wait. The thread waits with the next one, and the kernel keeps what
/// happens meanwhile, or says that it could not.
const REPORTS: usize = 16;

/// Which files count, and when.
#[derive(Clone, Debug)]
pub(crate) struct WatchRules {
    /// Which files, relative to the app's directory; later ones outrank earlier ones. With none
    /// nothing is watched. What Git ignores, `.git` and `node_modules` do not count unless a glob
    /// names them.
    pub(crate) globs: Vec<Glob>,
    /// How long nothing must have changed before it counts.
    pub(crate) quiet: Duration,
    /// How long after the first change it counts even if there is no quiet.
    pub(crate) latest: Duration,
}

impl Default for WatchRules {
    fn default() -> Self {
        Self {
            globs: Vec::new(),
            quiet: Duration::from_millis(300),
            latest: Duration::from_secs(5),
        }
    }
}

/// What there is to tell.
#[derive(Debug)]
pub(super) enum News {
    /// Files have changed.
    Changed(Cause),
    /// So much is watched from now on.
    Watching(Watched),
    /// Something is not seen.
    Trouble(Trouble),
}

/// The files of an app. Dropping it ends the watch.
#[derive(Debug)]
pub(super) struct Files {
    quiet: Quiet,
    reports: mpsc::Receiver<Report>,
    /// Ends the thread when dropped.
    _wake: OwnedFd,
}

impl Files {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// If the system has no room for it.
    pub(super) fn start(rules: &WatchRules, directory: &Path) -> io::Result<Self> {
        let tree = Tree::new(directory, Selection::of(&rules.globs)?)?;
        let (woken, wake) = pipe_with(PipeFlags::CLOEXEC)?;
        let (sender, reports) = mpsc::channel(REPORTS);
        let watcher = Watcher::new(tree, sender, woken);
        thread::Builder::new().name("forkyard-files".into()).spawn(move || watcher.run())?;
        Ok(Self { quiet: Quiet::of(rules), reports, _wake: wake })
    }

    /// May be dropped while it waits, and nothing is lost.
    pub(super) async fn next(&mut self) -> News {
        loop {
            tokio::select! {
                biased;
                // First, because what never gets quiet may not put it off.
                () = until(self.quiet.over()) => {
                    if let Some(cause) = self.quiet.take() {
                        return News::Changed(cause);
                    }
                }
                Some(report) = self.reports.recv() => match report {
                    Report::Changed(changes) => self.quiet.add(changes, Instant::now()),
                    Report::Watching(watched) => return News::Watching(watched),
                    Report::Trouble(trouble) => return News::Trouble(trouble),
                },
            }
        }
    }

    /// What has changed and was not told yet.
    pub(super) fn into_pending(mut self) -> Option<Cause> {
        while let Ok(report) = self.reports.try_recv() {
            if let Report::Changed(changes) = report {
                self.quiet.add(changes, Instant::now());
            }
        }
        self.quiet.take()
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
