//! Tables, as Markdown that also reads well in a terminal.

use std::io::{self, Write};

/// One cell a column.
pub(crate) type Row = Vec<String>;

/// What a figure has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    pub(crate) fn verdict(self, measured: f64) -> &'static str {
        let met = match self {
            Self::AtLeast(bound) => measured >= bound,
            Self::AtMost(bound) => measured <= bound,
        };
        if met { "met" } else { "missed" }
    }

    /// The verdict, and by how much of the bound.
    pub(crate) fn verdict_and_margin(self, measured: f64) -> String {
        let (Self::AtLeast(bound) | Self::AtMost(bound)) = self;
        let percent = (measured - bound).abs() / bound * 100.0;
        let verdict = self.verdict(measured);
        if percent.is_finite() { format!("{verdict} by {percent:.0} %") } else { verdict.into() }
    }

    pub(crate) fn describe(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("at least {bound}"),
            Self::AtMost(bound) => format!("at most {bound}"),
        }
    }
}

/// Prints a table. The first row is its head; the first column is text, the others are set
/// flush right.
pub(crate) fn print(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let columns = rows.first().map_or(0, Vec::len);
    let length = |text: &String| text.chars().count();
    let width = |column: usize| rows.iter().map(|row| length(&row[column])).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    for (number, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => write!(out, "| {cell:<width$} |")?,
                _ => write!(out, " {cell:>width$} |")?,
            }
        }
        writeln!(out)?;
        if number == 0 {
            print_rule(out, &widths)?;
        }
    }
    Ok(())
}

fn print_rule(out: &mut impl Write, widths: &[usize]) -> io::Result<()> {
    for (column, width) in widths.iter().enumerate() {
        match column {
            0 => write!(out, "|{}|", "-".repeat(width + 2))?,
            _ => write!(out, "{}:|", "-".repeat(width + 1))?,
        }
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_at_its_bound() {
        assert_eq!(Target::AtLeast(1.15).verdict(1.15), "met");
        assert_eq!(Target::AtLeast(1.15).verdict(1.14), "missed");
        assert_eq!(Target::AtMost(0.6).verdict(0.6), "met");
        assert_eq!(Target::AtMost(0.6).verdict(0.61), "missed");
        assert_eq!(Target::AtMost(8.0).verdict(f64::NAN), "missed");
    }

    #[test]
    fn a_margin_is_a_share_of_the_bound() {
        assert_eq!(Target::AtLeast(2.0).verdict_and_margin(1.5), "missed by 25 %");
        assert_eq!(Target::AtMost(50.0).verdict_and_margin(5.0), "met by 90 %");
        assert_eq!(Target::AtMost(1.05).verdict_and_margin(f64::INFINITY), "missed");
    }

    #[test]
    fn columns_line_up() {
        let rows = [["primary", "µs"], ["Node", "27.50"]].map(|row| row.map(str::to_owned).into());
        let mut out = Vec::new();
        print(&mut out, &rows).unwrap();
        let expected = "\
| primary |    µs |
|---------|------:|
| Node    | 27.50 |
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
