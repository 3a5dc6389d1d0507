//! Prints workers' output, line by line, with slot and process id before it.

use std::io::{self, BufWriter, Write};
use std::time::SystemTime;

use anstyle::{AnsiColor, Style};
use forkyard::{OutputLine, OutputSink, StreamKind};

use crate::args::LogFormat;

/// Prints to this process's stdout and stderr.
pub(crate) struct Printer {
    format: LogFormat,
    stdout: Target<io::Stdout>,
    stderr: Target<io::Stderr>,
}

impl Printer {
    pub(crate) fn new(format: LogFormat) -> Self {
        let colour = |choice| format == LogFormat::Text && choice != anstream::ColorChoice::Never;
        let stdout = colour(anstream::AutoStream::choice(&io::stdout()));
        let stderr = colour(anstream::AutoStream::choice(&io::stderr()));
        Self {
            format,
            stdout: Target::new(io::stdout(), stdout),
            stderr: Target::new(io::stderr(), stderr),
        }
    }
}

impl OutputSink for Printer {
    fn line(&mut self, line: OutputLine<'_>) {
        match line.stream {
            StreamKind::Stdout => self.stdout.line(line, self.format),
            StreamKind::Stderr => self.stderr.line(line, self.format),
        }
    }

    fn flush(&mut self) {
        self.stdout.flush();
        self.stderr.flush();
    }
}

/// One of the two. When nobody reads it any more, what is written is dropped.
struct Target<W: Write> {
    writer: BufWriter<W>,
    colour: bool,
}

impl<W: Write> Target<W> {
    fn new(inner: W, colour: bool) -> Self {
        Self { writer: BufWriter::with_capacity(32 * 1024, inner), colour }
    }

    fn line(&mut self, line: OutputLine<'_>, format: LogFormat) {
        let _ = match format {
            LogFormat::Text => write_text(&mut self.writer, line, self.colour),
            LogFormat::Json => write_json(&mut self.writer, line),
        };
    }

    fn flush(&mut self) {
        let _ = self.writer.flush();
    }
}

/// Neighbouring slots differ in colour.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Yellow,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
];

fn write_text(out: &mut impl Write, line: OutputLine<'_>, colour: bool) -> io::Result<()> {
    let (slot, pid) = (line.info.slot, line.info.pid);
    let style = match colour {
        true => COLOURS[slot.0 as usize % COLOURS.len()].on_default(),
        false => Style::new(),
    };
    write!(out, "{style}{slot}/{pid} │{style:#} ")?;
    out.write_all(line.text)?;
    out.write_all(b"\n")
}

fn write_json(out: &mut impl Write, line: OutputLine<'_>) -> io::Result<()> {
    let (stream, level) = match line.stream {
        StreamKind::Stdout => ("stdout", "info"),
        StreamKind::Stderr => ("stderr", "warn"),
    };
    let object = serde_json::json!({
        "time": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        "level": level,
        "event": "output",
        "slot": line.info.slot.0,
        "pid": line.info.pid,
        "stream": stream,
        "line": String::from_utf8_lossy(line.text),
    });
    serde_json::to_writer(&mut *out, &object)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use forkyard::{SlotId, WorkerId, WorkerInfo};

    fn line() -> OutputLine<'static> {
        let info = WorkerInfo { slot: SlotId(1), worker: WorkerId(5), pid: 77 };
        OutputLine { info, stream: StreamKind::Stdout, text: b"hello \xff \"you\"" }
    }

    fn written(write: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        out
    }

    #[test]
    fn text_keeps_every_byte_and_names_slot_and_process() {
        let plain = written(|out| write_text(out, line(), false));
        assert_eq!(plain, "1/77 │ hello ".bytes().chain(*b"\xff \"you\"\n").collect::<Vec<_>>());
        assert!(written(|out| write_text(out, line(), true)).starts_with(b"\x1b[32m1/77"));
    }

    #[test]
    fn json_is_one_object_a_line() {
        let bytes = written(|out| write_json(out, line()));
        let object: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(object["line"], "hello \u{fffd} \"you\"");
        assert_eq!((object["slot"].as_u64(), object["pid"].as_u64()), (Some(1), Some(77)));
    }
}
