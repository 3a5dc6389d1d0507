//! One thread of a load: its connections, and when the next one is due.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::connection::{Connection, Kind, Progress, Request};
use super::load::{Answer, MOST_FAILURES, Mix, Outcome, Pace, Share};
use crate::client::Failure;
use crate::origin::Origin;

/// After so long no answer is waited for any more. More than any request blocks.
const LIMIT: Duration = Duration::from_secs(15);

/// How often it is looked whether all is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How many events are taken at a time.
const EVENTS: usize = 64;

/// Asks, and writes down the answers.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    share: Share<'a>,
    epoll: OwnedFd,
    /// By what epoll calls them.
    seats: Vec<Option<Connection>>,
    free: Vec<usize>,
    chance: Chance,
    /// How many requests there have been.
    requests: u64,
    /// How many of them came by the clock.
    ticks: u32,
    outcome: Outcome,
}

impl<'a> Asker<'a> {
    pub(crate) fn new(share: Share<'a>) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("failed to make an epoll")?;
        Ok(Self {
            share,
            epoll,
            seats: Vec::new(),
            free: Vec::new(),
            chance: Chance(u64::from(share.thread)),
            requests: 0,
            ticks: 0,
            outcome: Outcome::default(),
        })
    }

    /// Asks until the time is over, and waits for what is due then.
    pub(crate) fn run(mut self) -> Result<Outcome> {
        for _ in 0..self.share.clients() {
            self.open()?;
        }
        let mut events = Vec::with_capacity(EVENTS);
        while self.goes_on() {
            self.wait(&mut events)?;
            for event in events.drain(..) {
                self.advance(event)?;
            }
            self.open_what_is_due()?;
        }
        let due = self.seats.iter().flatten().count();
        (0..due).for_each(|_| self.count_failure(&Failure::TimedOut));
        Ok(self.outcome)
    }

    fn goes_on(&self) -> bool {
        let (now, deadline) = (Instant::now(), self.share.deadline());
        let is_due = self.free.len() < self.seats.len();
        !self.share.stop.load(Ordering::Relaxed)
            && self.outcome.failures <= MOST_FAILURES
            && (now < deadline || self.next_tick().is_some() || (is_due && now < deadline + LIMIT))
    }

    fn wait(&self, events: &mut Vec<Event>) -> Result<()> {
        let now = Instant::now();
        let left = self.next_tick().map_or(LOOK_EVERY, |at| at.saturating_duration_since(now));
        let left = Timespec::try_from(left.min(LOOK_EVERY)).context("failed to convert a time")?;
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("failed to wait for answers"),
        }
    }

    /// When the clock asks for the next connection, if it does.
    fn next_tick(&self) -> Option<Instant> {
        let Pace::Every(interval) = self.share.load.pace else { return None };
        let at = self.share.began + interval * self.ticks;
        (at < self.share.deadline()).then_some(at)
    }

    fn open_what_is_due(&mut self) -> Result<()> {
        while self.next_tick().is_some_and(|at| at <= Instant::now()) {
            self.ticks += 1;
            self.open()?;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        let number = self.share.number_of(self.requests);
        let request = self.next_request();
        let seat = self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() - 1
        });
        let ports = self.share.load.ports;
        let port = ports[number as usize % ports.len()];
        match Connection::open(Origin::of(number as u32), port, request) {
            Ok(connection) => {
                let data = EventData::new_u64(seat as u64);
                epoll::add(&self.epoll, &connection, data, connection.interest())
                    .context("failed to watch a connection")?;
                self.seats[seat] = Some(connection);
            }
            Err(failure) => {
                self.free.push(seat);
                self.count_failure(&failure);
            }
        }
        Ok(())
    }

    fn next_request(&mut self) -> Request {
        let number = self.requests;
        self.requests += 1;
        let load = &self.share.load;
        let time = match load.mix {
            Mix::Plain => None,
            Mix::Some { per_mille, time } => {
                (self.chance.next() % 1000 < per_mille).then_some(time)
            }
            Mix::One { number: chosen, time } => (number == chosen).then_some(time),
        };
        let thread = self.share.thread;
        let (path, kind) = match time {
            None => (format!("/{thread}-{number}"), Kind::Plain),
            Some(time) => {
                (format!("/block/{}/{thread}-{number}", time.as_millis()), Kind::Blocking)
            }
        };
        Request { path, kind, reuse: load.reuse }
    }

    fn advance(&mut self, event: Event) -> Result<()> {
        let seat = event.data.u64() as usize;
        // A connection has one event in a turn, so this is not one of a predecessor in the seat.
        let Some(connection) = &mut self.seats[seat] else { return Ok(()) };
        match connection.advance() {
            Ok(Progress::Unfinished) => self.watch_on(seat, event.flags),
            Ok(Progress::Answered { pid, keeps_alive }) => {
                let (asked, kind) = (connection.asked(), connection.kind());
                let (wait, asked) = (asked.elapsed(), asked - self.share.began);
                self.outcome.answers.push(Answer { asked, wait, pid, kind });
                match keeps_alive && Instant::now() < self.share.deadline() {
                    true => self.ask_again(seat),
                    false => self.leave(seat),
                }
            }
            Err(failure) => {
                self.count_failure(&failure);
                self.leave(seat)
            }
        }
    }

    /// Once a request is sent, its answer is waited for.
    fn watch_on(&self, seat: usize, before: EventFlags) -> Result<()> {
        let Some(connection) = &self.seats[seat] else { return Ok(()) };
        if before.contains(connection.interest()) {
            return Ok(());
        }
        epoll::modify(
            &self.epoll,
            connection,
            EventData::new_u64(seat as u64),
            connection.interest(),
        )
        .context("failed to watch a connection")
    }

    fn ask_again(&mut self, seat: usize) -> Result<()> {
        let request = self.next_request();
        let asked = self.seats[seat].as_mut().map(|connection| connection.ask(request));
        match asked {
            Some(Err(failure)) => {
                self.count_failure(&failure);
                self.leave(seat)
            }
            _ => self.watch_on(seat, EventFlags::IN),
        }
    }

    /// Closes a connection, which also ends that it is watched. Its client opens the next.
    fn leave(&mut self, seat: usize) -> Result<()> {
        self.seats[seat] = None;
        self.free.push(seat);
        let asks_on = matches!(self.share.load.pace, Pace::AsAnswered { .. })
            && Instant::now() < self.share.deadline();
        if asks_on { self.open() } else { Ok(()) }
    }

    fn count_failure(&mut self, failure: &Failure) {
        self.outcome.failures += 1;
        self.outcome.example.get_or_insert_with(|| format!("{failure:?}"));
    }
}

/// Chance by a seed, the same for all contestants (splitmix64, by Steele, Lea and Flood).
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
