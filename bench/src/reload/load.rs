//! Many clients at once, each a thread that asks, waits for the answer, and asks again.
//!
//! Threads that block are enough: clients take turns with the program measured, on the same
//! cores, and a few dozen of them cost less than the program they wait for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use super::tally::{Counter, Tally};
use crate::client::{Client, Failure, Reuse};
use crate::interrupt;

/// How long a client waits after it was refused. Without it, a port that is closed would be
/// counted by how fast a client can knock.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How clients ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) port: u16,
    pub(crate) clients: u16,
    pub(crate) reuse: Reuse,
    /// How long each client waits between an answer and the next request.
    pub(crate) pace: Duration,
}

/// Clients that are asking. They stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Tally>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Over all clients.
    requests: AtomicU64,
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl Load {
    pub(crate) fn start(self) -> Running {
        let shared = Arc::new(Shared::default());
        let client = |number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || self.ask(number, &shared))
        };
        Running { clients: (0..self.clients).map(client).collect(), shared }
    }

    fn ask(self, number: u16, shared: &Shared) -> Tally {
        let mut client = Client::new(self.port, self.reuse);
        let mut counter = Counter::default();
        for request in 0_u64.. {
            let asked = Instant::now();
            let outcome = client.ask(&format!("/{number}-{request}"));
            let pause = match &outcome {
                Err(Failure::Refused) => AFTER_REFUSAL.max(self.pace),
                _ => self.pace,
            };
            counter.count(asked, Instant::now(), outcome);
            shared.requests.fetch_add(1, Ordering::Relaxed);
            if shared.is_stopped_after(pause) {
                break;
            }
        }
        counter.into_tally()
    }
}

impl Running {
    /// How many requests there have been so far, failed ones included.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Waits until there have been so many.
    pub(crate) fn wait_for_requests(&self, goal: u64, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while self.requests() < goal {
            ensure!(
                Instant::now() < deadline,
                "clients made only {} of {goal} requests in {} s",
                self.requests(),
                limit.as_secs()
            );
            interrupt::pause(LOOK_EVERY)?;
        }
        Ok(())
    }

    /// Waits for the answers that are due, asks for no more, and counts.
    pub(crate) fn stop(mut self) -> Result<Tally> {
        self.shared.stop();
        let mut sum = Tally::default();
        for client in std::mem::take(&mut self.clients) {
            sum.add(client.join().map_err(|_| anyhow!("a client panicked"))?);
        }
        Ok(sum)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop();
        for client in std::mem::take(&mut self.clients) {
            let _ = client.join();
        }
    }
}

impl Shared {
    fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.notify_all();
    }

    /// Waits for `pause`, or less if it is over before.
    fn is_stopped_after(&self, pause: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if pause.is_zero() || *stopped {
            return *stopped;
        }
        let waited = self.stop.wait_timeout_while(stopped, pause, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn every_client_is_counted() {
        // Nobody listens on port 1, which needs root to be listened on.
        let load = Load { port: 1, clients: 3, reuse: Reuse::Close, pace: Duration::ZERO };
        let running = load.start();
        running.wait_for_requests(9, LIMIT).unwrap();
        let tally = running.stop().unwrap();
        assert!(tally.requests >= 9);
        assert_eq!(tally.failures.refused, tally.requests);
    }

    #[test]
    fn a_pause_ends_when_all_is_over() {
        let pace = Duration::from_secs(100_000);
        let running = Load { port: 1, clients: 2, reuse: Reuse::Close, pace }.start();
        running.wait_for_requests(2, LIMIT).unwrap();
        assert_eq!(running.stop().unwrap().requests, 2);
    }
}
