//! What Forkyard has to reach, and whether it did.

use super::contestant::Contestant;
use super::measure::{Kept, New, Stall};
use super::results::{Results, p99_ms};
use crate::spread::Spread;
use crate::table::{Row, Target};

/// What is equal within noise.
const EQUAL: f64 = 0.97;

/// Whose 1000 kept connections have to be even. `shared` leaves it to chance and `ip-hash` to
/// the addresses.
const EVEN: [Contestant; 4] = [
    Contestant::ForkyardAuto,
    Contestant::ForkyardKernel,
    Contestant::ForkyardRoundRobin,
    Contestant::ForkyardLeastConnections,
];

/// A row for each target of which all that it compares was measured, below a head.
pub(crate) fn rows(results: &Results) -> Vec<Row> {
    let head = ["Forkyard", "measured", "least to most", "target", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(rates(results).into_iter().chain(cpu(results)).flatten());
    for contestant in EVEN {
        let uneven = results.kept.spread(contestant, |run| run.unevenness);
        let name = format!("{}: kept connections, most over least", policy(contestant));
        rows.extend(uneven.map(|uneven| row(&name, uneven, Target::AtMost(1.05))));
    }
    for contestant in [Contestant::ForkyardAuto, Contestant::ForkyardRoundRobin] {
        rows.extend(stall(results, contestant).into_iter().flatten());
    }
    rows.extend(blocking(results));
    rows.extend(kept_rate(results));
    rows
}

fn rates(results: &Results) -> [Option<Row>; 2] {
    use Contestant::{ForkyardAuto, NodeRoundRobin, Pm2};
    let over = |base, name, bound| {
        let ratio = results.new.ratio(ForkyardAuto, base, |run: &New| run.per_second)?;
        Some(row(name, ratio, Target::AtLeast(bound)))
    };
    [
        over(NodeRoundRobin, "auto: new connections/s, over Node's round-robin", 1.9),
        over(Pm2, "auto: new connections/s, over PM2", 3.5),
    ]
}

fn cpu(results: &Results) -> [Option<Row>; 2] {
    use Contestant::{ForkyardKernel, ForkyardRoundRobin, NodeRoundRobin};
    let cpu = |run: &New| run.cpu_us.unwrap_or(f64::NAN);
    let kernel = results.new.spread(ForkyardKernel, cpu);
    let ratio = results.new.ratio(ForkyardRoundRobin, NodeRoundRobin, cpu);
    let (in_kernel, by_primary) = (
        "kernel: primary CPU µs/connection",
        "round-robin: primary CPU/connection, over Node's round-robin",
    );
    [
        kernel.map(|cpu| row(in_kernel, cpu, Target::AtMost(1.0))),
        ratio.map(|ratio| row(by_primary, ratio, Target::AtMost(0.4))),
    ]
}

/// A connection that was rescued is answered by another worker than the blocked one, and from
/// outside it looks like one that was dealt there. So the first of these is stricter than meant.
fn stall(results: &Results, contestant: Contestant) -> [Option<Row>; 2] {
    let policy = policy(contestant);
    let longest = |of: fn(&Stall) -> f64, what: &str, bound| {
        let longest = results.stall.spread(contestant, of)?;
        Some(row(&format!("{policy}: {what}"), longest, Target::AtMost(bound)))
    };
    [
        longest(
            |run| run.of_others.longest().as_secs_f64() * 1e3,
            "one worker blocked, longest wait for another, ms",
            50.0,
        ),
        longest(
            |run| run.waits.longest().as_secs_f64() * 1e3,
            "one worker blocked, longest wait of all, ms",
            100.0,
        ),
    ]
}

/// No worse than a shared socket within noise: not beyond the worst of its rounds.
fn blocking(results: &Results) -> Option<Row> {
    use Contestant::{ForkyardAuto, ForkyardShared};
    let p99 = |contestant| results.blocking.spread(contestant, |run| p99_ms(&run.latencies));
    let (auto, shared) = (p99(ForkyardAuto)?, p99(ForkyardShared)?);
    let bound = (shared.most * 10.0).ceil() / 10.0;
    Some(row("auto: p99 while some requests block, ms; shared's", auto, Target::AtMost(bound)))
}

fn kept_rate(results: &Results) -> Option<Row> {
    use Contestant::{Bare, ForkyardAuto};
    let rate = |run: &Kept| run.requests_per_second;
    let ratio = results.kept.ratio(ForkyardAuto, Bare, rate)?;
    Some(row("auto: kept-alive requests/s, over bare workers", ratio, Target::AtLeast(EQUAL)))
}

fn policy(contestant: Contestant) -> &'static str {
    contestant.forkyard_policy().unwrap_or(contestant.name())
}

fn row(name: &str, measured: Spread, target: Target) -> Row {
    let Spread { median, least, most } = measured;
    vec![
        name.to_owned(),
        format!("{median:.2}"),
        format!("{least:.2} to {most:.2}"),
        target.describe(),
        target.verdict_and_margin(median),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::latencies::Latencies;
    use std::time::Duration;

    fn kept(requests_per_second: f64, unevenness: f64) -> Kept {
        Kept { unevenness, requests_per_second, failures: 0, example: None }
    }

    fn verdicts(results: &Results) -> Vec<(String, String)> {
        let rows = rows(results).into_iter().skip(1);
        rows.map(|row| (row[0].clone(), row[4].clone())).collect()
    }

    #[test]
    fn what_was_not_measured_has_no_verdict() {
        assert_eq!(verdicts(&Results::default()), []);
        let mut results = Results::default();
        results.kept.add(Contestant::Bare, kept(100.0, 1.0));
        assert_eq!(verdicts(&results), []);
    }

    #[test]
    fn kept_connections_are_compared_with_bare_workers() {
        let mut results = Results::default();
        results.kept.add(Contestant::Bare, kept(100.0, 1.0));
        results.kept.add(Contestant::ForkyardAuto, kept(48.5, 2.1));
        let name = |text: &str| text.to_owned();
        let expected = [
            (name("auto: kept connections, most over least"), name("missed by 100 %")),
            (name("auto: kept-alive requests/s, over bare workers"), name("missed by 50 %")),
        ];
        assert_eq!(verdicts(&results), expected);
    }

    #[test]
    fn a_wait_for_the_blocked_worker_spoils_only_one_of_two_verdicts() {
        let ms = |times: &[u64]| Latencies::of(times.iter().map(|ms| Duration::from_millis(*ms)));
        let run = Stall {
            waits: ms(&[10, 200]),
            of_others: ms(&[10]),
            of_blocked: ms(&[200]),
            failures: 0,
            example: None,
        };
        let mut results = Results::default();
        results.stall.add(Contestant::ForkyardAuto, run);
        let verdicts: Vec<_> = verdicts(&results).into_iter().map(|(_, verdict)| verdict).collect();
        assert_eq!(verdicts, ["met by 80 %", "missed by 100 %"]);
    }
}
