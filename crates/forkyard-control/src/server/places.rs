//! How many clients there may be. Who follows what happens stays for long and must not take the
//! places of those who only ask, so each kind has its own.
//!
//! ```text
//!   accepted ──▶ asking ──┬──────────────▶ answered
//!    16, others wait      ├─▶ waiting ───▶ told the outcome      16, others are turned away
//!                         └─▶ following ─▶ gone                  32, others are turned away
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many clients may be about to ask, or to be answered at once.
pub(super) const ASKING: usize = 16;
/// How many clients may wait for an outcome.
const WAITING: usize = 16;
/// How many clients may follow the events.
const FOLLOWING: usize = 32;

/// The places there are.
#[derive(Clone, Debug)]
pub(super) struct Places {
    asking: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    following: Arc<Semaphore>,
}

/// What a client stays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    Waiting,
    Following,
}

/// All places of a kind are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full(pub(super) Stay);

/// One client's place, until the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Place {
    places: Places,
    taken: Arc<Mutex<OwnedSemaphorePermit>>,
}

impl Places {
    pub(super) fn new() -> Self {
        let [asking, waiting, following] =
            [ASKING, WAITING, FOLLOWING].map(|count| Arc::new(Semaphore::new(count)));
        Self { asking, waiting, following }
    }

    /// A place for one more client, once there is one.
    pub(super) async fn take(&self) -> Place {
        let taken = Arc::clone(&self.asking).acquire_owned().await;
        let taken = taken.expect("invariant: the places are never closed");
        Place { places: self.clone(), taken: Arc::new(Mutex::new(taken)) }
    }
}

impl Place {
    /// Gives the place of those who ask to somebody else, and takes another one instead.
    pub(super) fn stay(&self, stay: Stay) -> Result<(), Full> {
        let places = match stay {
            Stay::Waiting => &self.places.waiting,
            Stay::Following => &self.places.following,
        };
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| Full(stay))?;
        // What is in it is right at any moment.
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = place;
        Ok(())
    }
}
