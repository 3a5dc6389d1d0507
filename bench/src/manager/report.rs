//! Prints the result.

use std::io::{self, Write};
use std::time::Duration;

use super::contestant::Contestant;
use super::growth::{Growth, Held, Memory, SIZES, TIMED};
use super::{Args, Results};
use crate::spread::Spread;
use crate::table::{self, Row, Target};

/// The most that an app's primary may have resident, in MB.
const MOST_RESIDENT: f64 = 5.0;

/// Below that share of the rate the worker was held up.
const FULL_RATE: f64 = 0.98;

/// Prints everything that was measured.
pub(crate) fn print(
    out: &mut impl Write,
    machine: &str,
    args: &Args,
    results: &Results,
) -> io::Result<()> {
    writeln!(out, "{machine}")?;
    writeln!(out, "{} rounds; medians, in brackets from least to most", args.rounds)?;
    for rows in [memory(results), commands(results), floods(args, results), targets(results)] {
        if rows.len() > 1 {
            writeln!(out)?;
            table::print(out, &rows)?;
        }
    }
    Ok(())
}

fn memory(results: &Results) -> Vec<Row> {
    let mut rows = head(&[
        "memory of all managing processes, MB",
        "apps",
        "RSS",
        "PSS",
        "RSS after `ls`",
        "PSS after `ls`",
    ]);
    for size in SIZES {
        for contestant in Contestant::ALL {
            let figure = |figure: fn(&Memory) -> f64| {
                let spread = Spread::of(memories(results, contestant, size).map(figure));
                shown(spread, 1)
            };
            let name = contestant.name().to_owned();
            rows.push(vec![
                name,
                size.to_string(),
                figure(|memory| resident(memory.started)),
                figure(|memory| proportional(memory.started)),
                figure(|memory| resident(memory.listed)),
                figure(|memory| proportional(memory.listed)),
            ]);
        }
    }
    rows
}

fn memories(
    results: &Results,
    contestant: Contestant,
    size: usize,
) -> impl Iterator<Item = &Memory> {
    let all = results.growth.of(contestant).iter().flat_map(|growth| &growth.memory);
    all.filter(move |memory| memory.apps == size)
}

fn resident(held: Held) -> f64 {
    held.resident.0 as f64 / 1e6
}

fn proportional(held: Held) -> f64 {
    held.proportional.0 as f64 / 1e6
}

fn commands(results: &Results) -> Vec<Row> {
    let title = format!("commands with {TIMED} apps, ms");
    let mut rows =
        head(&[&title, "ls", "stop of one", "start of one", "start, until it answers", "times"]);
    for contestant in Contestant::ALL {
        let runs = results.growth.of(contestant);
        let time = |times: fn(&Growth) -> Vec<Duration>| {
            let all = runs.iter().flat_map(times);
            shown(Spread::of(all.map(|time| time.as_secs_f64() * 1e3)), 0)
        };
        let started = |growth: &Growth| growth.starts.len();
        let times = runs.iter().map(|growth| growth.lists.len()).sum::<usize>();
        rows.push(vec![
            contestant.name().to_owned(),
            time(|growth| growth.lists.clone()),
            time(|growth| growth.stops.clone()),
            time(|growth| growth.starts.iter().map(|started| started.told).collect()),
            time(|growth| growth.starts.iter().map(|started| started.answered).collect()),
            format!("{times}, {}", runs.iter().map(started).sum::<usize>()),
        ]);
    }
    rows
}

fn floods(args: &Args, results: &Results) -> Vec<Row> {
    let title = format!("{} lines/s for {} s", args.lines, args.seconds);
    let mut rows = head(&[
        &title,
        "lines/s written",
        "in the log",
        "all there after, ms",
        "CPU, % of a core",
        "rate",
    ]);
    for contestant in Contestant::ALL {
        let runs = &results.flood;
        let rate = runs.spread(contestant, |flood| flood.lines_per_second);
        let is_full = rate.is_some_and(|rate| rate.least >= f64::from(args.lines) * FULL_RATE);
        let late = runs.spread(contestant, |flood| flood.late.as_secs_f64() * 1e3);
        rows.push(vec![
            contestant.name().to_owned(),
            shown(rate, 0),
            shown(runs.spread(contestant, |flood| flood.logged as f64), 0),
            shown(late, 0),
            shown(runs.spread(contestant, |flood| flood.cpu * 100.0), 1),
            if is_full { "reached" } else { "missed" }.to_owned(),
        ]);
    }
    rows
}

fn targets(results: &Results) -> Vec<Row> {
    let mut rows = head(&["Forkyard", "measured", "target", ""]);
    let target = Target::AtMost(MOST_RESIDENT);
    let ours = |size| memories(results, Contestant::Forkyard, size);
    for size in SIZES {
        let of_one = |memory: &Memory| resident(memory.started) / size as f64;
        if let Some(spread) = Spread::of(ours(size).map(of_one)) {
            rows.push(vec![
                format!("MB resident for each of {size} apps"),
                format!("{:.1}", spread.median),
                target.describe(),
                target.verdict(spread.median).to_owned(),
            ]);
        }
    }
    rows
}

fn head(names: &[&str]) -> Vec<Row> {
    vec![names.iter().map(|name| (*name).to_owned()).collect()]
}

fn shown(spread: Option<Spread>, digits: usize) -> String {
    let text = |Spread { median, least, most }: Spread| {
        format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
    };
    spread.map(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Bytes;

    #[test]
    fn the_target_is_for_each_app() {
        let mut results = Results::default();
        let started = Held { resident: Bytes(30_000_000), ..Held::default() };
        let memory = |apps| Memory { apps, started, ..Memory::default() };
        let growth = Growth { memory: vec![memory(5), memory(20)], ..Growth::default() };
        results.growth.add(Contestant::Forkyard, growth);
        let verdicts: Vec<_> = targets(&results)[1..].iter().map(|row| row[3].clone()).collect();
        assert_eq!(verdicts, ["missed", "met"]);
    }

    #[test]
    fn what_was_not_measured_has_no_figure() {
        let nothing = Results::default();
        assert_eq!(targets(&nothing).len(), 1);
        assert!(commands(&nothing).iter().skip(1).all(|row| row[1].is_empty()));
    }
}
