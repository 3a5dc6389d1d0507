//! The tables.

use std::io::{self, Write};
use std::time::Duration;

use super::cost::Shape;
use super::measure::Figures;
use super::world::Scenario;
use crate::table::{self, Row};

/// How a policy, or a variant of one, fared.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) figures: Figures,
}

/// Prints a scenario with all that was run in it.
pub(super) fn print(out: &mut impl Write, scenario: &Scenario, lines: &[Line]) -> io::Result<()> {
    writeln!(out, "{}:\n", describe(scenario))?;
    let head = [
        "",
        "answered/s",
        "p50",
        "p99",
        "p99.9",
        "most by fewest",
        "primary, % of a core",
        "through it/s",
        "turned away",
    ];
    let rows = lines.iter().map(row);
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned).into()).chain(rows).collect();
    table::print(out, &rows)?;
    writeln!(out)
}

fn row(line: &Line) -> Row {
    let figures = &line.figures;
    vec![
        line.name.clone(),
        number(figures.answered),
        time(figures.p50),
        time(figures.p99),
        time(figures.p999),
        spread(figures.spread),
        format!("{:.1}", figures.primary * 100.0),
        number(figures.handed_over),
        figures.turned_away.to_string(),
    ]
}

fn spread(spread: Option<f64>) -> String {
    match spread {
        None => String::new(),
        Some(spread) if spread.is_infinite() => "one has none".to_owned(),
        Some(spread) => format!("{spread:.2}"),
    }
}

fn describe(scenario: &Scenario) -> String {
    let traffic = &scenario.traffic;
    let mut text =
        format!("**{} workers, {} connections/s", scenario.workers, number(traffic.rate));
    if traffic.requests > 1 {
        let think = time(traffic.think);
        text += &format!(" of {} requests, {think} between two", traffic.requests);
    }
    let cost = &scenario.cost;
    text += &format!(", {} of {}", time(cost.mean), shape_name(cost.shape));
    if cost.blocking_share > 0.0 {
        let share = cost.blocking_share * 100.0;
        text += &format!(", {share} % block for {}", time(cost.blocking));
    }
    text + &format!("; load {:.2}**", scenario.load())
}

fn shape_name(shape: Shape) -> &'static str {
    match shape {
        Shape::Constant => "constant cost",
        Shape::Exponential => "exponential cost",
        Shape::Pareto => "heavy-tailed cost",
    }
}

/// Three significant digits, with a unit that suits.
pub(super) fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{} µs", digits(micros)),
        1e3..1e6 => format!("{} ms", digits(micros / 1e3)),
        _ => format!("{} s", digits(micros / 1e6)),
    }
}

fn digits(value: f64) -> String {
    let text = match value {
        ..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => return format!("{value:.0}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(super) fn number(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_that_suits() {
        for (micros, expected) in [
            (0, "0 µs"),
            (200, "200 µs"),
            (1_000, "1 ms"),
            (1_234, "1.23 ms"),
            (12_345, "12.3 ms"),
            (123_456, "123 ms"),
            (1_500_000, "1.5 s"),
        ] {
            assert_eq!(time(Duration::from_micros(micros)), expected);
        }
    }
}
