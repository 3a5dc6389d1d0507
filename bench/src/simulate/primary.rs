//! The primary: the real core, and one thread that carries out what it decides.
//!
//! It is a single server: what is asked of it while it is busy waits. Each thing it does has
//! a [price](Prices), so it can be the limit of all.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use forkyard_core::{
    Action, Choice, Core, Dealing, DealtLane, Endpoint, Host, Input, LaneId, LaneView, ListenerId,
    ListenerSpec, ORIGIN_CLASSES, Origin, Policy, Query, Request, Role, Settings, Verdict,
    WorkerId, slot_of_class,
};

use super::connection::{Key, Socket};
use super::rules::{Prices, Rescue, Rules};

const LISTENER: ListenerId = ListenerId(0);

/// What a worker tells the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It has taken a connection that it was offered.
    Took { worker: usize, key: Key },
    /// It has answered a probe.
    Answered { worker: usize },
}

/// What keeps the primary busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Hear(Told),
    Look,
    Place(Key, Origin),
}

/// To whom the kernel deals.
#[derive(Debug, Default)]
struct Deal {
    lanes: Vec<DealtLane>,
    /// How many have been dealt so far.
    turn: usize,
    /// The lane of each class of origins, once it is asked for.
    by_class: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Primary {
    core: Core,
    /// The core's time when the simulation's begins.
    epoch: Instant,
    dealing: Dealing,
    prices: Prices,
    rescue: Rescue,
    deal: Deal,
    /// Lanes from which it accepts.
    reclaimed: Vec<usize>,
    heard: VecDeque<Told>,
    look_is_due: bool,
    /// Whether a look is due or will be.
    pub(super) watches: bool,
    job: Option<Job>,
    /// For when the core's deadline has been entered in the agenda.
    pub(super) deadline: Option<Duration>,
}

impl Primary {
    /// A primary with all its workers up and listening.
    pub(super) fn new(workers: usize, dealing: Dealing, rescue: Rescue, rules: &Rules) -> Self {
        let settings = Settings { dispatch: rules.dispatch.clone(), ..Settings::default() };
        let mut primary = Self {
            core: Core::new(settings),
            epoch: Instant::now(),
            dealing,
            prices: rules.prices,
            rescue,
            deal: Deal::default(),
            reclaimed: Vec::new(),
            heard: VecDeque::new(),
            look_is_due: false,
            watches: false,
            job: None,
            deadline: None,
        };
        for worker in 0..workers {
            primary.start(worker);
        }
        while let Some(action) = primary.core.next_action() {
            primary.keep(&action);
        }
        primary
    }

    /// Where a connection from this client arrives.
    pub(super) fn socket_for(&mut self, origin: Origin) -> usize {
        match self.dealing {
            Dealing::ByKernel(Choice::ByOrigin) => self.deal.of_origin(origin),
            Dealing::ByKernel(_) => self.deal.next_in_turn(),
            Dealing::ByPrimary(_) | Dealing::ByWorkers => 0,
        }
    }

    /// Whether it is to look at the lanes from now on, because something waits there.
    pub(super) fn begins_to_watch(&mut self) -> bool {
        let can = self.dealing == Dealing::ByKernel(Choice::InTurn) && self.rescue == Rescue::On;
        can && !std::mem::replace(&mut self.watches, true)
    }

    pub(super) fn look_is_due(&mut self) {
        self.look_is_due = true;
    }

    pub(super) fn hear(&mut self, told: Told) {
        self.heard.push_back(told);
    }

    /// Connections of a worker's are closed. Costs nothing here: how it is learnt is left open.
    pub(super) fn closed(&mut self, now: Duration, worker: usize) {
        self.handle(now, Input::Finished { worker: id_of(worker), connections: 1 });
    }

    /// Begins with what is to be done next, if it is not busy; how long it takes.
    pub(super) fn begin(
        &mut self,
        now: Duration,
        sockets: &mut [Socket],
        origin_of: impl FnOnce(Key) -> Origin,
    ) -> Option<Duration> {
        if self.job.is_some() {
            return None;
        }
        let (job, price) = if let Some(told) = self.heard.pop_front() {
            (Job::Hear(told), self.prices.reply)
        } else if std::mem::take(&mut self.look_is_due) {
            (Job::Look, self.prices.look(self.deal.lanes.len() + self.reclaimed.len()))
        } else {
            let key = self.accept(now, sockets)?;
            (Job::Place(key, origin_of(key)), self.prices.accept)
        };
        self.job = Some(job);
        Some(price)
    }

    /// Finishes what it was at. Whether something waits on a lane, if that was looked at.
    pub(super) fn finish(&mut self, now: Duration, sockets: &[Socket]) -> Option<bool> {
        match self.job.take()? {
            Job::Hear(Told::Took { worker, key }) => {
                let (worker, connection) = (id_of(worker), key.id());
                let verdict = Verdict::Accepted;
                self.handle(now, Input::Replied { worker, connection, verdict });
                None
            }
            Job::Hear(Told::Answered { worker }) => {
                self.handle(now, Input::Answered { worker: id_of(worker) });
                None
            }
            Job::Place(key, origin) => {
                let (connection, origin) = (key.id(), Some(origin));
                self.handle(now, Input::Accepted { listener: LISTENER, connection, origin });
                None
            }
            Job::Look => Some(self.look(now, sockets)),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        self.core.handle_timeout(self.epoch + now);
    }

    /// When [`Primary::handle_timeout`] is to be called, if that is sooner than was known.
    pub(super) fn new_deadline(&mut self) -> Option<Duration> {
        let at = self.core.next_deadline()?.saturating_duration_since(self.epoch);
        if self.deadline.is_some_and(|earlier| earlier <= at) {
            return None;
        }
        self.deadline = Some(at);
        Some(at)
    }

    /// The next thing that workers and connections notice.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        loop {
            let action = self.core.next_action()?;
            if !self.keep(&action) {
                return Some(action);
            }
        }
    }

    /// Takes note of what concerns the primary alone; `false` if it is something else.
    fn keep(&mut self, action: &Action) -> bool {
        match action {
            Action::Deal { lanes, .. } => self.deal.is_now_to(lanes),
            Action::Reclaim { lane, .. } => self.reclaimed.push(lane.0.into()),
            Action::GiveBack { lane, .. } => {
                self.reclaimed.retain(|other| *other != usize::from(lane.0));
            }
            Action::HandOff { .. } | Action::Release { .. } | Action::Probe { .. } => return false,
            _ => {}
        }
        true
    }

    fn start(&mut self, worker: usize) {
        let id = id_of(worker);
        self.core.request(self.epoch, Request::Fork(Role::Serving));
        let pid = id.0;
        let endpoint = Endpoint::Tcp { host: Host::Any, port: 80, only_v6: false };
        let spec = ListenerSpec::new(endpoint, 0);
        let query = Query { worker: id, seq: 0, spec, policy: Policy::Auto, backlog: None };
        let opened = Input::ListenerOpened { listener: LISTENER, dealing: self.dealing };
        self.handle(Duration::ZERO, Input::Spawned { worker: id, pid });
        self.handle(Duration::ZERO, Input::Online { worker: id });
        self.handle(Duration::ZERO, Input::Query(query));
        if worker == 0 {
            self.handle(Duration::ZERO, opened);
        }
        self.handle(Duration::ZERO, Input::Listening { worker: id });
    }

    fn handle(&mut self, now: Duration, input: Input) {
        self.core.handle(self.epoch + now, input);
    }

    fn accept(&mut self, now: Duration, sockets: &mut [Socket]) -> Option<Key> {
        let of_primary: &[usize] = if self.dealing.has_lanes() { &self.reclaimed } else { &[0] };
        let socket = *of_primary.iter().find(|socket| !sockets[**socket].is_empty())?;
        let has_capacity = self.core.has_capacity(self.epoch + now, LISTENER);
        has_capacity.then(|| sockets[socket].pop()).flatten()
    }

    /// Tells the core what waits on the lanes, and whether anything does.
    fn look(&mut self, now: Duration, sockets: &[Socket]) -> bool {
        let mut something_waits = false;
        for (number, socket) in sockets.iter().enumerate() {
            let lane = LaneId(u16::try_from(number).expect("invariant: lanes are few"));
            let waiting = u32::try_from(socket.len()).expect("invariant: backlogs are short");
            let view = LaneView { waiting, dealt: socket.dealt };
            self.handle(now, Input::LaneSeen { listener: LISTENER, lane, view });
            something_waits |= waiting > 0;
        }
        something_waits
    }
}

impl Deal {
    fn is_now_to(&mut self, lanes: &[DealtLane]) {
        self.lanes = lanes.to_vec();
        self.by_class.clear();
    }

    fn next_in_turn(&mut self) -> usize {
        self.turn += 1;
        self.lanes[self.turn % self.lanes.len()].lane.0.into()
    }

    fn of_origin(&mut self, origin: Origin) -> usize {
        if self.by_class.is_empty() {
            self.by_class = (0..ORIGIN_CLASSES).map(|class| self.of_class(class)).collect();
        }
        self.by_class[origin.class()]
    }

    fn of_class(&self, class: usize) -> usize {
        let slot = slot_of_class(class, self.lanes.iter().map(|dealt| dealt.slot));
        let dealt = self.lanes.iter().find(|dealt| Some(dealt.slot) == slot);
        dealt.expect("invariant: some lane is dealt to").lane.0.into()
    }
}

/// Workers are counted from 0 here and from 1 by the core.
fn id_of(worker: usize) -> WorkerId {
    WorkerId(u32::try_from(worker + 1).expect("invariant: workers are few"))
}

/// The worker that the core calls so.
pub(super) fn number_of(worker: WorkerId) -> usize {
    worker.0 as usize - 1
}
