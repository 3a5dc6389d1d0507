//! The primary: the real core, and one thread that carries out what it decides.
//!
//! It is a single server: what is asked of it while it is busy waits. Each thing it does has
//! a [price](Prices), so it can be the limit of all.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use forkyard_core::{
    Action, Choice, Core, Dealing, DealtLane, Endpoint, Host, Input, LaneView, ListenerId,
    ListenerSpec, ORIGIN_CLASSES, Origin, Policy, Query, Request, Role, Settings, Verdict,
    WorkerId, slot_of_class,
};

use super::connection::{Key, Socket};
use super::lookout::{Glance, Lookout};
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
    /// If it looks at the lanes.
    lookout: Option<Lookout>,
    deal: Deal,
    /// Lanes from which it accepts.
    reclaimed: BTreeSet<usize>,
    /// Where it looks first for a connection on these.
    first: usize,
    /// Workers that have not answered the last probe.
    probed: BTreeSet<WorkerId>,
    heard: VecDeque<Told>,
    job: Option<Job>,
    /// For when the core's deadline has been entered in the agenda.
    pub(super) deadline: Option<Duration>,
}

impl Primary {
    /// A primary with all its workers up and listening.
    pub(super) fn new(workers: usize, dealing: Dealing, rescue: Rescue, rules: &Rules) -> Self {
        let settings = Settings { dispatch: rules.dispatch.clone(), ..Settings::default() };
        let others_could_have_it = dealing == Dealing::ByKernel(Choice::InTurn) && workers > 1;
        let looks = others_could_have_it && rescue == Rescue::On;
        let mut primary = Self {
            core: Core::new(settings),
            epoch: Instant::now(),
            dealing,
            prices: rules.prices,
            lookout: looks.then(|| Lookout::new(rules.look_every)),
            deal: Deal::default(),
            reclaimed: BTreeSet::new(),
            first: 0,
            probed: BTreeSet::new(),
            heard: VecDeque::new(),
            job: None,
            deadline: None,
        };
        for worker in 0..workers {
            primary.start(worker);
        }
        while let Some(action) = primary.core.next_action() {
            primary.keep(Duration::ZERO, &action);
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

    /// A connection has come to one of the lanes.
    pub(super) fn something_came(&mut self, now: Duration) {
        if let Some(lookout) = &mut self.lookout {
            lookout.something_came(now);
        }
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
        let (job, price) = if self.lookout.as_ref().is_some_and(|lookout| lookout.is_due(now)) {
            (Job::Look, self.prices.look(self.deal.lanes.len()))
        } else if let Some(told) = self.heard.pop_front() {
            (Job::Hear(told), self.prices.reply)
        } else {
            let key = self.accept(now, sockets)?;
            (Job::Place(key, origin_of(key)), self.prices.accept)
        };
        self.job = Some(job);
        Some(price)
    }

    /// Finishes what it was at. If that was a look at the lanes, it has [`Self::looked`] when what
    /// the core made of it is carried out.
    pub(super) fn finish(&mut self, now: Duration, sockets: &[Socket]) -> Option<Glance> {
        match self.job.take()? {
            Job::Hear(Told::Took { worker, key }) => {
                let (worker, connection) = (id_of(worker), key.id());
                let verdict = Verdict::Accepted;
                self.handle(now, Input::Replied { worker, connection, verdict });
                None
            }
            Job::Hear(Told::Answered { worker }) => {
                self.probed.remove(&id_of(worker));
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

    pub(super) fn looked(&mut self, now: Duration, glance: Glance) {
        if let Some(lookout) = &mut self.lookout {
            lookout.looked(now, glance);
        }
    }

    /// When it is to be looked at the lanes next, if that is another moment than was known.
    pub(super) fn new_alarm(&mut self) -> Option<Duration> {
        self.lookout.as_mut()?.new_alarm()
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
    pub(super) fn next_action(&mut self, now: Duration) -> Option<Action> {
        loop {
            let action = self.core.next_action()?;
            if !self.keep(now, &action) {
                return Some(action);
            }
        }
    }

    /// Takes note of what concerns the primary alone; `false` if it is something else.
    fn keep(&mut self, now: Duration, action: &Action) -> bool {
        match action {
            Action::Deal { lanes, .. } => self.deal_to(now, lanes),
            Action::Reclaim { lane, .. } => {
                self.reclaimed.insert(lane.0.into());
            }
            Action::GiveBack { lane, .. } => {
                self.reclaimed.remove(&lane.0.into());
            }
            // One that has not answered the last one is not sent another.
            Action::Probe { worker } => return !self.probed.insert(*worker),
            Action::HandOff { .. } | Action::Release { .. } => return false,
            _ => {}
        }
        true
    }

    fn deal_to(&mut self, now: Duration, lanes: &[DealtLane]) {
        self.deal.is_now_to(lanes);
        if let Some(lookout) = &mut self.lookout {
            lookout.lanes_changed(now);
        }
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
        let socket = self.next_to_accept_from(sockets)?;
        if !self.core.has_capacity(self.epoch + now, LISTENER) {
            return None;
        }
        self.first = socket + 1;
        sockets[socket].pop()
    }

    /// A socket from which it accepts and where something waits. Those take turns.
    fn next_to_accept_from(&self, sockets: &[Socket]) -> Option<usize> {
        let something_waits = |socket: &usize| !sockets[*socket].is_empty();
        if !self.dealing.has_lanes() {
            return Some(0).filter(something_waits);
        }
        let (before, from) =
            (self.reclaimed.range(..self.first), self.reclaimed.range(self.first..));
        from.chain(before).copied().find(something_waits)
    }

    /// Tells the core what is to be seen of the lanes that are dealt to.
    fn look(&mut self, now: Duration, sockets: &[Socket]) -> Glance {
        let mut glance = Glance::default();
        for at in 0..self.deal.lanes.len() {
            let lane = self.deal.lanes[at].lane;
            let socket = &sockets[usize::from(lane.0)];
            let waiting = u32::try_from(socket.len()).expect("invariant: backlogs are short");
            let view = LaneView { waiting, dealt: socket.dealt };
            glance.add(view);
            self.handle(now, Input::LaneSeen { listener: LISTENER, lane, view });
        }
        glance
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
