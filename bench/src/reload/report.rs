//! Prints the result.

use std::io::{self, Write};
use std::time::Duration;

use super::contestant::Contestant;
use super::results::{Results, RollKind, Start, describe};
use super::roll::Circumstances;
use super::tally::Tally;
use super::{Args, ROLLED_WORKERS, under_load};
use crate::client::{DEADLINE, TIME_OUT};
use crate::spread::Spread;
use crate::table::{self, Row, Target};

/// The target for failures holds for so much.
const ENOUGH_REQUESTS: u64 = 1_000_000;
const ENOUGH_RELOADS: usize = 50;

/// Prints everything that was measured.
pub(crate) fn print(
    out: &mut impl Write,
    machine: &str,
    args: &Args,
    results: &Results,
) -> io::Result<()> {
    writeln!(out, "{machine}")?;
    writeln!(
        out,
        "{} workers, {} clients, {} rounds; deadline {} s, time-out {} s; times in ms{}",
        args.workers,
        args.clients,
        args.rounds,
        DEADLINE.as_secs(),
        TIME_OUT.as_secs(),
        describe_arguments(&args.forkyard_args)
    )?;
    let tables = [failures(results), pauses(results), starts(results), rolls(results)];
    for rows in tables.into_iter().chain([upgrades(results), targets(results)]) {
        if rows.len() > 1 {
            writeln!(out)?;
            table::print(out, &rows)?;
        }
    }
    print_examples(out, results)
}

fn describe_arguments(arguments: &[String]) -> String {
    match arguments {
        [] => String::new(),
        _ => format!("; forkyard run {}", arguments.join(" ")),
    }
}

/// Of wrong answers and failures of the client's own side, which should not happen.
fn print_examples(out: &mut impl Write, results: &Results) -> io::Result<()> {
    for contestant in Contestant::ALL {
        if let Some(example) = results.all_under_load(contestant).0.example {
            writeln!(out, "\n{}: {example}", contestant.name())?;
        }
    }
    Ok(())
}

fn failures(results: &Results) -> Vec<Row> {
    let mut rows = head(&[
        "reloads under load",
        "clients",
        "requests",
        "reloads",
        "failed",
        "per 100,000",
        "reset",
        "refused",
        "timed out",
        "wrong",
        "late",
        "other",
    ]);
    for ((reuse, contestant), runs) in &results.under_load {
        let (tally, reloads) = sum_up(runs);
        let failures = tally.failures;
        let per_100_000 = failures.total() as f64 * 1e5 / tally.requests as f64;
        let mut row = vec![contestant.name().to_owned(), describe(*reuse).to_owned()];
        row.extend([tally.requests, reloads as u64, failures.total()].map(|it| it.to_string()));
        row.push(format!("{per_100_000:.1}"));
        let kinds = [failures.reset, failures.refused, failures.timed_out, failures.wrong];
        row.extend(
            kinds.into_iter().chain([failures.late, failures.other]).map(|it| it.to_string()),
        );
        rows.push(row);
    }
    rows
}

fn pauses(results: &Results) -> Vec<Row> {
    let mut rows = head(&[
        "what clients saw of it",
        "clients",
        "longest wait, median",
        "of all",
        "longest without an answer, median",
        "of all",
        "a reload",
        "least to most",
    ]);
    for ((reuse, contestant), runs) in &results.under_load {
        let waits = spread(runs.iter().map(|run| run.tally.longest_wait));
        let gaps = spread(runs.iter().map(|run| run.tally.longest_gap));
        let reloads = spread(runs.iter().flat_map(|run| run.reloads.iter().copied()));
        let (Some(waits), Some(gaps), Some(reloads)) = (waits, gaps, reloads) else { continue };
        let mut row = vec![contestant.name().to_owned(), describe(*reuse).to_owned()];
        row.extend([waits.median, waits.most, gaps.median, gaps.most].map(|ms| format!("{ms:.1}")));
        row.extend([format!("{:.0}", reloads.median), reach(reloads, 0)]);
        rows.push(row);
    }
    rows
}

fn starts(results: &Results) -> Vec<Row> {
    let head = head(&[
        "until the port answers, 1 worker",
        "median",
        "least to most",
        "times",
        "longer than the bare start",
    ]);
    let rows = results.starts.iter().filter_map(|(start, times)| {
        let spread = spread(times.iter().copied())?;
        let (name, more) = match start {
            Start::Bare => (start.name(), String::new()),
            _ => {
                let more = results.more_than_bare(*start)?;
                (format!("after kill -9: {}", start.name()), format!("{:.1}", more.median))
            }
        };
        let median = format!("{:.1}", spread.median);
        Some(vec![name, median, reach(spread, 1), times.len().to_string(), more])
    });
    head.into_iter().chain(rows).collect()
}

fn rolls(results: &Results) -> Vec<Row> {
    let mut rows = head(&["a reload takes", "workers", "median", "least to most", "times"]);
    for (kind, times) in &results.rolls {
        let Some(spread) = spread(times.iter().copied()) else { continue };
        rows.push(vec![
            format!("{}, {}", kind.contestant.name(), kind.circumstances.name()),
            kind.workers.to_string(),
            format!("{:.0}", spread.median),
            reach(spread, 0),
            times.len().to_string(),
        ]);
    }
    if let Some(ping) = spread(results.pm2_ping.iter().copied()) {
        rows.push(vec![
            "(PM2's command alone: `pm2 ping`)".into(),
            "any".into(),
            format!("{:.0}", ping.median),
            reach(ping, 0),
            results.pm2_ping.len().to_string(),
        ]);
    }
    rows
}

fn upgrades(results: &Results) -> Vec<Row> {
    let mut rows =
        head(&["upgrade of the primary", "requests", "failed", "longest wait, median", "of all"]);
    let (without, with) = results.upgrades.iter().map(|run| (&run.without, &run.with)).unzip();
    rows.extend(upgrade_row("without one, for comparison", without));
    rows.extend(upgrade_row("with one", with));
    if let Some(pause) = spread(results.upgrades.iter().map(|run| run.own_account)) {
        let (median, most) = (format!("{:.1}", pause.median), format!("{:.1}", pause.most));
        rows.push(vec!["by the primary's own account".into(), "".into(), "".into(), median, most]);
    }
    rows
}

fn upgrade_row(name: &str, tallies: Vec<&Tally>) -> Option<Row> {
    let waits = spread(tallies.iter().map(|tally| tally.longest_wait))?;
    let mut sum = Tally::default();
    tallies.into_iter().for_each(|tally| sum.add(tally.clone()));
    let counts = [sum.requests, sum.failures.total()].map(|count| count.to_string());
    let waits = [waits.median, waits.most].map(|wait| format!("{wait:.1}"));
    Some([name.to_owned()].into_iter().chain(counts).chain(waits).collect())
}

/// Targets of which all that they compare was measured.
fn targets(results: &Results) -> Vec<Row> {
    let mut rows = head(&["Forkyard", "measured", "target", ""]);
    rows.extend(failures_target(results));
    if let Some(more) = results.more_than_bare(Start::AfterCrash(Contestant::Forkyard)) {
        rows.push(target("answers after a crash, longer than the bare start", more.median, 5.0));
    }
    let spare = results.starts.get(&Start::FromSpare);
    if let Some(spare) = spare.and_then(|times| spread(times.iter().copied())) {
        rows.push(target("answers after a crash with a spare", spare.median, 10.0));
    }
    let [.., most_workers] = ROLLED_WORKERS;
    for circumstances in Circumstances::ALL {
        let roll = |contestant| {
            let kind = RollKind { workers: most_workers, circumstances, contestant };
            spread(results.rolls.get(&kind)?.iter().copied())
        };
        if let (Some(ours), Some(theirs)) = (roll(Contestant::Forkyard), roll(Contestant::Pm2)) {
            let circumstances = circumstances.name();
            let name = format!("reload of {most_workers} workers, {circumstances}, against PM2's");
            rows.push(target(&name, ours.median, theirs.median));
        }
    }
    if let Some(pause) = spread(results.upgrades.iter().map(|run| run.with.longest_wait)) {
        rows.push(target("longest wait of all during upgrades", pause.most, 50.0));
    }
    rows
}

fn failures_target(results: &Results) -> Option<Row> {
    let (tally, reloads) = results.all_under_load(Contestant::Forkyard);
    if tally.requests == 0 {
        return None;
    }
    let failed = tally.failures.total();
    let is_enough = tally.requests >= ENOUGH_REQUESTS && reloads >= ENOUGH_RELOADS;
    let verdict = match (failed, is_enough) {
        (0, true) => "met",
        (0, false) => "too few to say",
        (_, _) => "missed",
    };
    Some(vec![
        format!("failures in {} requests and {reloads} reloads", tally.requests),
        failed.to_string(),
        format!("0 in {ENOUGH_REQUESTS} and {ENOUGH_RELOADS}"),
        verdict.to_owned(),
    ])
}

fn target(name: &str, measured: f64, bound: f64) -> Row {
    let verdict = Target::AtMost(bound).verdict(measured);
    let bound = format!("at most {bound:.1}");
    vec![name.to_owned(), format!("{measured:.1}"), bound, verdict.to_owned()]
}

fn head(names: &[&str]) -> Vec<Row> {
    vec![names.iter().map(|name| (*name).to_owned()).collect()]
}

fn sum_up(runs: &[under_load::Outcome]) -> (Tally, usize) {
    let mut tally = Tally::default();
    runs.iter().for_each(|run| tally.add(run.tally.clone()));
    (tally, runs.iter().map(|run| run.reloads.len()).sum())
}

/// In milliseconds.
fn spread(times: impl Iterator<Item = Duration>) -> Option<Spread> {
    Spread::of(times.map(|time| time.as_secs_f64() * 1e3))
}

fn reach(spread: Spread, digits: usize) -> String {
    format!("{:.digits$} to {:.digits$}", spread.least, spread.most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Reuse;
    use crate::reload::tally::Failures;

    fn results(requests: u64, reloads: usize, reset: u64) -> Results {
        let failures = Failures { reset, ..Failures::default() };
        let tally = Tally { requests, failures, ..Tally::default() };
        let run = under_load::Outcome { tally, reloads: vec![Duration::ZERO; reloads] };
        let runs = [((Reuse::Close, Contestant::Forkyard), vec![run.clone()])];
        Results { under_load: runs.into(), ..Results::default() }
    }

    fn verdict(results: &Results) -> String {
        failures_target(results).unwrap().pop().unwrap()
    }

    #[test]
    fn no_failure_is_a_target_met_only_if_enough_was_tried() {
        assert_eq!(verdict(&results(ENOUGH_REQUESTS, ENOUGH_RELOADS, 0)), "met");
        assert_eq!(verdict(&results(ENOUGH_REQUESTS - 1, ENOUGH_RELOADS, 0)), "too few to say");
        assert_eq!(verdict(&results(ENOUGH_REQUESTS, ENOUGH_RELOADS - 1, 0)), "too few to say");
        assert_eq!(verdict(&results(ENOUGH_REQUESTS, ENOUGH_RELOADS, 1)), "missed");
        assert_eq!(verdict(&results(10, 1, 1)), "missed");
    }

    #[test]
    fn what_was_not_measured_is_not_printed() {
        let nothing = Results::default();
        assert_eq!(targets(&nothing).len(), 1);
        assert_eq!(rolls(&nothing).len(), 1);
        assert_eq!(upgrades(&nothing).len(), 1);
    }
}
