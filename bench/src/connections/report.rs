//! Prints the result, as Markdown that also reads well in a terminal.

use std::io::{self, Write};

use super::figures::{Figures, Run};
use super::subject::Subject;
use crate::spread::Spread;
use crate::table::{self, Row, Target};

/// How it was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    pub(crate) connections: u16,
    pub(crate) workers: u32,
}

/// Prints everything.
pub(crate) fn print(
    out: &mut impl Write,
    machine: &str,
    settings: &Settings,
    figures: &Figures,
) -> io::Result<()> {
    let Settings { rounds, seconds, connections, workers } = settings;
    writeln!(out, "{machine}")?;
    writeln!(
        out,
        "{workers} workers, one new connection per request, {connections} at a time; medians of \
         {rounds} rounds of {seconds} s\n"
    )?;
    table::print(out, &subject_rows(figures))?;
    writeln!(out)?;
    table::print(out, &target_rows(figures))
}

fn subject_rows(figures: &Figures) -> Vec<Row> {
    let head = [
        "primary",
        "requests/s",
        "least to most",
        "p99 ms",
        "errors",
        "primary CPU µs/connection",
        "by ticks",
        "resident MiB",
        "peak MiB",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(Subject::ALL.map(|subject| subject_row(figures, subject)));
    rows
}

fn subject_row(figures: &Figures, subject: Subject) -> Row {
    let median = |figure: fn(&Run) -> f64| figures.spread(subject, figure).median;
    let rate = figures.spread(subject, Run::requests_per_second);
    vec![
        subject.name().to_owned(),
        format!("{:.0}", rate.median),
        format!("{:.0} to {:.0}", rate.least, rate.most),
        format!("{:.1}", median(Run::latency_p99_ms)),
        figures.errors(subject).to_string(),
        format!("{:.2}", median(Run::cpu_per_connection_us)),
        format!("{:.2}", median(Run::ticked_per_connection_us)),
        format!("{:.1}", median(Run::resident_mib)),
        format!("{:.1}", median(Run::peak_mib)),
    ]
}

fn target_rows(figures: &Figures) -> Vec<Row> {
    use Subject::{ForkyardRoundRobin, ForkyardShared, NodeRoundRobin};
    let rate = |subject| figures.ratio(subject, NodeRoundRobin, Run::requests_per_second);
    let cpu = figures.ratio(ForkyardRoundRobin, NodeRoundRobin, Run::cpu_per_connection_us);
    let memory = |subject| figures.spread(subject, Run::resident_mib);
    vec![
        ["Forkyard against Node's round-robin", "measured", "least to most", "target", ""]
            .map(str::to_owned)
            .to_vec(),
        target_row("requests/s, round-robin", rate(ForkyardRoundRobin), Target::AtLeast(1.15)),
        target_row("requests/s, shared", rate(ForkyardShared), Target::AtLeast(1.6)),
        target_row("primary CPU per connection, round-robin", cpu, Target::AtMost(0.6)),
        target_row("resident MiB, round-robin", memory(ForkyardRoundRobin), Target::AtMost(8.0)),
        target_row("resident MiB, shared", memory(ForkyardShared), Target::AtMost(8.0)),
    ]
}

fn target_row(name: &str, measured: Spread, target: Target) -> Row {
    let Spread { median, least, most } = measured;
    vec![
        name.to_owned(),
        format!("{median:.2}"),
        format!("{least:.2} to {most:.2}"),
        target.describe(),
        target.verdict(median).to_owned(),
    ]
}
