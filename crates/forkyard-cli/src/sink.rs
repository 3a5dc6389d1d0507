//! Prints workers' output, line by line, with slot and process id before it.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use forkyard::{OutputLine, OutputSink, SlotId, StreamKind, WorkerInfo};

use crate::args::LogFormat;
use crate::logs::LinePen;

/// From how many bytes on lines are written though more may come.
const BATCH_BYTES: usize = 32 * 1024;

/// Prints to this process's stdout and stderr.
pub(crate) struct Printer {
    stdout: Target<io::Stdout>,
    stderr: Target<io::Stderr>,
}

impl Printer {
    pub(crate) fn new(format: LogFormat) -> Self {
        let stdout = Palette::of(anstream::AutoStream::choice(&io::stdout()));
        let stderr = Palette::of(anstream::AutoStream::choice(&io::stderr()));
        Self {
            stdout: Target::new(io::stdout(), Pen::new(format, stdout)),
            stderr: Target::new(io::stderr(), Pen::new(format, stderr)),
        }
    }
}

impl OutputSink for Printer {
    fn line(&mut self, line: OutputLine<'_>) {
        match line.stream {
            StreamKind::Stdout => self.stdout.line(line),
            StreamKind::Stderr => self.stderr.line(line),
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
    pen: Pen,
}

impl<W: Write> Target<W> {
    fn new(inner: W, pen: Pen) -> Self {
        Self { inner, pending: Vec::new(), pen }
    }

    fn line(&mut self, line: OutputLine<'_>) {
        self.pen.write(&mut self.pending, line);
        if self.pending.len() >= BATCH_BYTES {
            self.write_pending();
        }
    }

    fn flush(&mut self) {
        self.write_pending();
        self.pen.pause();
    }

    fn write_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let _ = self.inner.write_all(&self.pending);
        let _ = self.inner.flush();
        self.pending.clear();
        self.pending.shrink_to(BATCH_BYTES);
    }
}

/// How a stream's lines are written.
enum Pen {
    /// For people.
    Text(TextPen),
    /// For machines, as in files.
    Json(LinePen),
}

impl Pen {
    fn new(format: LogFormat, palette: Palette) -> Self {
        match format {
            LogFormat::Text => Self::Text(TextPen { palette, of: None, head: Vec::new() }),
            LogFormat::Json => Self::Json(LinePen::new(format)),
        }
    }

    fn write(&mut self, out: &mut Vec<u8>, line: OutputLine<'_>) {
        match self {
            Self::Text(pen) => pen.write(out, line),
            Self::Json(pen) => pen.write(out, line),
        }
    }

    fn pause(&mut self) {
        if let Self::Json(pen) = self {
            pen.pause();
        }
    }
}

/// Writes slot and process before each line, made once for the lines of a worker that follow
/// each other.
struct TextPen {
    palette: Palette,
    of: Option<WorkerInfo>,
    head: Vec<u8>,
}

impl TextPen {
    fn write(&mut self, out: &mut Vec<u8>, line: OutputLine<'_>) {
        if self.of != Some(line.info) {
            self.of = Some(line.info);
            let (slot, pid) = (line.info.slot, line.info.pid);
            let style = self.palette.style(slot);
            self.head = format!("{style}{slot}/{pid} │{style:#} ").into_bytes();
        }
        out.extend_from_slice(&self.head);
        out.extend_from_slice(line.text);
        out.push(b'\n');
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

#[cfg(test)]
mod tests {
    use super::*;
    use forkyard::WorkerId;

    fn line(slot: u32, text: &[u8]) -> OutputLine<'_> {
        let info = WorkerInfo { slot: SlotId(slot), worker: WorkerId(5), pid: 77 };
        OutputLine { info, stream: StreamKind::Stdout, text }
    }

    #[test]
    fn text_keeps_every_byte_and_names_slot_and_process() {
        let mut target = Target::new(Vec::new(), Pen::new(LogFormat::Text, Palette::None));
        target.line(line(1, b"hello \xff \"you\""));
        target.line(line(2, b""));
        assert!(target.inner.is_empty());
        target.flush();
        let expected = "1/77 │ hello ".bytes().chain(*b"\xff \"you\"\n").chain("2/77 │ \n".bytes());
        assert_eq!(target.inner, expected.collect::<Vec<_>>());
    }

    #[test]
    fn slots_have_colours() {
        let (mut pen, mut out) = (Pen::new(LogFormat::Text, Palette::BySlot), Vec::new());
        pen.write(&mut out, line(1, b"hello"));
        assert!(out.starts_with(b"\x1b[32m1/77"));
    }
}
