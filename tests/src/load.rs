//! Many clients at once that count everything that goes wrong.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Connection, Failure, Reply, Reuse, Target};
use crate::http2::{self, Http2};
use crate::tally::Answered;
pub use crate::tally::{Lost, Tally};
use crate::websocket::Messages;
use crate::{DEADLINE, waiting};

/// No load goes on for longer, whatever a test forgets.
const LONGEST: Duration = Duration::from_secs(90);

/// How many clients of a load share a connection of HTTP/2.
const STREAMS: usize = 4;

/// Asks a server for one id after the other, from several threads.
#[derive(Clone, Debug)]
pub struct Load {
    target: Target,
    way: Way,
    threads: usize,
    requests: u64,
    patience: Duration,
    folder: String,
    pace: Pace,
}

/// How the clients ask.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Every request on a connection of its own.
    Short,
    /// On connections in turn, each client having so many.
    KeepAlive(usize),
    /// As streams of a few connections.
    Http2,
    /// By messages on a WebSocket each.
    Messages,
}

#[derive(Clone, Copy, Debug)]
enum Pace {
    /// The next request follows on the answer.
    Full,
    /// A client leaves the machine to others for a moment after each answer.
    Modest,
}

/// Whoever asks a server, in a way of its own.
pub(crate) trait Client {
    /// Asks for `path`.
    fn ask(&mut self, path: &str) -> Asked;
}

/// What came of one request.
pub(crate) struct Asked {
    /// The client's port; 0 if it never got a connection, or none that has one.
    pub(crate) local_port: u16,
    pub(crate) answer: Result<Reply, Failure>,
}

/// A load that is under way.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    asked: AtomicU64,
    answered: AtomicU64,
    tally: Mutex<Tally>,
}

impl Load {
    /// Every request on a connection of its own.
    #[must_use]
    pub fn short(target: &Target) -> Self {
        Self {
            target: target.clone(),
            way: Way::Short,
            threads: 8,
            requests: 20_000,
            patience: DEADLINE,
            folder: "/".into(),
            pace: Pace::Full,
        }
    }

    /// As many requests on a connection as the server allows.
    #[must_use]
    pub fn keep_alive(target: &Target) -> Self {
        Self { way: Way::KeepAlive(1), ..Self::short(target) }
    }

    /// The same, with so many connections for each client, asked on in turn: most of them
    /// are idle at any time.
    #[must_use]
    pub fn mostly_idle(target: &Target, connections: usize) -> Self {
        Self { way: Way::KeepAlive(connections), ..Self::short(target) }
    }

    /// As streams of HTTP/2, several clients to a connection.
    #[must_use]
    pub fn http2(target: &Target) -> Self {
        Self { way: Way::Http2, ..Self::short(target) }
    }

    /// By messages on WebSockets.
    #[must_use]
    pub fn messages(target: &Target) -> Self {
        Self { way: Way::Messages, ..Self::short(target) }
    }

    /// How many clients ask at the same time.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// How many requests there are in all, at most.
    #[must_use]
    pub fn requests(self, requests: u64) -> Self {
        Self { requests, ..self }
    }

    /// How long a request may take: one that takes longer counts as lost.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Where the ids are asked for: `/slow/100/` for `/slow/100/r17`.
    #[must_use]
    pub fn folder(self, folder: &str) -> Self {
        Self { folder: folder.into(), ..self }
    }

    /// Leaves the machine to others for a moment after each answer, so that the load can
    /// go on for as long as what is done under it.
    #[must_use]
    pub fn modest(self) -> Self {
        Self { pace: Pace::Modest, requests: 200_000, ..self }
    }

    /// Starts to ask.
    #[must_use]
    pub fn start(&self) -> Running {
        let shared = Arc::new(Shared::default());
        let clients: Vec<_> = self.clients();
        let threads = clients
            .into_iter()
            .map(|client| {
                let (load, shared) = (self.clone(), Arc::clone(&shared));
                std::thread::spawn(move || load.ask_on(client, &shared))
            })
            .collect();
        Running { shared, threads }
    }

    /// Asks all and waits for the end of it.
    #[must_use]
    pub fn run(&self) -> Tally {
        self.start().finish()
    }

    fn clients(&self) -> Vec<Box<dyn Client + Send>> {
        let (target, patience) = (self.target.clone(), self.patience);
        let http = |reuse, connections| {
            let target = target.clone();
            Box::new(Http1 { target, patience, reuse, connections, kept: VecDeque::new() })
        };
        let mut connections = (0..self.threads.div_ceil(STREAMS))
            .map(|_| Arc::new(http2::Shared::new(&self.target, patience)))
            .cycle();
        (0..self.threads)
            .map(|_| -> Box<dyn Client + Send> {
                match self.way {
                    Way::Short => http(Reuse::Close, 1),
                    Way::KeepAlive(connections) => http(Reuse::KeepAlive, connections),
                    Way::Http2 => Box::new(Http2(connections.next().expect("it never ends"))),
                    Way::Messages => {
                        Box::new(Messages { target: target.clone(), patience, open: None })
                    }
                }
            })
            .collect()
    }

    fn ask_on(&self, mut client: Box<dyn Client + Send>, shared: &Shared) {
        let end = Instant::now() + LONGEST;
        while !shared.stop.load(Ordering::Relaxed) && Instant::now() < end {
            let number = shared.asked.fetch_add(1, Ordering::Relaxed);
            if number >= self.requests {
                return;
            }
            self.ask_once(&mut *client, format!("r{number}"), shared);
            if matches!(self.pace, Pace::Modest) {
                waiting::nap();
            }
        }
    }

    fn ask_once(&self, client: &mut dyn Client, id: String, shared: &Shared) {
        let start = Instant::now();
        let Asked { local_port, answer } = client.ask(&format!("{}{id}", self.folder));
        let took = start.elapsed();
        let answer = answer.and_then(|reply| Answered::check(&reply, &id));
        let in_time = |by| if took > self.patience { Err(Failure::Late(took)) } else { Ok(by) };
        match answer.and_then(in_time) {
            Ok(by) => {
                shared.tally().add_answered(id, by, took);
                shared.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => shared.tally().add_lost(Lost { id, local_port, failure }),
        }
    }
}

/// A client that speaks HTTP/1.
struct Http1 {
    target: Target,
    patience: Duration,
    reuse: Reuse,
    /// How many connections it has open, if the server allows.
    connections: usize,
    /// Those, the longest idle one first.
    kept: VecDeque<Connection>,
}

impl Client for Http1 {
    fn ask(&mut self, path: &str) -> Asked {
        let mut connection = match self.connection() {
            Ok(connection) => connection,
            Err(failure) => return Asked { local_port: 0, answer: Err(failure) },
        };
        let local_port = connection.local_port();
        let answer = connection.ask(path, self.reuse).and_then(|()| connection.answer());
        if self.reuse == Reuse::KeepAlive && answer.as_ref().is_ok_and(|reply| reply.keeps_alive) {
            self.kept.push_back(connection);
        }
        Asked { local_port, answer }
    }
}

impl Http1 {
    fn connection(&mut self) -> Result<Connection, Failure> {
        let kept = if self.kept.len() < self.connections { None } else { self.kept.pop_front() };
        kept.map_or_else(|| Connection::open_within(&self.target, self.patience), Ok)
    }
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("invariant: nobody panics while counting")
    }
}

impl Running {
    /// Waits until `more` requests have been answered from now on.
    pub fn wait_answered(&self, more: u64) {
        let goal = self.shared.answered.load(Ordering::Relaxed) + more;
        waiting::until(&format!("{goal} answered requests"), || {
            (self.shared.answered.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    /// Asks no more, waits for the answers that are due, and counts.
    #[must_use]
    pub fn stop(self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until all was asked, and counts.
    ///
    /// # Panics
    ///
    /// When a client panicked.
    #[must_use]
    pub fn finish(self) -> Tally {
        for thread in self.threads {
            thread.join().expect("a client that does not panic");
        }
        std::mem::take(&mut self.shared.tally())
    }
}
