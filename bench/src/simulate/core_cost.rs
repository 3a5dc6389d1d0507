//! What the core's choice itself takes, in real time.
//!
//! All else in the simulation is virtual; this is measured here and now, because the more
//! workers there are the more the core has to look at for each connection.

use std::hint::black_box;
use std::time::{Duration, Instant};

use forkyard_core::{Choice, Dealing};

use super::connection::{Connection, Connections, Socket};
use super::cost::{Cost, Kind};
use super::primary::{Primary, Told, number_of};
use super::rules::{Prices, Rescue, Rules};
use forkyard_core::{Action, Origin};

const CONNECTIONS: u32 = 20_000;
/// The least of several runs is what the machine can do when nobody interferes.
const RUNS: usize = 5;

/// How long accepting, choosing, and hearing of the answer take for one connection.
pub(super) fn measure(workers: usize, choice: Choice) -> Duration {
    let runs = (0..RUNS).map(|_| measure_once(workers, choice));
    runs.min().unwrap_or_default()
}

fn measure_once(workers: usize, choice: Choice) -> Duration {
    let rules = Rules { prices: Prices::new(Duration::ZERO, Duration::ZERO), ..Rules::default() };
    let mut primary = Primary::new(workers, Dealing::ByPrimary(choice), Rescue::Off, &rules);
    let mut connections = Connections::default();
    let mut sockets = [Socket::default()];
    let began = Instant::now();
    for _ in 0..CONNECTIONS {
        sockets[0].push(connections.open(idle_connection()));
        step(&mut primary, &mut sockets);
        while let Some(action) = black_box(primary.next_action(Duration::ZERO)) {
            if let Action::HandOff { worker, connection, .. } = action {
                let key = super::connection::Key::of(connection);
                primary.hear(Told::Took { worker: number_of(worker), key });
                step(&mut primary, &mut sockets);
                connections.let_go(key);
            }
        }
    }
    began.elapsed() / CONNECTIONS
}

fn step(primary: &mut Primary, sockets: &mut [Socket]) {
    let now = Duration::ZERO;
    primary.begin(now, sockets, |_| Origin(0));
    primary.finish(now, sockets);
}

fn idle_connection() -> Connection {
    Connection {
        origin: Origin(0),
        requests_left: 1,
        asked_at: Duration::ZERO,
        cost: Cost { lasts: Duration::ZERO, kind: Kind::Ordinary },
        counts: false,
        worker: None,
        copies: 1,
    }
}
