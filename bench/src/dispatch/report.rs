//! Prints the result.

use std::io::{self, Write};

use super::contestant::{Contestant, Part};
use super::measure::{self, KEPT_CONNECTIONS, New, Resident};
use super::results::{Results, ms};
use super::{Args, targets};
use crate::runs::Runs;
use crate::spread::Spread;
use crate::table::{self, Row};

/// Waits that the targets are about, in milliseconds.
const BOUNDS_MS: [u64; 2] = [50, 100];

/// Prints everything that was measured.
pub(crate) fn print(
    out: &mut impl Write,
    machine: &str,
    args: &Args,
    results: &Results,
) -> io::Result<()> {
    writeln!(out, "{machine}")?;
    let (workers, more) = (Part::New.workers(), Part::Stall.workers());
    let (clients, rounds, seconds) = (args.clients, args.rounds, args.seconds);
    writeln!(
        out,
        "{workers} workers, {more} where they are blocked; {clients} clients; medians of {rounds} \
         rounds of {seconds} s"
    )?;
    let tables = [new(results), between(results), kept(results), blocking(results)];
    for rows in tables.into_iter().chain([stall(results), targets::rows(results)]) {
        if rows.len() > 1 {
            writeln!(out)?;
            table::print(out, &rows)?;
        }
    }
    print_remarks(out, results)
}

fn print_remarks(out: &mut impl Write, results: &Results) -> io::Result<()> {
    for (contestant, why) in &results.left_out {
        writeln!(out, "\n{}: not measured: {why}", contestant.name())?;
    }
    for contestant in Contestant::ALL {
        if let Some(example) = example(results, contestant) {
            writeln!(out, "\n{}: a request failed: {example}", contestant.name())?;
        }
    }
    Ok(())
}

/// The first failure, if there was any.
fn example(results: &Results, whose: Contestant) -> Option<&str> {
    let new = results.new.of(whose).iter().map(|run| &run.example);
    let kept = results.kept.of(whose).iter().map(|run| &run.example);
    let blocking = results.blocking.of(whose).iter().map(|run| &run.example);
    let stall = results.stall.of(whose).iter().map(|run| &run.example);
    new.chain(kept).chain(blocking).chain(stall).flatten().next().map(String::as_str)
}

fn new(results: &Results) -> Vec<Row> {
    let head = [
        "a new connection each",
        "per second",
        "least to most",
        "p50 ms",
        "p99",
        "p99.9",
        "failed",
    ];
    rows(&head, &results.new, |whose, runs| {
        let rate = results.new.spread(whose, |run| run.per_second)?;
        let mut row = vec![format!("{:.0}", rate.median), reach(rate, 0)];
        row.extend(latencies(|per_mille| {
            results.new.spread(whose, |run| ms(&run.latencies, per_mille))
        }));
        row.push(sum(runs, |run| run.failures));
        Some(row)
    })
}

fn between(results: &Results) -> Vec<Row> {
    let head = [
        "what stands between",
        "CPU µs/connection",
        "least to most",
        "resident MiB",
        "its share",
        "a worker's resident MiB",
        "its share",
        "connections, most over least",
    ];
    rows(&head, &results.new, |whose, runs| {
        let median = |figure: fn(&New) -> f64| {
            results.new.spread(whose, figure).map_or(f64::NAN, |it| it.median)
        };
        let mut row = match runs.iter().all(|run| run.cpu_us.is_some()) {
            true => {
                let cpu = |run: &New| run.cpu_us.unwrap_or(f64::NAN);
                let cpu = results.new.spread(whose, cpu)?;
                vec![format!("{:.2}", cpu.median), reach(cpu, 2)]
            }
            false => vec!["none".to_owned(), String::new()],
        };
        let memory: [fn(&New) -> &Resident; 2] =
            [|run| &run.memory.dispatchers, |run| &run.memory.worker];
        for of in memory {
            let resident = results.new.spread(whose, |run| of(run).resident)?;
            let proportional = results.new.spread(whose, |run| of(run).proportional)?;
            row.extend([resident, proportional].map(|it| format!("{:.1}", it.median)));
        }
        row.push(ratio(median(|run| run.unevenness)));
        Some(row)
    })
}

fn kept(results: &Results) -> Vec<Row> {
    let even = format!("{KEPT_CONNECTIONS} connections, most over least");
    let head = ["kept connections", "requests/s", "least to most", &even, "worst round", "failed"];
    rows(&head, &results.kept, |whose, runs| {
        let rate = results.kept.spread(whose, |run| run.requests_per_second)?;
        let uneven = results.kept.spread(whose, |run| run.unevenness)?;
        Some(vec![
            format!("{:.0}", rate.median),
            reach(rate, 0),
            ratio(uneven.median),
            ratio(uneven.most),
            sum(runs, |run| run.failures),
        ])
    })
}

fn blocking(results: &Results) -> Vec<Row> {
    let share = measure::BLOCKING_PER_MILLE as f64 / 10.0;
    let time = measure::BLOCKING_TIME.as_millis();
    let title = format!("{share} % block for {time} ms");
    let head = [&title, "other requests", "p50 ms", "p99", "least to most", "p99.9", "failed"];
    rows(&head, &results.blocking, |whose, runs| {
        let within =
            |per_mille| results.blocking.spread(whose, |run| ms(&run.latencies, per_mille));
        let [p50, p99, p99_9] = latencies(within);
        Some(vec![
            sum(runs, |run| run.latencies.count() as u64),
            p50,
            p99,
            reach(within(990)?, 1),
            p99_9,
            sum(runs, |run| run.failures),
        ])
    })
}

fn stall(results: &Results) -> Vec<Row> {
    let title = format!("one of 4 blocked for {} s", measure::STALL_TIME.as_secs());
    let above = BOUNDS_MS.map(|bound| format!("longer than {bound} ms"));
    let head = [
        &title,
        "meanwhile opened",
        "longest wait for another, ms",
        "waited for the blocked one",
        "longest wait of all, ms",
        "worst round",
        &above[0],
        &above[1],
        "failed",
    ];
    rows(&head, &results.stall, |whose, runs| {
        let others =
            results.stall.spread(whose, |run| run.of_others.longest().as_secs_f64() * 1e3)?;
        let all = results.stall.spread(whose, |run| run.waits.longest().as_secs_f64() * 1e3)?;
        let above = BOUNDS_MS.map(|bound| {
            let bound = std::time::Duration::from_millis(bound);
            sum(runs, |run| run.waits.longer_than(bound) as u64)
        });
        let mut row = vec![
            sum(runs, |run| run.waits.count() as u64),
            format!("{:.1}", others.median),
            sum(runs, |run| run.of_blocked.count() as u64),
            format!("{:.1}", all.median),
            format!("{:.1}", all.most),
        ];
        row.extend(above);
        row.push(sum(runs, |run| run.failures));
        Some(row)
    })
}

/// A row for each who was measured, its name first.
fn rows<T>(
    head: &[&str],
    runs: &Runs<Contestant, T>,
    row: impl Fn(Contestant, &[T]) -> Option<Row>,
) -> Vec<Row> {
    let mut rows = vec![head.iter().map(|name| (*name).to_owned()).collect()];
    rows.extend(runs.all().filter_map(|(whose, runs)| {
        let mut cells = vec![whose.name().to_owned()];
        cells.extend(row(whose, runs)?);
        Some(cells)
    }));
    rows
}

/// The p50, p99 and p99.9.
fn latencies(within: impl Fn(usize) -> Option<Spread>) -> [String; 3] {
    [500, 990, 999].map(|per_mille| {
        within(per_mille).map_or_else(String::new, |it| format!("{:.1}", it.median))
    })
}

fn sum<T>(runs: &[T], count: impl Fn(&T) -> u64) -> String {
    runs.iter().map(count).sum::<u64>().to_string()
}

fn reach(spread: Spread, digits: usize) -> String {
    format!("{:.digits$} to {:.digits$}", spread.least, spread.most)
}

/// Most over least.
fn ratio(value: f64) -> String {
    if value.is_infinite() { "one has none".into() } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_not_printed() {
        let nothing = Results::default();
        let tables = [new(&nothing), between(&nothing), kept(&nothing), blocking(&nothing)];
        assert!(tables.iter().chain([&stall(&nothing)]).all(|rows| rows.len() == 1));
    }

    #[test]
    fn a_worker_without_any_is_said_in_words() {
        assert_eq!(ratio(1.049), "1.05");
        assert_eq!(ratio(f64::INFINITY), "one has none");
    }
}
