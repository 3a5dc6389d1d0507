//! The model against what queueing theory says exactly, and against what was seen in reality.
//!
//! Seeds are fixed, so these tests give the same figures each time; the tolerances are for
//! what chance leaves in runs of this length.

use std::time::Duration;

use super::arrivals::Traffic;
use super::cost::{CostSettings, Shape};
use super::measure::Figures;
use super::policies::Policy;
use super::rules::{Prices, Rules};
use super::world::{Scenario, run};

const SERVICE: Duration = Duration::from_millis(1);

/// Nothing costs anything but requests, and no queue has an end.
fn free_of_cost() -> Rules {
    Rules { prices: Prices::NONE, backlog: usize::MAX, ..Rules::default() }
}

fn queue(workers: usize, load: f64, shape: Shape) -> Scenario {
    let cost = CostSettings { mean: SERVICE, shape, blocking_share: 0.0, blocking: Duration::ZERO };
    let traffic = Traffic { rate: 1.0, requests: 1, think: Duration::ZERO, clients: 1, skew: 0.0 };
    Scenario { workers, traffic, cost, connections: 400_000, seed: 1 }.with_load(load)
}

/// The probability that all of `workers` are busy (Erlang's C formula).
fn erlang_c(workers: u32, load: f64) -> f64 {
    let offered = f64::from(workers) * load;
    // By the recursion for Erlang's B, which needs no factorials.
    let blocked = (1..=workers).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
    blocked / (1.0 - load * (1.0 - blocked))
}

fn mean_wait(workers: u32, load: f64) -> f64 {
    erlang_c(workers, load) * SERVICE.as_secs_f64() / (f64::from(workers) * (1.0 - load))
}

#[track_caller]
fn assert_near(measured: Duration, expected: f64, tolerance: f64) {
    let off = measured.as_secs_f64() / expected - 1.0;
    assert!(off.abs() < tolerance, "{measured:?} is off by {off:.3} from {expected}");
}

#[test]
fn one_queue_waits_as_mmc() {
    for (workers, load) in [(1, 0.5), (1, 0.8), (4, 0.8), (16, 0.9)] {
        let scenario = queue(workers as usize, load, Shape::Exponential);
        let figures = run(&scenario, Policy::Ideal, &free_of_cost());
        assert_near(figures.mean_wait, mean_wait(workers, load), 0.05);
    }
}

#[test]
fn constant_costs_wait_half_as_long() {
    for load in [0.5, 0.8] {
        let scenario = queue(1, load, Shape::Constant);
        let figures = run(&scenario, Policy::Ideal, &free_of_cost());
        // Pollaczek and Khinchine: without variance, half of M/M/1.
        assert_near(figures.mean_wait, mean_wait(1, load) / 2.0, 0.03);
    }
}

#[test]
fn sojourn_times_of_mm1_are_exponential() {
    let figures = run(&queue(1, 0.8, Shape::Exponential), Policy::Ideal, &free_of_cost());
    let mean = SERVICE.as_secs_f64() / (1.0 - 0.8);
    assert_near(figures.p50, mean * 2_f64.ln(), 0.05);
    assert_near(figures.p99, mean * 100_f64.ln(), 0.05);
}

#[test]
fn dealing_by_chance_makes_each_worker_an_mm1() {
    let figures = run(&queue(4, 0.8, Shape::Exponential), Policy::Reuseport, &free_of_cost());
    assert_near(figures.mean_wait, mean_wait(1, 0.8), 0.05);
}

/// In turn, each of two workers sees every second arrival: an Erlang-2 stream, whose mean wait
/// is in closed form (E2/M/1).
#[test]
fn dealing_in_turn_to_two_makes_each_an_e2m1() {
    let load: f64 = 0.8;
    let scenario = queue(2, load, Shape::Exponential);
    let figures = run(&scenario, Policy::KernelAlone, &free_of_cost());
    // The root in (0, 1) of s = (2a / (2a + 1 - s))², a being the load: found by iterating.
    let step = |s: f64| (2.0 * load / (2.0 * load + 1.0 - s)).powi(2);
    let root = (0..1000).fold(0.5, |s, _| step(s));
    assert_near(figures.mean_wait, SERVICE.as_secs_f64() * root / (1.0 - root), 0.05);
}

#[test]
fn a_policy_without_costs_lies_between_the_ideal_and_chance() {
    let scenario = Scenario { connections: 200_000, ..queue(4, 0.8, Shape::Exponential) };
    let wait = |policy| run(&scenario, policy, &free_of_cost()).mean_wait;
    let (ideal, chance) = (wait(Policy::Ideal), wait(Policy::Reuseport));
    for policy in [Policy::Kernel, Policy::RoundRobin, Policy::Shared] {
        let wait = wait(policy);
        assert!(ideal < wait && wait < chance, "{policy:?}: {ideal:?}, {wait:?}, {chance:?}");
    }
}

#[test]
fn a_primary_that_is_the_limit_hands_over_as_many_as_its_price_allows() {
    // 17.96 µs a connection were measured (bench/README.md): 55,700 a second.
    let scenario = Scenario { connections: 200_000, ..queue(256, 0.8, Shape::Exponential) };
    assert!(scenario.traffic.rate > 200_000.0);
    let figures = run(&scenario, Policy::RoundRobin, &Rules::default());
    assert!((figures.answered / 55_700.0 - 1.0).abs() < 0.01, "{}", figures.answered);
    assert!(figures.primary > 0.99, "{}", figures.primary);
    assert!(figures.turned_away > 0);
}

/// A look at four lanes takes 9 µs, and the next one begins 5 ms after its end.
#[test]
fn a_primary_that_only_looks_looks_every_5_ms_so_long_as_something_comes() {
    let rules = Rules::default();
    let look = rules.prices.look(4).as_secs_f64();
    let busy = |load, policy| {
        let scenario = Scenario { connections: 2_000, ..queue(4, load, Shape::Constant) };
        run(&scenario, policy, &rules).primary
    };
    let share = look / (look + 0.005);
    let with_traffic = busy(0.2, Policy::Kernel);
    assert!((with_traffic / share - 1.0).abs() < 0.02, "{with_traffic} instead of {share}");
    // A connection every second has it looked for 100 ms.
    let almost_idle = busy(0.000_25, Policy::Kernel);
    assert!(almost_idle > 0.0 && almost_idle < share / 5.0, "{almost_idle}");
    assert!(busy(0.2, Policy::KernelAlone) < 1e-9);
}

/// The kernel's dealing in turn gave three sockets 100 of 300 connections each; `SO_REUSEPORT`
/// gave three Node workers 15, 19 and 26 of 60.
#[test]
fn connections_are_spread_as_was_seen() {
    let scenario = Scenario { connections: 400, ..queue(3, 0.1, Shape::Constant) };
    let spread = |policy| run(&scenario, policy, &Rules::default()).spread.unwrap();
    assert!(spread(Policy::Kernel) < 1.05);
    let by_chance = spread(Policy::Reuseport);
    assert!((1.05..2.0).contains(&by_chance), "{by_chance}");
}

/// Cloudflare's observation of many who wait on one socket: the one that was last to sleep is
/// woken first, so while there is little to do it gets nearly all.
#[test]
fn while_there_is_little_to_do_one_gets_nearly_all_of_one_socket() {
    let scenario = Scenario { connections: 1_000, ..queue(4, 0.001, Shape::Exponential) };
    let figures = run(&scenario, Policy::Shared, &Rules::default());
    assert!(figures.spread.unwrap() > 20.0, "{:?}", figures.spread);
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let scenario = Scenario { connections: 5_000, ..queue(8, 0.7, Shape::Pareto) };
    for policy in Policy::ALL {
        let run =
            |seed| -> Figures { run(&Scenario { seed, ..scenario }, policy, &Rules::default()) };
        assert_eq!(run(1), run(1), "{policy:?}");
        assert_ne!(run(1), run(2), "{policy:?}");
    }
}
