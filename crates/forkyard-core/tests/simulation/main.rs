//! A whole app in a fake world: virtual time, a kernel that queues connections, workers
//! that crash, lie, stall and ignore what they are told, and operators who fork, retire
//! and stop. After every step a ledger checks the invariants that the core has to keep.
//!
//! Every run follows from its seed. A failure names it; to see that run again:
//!
//! ```text
//! FORKYARD_SEED=17 cargo test -p forkyard-core --test simulation
//! ```

mod chance;
mod ledger;
mod process;
mod sockets;
mod world;

use ledger::{Sights, Violation};
use world::{Trail, World};

const SEEDS: u64 = 2000;
const STEPS: usize = 1000;
/// How much of a failed run is shown, in lines.
const SHOWN: usize = 60;

#[test]
fn the_invariants_hold_whatever_happens() {
    match std::env::var("FORKYARD_SEED") {
        Ok(seed) => {
            play(seed.parse().expect("FORKYARD_SEED is a number"));
        }
        Err(_) => play_all(),
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut world = World::new(7, Trail::on());
        (world.run(STEPS), world.into_trail())
    };
    assert_eq!(run(), run());
}

/// Plays every seed, and makes sure that the runs came by what they are for.
fn play_all() {
    let mut sights = Sights::new();
    for seed in 0..SEEDS {
        for (what, times) in play(seed) {
            *sights.entry(what).or_default() += times;
        }
    }
    for what in ledger::SIGHTS {
        let times = sights.remove(what).unwrap_or_default();
        assert!(times >= 20, "the simulation saw {what} only {times} times");
    }
    assert!(sights.is_empty(), "the simulation saw what it does not list: {sights:?}");
}

fn play(seed: u64) -> Sights {
    let mut world = World::new(seed, Trail::off());
    let outcome = world.run(STEPS);
    assert!(outcome.is_ok(), "{}", explain(seed, &outcome));
    world.sights().clone()
}

/// Plays a failed run again and shows its end.
fn explain(seed: u64, outcome: &Result<(), Violation>) -> String {
    let mut world = World::new(seed, Trail::on());
    assert_eq!(world.run(STEPS), *outcome, "a run has to follow from its seed");
    let trail = world.into_trail();
    let shown = trail[trail.len().saturating_sub(SHOWN)..].join("\n");
    format!("{outcome:?}\n\n{shown}\n\nto see it again: FORKYARD_SEED={seed}")
}
