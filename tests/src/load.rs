//! Many clients at once that count everything that goes wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Connection, Failure, Reply, Reuse, Target};
use crate::waiting;

/// No load goes on for longer, whatever a test forgets.
const LONGEST: Duration = Duration::from_secs(60);

/// Asks a server for one id after the other, from several threads.
#[derive(Clone, Debug)]
pub struct Load {
    target: Target,
    reuse: Reuse,
    threads: u64,
    requests: u64,
}

/// A request that went wrong.
#[derive(Clone, Debug)]
pub struct Lost {
    /// What was asked for.
    pub id: String,
    /// The client's port; 0 if it never got a connection.
    pub local_port: u16,
    /// How it went wrong.
    pub failure: Failure,
}

/// What became of all requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The ids answered rightly, with who answered.
    pub answered: BTreeMap<String, i32>,
    /// All others.
    pub lost: Vec<Lost>,
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
        Self { target: target.clone(), reuse: Reuse::Close, threads: 8, requests: 20_000 }
    }

    /// As many requests on a connection as the server allows.
    #[must_use]
    pub fn keep_alive(target: &Target) -> Self {
        Self { reuse: Reuse::KeepAlive, ..Self::short(target) }
    }

    /// How many clients ask at the same time.
    #[must_use]
    pub fn threads(self, threads: u64) -> Self {
        Self { threads, ..self }
    }

    /// How many requests there are in all, at most.
    #[must_use]
    pub fn requests(self, requests: u64) -> Self {
        Self { requests, ..self }
    }

    /// Starts to ask.
    #[must_use]
    pub fn start(&self) -> Running {
        let shared = Arc::new(Shared::default());
        let threads = (0..self.threads)
            .map(|_| {
                let (load, shared) = (self.clone(), Arc::clone(&shared));
                std::thread::spawn(move || load.ask_on(&shared))
            })
            .collect();
        Running { shared, threads }
    }

    /// Asks all and waits for the end of it.
    #[must_use]
    pub fn run(&self) -> Tally {
        self.start().finish()
    }

    fn ask_on(&self, shared: &Shared) {
        let end = Instant::now() + LONGEST;
        let mut kept = None;
        while !shared.stop.load(Ordering::Relaxed) && Instant::now() < end {
            let number = shared.asked.fetch_add(1, Ordering::Relaxed);
            if number >= self.requests {
                return;
            }
            let id = format!("r{number}");
            let (outcome, local_port) = self.ask_once(&mut kept, &id);
            shared.note(id, local_port, outcome);
        }
    }

    fn ask_once(&self, kept: &mut Option<Connection>, id: &str) -> (Result<i32, Failure>, u16) {
        let opened = match kept.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(&self.target),
        };
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(failure) => return (Err(failure), 0),
        };
        let local_port = connection.local_port();
        let reply =
            connection.ask(&format!("/{id}"), self.reuse).and_then(|()| connection.answer());
        if self.reuse == Reuse::KeepAlive && reply.as_ref().is_ok_and(|reply| reply.keeps_alive) {
            *kept = Some(connection);
        }
        (reply.and_then(|reply| who_answered(&reply, id)), local_port)
    }
}

/// Who answered, if the answer is the one to this id.
fn who_answered(reply: &Reply, id: &str) -> Result<i32, Failure> {
    let json = reply.json();
    let right = reply.status == 200 && json["id"] == id;
    let pid = json["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.filter(|_| right).ok_or_else(|| Failure::Wrong(format!("{reply:?} to {id}")))
}

impl Shared {
    fn note(&self, id: String, local_port: u16, outcome: Result<i32, Failure>) {
        let mut tally = self.tally.lock().expect("invariant: nobody panics while counting");
        match outcome {
            Ok(pid) => {
                tally.answered.insert(id, pid);
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => tally.lost.push(Lost { id, local_port, failure }),
        }
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
        let mut tally = self.shared.tally.lock().expect("invariant: nobody panics while counting");
        std::mem::take(&mut tally)
    }
}

impl Tally {
    /// The requests that went wrong in the given way.
    #[must_use]
    pub fn count(&self, failure: &Failure) -> usize {
        let same =
            |lost: &&Lost| std::mem::discriminant(&lost.failure) == std::mem::discriminant(failure);
        self.lost.iter().filter(same).count()
    }

    /// How many requests each process answered.
    #[must_use]
    pub fn by_worker(&self) -> BTreeMap<i32, usize> {
        let mut counts = BTreeMap::new();
        for &pid in self.answered.values() {
            *counts.entry(pid).or_default() += 1;
        }
        counts
    }

    /// Fails the test unless every request was answered rightly.
    ///
    /// # Panics
    ///
    /// When one was not.
    pub fn assert_nothing_lost(&self) {
        let lost = &self.lost[..self.lost.len().min(20)];
        assert!(
            self.lost.is_empty(),
            "{} of {} requests were lost: {lost:#?}",
            self.lost.len(),
            self.lost.len() + self.answered.len(),
        );
        assert!(!self.answered.is_empty(), "nothing was asked");
    }
}
