//! Draws the result, once for light pages and once for dark ones.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::contestant::Contestant;
use super::results::{Results, p99_ms};

const WIDTH: u32 = 960;
const NAMES_WIDTH: u32 = 220;
const HEAD_HEIGHT: u32 = 34;
const ROW_HEIGHT: u32 = 24;
const BAR_HEIGHT: i32 = 14;

/// How much of a panel its longest bar takes; the figure stands behind it.
const LONGEST_BAR: f64 = 0.72;

const FONT: &str = "sans-serif";
const FONT_SIZE: i32 = 16;

/// Colours that can be read on one kind of page. The ground is the page's own.
#[derive(Clone, Copy, Debug)]
struct Palette {
    name: &'static str,
    text: RGBColor,
    forkyard: RGBColor,
    other: RGBColor,
}

const PALETTES: [Palette; 2] = [
    Palette {
        name: "light",
        text: RGBColor(0x1f, 0x23, 0x28),
        forkyard: RGBColor(0xb4, 0x4d, 0x12),
        other: RGBColor(0x6e, 0x77, 0x81),
    },
    Palette {
        name: "dark",
        text: RGBColor(0xe6, 0xed, 0xf3),
        forkyard: RGBColor(0xf0, 0x88, 0x3e),
        other: RGBColor(0x8b, 0x94, 0x9e),
    },
];

/// One column of bars.
#[derive(Debug)]
struct Panel {
    title: String,
    /// In the order of the contestants; what was not measured has no bar.
    values: Vec<Option<f64>>,
    digits: usize,
}

/// What is drawn.
#[derive(Debug)]
struct Chart {
    contestants: Vec<Contestant>,
    panels: Vec<Panel>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Writes the pictures, and prints how a page shows them, with the figures in words.
pub(crate) fn draw(folder: &Path, out: &mut impl Write, results: &Results) -> Result<()> {
    let chart = Chart::of(results);
    if chart.contestants.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).context("failed to make the folder")?;
    for palette in PALETTES {
        let file = folder.join(file_name(palette));
        let svg = chart.to_svg(palette)?;
        std::fs::write(&file, svg).with_context(|| format!("failed to write {file:?}"))?;
    }
    writeln!(out, "\n{}", chart.to_html(folder))?;
    Ok(())
}

fn file_name(palette: Palette) -> String {
    format!("dispatch-{}.svg", palette.name)
}

impl Chart {
    /// Of those of whom new connections were measured.
    fn of(results: &Results) -> Self {
        let contestants: Vec<_> = results.new.all().map(|(whose, _)| whose).collect();
        let values = |of: &dyn Fn(Contestant) -> Option<f64>| -> Vec<_> {
            contestants.iter().map(|whose| of(*whose)).collect()
        };
        let rate = |whose| Some(results.new.spread(whose, |run| run.per_second)?.median);
        let p99 = |whose| Some(results.new.spread(whose, |run| p99_ms(&run.latencies))?.median);
        let blocking =
            |whose| Some(results.blocking.spread(whose, |run| p99_ms(&run.latencies))?.median);
        let panel = |title: &str, values, digits| Panel { title: title.into(), values, digits };
        let mut panels = vec![
            panel("new connections per second", values(&rate), 0),
            panel("their p99, ms", values(&p99), 1),
            panel("p99 if 1 % block 100 ms, ms", values(&blocking), 1),
        ];
        panels.retain(|panel| panel.values.iter().any(Option::is_some));
        Self { contestants, panels }
    }

    fn to_svg(&self, palette: Palette) -> Result<String> {
        let mut svg = String::new();
        let rows = u32::try_from(self.contestants.len())?;
        let size = (WIDTH, HEAD_HEIGHT + ROW_HEIGHT * rows);
        {
            let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            let (names, rest) = root.split_horizontally(NAMES_WIDTH);
            self.draw_names(&names, palette)?;
            for (panel, area) in self.panels.iter().zip(rest.split_evenly((1, self.panels.len()))) {
                self.draw_panel(panel, &area, palette)?;
            }
            root.present().map_err(|error| anyhow!("failed to draw: {error}"))?;
        }
        Ok(svg)
    }

    fn draw_names(&self, area: &Area<'_>, palette: Palette) -> Result<()> {
        let style = text_style(&palette, HPos::Right);
        let (width, _) = area.dim_in_pixel();
        let right = i32::try_from(width)? - 10;
        for (row, contestant) in (0..).zip(&self.contestants) {
            write(area, contestant.name(), &style, (right, middle_of(row)))?;
        }
        Ok(())
    }

    fn draw_panel(&self, panel: &Panel, area: &Area<'_>, palette: Palette) -> Result<()> {
        let style = text_style(&palette, HPos::Left);
        write(area, &panel.title, &style, (0, i32::try_from(HEAD_HEIGHT)? / 2))?;
        let (width, _) = area.dim_in_pixel();
        let most = panel.values.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
        for (row, (contestant, value)) in (0..).zip(self.contestants.iter().zip(&panel.values)) {
            let Some(value) = value else { continue };
            let length = (f64::from(width) * LONGEST_BAR * value / most).round() as i32;
            let (top, y) = (middle_of(row) - BAR_HEIGHT / 2, middle_of(row));
            let bar = [(0, top), (length.max(1), top + BAR_HEIGHT)];
            let colour = palette.of(*contestant);
            area.draw(&Rectangle::new(bar, colour.filled()))
                .map_err(|error| anyhow!("failed to draw a bar: {error}"))?;
            write(area, &panel.format(*value), &style, (length.max(1) + 6, y))?;
        }
        Ok(())
    }

    /// For a page that shows the picture: GitHub and browsers choose by the reader's colours.
    /// Paths are as the folder was given.
    fn to_html(&self, folder: &Path) -> String {
        let path = |palette| folder.join(file_name(palette)).display().to_string();
        let [light, dark] = PALETTES.map(path);
        let alternative = self.in_words();
        format!(
            "<picture>\n  <source media=\"(prefers-color-scheme: dark)\" srcset=\"{dark}\">\n  \
             <img src=\"{light}\" alt=\"{alternative}\">\n</picture>"
        )
    }

    fn in_words(&self) -> String {
        let mut words = String::from("Bars.");
        for panel in &self.panels {
            let figures =
                self.contestants.iter().zip(&panel.values).filter_map(|(whose, value)| {
                    Some(format!("{} {}", whose.name().replace(',', ""), panel.format((*value)?)))
                });
            // Writing to a string does not fail.
            let _ = write!(words, " {}: {}.", panel.title, figures.collect::<Vec<_>>().join(", "));
        }
        words
    }
}

impl Panel {
    fn format(&self, value: f64) -> String {
        format!("{value:.*}", self.digits)
    }
}

impl Palette {
    fn of(self, contestant: Contestant) -> RGBColor {
        if contestant.forkyard_policy().is_some() { self.forkyard } else { self.other }
    }
}

fn middle_of(row: i32) -> i32 {
    HEAD_HEIGHT as i32 + ROW_HEIGHT as i32 * row + ROW_HEIGHT as i32 / 2
}

fn text_style(palette: &Palette, side: HPos) -> TextStyle<'_> {
    let style = (FONT, FONT_SIZE).into_text_style(&(WIDTH, WIDTH));
    style.color(&palette.text).pos(Pos::new(side, VPos::Center))
}

fn write(area: &Area<'_>, text: &str, style: &TextStyle<'_>, at: (i32, i32)) -> Result<()> {
    area.draw_text(text, style, at).map_err(|error| anyhow!("failed to draw a text: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let panel = |title: &str, values, digits| Panel { title: title.into(), values, digits };
        Chart {
            contestants: vec![Contestant::NodeRoundRobin, Contestant::ForkyardAuto],
            panels: vec![
                panel("per second", vec![Some(6100.4), Some(12_000.0)], 0),
                panel("p99", vec![None, Some(2.25)], 1),
            ],
        }
    }

    #[test]
    fn names_and_figures_are_text() {
        for palette in PALETTES {
            let svg = chart().to_svg(palette).unwrap();
            for text in ["Node, round-robin", "Forkyard, auto", "per second", "6100", "12000"] {
                assert!(svg.contains(text), "{text}:\n{svg}");
            }
            // Two bars and one: what was not measured has none, and nothing covers the page.
            assert_eq!(svg.matches("<rect").count(), 3, "{svg}");
        }
    }

    #[test]
    fn a_page_has_the_figures_in_words() {
        let expected = "Bars. per second: Node round-robin 6100, Forkyard auto 12000. \
                        p99: Forkyard auto 2.2.";
        assert_eq!(chart().in_words(), expected);
        let html = chart().to_html(Path::new("bench/pictures"));
        assert!(html.contains(expected) && html.contains("\"bench/pictures/dispatch-dark.svg\""));
    }
}
