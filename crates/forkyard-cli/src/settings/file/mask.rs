//! Lines of a file as they may be shown: without the secrets in them.

use std::ops::Range;

use super::apps;
use super::tree::{Entry, Node, Span, Value};
use crate::settings::{schema, secrets};

/// What is shown instead.
const HIDDEN: &str = "***";
/// The setting whose values are never shown.
const VARIABLES: &str = "env";
/// How much of a line is shown before and after a mark, in bytes.
const AROUND: usize = 100;

/// What of a file must not be shown.
#[derive(Clone, Debug)]
pub(super) enum Secrets {
    /// Exactly that.
    Known(Vec<Span>),
    /// Nobody knows, because the file could not be understood.
    Unknown,
}

/// A line, and what is marked of it.
#[derive(Clone, Debug)]
pub(super) struct Quote {
    pub(super) text: String,
    pub(super) mark: Range<usize>,
}

impl Secrets {
    /// The values of all variables, and of what else looks like one. A table that is no setting may
    /// have been meant as `env`.
    pub(super) fn of(root: &Node) -> Self {
        let settings = schema::settings();
        let is_known = |key: &str| settings.iter().any(|known| begins(known, key));
        let may_be_secret = |entry: &&Entry| match &entry.node.value {
            _ if entry.key == VARIABLES => true,
            _ if entry.key == apps::APPS || is_known(&entry.key) => false,
            Value::Table(_) => true,
            _ => secrets::is_secret_name(&entry.key),
        };
        let apps = apps::entries(root).iter().map(|app| &app.node);
        let tables: Vec<_> = apps.chain([root]).collect();
        let strange = tables.iter().flat_map(|table| table.entries()).filter(may_be_secret);
        let hidden = strange.flat_map(|entry| entry.node.leaves());
        let hidden = hidden.chain(tables.iter().flat_map(|table| secret_arguments(table)));
        let hidden = hidden.chain(root.leaves().into_iter().filter(|leaf| looks_secret(leaf)));
        let mut spans: Vec<_> = hidden.map(|leaf| leaf.span.clone()).collect();
        spans.sort_by_key(|span| span.start);
        Self::Known(spans)
    }

    /// The line that a span begins in.
    pub(super) fn quote(&self, text: &str, span: &Span) -> Quote {
        let start = span.start.min(text.len());
        let line_start = text[..start].rfind('\n').map_or(0, |end| end + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let local = |at: usize| at.clamp(line_start, line_start + line.len()) - line_start;
        let mark = local(start)..local(span.end.max(start));
        let hidden: Vec<_> = match self {
            Self::Known(spans) => {
                let spans = spans.iter().map(|span| local(span.start)..local(span.end));
                spans.filter(|span| !span.is_empty()).collect()
            }
            Self::Unknown => suspicious(&text[..line_start], line).into_iter().collect(),
        };
        shortened(without(line, &hidden, &mark))
    }
}

fn begins(setting: &str, key: &str) -> bool {
    setting.split('.').next() == Some(key)
}

fn secret_arguments(app: &Node) -> Vec<&Node> {
    let Some(arguments) = app.entry("args") else { return Vec::new() };
    let arguments = arguments.node.leaves();
    let shown = secrets::in_arguments(arguments.iter().map(|argument| text(argument)));
    let pairs = arguments.into_iter().zip(shown);
    pairs
        .filter(|(argument, shown)| text(argument) != shown)
        .map(|(argument, _)| argument)
        .collect()
}

fn text(leaf: &Node) -> &str {
    match &leaf.value {
        Value::Text(text) => text,
        _ => "",
    }
}

fn looks_secret(leaf: &Node) -> bool {
    secrets::in_text(text(leaf)) != text(leaf)
}

/// In a file that nobody could read: what may be a variable's value.
fn suspicious(before: &str, line: &str) -> Option<Range<usize>> {
    let mentions = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.into_iter().any(|word| word == VARIABLES)
    };
    let assigned = line.find(['=', ':']).map_or(0, |at| at + 1);
    let is_suspicious = mentions(before)
        || mentions(line)
        || secrets::is_secret_name(line)
        || secrets::in_text(line) != line;
    // A header is a name, and no value.
    let is_header = line.starts_with('[') && line.trim_end().ends_with(']');
    (is_suspicious && !is_header && assigned < line.len()).then_some(assigned..line.len())
}

/// `hidden` is in order.
fn without(line: &str, hidden: &[Range<usize>], mark: &Range<usize>) -> Quote {
    let mut text = String::new();
    let mut moved = mark.clone();
    let mut at = 0;
    for part in hidden.iter().filter(|part| !part.is_empty()) {
        if part.start < at {
            continue;
        }
        text.push_str(&line[at..part.start]);
        let (start, end) = (text.len(), text.len() + HIDDEN.len());
        let place = |old: usize, inside: usize, now: usize| match old {
            _ if old >= part.end => end + (old - part.end),
            _ if old > part.start => inside,
            _ if old == part.start => start,
            _ => now,
        };
        moved = place(mark.start, start, moved.start)..place(mark.end, end, moved.end);
        text.push_str(HIDDEN);
        at = part.end;
    }
    text.push_str(&line[at..]);
    Quote { text, mark: moved }
}

/// A file may be one line.
fn shortened(quote: Quote) -> Quote {
    const CUT: &str = "...";
    let Quote { text, mark } = quote;
    let from = boundary(&text, mark.start.saturating_sub(AROUND));
    let to = boundary(&text, (mark.start + 2 * AROUND).min(text.len()));
    let before = if from > 0 { CUT } else { "" };
    let after = if to < text.len() { CUT } else { "" };
    let local = |at: usize| at.clamp(from, to) - from + before.len();
    let mark = local(mark.start)..local(mark.end);
    Quote { text: format!("{before}{}{after}", &text[from..to]), mark }
}

fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(quote: &Quote) -> (&str, &str) {
        (&quote.text, &quote.text[quote.mark.clone()])
    }

    #[test]
    fn a_mark_stays_where_it_was() {
        let line = "a = secret, b = secret, c";
        let hidden = [4..10, 16..22];
        for (mark, expected) in [(0..1, "a"), (12..13, "b"), (24..25, "c"), (4..10, "***")] {
            let quote = without(line, &hidden, &mark);
            assert_eq!(shown(&quote), ("a = ***, b = ***, c", expected), "{mark:?}");
        }
        assert_eq!(shown(&without(line, &hidden, &(5..12))).1, "***, ");
        assert_eq!(shown(&without(line, &hidden, &(0..20))).1, "a = ***, b = ***");
    }

    #[test]
    fn of_a_long_line_the_marked_part_is_shown() {
        let text = format!("{}mark{}", "é".repeat(5000), "b".repeat(5000));
        let quote = Secrets::Known(Vec::new()).quote(&text, &(10_000..10_004));
        assert_eq!(shown(&quote).1, "mark");
        assert!(quote.text.len() < 400, "{}", quote.text.len());
    }

    #[test]
    fn where_nobody_knows_a_value_may_be_a_variable_s() {
        let quote = |text: &str, at: usize| Secrets::Unknown.quote(text, &(at..at)).text;
        assert_eq!(quote("program = x y", 10), "program = x y");
        assert_eq!(quote("[app.web.env]\nA = x y", 20), "A =***");
        assert_eq!(quote("[app.web.env]\n[oops]", 16), "[oops]");
        assert_eq!(quote("env: {A: x", 10), "env:***");
        assert_eq!(quote("PASSWORD = x y", 14), "PASSWORD =***");
        assert_eq!(quote("  env:\n    A: |\n      secret\n  b", 20), "***");
        assert_eq!(quote("url = postgres://u:p@h x", 6), "url =***");
    }
}
