//! Who holds which of the connections that were handed over, for `least-connections`.
//!
//! No worker says when it closes a connection, so the kernel is asked every now and then which
//! ones are held. That works for every program, and costs it nothing.
//!
//! ```text
//!             handed over               Counted: not held any more
//!   (nobody's) ──────────▶ a worker's ─────────────────────────────▶ finished
//!                                    ◀──┐
//!                              Counted: └─ held, or came while it was counted
//! ```
//!
//! Counting is done by a thread that may block, one count at a time. How long it takes says how
//! long it is not done again, so that it never takes more than a small share of a core.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use forkyard_core::{ListenerId, WorkerId};
use forkyard_sys::sockets::{Inode, Place, held_at, inode};

/// The pause between two counts, at least.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// The pause is at most so long, ...
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// ... and otherwise so many times as long as the count before it took.
const PAUSE_TIMES: u32 = 50;

/// By what a connection is found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) inode: Inode,
    pub(super) place: Place,
}

/// What a count found.
#[derive(Debug)]
pub(crate) struct Counted {
    began: Instant,
    took: Duration,
    held: io::Result<HashSet<Inode>>,
}

/// Where to count, and when.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) pause: Duration,
    places: BTreeSet<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Resting,
    Counting,
    /// The system does not tell.
    Impossible,
}

#[derive(Clone, Copy, Debug)]
struct Holding {
    worker: WorkerId,
    place: Place,
    since: Instant,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Census {
    holdings: HashMap<Inode, Holding>,
    places: HashMap<ListenerId, Option<Place>>,
    activity: Activity,
    pause: Duration,
}

impl Counted {
    /// A count that could not be made.
    pub(super) fn failed(error: io::Error) -> Self {
        Self { began: Instant::now(), took: Duration::ZERO, held: Err(error) }
    }
}

impl Census {
    pub(super) fn new() -> Self {
        Self {
            holdings: HashMap::new(),
            places: HashMap::new(),
            activity: Activity::Resting,
            pause: SHORTEST_PAUSE,
        }
    }

    /// How a connection that came by this listener is found again, if that can be.
    pub(super) fn mark(
        &mut self,
        (id, listener): (ListenerId, BorrowedFd<'_>),
        connection: BorrowedFd<'_>,
    ) -> Option<Mark> {
        if self.activity == Activity::Impossible {
            return None;
        }
        let find = || Place::of(listener).ok().flatten();
        let place = (*self.places.entry(id).or_insert_with(find))?;
        Some(Mark { inode: inode(connection).ok()?, place })
    }

    /// A listener is closed, and comes back under another id if at all.
    pub(super) fn listener_closed(&mut self, id: ListenerId) {
        self.places.remove(&id);
    }

    /// A worker has taken a connection.
    pub(super) fn handed_over(&mut self, now: Instant, worker: WorkerId, mark: Mark) {
        let Mark { inode, place } = mark;
        self.holdings.insert(inode, Holding { worker, place, since: now });
    }

    /// Nobody need know any more what this worker held.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.holdings.retain(|_, holding| holding.worker != worker);
    }

    /// The next count, if one is of use and none is under way.
    pub(super) fn order(&mut self) -> Option<Order> {
        if self.activity != Activity::Resting || self.holdings.is_empty() {
            return None;
        }
        self.activity = Activity::Counting;
        let places = self.holdings.values().map(|holding| holding.place).collect();
        Some(Order { pause: self.pause, places })
    }

    /// How many of each worker's connections are finished. If it cannot be told, all that were
    /// handed over so far, and no more are marked.
    pub(super) fn counted(&mut self, counted: Counted) -> BTreeMap<WorkerId, u32> {
        let Counted { began, took, held } = counted;
        self.activity = Activity::Resting;
        self.pause = (took * PAUSE_TIMES).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let held = held.unwrap_or_else(|error| {
            tracing::warn!(
                %error,
                "the system does not tell which connections are open (sock_diag); \
                 least-connections goes by those that workers have not answered"
            );
            self.activity = Activity::Impossible;
            HashSet::new()
        });
        let impossible = self.activity == Activity::Impossible;
        let mut finished = BTreeMap::new();
        self.holdings.retain(|inode, holding| {
            let stays = !impossible && (holding.since >= began || held.contains(inode));
            if !stays {
                *finished.entry(holding.worker).or_default() += 1;
            }
            stays
        });
        finished
    }

    /// All that are held as far as is known.
    pub(super) fn all(&self) -> impl Iterator<Item = (WorkerId, Mark)> {
        self.holdings
            .iter()
            .map(|(inode, holding)| (holding.worker, Mark { inode: *inode, place: holding.place }))
    }
}

/// Asks the kernel. Blocks for as long as that takes.
pub(super) fn count(order: &Order) -> Counted {
    let began = Instant::now();
    let places = order.places.iter();
    let held = places.map(|place| held_at(*place)).try_fold(HashSet::new(), |mut all, held| {
        all.extend(held?);
        io::Result::Ok(all)
    });
    Counted { began, took: began.elapsed(), held }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place::V4(80);

    fn hand_over(census: &mut Census, now: Instant, worker: u32, inode: u32) {
        let mark = Mark { inode: Inode(inode), place: PLACE };
        census.handed_over(now, WorkerId(worker), mark);
    }

    fn found(began: Instant, held: &[u32]) -> Counted {
        let held = held.iter().copied().map(Inode).collect();
        Counted { began, took: Duration::ZERO, held: Ok(held) }
    }

    #[test]
    fn what_is_not_held_any_more_is_finished_once() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut census = Census::new();
        assert_eq!(census.order(), None, "there is nothing to count");
        for (worker, inode) in [(1, 10), (1, 11), (2, 20)] {
            hand_over(&mut census, now, worker, inode);
        }
        let order = census.order().unwrap();
        assert_eq!(order.places, BTreeSet::from([PLACE]));
        assert_eq!(census.order(), None, "one is under way");
        hand_over(&mut census, later, 2, 21);
        let finished = census.counted(found(later, &[11]));
        assert_eq!(finished, BTreeMap::from([(WorkerId(1), 1), (WorkerId(2), 1)]));
        assert!(census.order().is_some());
        let finished = census.counted(found(later + Duration::from_secs(1), &[11]));
        assert_eq!(finished, BTreeMap::from([(WorkerId(2), 1)]));
    }

    #[test]
    fn a_worker_that_is_gone_holds_nothing() {
        let now = Instant::now();
        let mut census = Census::new();
        hand_over(&mut census, now, 1, 10);
        census.forget(WorkerId(1));
        assert_eq!((census.order(), census.all().count()), (None, 0));
    }

    #[test]
    fn nothing_is_remembered_of_a_listener_that_is_closed() {
        let mut census = Census::new();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::os::fd::AsFd::as_fd(&listener);
        assert!(census.mark((ListenerId(1), socket), socket).is_some());
        census.listener_closed(ListenerId(1));
        assert!(census.places.is_empty());
    }

    #[test]
    fn a_system_that_does_not_tell_is_not_asked_again() {
        let now = Instant::now();
        let mut census = Census::new();
        hand_over(&mut census, now, 1, 10);
        census.order().unwrap();
        let held = Err(io::Error::from(io::ErrorKind::Unsupported));
        let finished = census.counted(Counted { began: now, took: Duration::ZERO, held });
        assert_eq!(finished, BTreeMap::from([(WorkerId(1), 1)]));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::os::fd::AsFd::as_fd(&listener);
        assert_eq!(census.mark((ListenerId(1), socket), socket), None);
    }

    #[test]
    fn a_count_that_takes_long_is_made_seldom() {
        let mut census = Census::new();
        for (took_ms, pause_ms) in [(0, 50), (4, 200), (1000, 2000)] {
            let took = Duration::from_millis(took_ms);
            census.counted(Counted { took, ..found(Instant::now(), &[]) });
            assert_eq!(census.pause, Duration::from_millis(pause_ms));
        }
    }
}
