//! Many clients in few threads. A client a thread would cost more than it measures: here the
//! connections of a thread share one epoll, and the program measured keeps the cores.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::asker::Asker;
use super::connection::Kind;
use crate::client::Reuse;
use crate::interrupt;

/// How many threads clients share that ask as soon as they are answered. On small machines
/// more would only take cores away from what is measured.
const THREADS: u16 = 2;

/// More failures than that, and it is no use to go on.
pub(crate) const MOST_FAILURES: u64 = 1000;

/// How clients ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    /// Where they ask, in turn.
    pub(crate) ports: &'a [u16],
    pub(crate) pace: Pace,
    pub(crate) reuse: Reuse,
    pub(crate) mix: Mix,
    /// How long they ask. After that, answers that are due are waited for.
    pub(crate) duration: Duration,
}

/// When the next request comes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many clients ask again as soon as they are answered.
    AsAnswered { clients: u16 },
    /// By the clock, whatever became of those before. Always a connection each.
    Every(Duration),
}

/// Which requests block a worker, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mix {
    Plain,
    /// So many of 1000, by a fixed seed.
    Some {
        per_mille: u64,
        time: Duration,
    },
    /// The one with this number, counted from 0.
    One {
        number: u64,
        time: Duration,
    },
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) answers: Vec<Answer>,
    pub(crate) failures: u64,
    /// The first failure.
    pub(crate) example: Option<String>,
}

/// A right answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Since the beginning.
    pub(crate) asked: Duration,
    pub(crate) wait: Duration,
    pub(crate) pid: i32,
    pub(crate) kind: Kind,
}

/// What one thread of a load has to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share<'a> {
    pub(crate) load: Load<'a>,
    pub(crate) thread: u16,
    pub(crate) threads: u16,
    pub(crate) began: Instant,
    /// True when it is all over, whatever is due.
    pub(crate) stop: &'a AtomicBool,
}

impl Load<'_> {
    /// Runs to the end.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let threads = self.threads();
        let began = Instant::now();
        let stop = AtomicBool::new(false);
        let mut outcome = Outcome::default();
        std::thread::scope(|scope| {
            let spawn = |thread| {
                let share = Share { load: *self, thread, threads, began, stop: &stop };
                scope.spawn(move || Asker::new(share)?.run())
            };
            let running: Vec<_> = (0..threads).map(spawn).collect();
            let waited = interrupt::pause(self.duration);
            stop.store(waited.is_err(), Ordering::Relaxed);
            for thread in running {
                outcome.add(thread.join().map_err(|_| anyhow!("a client panicked"))??);
            }
            waited
        })?;
        let Outcome { failures, example, .. } = &outcome;
        let example = || example.clone().unwrap_or_default();
        ensure!(*failures <= MOST_FAILURES, "too many requests failed, as in: {}", example());
        outcome.answers.first().with_context(|| format!("there was no answer; {}", example()))?;
        Ok(outcome)
    }

    fn threads(&self) -> u16 {
        match self.pace {
            Pace::AsAnswered { clients } => THREADS.min(clients),
            Pace::Every(_) => 1,
        }
    }
}

impl Share<'_> {
    /// How many clients of [`Pace::AsAnswered`] are this thread's.
    pub(crate) fn clients(&self) -> u16 {
        match self.load.pace {
            Pace::AsAnswered { clients } => {
                clients / self.threads + u16::from(self.thread < clients % self.threads)
            }
            Pace::Every(_) => 0,
        }
    }

    /// The number among the requests of all threads of this thread's n-th one.
    pub(crate) fn number_of(&self, request: u64) -> u64 {
        request * u64::from(self.threads) + u64::from(self.thread)
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.began + self.load.duration
    }
}

impl Outcome {
    fn add(&mut self, more: Self) {
        self.answers.extend(more.answers);
        self.failures += more.failures;
        self.example = self.example.take().or(more.example);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Arc, Barrier};

    const PID: i32 = 42;

    /// A server whose connections are counted, and its port. Each has a thread.
    fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> (u16, Arc<AtomicUsize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                std::thread::spawn(move || serve(stream.unwrap()));
            }
        });
        (port, connections)
    }

    /// Answers whatever is asked on a connection.
    fn answer_all(mut stream: TcpStream) {
        let mut bytes = [0; 1024];
        while let Ok(length) = stream.read(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..length]);
            let Some(path) = text.split(' ').nth(1) else { return };
            let body = format!("{PID} {path}\n");
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn load(ports: &[u16], pace: Pace, reuse: Reuse) -> Load<'_> {
        Load { ports, pace, reuse, mix: Mix::Plain, duration: Duration::from_millis(50) }
    }

    #[test]
    fn every_request_has_a_connection_or_every_client() {
        let (port, connections) = server(answer_all);
        let pace = Pace::AsAnswered { clients: 3 };
        let outcome = load(&[port], pace, Reuse::Close).run().unwrap();
        assert!(outcome.answers.iter().all(|answer| answer.pid == PID));
        assert_eq!(
            (outcome.answers.len(), outcome.failures),
            (connections.load(Ordering::SeqCst), 0)
        );
        let (port, connections) = server(answer_all);
        let outcome = load(&[port], pace, Reuse::KeepAlive).run().unwrap();
        assert!(outcome.answers.len() >= 3 && outcome.failures == 0);
        assert_eq!(connections.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn all_ports_are_asked() {
        let (one, other) = (server(answer_all), server(answer_all));
        let (ports, pace) = ([one.0, other.0], Pace::AsAnswered { clients: 4 });
        load(&ports, pace, Reuse::KeepAlive).run().unwrap();
        assert_eq!([one.1, other.1].map(|it| it.load(Ordering::SeqCst)), [2, 2]);
    }

    #[test]
    fn the_clock_waits_for_no_answer() {
        // Nobody is answered before all have asked.
        let all = Arc::new(Barrier::new(10));
        let (port, _) = server(move |stream| {
            all.wait();
            answer_all(stream);
        });
        let pace = Pace::Every(Duration::from_millis(5));
        let mix = Mix::One { number: 7, time: Duration::from_millis(1) };
        let outcome = Load { mix, ..load(&[port], pace, Reuse::Close) }.run().unwrap();
        assert_eq!((outcome.answers.len(), outcome.failures), (10, 0));
        let blocking = outcome.answers.iter().filter(|answer| answer.kind == Kind::Blocking);
        assert_eq!(blocking.count(), 1);
    }

    #[test]
    fn who_is_late_makes_up_for_it() {
        let (port, _) = server(answer_all);
        let ports = [port];
        let load = load(&ports, Pace::Every(Duration::from_millis(5)), Reuse::Close);
        let began = Instant::now() - load.duration * 2;
        let stop = &AtomicBool::new(false);
        let share = Share { load, thread: 0, threads: 1, began, stop };
        let outcome = Asker::new(share).unwrap().run().unwrap();
        assert_eq!(outcome.answers.len(), 10);
    }

    #[test]
    fn some_requests_block_and_most_do_not() {
        let (port, _) = server(answer_all);
        let pace = Pace::Every(Duration::from_micros(50));
        let mix = Mix::Some { per_mille: 100, time: Duration::ZERO };
        let outcome = Load { mix, ..load(&[port], pace, Reuse::Close) }.run().unwrap();
        let blocking = outcome.answers.iter().filter(|answer| answer.kind == Kind::Blocking);
        // By the seed 114 of 1000.
        assert_eq!((outcome.answers.len(), blocking.count()), (1000, 114));
    }

    #[test]
    fn who_hangs_up_on_everybody_is_not_measured() {
        let (port, _) = server(drop);
        let pace = Pace::AsAnswered { clients: 1 };
        let error = load(&[port], pace, Reuse::Close).run().unwrap_err();
        assert!(error.to_string().contains("Reset"), "{error}");
    }
}
