//! What workers write to stdout and stderr.
//!
//! Captured output is read by a thread of its own, so that a flood costs the primary
//! nothing and a sink that blocks holds up the writers, as a file would, and not the
//! connections. A worker's end is reported only after everything it wrote has been passed
//! on.
//!
//! ```text
//!   worker ──pipe──▶ output thread ── lines ──▶ sink
//!                          └── last lines of stderr, when both pipes have ended ──▶ primary
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use forkyard_core::{SlotId, WorkerId};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::event::WorkerInfo;

/// A line longer than this is passed on in pieces.
const LONGEST_LINE: usize = 64 * 1024;
/// How many lines of stderr are remembered, and how much of each.
const TAIL_LINES: usize = 20;
const TAIL_LINE_BYTES: usize = 1024;

/// Where workers' output goes.
#[derive(Default)]
pub enum Output {
    /// To the primary's own stdout and stderr, untouched.
    #[default]
    Inherit,
    /// Line by line to a sink.
    Lines(Box<dyn OutputSink>),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inherit => "Inherit",
            Self::Lines(_) => "Lines(..)",
        })
    }
}

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line that a worker wrote, without its newline.
#[derive(Clone, Copy, Debug)]
pub struct OutputLine<'a> {
    /// Who wrote it.
    pub info: WorkerInfo,
    /// Where to.
    pub stream: StreamKind,
    /// What. Not necessarily UTF-8.
    pub text: &'a [u8],
}

/// Takes workers' output. May block: that slows down the writers and nobody else.
pub trait OutputSink: Send + 'static {
    /// Takes one line.
    fn line(&mut self, line: OutputLine<'_>);
    /// No more is there at the moment.
    fn flush(&mut self);
}

type SharedSink = Arc<Mutex<Box<dyn OutputSink>>>;

/// The pipes of one worker, and where to tell that they have ended.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) slot: SlotId,
    pub(crate) worker: WorkerId,
    pub(crate) pid: u32,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) done: oneshot::Sender<Vec<String>>,
}

/// Where to send the pipes of a worker that was just started.
#[derive(Clone, Debug)]
pub(crate) struct OutputPump {
    jobs: mpsc::Sender<Pipes>,
}

impl OutputPump {
    /// Starts the output thread. It ends when every pump handle and every pipe is gone.
    pub(crate) fn start(sink: Box<dyn OutputSink>) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(forkyard_core::MAX_SLOTS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let sink = Arc::new(Mutex::new(sink));
        thread::Builder::new()
            .name("forkyard-output".into())
            .spawn(move || runtime.block_on(pump(inbox, &sink)))?;
        Ok(Self { jobs })
    }

    /// Hands over the pipes of a worker. Blocks when a thousand workers wait already, so
    /// only the spawner calls it.
    pub(crate) fn watch(&self, pipes: Pipes) {
        // An output thread that is gone has said so by the dropped `done`.
        drop(self.jobs.blocking_send(pipes));
    }
}

async fn pump(mut inbox: mpsc::Receiver<Pipes>, sink: &SharedSink) {
    let mut workers = JoinSet::new();
    while let Some(pipes) = inbox.recv().await {
        workers.spawn(read_worker(pipes, Arc::clone(sink)));
        while workers.try_join_next().is_some() {}
    }
    while workers.join_next().await.is_some() {}
}

async fn read_worker(pipes: Pipes, sink: SharedSink) {
    let Pipes { slot, worker, pid, stdout, stderr, done } = pipes;
    let info = WorkerInfo { slot, worker, pid };
    let out = read_stream(stdout, info, StreamKind::Stdout, Arc::clone(&sink));
    let err = read_stream(stderr, info, StreamKind::Stderr, sink);
    let (_, tail) = tokio::join!(out, err);
    // The primary may have given up waiting.
    drop(done.send(tail));
}

/// Reads one pipe to its end; returns its last lines.
async fn read_stream(
    pipe: Option<OwnedFd>,
    info: WorkerInfo,
    stream: StreamKind,
    sink: SharedSink,
) -> Vec<String> {
    let Some(pipe) = pipe else { return Vec::new() };
    let Ok(pipe) = pipe::Receiver::from_owned_fd(pipe) else { return Vec::new() };
    let mut lines = Lines::new(info, stream);
    while pipe.readable().await.is_ok() {
        match read_available(&pipe, &mut lines, &sink) {
            Ok(0) => break,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
            Ok(_) | Err(_) => {}
        }
    }
    lines.finish(&sink);
    lines.tail.into()
}

/// One read, on a buffer that lives on the stack: a pipe at rest costs no memory.
fn read_available(
    pipe: &pipe::Receiver,
    lines: &mut Lines,
    sink: &SharedSink,
) -> io::Result<usize> {
    let mut buffer = [0; 16 * 1024];
    let length = pipe.try_read(&mut buffer)?;
    lines.feed(&buffer[..length], sink);
    Ok(length)
}

/// Cuts a stream into lines.
struct Lines {
    info: WorkerInfo,
    stream: StreamKind,
    unfinished: Vec<u8>,
    tail: VecDeque<String>,
}

impl Lines {
    fn new(info: WorkerInfo, stream: StreamKind) -> Self {
        Self { info, stream, unfinished: Vec::new(), tail: VecDeque::new() }
    }

    fn feed(&mut self, mut bytes: &[u8], sink: &SharedSink) {
        let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.line(line, sink.as_mut());
            bytes = &rest[1..];
        }
        self.unfinished.extend_from_slice(bytes);
        if self.unfinished.len() >= LONGEST_LINE {
            self.line(&[], sink.as_mut());
        }
        sink.flush();
    }

    fn finish(&mut self, sink: &SharedSink) {
        if !self.unfinished.is_empty() {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            self.line(&[], sink.as_mut());
            sink.flush();
        }
    }

    /// Passes on what is unfinished together with `end`.
    fn line(&mut self, end: &[u8], sink: &mut dyn OutputSink) {
        let mut whole = std::mem::take(&mut self.unfinished);
        let text = if whole.is_empty() {
            end
        } else {
            whole.extend_from_slice(end);
            &whole
        };
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        sink.line(OutputLine { info: self.info, stream: self.stream, text });
        if self.stream == StreamKind::Stderr {
            self.remember(text);
        }
    }

    fn remember(&mut self, text: &[u8]) {
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        let text = &text[..text.len().min(TAIL_LINE_BYTES)];
        self.tail.push_back(String::from_utf8_lossy(text).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Collected(Arc<Mutex<Vec<String>>>);

    impl OutputSink for Collected {
        fn line(&mut self, line: OutputLine<'_>) {
            self.0.lock().unwrap().push(String::from_utf8_lossy(line.text).into_owned());
        }
        fn flush(&mut self) {}
    }

    fn lines_of(chunks: &[&[u8]]) -> (Vec<String>, Vec<String>) {
        let seen = Arc::default();
        let sink: SharedSink = Arc::new(Mutex::new(Box::new(Collected(Arc::clone(&seen)))));
        let info = WorkerInfo { slot: SlotId(0), worker: WorkerId(1), pid: 1 };
        let mut lines = Lines::new(info, StreamKind::Stderr);
        for chunk in chunks {
            lines.feed(chunk, &sink);
        }
        lines.finish(&sink);
        let seen = seen.lock().unwrap().clone();
        (seen, lines.tail.into())
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let expected = ["one", "", "two", "three"];
        assert_eq!(lines_of(&[b"one\n\ntwo\r\nthree"]).0, expected);
        let bytes = b"one\n\ntwo\r\nthree";
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(lines_of(&single).0, expected);
    }

    #[test]
    fn an_endless_line_is_passed_on_in_pieces() {
        let chunk = vec![b'x'; LONGEST_LINE / 2];
        let (lines, _) = lines_of(&[&chunk, &chunk, &chunk]);
        assert_eq!(lines.iter().map(String::len).sum::<usize>(), chunk.len() * 3);
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn the_tail_is_the_end_and_bounded() {
        let text: String = (0..100).map(|n| format!("{n}\n")).collect();
        let (_, tail) = lines_of(&[text.as_bytes()]);
        assert_eq!(tail.len(), TAIL_LINES);
        assert_eq!(tail.last().unwrap(), "99");
    }
}
