//! How a line of a worker is written.
//!
//! ```text
//!   text   2025-01-02T03:04:05.678Z 0/4711 what the worker wrote, to the byte
//!   json   {"time":"2025-01-02T03:04:05.678Z","level":"info","event":"output","slot":0,"pid":4711,
//!           "stream":"stdout","line":"what the worker wrote"}
//! ```

use std::io::Write;
use std::time::SystemTime;

use forkyard::{OutputLine, StreamKind, WorkerInfo};

use crate::args::LogFormat;
use crate::report;

/// Writes lines of one stream. What precedes the text is made once for all lines that are read
/// together.
#[derive(Debug)]
pub(crate) struct LinePen {
    format: LogFormat,
    /// Whose lines the head is for. Nobody's after a pause: they get another time.
    of: Option<(WorkerInfo, StreamKind)>,
    head: Vec<u8>,
}

impl LinePen {
    pub(crate) fn new(format: LogFormat) -> Self {
        Self { format, of: None, head: Vec::new() }
    }

    /// Lines from now on are of another moment.
    pub(crate) fn pause(&mut self) {
        self.of = None;
    }

    /// Writes a whole line.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, line: OutputLine<'_>) {
        let of = Some((line.info, line.stream));
        if self.of != of {
            self.of = of;
            self.head.clear();
            write_head(&mut self.head, self.format, line);
        }
        out.extend_from_slice(&self.head);
        match self.format {
            LogFormat::Text => out.extend_from_slice(line.text),
            LogFormat::Json => {
                write_string(out, line.text);
                out.push(b'}');
            }
        }
        out.push(b'\n');
    }
}

/// This moment, as lines have it.
pub(crate) fn now() -> impl std::fmt::Display {
    humantime::format_rfc3339_millis(SystemTime::now())
}

fn write_head(head: &mut Vec<u8>, format: LogFormat, line: OutputLine<'_>) {
    let WorkerInfo { slot, pid, .. } = line.info;
    let now = now();
    // Memory takes all that is written.
    let _ = match format {
        LogFormat::Text => write!(head, "{now} {slot}/{pid} "),
        LogFormat::Json => {
            let (stream, level) = match line.stream {
                StreamKind::Stdout => ("stdout", "info"),
                StreamKind::Stderr => ("stderr", "warn"),
            };
            write!(
                head,
                "{{\"time\":\"{now}\",\"level\":\"{level}\",\"event\":\"output\",\"slot\":{slot},\
                 \"pid\":{pid},\"stream\":\"{stream}\",\"line\":"
            )
        }
    };
}

/// Says, where they would stand, how many lines are missing.
pub(crate) fn write_gap(out: &mut Vec<u8>, format: LogFormat, lost: u64) {
    let line = match format {
        LogFormat::Text => {
            format!("{} forkyard/{} {lost} lines were lost here\n", now(), std::process::id())
        }
        LogFormat::Json => {
            let fields = [("lines".to_owned(), lost.into())].into_iter().collect();
            report::json_line("warn", "lines_lost", fields)
        }
    };
    out.extend_from_slice(line.as_bytes());
}

/// As a string of JSON. What is not UTF-8 cannot stand in one.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    // Memory takes it, and every string can be written.
    let _ = serde_json::to_writer(out, text.as_ref());
}

#[cfg(test)]
mod tests {
    use forkyard::{SlotId, WorkerId};

    use super::*;

    fn line(slot: u32, text: &[u8]) -> OutputLine<'_> {
        let info = WorkerInfo { slot: SlotId(slot), worker: WorkerId(5), pid: 77 };
        OutputLine { info, stream: StreamKind::Stdout, text }
    }

    #[test]
    fn text_keeps_every_byte_and_names_time_slot_and_process() {
        let (mut pen, mut out) = (LinePen::new(LogFormat::Text), Vec::new());
        pen.write(&mut out, line(1, b"hello \xff"));
        pen.write(&mut out, line(2, b""));
        let lines: Vec<_> = out.split(|byte| *byte == b'\n').collect();
        let (time, rest) = lines[0].split_at(24);
        humantime::parse_rfc3339(str::from_utf8(time).unwrap()).unwrap();
        assert_eq!(rest, b" 1/77 hello \xff");
        assert_eq!(lines[1].split_at(24).1, b" 2/77 ");
        assert_eq!(lines[2], b"");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let (mut pen, mut out) = (LinePen::new(LogFormat::Json), Vec::new());
        pen.write(&mut out, line(1, b"hello \xff \"you\"\t"));
        let object: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(object["line"], "hello \u{fffd} \"you\"\t");
        assert_eq!((object["slot"].as_u64(), object["pid"].as_u64()), (Some(1), Some(77)));
        assert_eq!(object["level"], "info");
        assert_eq!(out.last(), Some(&b'\n'));
    }
}
