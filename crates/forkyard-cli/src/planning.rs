//! Finds out what the next generation is started from, while everything else goes on: disks may
//! be slow, and so may be an interpreter that is asked for its version.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::exit_code::Failure;
use crate::launch::Plan;

/// How long an upgrade is held up by it. The primary waits for two seconds until all is at rest.
const REST_LIMIT: Duration = Duration::from_millis(500);

/// How it is found out. May take its time.
pub(crate) type Source = Arc<dyn Fn() -> Result<Plan, Failure> + Send + Sync>;

/// What is to be found out. Dropping this forgets about it.
pub(crate) struct Planning {
    source: Source,
    under_way: Option<Answer>,
}

type Answer = oneshot::Receiver<Result<Plan, Failure>>;

impl Planning {
    pub(crate) fn of(source: &Source) -> Self {
        Self { source: Arc::clone(source), under_way: None }
    }

    /// What has been found. Begins when this is first awaited; may be dropped and awaited anew.
    pub(crate) async fn end(&mut self) -> Result<Plan, Failure> {
        let answer = self.under_way.get_or_insert_with(|| begin(&self.source));
        let gone = |_| Err(not_found_out(&io::Error::other("its thread ended without an answer")));
        answer.await.unwrap_or_else(gone)
    }

    /// Waits for what is under way, and forgets about it: it is found out anew when it is wanted.
    pub(crate) async fn rest(&mut self) {
        if let Some(answer) = self.under_way.take() {
            // Without an answer an interpreter that is asked for its version may be there, and
            // would be nobody's child to wait for.
            let _ = timeout(REST_LIMIT, answer).await;
        }
    }
}

/// Begins on a thread that nobody waits for: the runtime's own would hold up its end.
fn begin(source: &Source) -> Answer {
    let (answer, found) = oneshot::channel();
    let source = Arc::clone(source);
    // Whoever has forgotten about it needs no answer.
    let find = move || drop(answer.send(source()));
    match thread::Builder::new().name("forkyard-planning".into()).spawn(find) {
        Ok(_) => found,
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> Answer {
    let (answer, found) = oneshot::channel();
    drop(answer.send(Err(not_found_out(error))));
    found
}

fn not_found_out(error: &io::Error) -> Failure {
    Failure::unexpected("failed to find out what to run", error)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_was_forgotten_is_found_out_anew() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let source: Source = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Err(Failure::usage("found".into()))
        });
        let mut planning = Planning::of(&source);
        planning.rest().await;
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        planning.under_way = Some(begin(&source));
        planning.rest().await;
        assert_eq!(planning.end().await.unwrap_err().to_string(), "found");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
