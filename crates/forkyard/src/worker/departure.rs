//! When the program is told that its worker shall leave.
//!
//! ```text
//!   asked ──▶ listeners drained ──▶ first bytes read ──▶ told
//!                                         │                ▲
//!                                         └─ PATIENCE over ┘
//! ```
//!
//! A server that is told to shut down stops accepting and closes every connection that it
//! has read nothing from; hyper does. So it is not told before it has taken all that was
//! handed over to it, and has begun to read.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc;

/// How long clients that are connected and have said nothing hold up the departure. One
/// with a request to send does so at once, unless its machine or its line is slow; one
/// that connects in reserve, as browsers do, may never.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Holds up the departure until it is dropped.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    _alive: mpsc::Sender<Infallible>,
}

/// What a listener holds until it is drained.
#[derive(Clone, Debug)]
pub(super) struct Holds {
    _listener: Hold,
    /// For a connection, until something was read from it.
    pub(super) connection: Hold,
}

/// Waits until nothing is held any more.
#[derive(Debug)]
pub(super) struct Departure {
    listeners: mpsc::Receiver<Infallible>,
    connections: mpsc::Receiver<Infallible>,
}

/// A departure and the first of its holds, of which all others are clones.
pub(super) fn departure() -> (Holds, Departure) {
    let (listener, listeners) = hold();
    let (connection, connections) = hold();
    (Holds { _listener: listener, connection }, Departure { listeners, connections })
}

fn hold() -> (Hold, mpsc::Receiver<Infallible>) {
    let (alive, dropped) = mpsc::channel(1);
    (Hold { _alive: alive }, dropped)
}

impl Departure {
    /// Resolves when the program may be told.
    pub(super) async fn may_begin(mut self) {
        // Nothing is ever sent: both resolve when the last hold is dropped.
        let _ = self.listeners.recv().await;
        let _ = tokio::time::timeout(PATIENCE, self.connections.recv()).await;
    }
}
