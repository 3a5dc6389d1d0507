//! How a line of a log is shown.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use serde_json::json;

use super::source::Source;
use crate::logs::line::write_string;
use crate::logs::rotation::LogKind;
use crate::logs::stored::{Author, Stored};

/// Whether the app's name stands before each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    LeftOut,
    Shown,
}

/// Whether lines are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    None,
    Some,
}

/// How lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people: as they stand there, with the app's name before them if there are several.
    Text(Names, Colours),
    /// For machines: one object a line.
    Json,
}

impl Form {
    /// Adds a line as it is shown.
    pub(super) fn write(self, out: &mut Vec<u8>, source: &Source, line: &[u8]) {
        match self {
            Self::Text(names, colours) => write_text(out, (names, colours), source, line),
            Self::Json => write_json(out, source, line),
        }
        out.push(b'\n');
    }
}

fn write_text(out: &mut Vec<u8>, (names, colours): (Names, Colours), source: &Source, line: &[u8]) {
    let Stored { time, author, text } = Stored::parse(line);
    let (dim, who) = match colours {
        Colours::None => (Style::new(), Style::new()),
        Colours::Some => (Style::new().dimmed(), style(source.kind)),
    };
    // Memory takes all that is written.
    if names == Names::Shown {
        let _ = write!(out, "{} │ ", source.app.name);
    }
    if !time.is_empty() {
        let _ = write!(out, "{dim}{time}{dim:#} ");
    }
    let _ = match author {
        Some(Author::Worker { slot, pid }) => write!(out, "{who}{slot}/{pid}{who:#} "),
        Some(Author::Primary { pid }) => write!(out, "{who}forkyard/{pid}{who:#} "),
        None => Ok(()),
    };
    out.extend_from_slice(&text);
}

fn style(kind: LogKind) -> Style {
    match kind {
        LogKind::Out => AnsiColor::Green.on_default(),
        LogKind::Err => AnsiColor::Red.on_default(),
        LogKind::Events => AnsiColor::Cyan.on_default(),
    }
}

/// An object that is one already gets the app's name; others become one.
fn write_json(out: &mut Vec<u8>, source: &Source, line: &[u8]) {
    out.extend_from_slice(b"{\"app\":");
    write_string(out, source.app.name.as_bytes());
    out.push(b',');
    match line.strip_prefix(b"{") {
        Some(fields) if serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok() => {
            out.extend_from_slice(fields);
        }
        _ => write_fields(out, source.kind, &Stored::parse(line)),
    }
}

fn write_fields(out: &mut Vec<u8>, kind: LogKind, stored: &Stored<'_>) {
    let (stream, level) = match kind {
        LogKind::Out => ("stdout", "info"),
        LogKind::Err => ("stderr", "warn"),
        LogKind::Events => ("forkyard", "info"),
    };
    let (time, text) = (stored.time, String::from_utf8_lossy(&stored.text));
    let object = match stored.author {
        Some(Author::Worker { slot, pid }) => json!({
            "time": time, "level": level, "event": "output", "slot": slot, "pid": pid,
            "stream": stream, "line": text,
        }),
        Some(Author::Primary { pid }) => json!({
            "time": time, "level": level, "event": "log", "pid": pid, "message": text,
        }),
        None => {
            json!({ "time": time, "level": level, "event": "output", "stream": stream, "line": text })
        }
    };
    // Without its opening brace.
    out.extend_from_slice(&object.to_string().as_bytes()[1..]);
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::logs::read::source::AppLogs;

    const TIME: &str = "2025-01-02T03:04:05.678Z";

    fn shown(form: Form, kind: LogKind, line: &[u8]) -> Vec<u8> {
        let app = AppLogs { name: "shop".into(), folder: PathBuf::new() };
        let mut out = Vec::new();
        form.write(&mut out, &Source { app, kind }, line);
        out
    }

    #[test]
    fn text_is_as_it_stands_there_to_the_byte() {
        for line in [b"2025-01-02T03:04:05.678Z 0/7 a \xff".as_slice(), b"none of ours", b""] {
            let plain = shown(Form::Text(Names::LeftOut, Colours::None), LogKind::Out, line);
            assert_eq!(plain, [line, b"\n"].concat());
            let named = shown(Form::Text(Names::Shown, Colours::None), LogKind::Out, line);
            assert_eq!(named, ["shop │ ".as_bytes(), line, b"\n"].concat());
        }
        let coloured = Form::Text(Names::LeftOut, Colours::Some);
        let line = shown(coloured, LogKind::Err, format!("{TIME} 0/7 text").as_bytes());
        let expected = format!("\u{1b}[2m{TIME}\u{1b}[0m \u{1b}[31m0/7\u{1b}[0m text\n");
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn each_line_can_be_an_object() {
        let object = |kind, line: &str| -> serde_json::Value {
            serde_json::from_slice(&shown(Form::Json, kind, line.as_bytes())).unwrap()
        };
        let text = object(LogKind::Err, &format!("{TIME} 3/7 a \"word\""));
        let stored = format!(
            "{{\"time\":\"{TIME}\",\"level\":\"warn\",\"event\":\"output\",\"slot\":3,\"pid\":7,\
             \"stream\":\"stderr\",\"line\":\"a \\\"word\\\"\"}}"
        );
        assert_eq!(object(LogKind::Err, &stored), text);
        assert_eq!((text["app"].as_str(), text["slot"].as_u64()), (Some("shop"), Some(3)));
        let event = object(LogKind::Events, &format!("{TIME} forkyard/9 stopped"));
        assert_eq!((event["message"].as_str(), event["pid"].as_u64()), (Some("stopped"), Some(9)));
        for odd in ["", "{", "none of ours"] {
            assert_eq!(object(LogKind::Out, odd)["line"], odd);
        }
    }
}
