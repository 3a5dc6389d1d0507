//! What the command itself has to say, on its way to stderr or to the app's logs.
//!
//! Whoever says something never waits for whoever reads it: a thread of its own writes, and
//! what nobody reads piles up to a bound and is counted from there on.
//!
//! ```text
//!   reporter, log ── lines ──▶ pending (bounded) ── console thread ──▶ stderr, or a log
//! ```

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::watch;

/// How much may wait to be written.
const PENDING_BYTES: usize = 1024 * 1024;

/// A way out that never blocks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    shared: Arc<Shared>,
    /// How many bytes have been written. Its end is the thread's.
    written: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// Lines that found no room.
    lost: u64,
    /// How many bytes have been said, those that wait among them.
    said: u64,
    /// Nothing more is said.
    closed: bool,
}

impl Console {
    /// Starts the thread, which gets rid of whole lines by `write`. `tell_lost` makes a line of
    /// how many lines were lost.
    pub(crate) fn start(
        mut write: impl FnMut(&[u8]) + Send + 'static,
        tell_lost: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (progress, written) = watch::channel(0);
        let source = Arc::clone(&shared);
        thread::Builder::new().name("forkyard-console".into()).spawn(move || {
            while let Some((bytes, lost)) = source.next() {
                write(&bytes);
                if lost > 0 {
                    write(tell_lost(lost).as_bytes());
                }
                progress.send_modify(|written| *written += bytes.len() as u64);
            }
        })?;
        Ok(Self { shared, written })
    }

    /// Says one or more whole lines.
    pub(crate) fn say(&self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let mut pending = self.shared.lock();
        // After a loss nothing until that has been told, so that the gap is where it is.
        if pending.lost > 0 || pending.bytes.len() + lines.len() > PENDING_BYTES {
            pending.lost += 1;
            return;
        }
        pending.bytes.extend_from_slice(lines);
        pending.said += lines.len() as u64;
        self.shared.news.notify_one();
    }

    /// Waits until all that has been said by now is written.
    pub(crate) async fn flush(&self) {
        let said = self.shared.lock().said;
        // If the thread is gone, nothing more will be.
        let _ = self.written.clone().wait_for(|written| *written >= said).await;
    }

    /// Nothing more is said: waits until all that was is written.
    pub(crate) async fn finish(&self) {
        self.shared.lock().closed = true;
        self.shared.news.notify_one();
        let mut written = self.written.clone();
        while written.changed().await.is_ok() {}
    }
}

impl Shared {
    /// Waits for something to write; `None` when all is written and nothing more comes.
    fn next(&self) -> Option<(Vec<u8>, u64)> {
        let mut pending = self.lock();
        while pending.bytes.is_empty() && !pending.closed {
            pending = self.news.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        let news = (std::mem::take(&mut pending.bytes), std::mem::take(&mut pending.lost));
        (!news.0.is_empty()).then_some(news)
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes to stderr.
pub(crate) fn to_stderr(bytes: &[u8]) {
    // In one piece, so that a worker's line does not get in between. Nobody may be reading
    // any more.
    let _ = anstream::stderr().lock().write_all(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many lines as there is room for, a count of the others, and then it goes on.
    #[test]
    fn what_finds_no_room_is_counted() {
        let shared = Arc::new(Shared::default());
        let console = Console { shared: Arc::clone(&shared), written: watch::channel(0).1 };
        let line = vec![b'x'; PENDING_BYTES / 2];
        for _ in 0..5 {
            console.say(&line);
        }
        console.say(b"short\n");
        let (bytes, lost) = shared.next().unwrap();
        assert_eq!((bytes.len(), lost), (PENDING_BYTES, 4));
        console.say(b"again\n");
        assert_eq!(shared.next().unwrap(), (b"again\n".to_vec(), 0));
    }
}
