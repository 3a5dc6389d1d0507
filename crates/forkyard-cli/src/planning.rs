//! Finds out what the next generation is started from, while everything else goes on: disks may
//! be slow, and so may be an interpreter that is asked for its version.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;

use crate::exit_code::Failure;
use crate::launch::Plan;

/// How it is found out. May take its time.
pub(crate) type Source = Arc<dyn Fn() -> Result<Plan, Failure> + Send + Sync>;

/// It is being found out. Dropping this forgets about it.
#[derive(Debug)]
pub(crate) struct Planning(oneshot::Receiver<Result<Plan, Failure>>);

impl Planning {
    /// Begins, on a thread that nobody waits for: the runtime's own would hold up its end.
    pub(crate) fn begin(source: &Source) -> Self {
        let (answer, found) = oneshot::channel();
        let source = Arc::clone(source);
        // Whoever has forgotten about it needs no answer.
        let find = move || drop(answer.send(source()));
        match thread::Builder::new().name("forkyard-planning".into()).spawn(find) {
            Ok(_) => Self(found),
            Err(error) => Self::failed(&error),
        }
    }

    fn failed(error: &io::Error) -> Self {
        let (answer, found) = oneshot::channel();
        drop(answer.send(Err(not_found_out(error))));
        Self(found)
    }

    /// What has been found. May be dropped and awaited anew.
    pub(crate) async fn end(&mut self) -> Result<Plan, Failure> {
        let gone = |_| Err(not_found_out(&io::Error::other("its thread ended without an answer")));
        (&mut self.0).await.unwrap_or_else(gone)
    }
}

fn not_found_out(error: &io::Error) -> Failure {
    Failure::unexpected("failed to find out what to run", error)
}
