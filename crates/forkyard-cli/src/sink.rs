//! Prints workers' output, line by line, with slot and process id before it.

use std::io::{self, Write};
use std::time::SystemTime;

use anstyle::{AnsiColor, Style};
use forkyard::{OutputLine, OutputSink, SlotId, StreamKind};

use crate::args::LogFormat;

/// From how many bytes on lines are written though more may come.
const BATCH_BYTES: usize = 32 * 1024;

/// Prints to this process's stdout and stderr.
pub(crate) struct Printer {
    format: LogFormat,
    stdout: Target<io::Stdout>,
    stderr: Target<io::Stderr>,
}

impl Printer {
    pub(crate) fn new(format: LogFormat) -> Self {
        let stdout = Palette::of(anstream::AutoStream::choice(&io::stdout()));
        let stderr = Palette::of(anstream::AutoStream::choice(&io::stderr()));
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
    inner: W,
    /// Whole lines, written in one piece, so that what others print comes between them.
    pending: Vec<u8>,
    palette: Palette,
}

impl<W: Write> Target<W> {
    fn new(inner: W, palette: Palette) -> Self {
        Self { inner, pending: Vec::new(), palette }
    }

    fn line(&mut self, line: OutputLine<'_>, format: LogFormat) {
        let _ = match format {
            LogFormat::Text => write_text(&mut self.pending, line, self.palette),
            LogFormat::Json => write_json(&mut self.pending, line),
        };
        if self.pending.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let _ = self.inner.write_all(&self.pending);
        let _ = self.inner.flush();
        self.pending.clear();
        self.pending.shrink_to(BATCH_BYTES);
    }
}

/// Which colours slots have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Palette {
    None,
    BySlot,
}

impl Palette {
    fn of(choice: anstream::ColorChoice) -> Self {
        match choice {
            anstream::ColorChoice::Never => Self::None,
            _ => Self::BySlot,
        }
    }

    fn style(self, slot: SlotId) -> Style {
        match self {
            Self::None => Style::new(),
            Self::BySlot => COLOURS[slot.0 as usize % COLOURS.len()].on_default(),
        }
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

fn write_text(out: &mut impl Write, line: OutputLine<'_>, palette: Palette) -> io::Result<()> {
    let (slot, pid) = (line.info.slot, line.info.pid);
    let style = palette.style(slot);
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
    use forkyard::{WorkerId, WorkerInfo};

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
        let plain = written(|out| write_text(out, line(), Palette::None));
        assert_eq!(plain, "1/77 │ hello ".bytes().chain(*b"\xff \"you\"\n").collect::<Vec<_>>());
        assert!(
            written(|out| write_text(out, line(), Palette::BySlot)).starts_with(b"\x1b[32m1/77")
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let bytes = written(|out| write_json(out, line()));
        let object: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(object["line"], "hello \u{fffd} \"you\"");
        assert_eq!((object["slot"].as_u64(), object["pid"].as_u64()), (Some(1), Some(77)));
    }
}
