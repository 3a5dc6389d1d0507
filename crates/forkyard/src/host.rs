//! The program's first thread, lent to the primary.
//!
//! The system kills a worker when the *thread* that started it ends, and that is how no worker
//! outlives its primary. When a process executes another program, all its threads end but the
//! first, and their children with them. So a primary that is to be upgraded has its workers
//! started by the first thread, in every image, and the program's own `main` runs beside it:
//!
//! ```text
//!   first thread     errands: start a worker, execute the next image
//!   forkyard-program the program's main
//! ```

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use forkyard_core::MAX_SLOTS;
use forkyard_sys::image;

use crate::primary::upgrade::Arrival;

/// How many errands may wait. Each slot has at most two: its worker and its successor.
const ERRANDS: usize = 2 * MAX_SLOTS + 2;

/// As much as the first thread has by default (`ulimit -s`), which `main` may count on.
const STACK_BYTES: usize = 8 * 1024 * 1024;

static FIRST_THREAD: OnceLock<Errands> = OnceLock::new();

/// Something to be done by one certain thread.
type Errand = Box<dyn FnOnce() + Send>;

enum Message {
    Do(Errand),
    /// The program has ended.
    Over,
}

/// Runs a program's `main`, and lends the process's first thread to the primary that it
/// starts. Call it first thing in the real `main`; only then the primary can be upgraded
/// ([`ClusterHandle::upgrade`](crate::ClusterHandle::upgrade)) without its workers noticing:
///
/// ```no_run
/// fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     forkyard::host(serve)
/// }
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn serve() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     let cluster = forkyard::Cluster::builder().start()?;
///     // …
///     # drop(cluster);
///     Ok(())
/// }
/// ```
///
/// `main` runs on another thread, with the same size of stack. Called from any other thread
/// than the first, or a second time, this is the same as calling `main`.
///
/// After an upgrade the new image goes through the same `main`, up to
/// [`ClusterBuilder::start`](crate::ClusterBuilder::start), which takes over what the old one
/// has left. Before it, the new image is tried out beside the old one, and ends at the same
/// place: whatever `main` does before it starts the cluster is done then too. See
/// [`is_rehearsal`].
///
/// # Panics
///
/// As `main` does, or if its thread cannot be started.
pub fn host<T: Send + 'static>(main: impl FnOnce() -> T + Send + 'static) -> T {
    let (errands, inbox) = sync_channel(ERRANDS);
    if !image::is_first_thread() || FIRST_THREAD.set(Errands(errands.clone())).is_err() {
        return main();
    }
    Arrival::expect();
    let program = move || {
        // So that the first thread learns of the end in any case.
        let ended = catch_unwind(AssertUnwindSafe(main));
        let _ = errands.send(Message::Over);
        ended
    };
    let thread = thread::Builder::new().name("forkyard-program".into()).stack_size(STACK_BYTES);
    let program = thread
        .spawn(program)
        .inspect_err(|error| {
            let reason = format!("the new program failed to start its thread: {error}");
            Arrival::go_back_if_not_taken(&reason);
        })
        .expect("invariant: a process can have a second thread");
    run(&inbox);
    let ended = program.join().and_then(|ended| ended);
    Arrival::go_back_if_not_taken("the new program ended before it had taken over");
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Whether this process is a new image that is tried out: it is to do nothing that others
/// would notice, and ends when it comes to
/// [`ClusterBuilder::start`](crate::ClusterBuilder::start).
#[must_use]
pub fn is_rehearsal() -> bool {
    Arrival::is_rehearsal()
}

/// Whether this process is an image that an upgrade has executed: tried out, or there to take
/// over. The cluster that it starts has all that it needs, its workers and their program
/// included.
#[must_use]
pub fn is_upgrade() -> bool {
    Arrival::is_upgrade()
}

/// Does errands until the program, or whoever sends them, is gone.
fn run(inbox: &Receiver<Message>) {
    while let Ok(Message::Do(errand)) = inbox.recv() {
        errand();
    }
}

/// The way to a thread that does errands, one after the other.
#[derive(Clone)]
pub(crate) struct Errands(SyncSender<Message>);

/// The thread has too much to do, or is gone.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the thread that starts processes is gone")]
pub(crate) struct NobodyThere;

impl Errands {
    /// The first thread, if the program lends it; else one of its own, which ends when this
    /// and its copies are dropped.
    pub(crate) fn find() -> io::Result<Self> {
        match FIRST_THREAD.get() {
            Some(first) => Ok(first.clone()),
            None => Self::start(),
        }
    }

    fn start() -> io::Result<Self> {
        let (errands, inbox) = sync_channel(ERRANDS);
        thread::Builder::new().name("forkyard-spawner".into()).spawn(move || run(&inbox))?;
        Ok(Self(errands))
    }

    /// A thread that is gone.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        Self(sync_channel(1).0)
    }

    /// Whether the thread may execute the next image: it is the first one.
    pub(crate) fn may_execute() -> bool {
        FIRST_THREAD.get().is_some()
    }

    /// Has something done. Never waits.
    pub(crate) fn send(&self, errand: impl FnOnce() + Send + 'static) -> Result<(), NobodyThere> {
        self.0.try_send(Message::Do(Box::new(errand))).map_err(|_| NobodyThere)
    }
}

impl fmt::Debug for Errands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errands").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_another_thread_main_is_just_called() {
        let here = thread::current().id();
        assert_eq!(host(move || thread::current().id()), here);
        assert!(!Errands::may_execute());
    }

    #[test]
    fn errands_are_done_in_order_by_one_thread() {
        let errands = Errands::find().unwrap();
        let (done, seen) = sync_channel(10);
        for number in 0..3 {
            let done = done.clone();
            errands.send(move || done.send((number, thread::current().id())).unwrap()).unwrap();
        }
        let seen: Vec<_> = seen.iter().take(3).collect();
        assert_eq!(seen.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(seen.iter().all(|(_, thread)| *thread == seen[0].1));
        assert_ne!(seen[0].1, thread::current().id());
    }
}
