//! What workers write to stdout and stderr.
//!
//! Captured output is read by a thread of its own, so that a flood costs the primary
//! nothing and a sink that blocks holds up the writers, as a file would, and not the
//! connections. What a worker wrote before its end is passed on to the last byte, however
//! long the sink takes; it waits in the worker's pipe, so nothing here grows.
//!
//! ```text
//!   worker ──pipe──▶ output thread ── lines ──▶ sink
//!                      ▲       └── last lines of stderr ──▶ primary
//!                      └── the process has ended: read what is there, and no further
//! ```
//!
//! Whoever writes line after line would wake the thread for each. So what follows closely is left
//! in the pipe for a moment ([`Naps`]), unless it would fill it.
//!
//! For an upgrade of the primary the thread can be brought to rest between two reads: it
//! gives away its pipes with the lines that have begun, and takes them back if the upgrade
//! comes to nothing.

mod lines;
mod pace;

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use lines::Lines;
use pace::{Naps, Pace};

use crate::engine;
use crate::event::WorkerInfo;
use crate::primary::rest::{RestSignal, RestSwitch};

/// How much is read at once, on a buffer that lives on the stack: a pipe at rest costs no
/// memory.
const CHUNK: usize = 16 * 1024;
/// After so much of one stream it is another one's turn.
const TURN_BYTES: usize = 64 * 1024;
/// The most that a pipe holds unless a privileged process made it larger
/// (`/proc/sys/fs/pipe-max-size`, see pipe(7)).
const LARGEST_PIPE: u64 = 1024 * 1024;

/// Where workers' output goes.
#[derive(Default)]
pub enum Output {
    /// To the primary's own stdout and stderr, untouched.
    #[default]
    Inherit,
    /// Line by line to a sink. A sink that is slow may still be taking lines when the
    /// cluster is over; see [`Cluster::output_drained`](crate::Cluster::output_drained).
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

/// The last lines of stderr so far.
type SharedTail = Arc<Mutex<VecDeque<String>>>;

/// Shows the last lines of a worker's stderr.
#[derive(Clone, Debug)]
pub(crate) struct Tail(SharedTail);

impl Tail {
    pub(crate) fn lines(&self) -> Vec<String> {
        lock(&self.0).iter().cloned().collect()
    }
}

/// One of a worker's pipes that nobody reads at the moment.
#[derive(Debug, Default)]
pub(crate) struct RestingPipe {
    /// Gone when it has been read to the end. The output thread's reactor watches it.
    pub(crate) pipe: Option<pipe::Receiver>,
    /// The line that has begun.
    pub(crate) unfinished: Vec<u8>,
}

impl RestingPipe {
    fn new(pipe: Option<pipe::Receiver>) -> Self {
        Self { pipe, unfinished: Vec::new() }
    }
}

/// The pipes of one worker, and the ways to and from whoever watches for its end.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) info: WorkerInfo,
    pub(crate) stdout: RestingPipe,
    pub(crate) stderr: RestingPipe,
    finish: oneshot::Receiver<()>,
    done: oneshot::Sender<()>,
    tail: SharedTail,
}

/// What the output thread is told.
#[derive(Debug)]
enum Job {
    Follow(Pipes),
    /// Give away what is there, once everything read so far has been passed on.
    Rest(oneshot::Sender<Vec<Pipes>>),
}

/// The output of a worker, for whoever watches for its end.
#[derive(Debug)]
pub(crate) struct Capture {
    finish: oneshot::Sender<()>,
    done: oneshot::Receiver<()>,
    tail: SharedTail,
}

impl Capture {
    pub(crate) fn tail(&self) -> Tail {
        Tail(Arc::clone(&self.tail))
    }

    /// Says that the worker has ended, so that its pipes are read as far as there is
    /// anything to read, also if somebody else holds them open.
    ///
    /// Returns the last lines of stderr when all is passed on; or after `limit`, or when
    /// everything is to rest, those known by then, while what is missing is passed on without
    /// anybody waiting.
    pub(crate) async fn finish(self, limit: Duration, rest: &mut RestSignal) -> Vec<String> {
        // An output thread that has read to the end already has dropped the other end.
        let _ = self.finish.send(());
        tokio::select! {
            _ = timeout(limit, self.done) => {}
            // Nobody waits for a slow taker while everything else rests.
            () = rest.wait() => {}
        }
        Tail(self.tail).lines()
    }
}

/// Tells when the output thread has ended.
#[derive(Clone, Debug)]
pub(crate) struct Drained(watch::Receiver<()>);

impl Drained {
    /// Waits until all that was captured has been passed on and no more can come.
    pub(crate) async fn wait(mut self) {
        // Nothing is ever sent: the thread's end is the message.
        while self.0.changed().await.is_ok() {}
    }
}

/// Where to send the pipes of a worker that was just started.
#[derive(Clone, Debug)]
pub(crate) struct OutputPump {
    jobs: mpsc::Sender<Job>,
    runtime: Handle,
}

impl OutputPump {
    /// Starts the output thread. It ends when every pump handle is gone and all output has
    /// been passed on.
    pub(crate) fn start(sink: Box<dyn OutputSink>) -> io::Result<(Self, Drained)> {
        let (jobs, inbox) = mpsc::channel(forkyard_core::MAX_SLOTS);
        let (alive, drained) = watch::channel(());
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let naps = Naps::default();
        runtime.enable_io().on_thread_park({
            let naps = naps.clone();
            move || naps.take()
        });
        let sink = Arc::new(Mutex::new(sink));
        let runtime = engine::start("forkyard-output", runtime, move |runtime| {
            runtime.block_on(pump(inbox, &sink, &naps));
            drop(alive);
        })?;
        Ok((Self { jobs, runtime }, Drained(drained)))
    }

    /// Has the output thread's reactor watch a worker's pipe.
    fn watch(&self, pipe: OwnedFd) -> io::Result<pipe::Receiver> {
        let _inside = self.runtime.enter();
        pipe::Receiver::from_owned_fd(pipe)
    }

    /// Hands over the pipes of a worker. Blocks when a thousand workers wait already, so
    /// only the thread that starts processes calls it.
    pub(crate) fn capture(
        &self,
        info: WorkerInfo,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> Capture {
        let watch = |pipe| {
            let worker = info.worker;
            self.watch(pipe)
                .inspect_err(|error| tracing::warn!(%worker, %error, "failed to watch its output"))
                .ok()
        };
        let [stdout, stderr] = [stdout, stderr].map(|pipe| RestingPipe::new(pipe.and_then(watch)));
        let (pipes, capture) = pair(info, (stdout, stderr), Vec::new());
        // An output thread that is gone has said so by the dropped `done`.
        drop(self.jobs.blocking_send(Job::Follow(pipes)));
        capture
    }

    /// A pipe where another output thread was with it.
    pub(crate) fn resting(
        &self,
        pipe: Option<OwnedFd>,
        unfinished: Vec<u8>,
    ) -> io::Result<RestingPipe> {
        let pipe = pipe.map(|pipe| self.watch(pipe)).transpose()?;
        Ok(RestingPipe { pipe, unfinished })
    }

    /// Brings the output thread to rest. The answer comes when all that was read has been
    /// passed on.
    pub(crate) fn rest(&self) -> oneshot::Receiver<Vec<Pipes>> {
        let (answer, answered) = oneshot::channel();
        // If there is no room, or nobody, the dropped answer says so.
        drop(self.jobs.try_send(Job::Rest(answer)));
        answered
    }

    /// Gives back what a thread at rest has given away.
    pub(crate) fn follow(&self, pipes: Pipes) {
        // There is room: a thread that has come to rest has nothing else to do.
        if self.jobs.try_send(Job::Follow(pipes)).is_err() {
            tracing::error!("the thread that reads the workers' output is gone");
        }
    }
}

/// The pipes of a worker, to be followed, with the last lines of stderr that are known.
pub(crate) fn pair(
    info: WorkerInfo,
    (stdout, stderr): (RestingPipe, RestingPipe),
    tail: Vec<String>,
) -> (Pipes, Capture) {
    let (finish, finished) = oneshot::channel();
    let (done, passed_on) = oneshot::channel();
    let tail = Arc::new(Mutex::new(VecDeque::from(tail)));
    let capture = Capture { finish, done: passed_on, tail: Arc::clone(&tail) };
    (Pipes { info, stdout, stderr, finish: finished, done, tail }, capture)
}

async fn pump(mut inbox: mpsc::Receiver<Job>, sink: &SharedSink, naps: &Naps) {
    let (mut workers, switch) = (JoinSet::new(), RestSwitch::default());
    let follow = |workers: &mut JoinSet<_>, pipes| {
        workers.spawn(read_worker(pipes, (Arc::clone(sink), naps.clone()), switch.signal()));
        while workers.try_join_next().is_some() {}
    };
    while let Some(job) = inbox.recv().await {
        match job {
            Job::Follow(pipes) => follow(&mut workers, pipes),
            Job::Rest(answer) => {
                switch.rest();
                let resting = join_all(&mut workers).await;
                switch.go_on();
                // Whoever has stopped waiting gets nothing: it all goes on.
                for pipes in answer.send(resting).err().into_iter().flatten() {
                    follow(&mut workers, pipes);
                }
            }
        }
    }
    join_all(&mut workers).await;
}

/// Waits until nobody reads any more. Returns what has not been read to the end.
async fn join_all(workers: &mut JoinSet<Option<Pipes>>) -> Vec<Pipes> {
    let mut resting = Vec::new();
    while let Some(ended) = workers.join_next().await {
        resting.extend(ended.ok().flatten());
    }
    resting
}

/// Reads to the end; returns the pipes if it comes to rest before.
async fn read_worker(
    pipes: Pipes,
    (sink, naps): (SharedSink, Naps),
    mut rest: RestSignal,
) -> Option<Pipes> {
    let Pipes { info, stdout, stderr, mut finish, done, tail } = pipes;
    let mut out = Stream::new(stdout, Lines::new(info, StreamKind::Stdout, None));
    let mut err = Stream::new(stderr, Lines::new(info, StreamKind::Stderr, Some(tail.clone())));
    let is_over = tokio::select! {
        biased;
        () = rest.wait() => false,
        // Whoever would have told us is gone, which tells the same.
        _ = &mut finish => true,
        _ = async { tokio::join!(out.follow(&sink, &naps), err.follow(&sink, &naps)) } => true,
    };
    if !is_over {
        let (stdout, stderr) = (out.into_resting(), err.into_resting());
        return Some(Pipes { info, stdout, stderr, finish, done, tail });
    }
    // What it said last tells why it ended: that is known however long the sink takes.
    let last_words = err.take_rest();
    err.lines.remember_rest(&last_words);
    let rest = out.take_rest();
    out.finish(&rest, &sink);
    err.finish(&last_words, &sink);
    // The primary may have given up waiting.
    let _ = done.send(());
    None
}

/// One of a worker's pipes.
struct Stream {
    /// Gone when it has ended.
    pipe: Option<pipe::Receiver>,
    lines: Lines,
}

impl Stream {
    fn new(resting: RestingPipe, lines: Lines) -> Self {
        let RestingPipe { pipe, unfinished } = resting;
        Self { pipe, lines: lines.begun(unfinished) }
    }

    /// To be gone on with by another one.
    fn into_resting(self) -> RestingPipe {
        RestingPipe { pipe: self.pipe, unfinished: self.lines.unfinished }
    }

    /// Reads to the end, which may never come. May be dropped at any await.
    async fn follow(&mut self, sink: &SharedSink, naps: &Naps) {
        let mut pace = Pace::new(naps.clone());
        while let Some(pipe) = &self.pipe {
            match pipe.readable().await {
                Ok(()) => {
                    let length = self.pass_on(&mut **lock(sink));
                    pace.looked(length);
                }
                Err(_) => self.pipe = None,
            }
        }
    }

    /// Passes on what is there, to the last byte that was read. Returns how much it was.
    fn pass_on(&mut self, sink: &mut dyn OutputSink) -> usize {
        let (mut buffer, mut total) = ([0; CHUNK], 0);
        while let Some(pipe) = self.pipe.as_ref().filter(|_| total < TURN_BYTES) {
            match pipe.try_read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) => self.pipe = None,
                Ok(length) => {
                    self.lines.feed(&buffer[..length], sink);
                    total += length;
                    if length < CHUNK {
                        break;
                    }
                }
            }
        }
        sink.flush();
        total
    }

    /// Reads what is there now. The writer is gone, so what it wrote is in the pipe; whoever
    /// else may go on writing is not followed.
    fn take_rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // Read past tokio, which may not have noticed yet that there is something.
        if let Some(Ok(pipe)) = self.pipe.take().map(pipe::Receiver::into_nonblocking_fd) {
            // A pipe that is empty but open ends it as well, and what was read is kept.
            let _ = File::from(pipe).take(LARGEST_PIPE).read_to_end(&mut rest);
        }
        rest
    }

    fn finish(mut self, rest: &[u8], sink: &SharedSink) {
        // Not all at once: others want to get rid of something, too.
        for turn in rest.chunks(TURN_BYTES) {
            let mut sink = lock(sink);
            turn.chunks(CHUNK).for_each(|chunk| self.lines.feed(chunk, &mut **sink));
            sink.flush();
        }
        self.lines.finish(&mut **lock(sink));
    }
}

fn lock<T: ?Sized>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
