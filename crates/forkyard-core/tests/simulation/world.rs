//! Everything around the core: time, the kernel, the processes, the operator.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forkyard_core::{
    Action, CheckRule, ConnectionId, Core, DispatchSettings, Endpoint, Generation, Host, IdleRule,
    Input, LaneId, LaneView, Listen, ListenerId, ListenerSpec, Origin, Policy, ReadyRule, Request,
    RestartMode, RestartSettings, Role, RollPlan, Settings, Stage, SuperviseSettings, Surge,
    WorkerId,
};

use crate::chance::Chance;
use crate::ledger::{Ledger, Rules, Sights, Violation};
use crate::process::{Life, Mood, Order, Process};
use crate::sockets::{Place, Socket};

const MAX_FORKS: usize = 10;
/// More than any run takes to come to rest.
const MAX_ROUNDS: usize = 5000;

/// What happened, line by line, if anybody wants to know.
pub struct Trail(Option<Vec<String>>);

impl Trail {
    pub fn on() -> Self {
        Self(Some(Vec::new()))
    }

    pub fn off() -> Self {
        Self(None)
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.0 {
            lines.push(line());
        }
    }
}

pub struct World {
    settings: Settings,
    core: Core,
    start: Instant,
    now: Instant,
    chance: Chance,
    mood: Mood,
    ledger: Ledger,
    processes: BTreeMap<WorkerId, Process>,
    opening: Vec<(ListenerId, Endpoint)>,
    sockets: BTreeMap<ListenerId, Socket>,
    next_connection: u64,
    forks: usize,
    generations: u32,
    /// Whose health is to be looked at.
    checks: Vec<WorkerId>,
    trail: Trail,
}

impl World {
    pub fn new(seed: u64, trail: Trail) -> Self {
        let mut chance = Chance::from_seed(seed);
        let settings = any_settings(&mut chance);
        let rules = Rules {
            window: settings.dispatch.window,
            waiting: settings.dispatch.waiting,
            trial_after: settings.dispatch.trial_after,
            limit: settings.supervise.restart.limit,
            linger: settings.dispatch.linger,
            leave_linger: settings.supervise.drain_timeout,
            reset_after: settings.supervise.restart.reset_after,
            when_idle: settings.supervise.when_idle,
            ready: settings.supervise.ready,
            check: settings.supervise.check,
            settle: settings.supervise.settle,
        };
        let now = Instant::now();
        Self {
            core: Core::new(settings.clone()),
            settings,
            start: now,
            now,
            chance,
            mood: Mood::Chaos,
            ledger: Ledger::new(rules, now),
            processes: BTreeMap::new(),
            opening: Vec::new(),
            sockets: BTreeMap::new(),
            next_connection: 0,
            forks: 0,
            generations: 0,
            checks: Vec::new(),
            trail,
        }
    }

    pub fn sights(&self) -> &Sights {
        &self.ledger.sights
    }

    pub fn into_trail(self) -> Vec<String> {
        self.trail.0.unwrap_or_default()
    }

    /// Chaos, then calm, then a stop.
    pub fn run(&mut self, steps: usize) -> Result<(), Violation> {
        if self.chance.percent(40) {
            self.listen()?;
        }
        for _ in 0..=self.chance.below(4) {
            self.fork()?;
        }
        for _ in 0..steps {
            self.step()?;
        }
        self.mood = Mood::Calm;
        self.trail.note(|| "calm".to_owned());
        self.rest()?;
        self.let_go_of_channels();
        self.rest()?;
        self.roll_in_peace()?;
        if !self.ledger.is_stopped() {
            self.request(Request::Stop(Stage::Disconnect))?;
            self.rest()?;
        }
        Ok(())
    }

    /// When nothing goes wrong a roll comes to its good end.
    fn roll_in_peace(&mut self) -> Result<(), Violation> {
        if self.ledger.is_stopped() {
            return Ok(());
        }
        let before = self.ledger.sights.get("a roll finished").copied();
        self.roll()?;
        self.rest()?;
        match self.ledger.sights.get("a roll finished").copied() > before {
            true => Ok(()),
            false => Err("a roll in peace did not finish".to_owned()),
        }
    }

    fn rest(&mut self) -> Result<(), Violation> {
        self.come_to_rest()?;
        if self.ledger.is_stopped() {
            return self.ledger.is_over();
        }
        self.ledger.is_at_rest()?;
        self.backlogs_are_empty()
    }

    /// The channels of the dead are read to their ends at last.
    fn let_go_of_channels(&mut self) {
        for process in self.processes.values_mut() {
            if process.disinherit() {
                self.ledger.was_kept_open();
            }
        }
    }

    fn step(&mut self) -> Result<(), Violation> {
        match self.chance.below(1000) {
            0..60 => self.let_time_pass(),
            60..200 => {
                self.connect();
                Ok(())
            }
            200..400 => self.accept_one(),
            400..690 => self.some_process_acts(),
            690..946 => self.some_process_is_heard(),
            946..962 => self.look_at_a_lane(),
            962..966 => self.some_connections_close(),
            966..970 => self.hand_over(),
            970..985 => self.answer_opening(),
            985..993 => self.answer_check(),
            _ => self.operate(),
        }
    }

    /// Another process goes on, as at an upgrade of the primary. A check that is under way is
    /// begun again there.
    fn hand_over(&mut self) -> Result<(), Violation> {
        let Ok(snapshot) = self.core.snapshot(self.now) else { return Ok(()) };
        self.trail.note(|| "hand over".to_owned());
        let written = serde_json::to_vec(&snapshot).map_err(|error| error.to_string())?;
        let read = serde_json::from_slice(&written).map_err(|error| error.to_string())?;
        self.core = Core::resume(self.settings.clone(), read, self.now);
        self.checks.clear();
        *self.ledger.sights.entry("a primary handed over").or_default() += 1;
        self.perform_all()
    }

    // Time.

    fn let_time_pass(&mut self) -> Result<(), Violation> {
        let wait = match self.chance.below(3) {
            0 => self.chance.millis(0, 5),
            1 => self.chance.millis(0, 200),
            _ => self.chance.millis(0, 3000),
        };
        let end = self.now + wait;
        match self.core.next_deadline().filter(|at| *at <= end) {
            Some(at) => self.time_out(at.max(self.now)),
            None => {
                self.pass_to(end);
                Ok(())
            }
        }
    }

    fn pass_to(&mut self, now: Instant) {
        self.now = now;
        self.ledger.time_passes(now);
    }

    fn time_out(&mut self, now: Instant) -> Result<(), Violation> {
        self.pass_to(now);
        let since = now - self.start;
        self.trail.note(|| format!("-- {since:?}"));
        self.core.handle_timeout(now);
        self.perform_all()?;
        match self.core.next_deadline() {
            Some(at) if at <= now => Err("a deadline stays in the past".to_owned()),
            _ => Ok(()),
        }
    }

    // Clients and the kernel.

    fn connect(&mut self) {
        let open: Vec<_> = self.sockets.keys().copied().collect();
        if let Some(id) = self.chance.pick(&open)
            && let Some(socket) = self.sockets.get_mut(&id)
        {
            socket.connect(&mut self.chance);
        }
    }

    /// As the shell does while anything waits on a lane.
    fn look_at_a_lane(&mut self) -> Result<(), Violation> {
        match self.chance.pick(&self.views()) {
            Some((listener, lane, view)) => self.input(Input::LaneSeen { listener, lane, view }),
            None => Ok(()),
        }
    }

    fn views(&self) -> Vec<(ListenerId, LaneId, LaneView)> {
        let views = self.sockets.iter().flat_map(|(listener, socket)| {
            socket.views().into_iter().map(|(lane, view)| (*listener, lane, view))
        });
        views.collect()
    }

    /// Also more than there were: nobody counts on it.
    fn some_connections_close(&mut self) -> Result<(), Violation> {
        let all: Vec<_> = self.processes.keys().copied().collect();
        let connections = self.chance.below(4) as u32;
        match self.chance.pick(&all) {
            Some(worker) => self.input(Input::Finished { worker, connections }),
            None => Ok(()),
        }
    }

    fn accept_one(&mut self) -> Result<(), Violation> {
        let ready = self.acceptable();
        let Some((listener, place)) = self.chance.pick(&ready) else { return Ok(()) };
        if self.mood == Mood::Chaos && self.chance.percent(2) {
            return self.input(Input::AcceptFailed { listener });
        }
        self.accept(listener, place)
    }

    /// Where a connection waits that the primary is ready to accept.
    fn acceptable(&self) -> Vec<(ListenerId, Place)> {
        let wanted = self.sockets.iter().filter(|(id, _)| self.core.has_capacity(self.now, **id));
        let places = wanted
            .flat_map(|(id, socket)| socket.acceptable().into_iter().map(|place| (*id, place)));
        places.collect()
    }

    fn accept(&mut self, listener: ListenerId, place: Place) -> Result<(), Violation> {
        if let Some(socket) = self.sockets.get_mut(&listener) {
            socket.accept(place);
        }
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let origin = self.chance.percent(80).then(|| Origin(self.chance.below(50) as u32));
        self.input(Input::Accepted { listener, connection, origin })?;
        self.ledger.was_placed(connection)
    }

    fn answer_opening(&mut self) -> Result<(), Violation> {
        if self.opening.is_empty() {
            return Ok(());
        }
        let at = self.chance.below(self.opening.len());
        let (listener, endpoint) = self.opening.swap_remove(at);
        if self.mood == Mood::Chaos && self.chance.percent(15) {
            self.ledger.open_failed(listener);
            return self.input(Input::ListenerFailed { listener, errno: 98 });
        }
        let socket = Socket::new(&endpoint, &mut self.chance);
        let dealing = socket.dealing;
        self.sockets.insert(listener, socket);
        self.input(Input::ListenerOpened { listener, dealing })
    }

    fn answer_check(&mut self) -> Result<(), Violation> {
        if self.checks.is_empty() {
            return Ok(());
        }
        let at = self.chance.below(self.checks.len());
        let worker = self.checks.swap_remove(at);
        let is_sick = self.mood == Mood::Chaos && self.chance.percent(15);
        let result = if is_sick { Err("503".to_owned()) } else { Ok(()) };
        self.input(Input::Checked { worker, result })
    }

    /// Shared listeners are emptied by the workers themselves.
    fn backlogs_are_empty(&self) -> Result<(), Violation> {
        let mut stuck = self.sockets.iter().filter(|(_, socket)| socket.waiting() > 0);
        match stuck.next() {
            Some((id, socket)) => Err(format!("{} wait in the backlog of L{id}", socket.waiting())),
            None => Ok(()),
        }
    }

    // Processes.

    fn some_process_acts(&mut self) -> Result<(), Violation> {
        let alive: Vec<_> =
            self.processes.values().filter(|p| p.is_alive()).map(|p| p.worker).collect();
        match self.chance.pick(&alive) {
            Some(worker) => self.act(worker).map(|_| ()),
            None => Ok(()),
        }
    }

    fn act(&mut self, worker: WorkerId) -> Result<bool, Violation> {
        let Some(process) = self.processes.get_mut(&worker) else { return Ok(false) };
        let has_acted = process.act(self.mood, &mut self.chance);
        for connection in process.taken.drain(..) {
            self.ledger.taken(worker, connection)?;
            self.trail.note(|| format!("      {worker} takes c{connection}"));
        }
        Ok(has_acted || self.accept_by(worker))
    }

    /// A worker that is up and not blocked accepts from its lanes.
    fn accept_by(&mut self, worker: WorkerId) -> bool {
        let Some(process) = self.processes.get(&worker) else { return false };
        let accepts = |socket: &mut (&ListenerId, &mut Socket)| {
            process.accepts_from(*socket.0) && socket.1.accept_by(worker)
        };
        let has_accepted = self.sockets.iter_mut().any(|mut socket| accepts(&mut socket));
        if has_accepted {
            *self.ledger.sights.entry("a connection taken from a lane").or_default() += 1;
        }
        has_accepted
    }

    fn some_process_is_heard(&mut self) -> Result<(), Violation> {
        let all: Vec<_> = self.processes.keys().copied().collect();
        match self.chance.pick(&all) {
            Some(worker) => self.hear(worker).map(|_| ()),
            None => Ok(()),
        }
    }

    /// One thing that a process said, or its end, comes to the primary.
    fn hear(&mut self, worker: WorkerId) -> Result<bool, Violation> {
        let Some(process) = self.processes.get_mut(&worker) else { return Ok(false) };
        if process.life == Life::Asked {
            return self.hear_of_start(worker).map(|()| true);
        }
        if self.mood == Mood::Chaos
            && !process.end_told
            && let Some(lie) = process.forge(&mut self.chance)
        {
            return self.hear_lie(worker, lie).map(|()| true);
        }
        let has_more = !process.said.is_empty() || (process.has_hung_up() && !process.end_told);
        if let Life::Dead(status) = process.life
            && !process.exit_told
            && (!has_more || self.chance.percent(40))
        {
            process.exit_told = true;
            return self.input(Input::Exited { worker, status }).map(|()| true);
        }
        if let Some(word) = process.said.pop_front() {
            return self.input(word).map(|()| true);
        }
        if process.has_hung_up() && !process.end_told {
            process.end_told = true;
            return self.input(Input::ChannelEnded { worker }).map(|()| true);
        }
        Ok(false)
    }

    /// What a worker says of its own connections is always so: nobody else could know.
    fn hear_lie(&mut self, worker: WorkerId, lie: Input) -> Result<(), Violation> {
        match lie {
            Input::Replied { connection, .. } if self.ledger.is_offered(connection, worker) => {
                Ok(())
            }
            lie => self.input(lie),
        }
    }

    fn hear_of_start(&mut self, worker: WorkerId) -> Result<(), Violation> {
        if self.mood == Mood::Chaos && self.chance.percent(15) {
            self.processes.remove(&worker);
            return self.input(Input::SpawnFailed { worker, message: "no memory".to_owned() });
        }
        if let Some(process) = self.processes.get_mut(&worker) {
            process.life = Life::Running;
        }
        self.input(Input::Spawned { worker, pid: 1000 + worker.0 })
    }

    // The operator.

    fn operate(&mut self) -> Result<(), Violation> {
        match self.chance.below(60) {
            0..20 => self.fork(),
            20..36 => self.roll(),
            36..40 => match self.chance.pick(&self.ledger.slots()) {
                Some(slot) => self.request(Request::Replace(slot)),
                None => Ok(()),
            },
            40..58 => match self.chance.pick(&self.ledger.slots()) {
                Some(slot) => self.request(Request::Retire(slot)),
                None => Ok(()),
            },
            _ => {
                let stages = [Stage::Disconnect, Stage::Terminate, Stage::Kill];
                let stage = self.chance.pick(&stages).unwrap_or(Stage::Kill);
                self.request(Request::Stop(stage))
            }
        }
    }

    fn fork(&mut self) -> Result<(), Violation> {
        if self.forks == MAX_FORKS {
            return Ok(());
        }
        self.forks += 1;
        let role = if self.chance.percent(20) { Role::Spare } else { Role::Serving };
        self.request(Request::Fork(role))
    }

    /// The app has an address from its settings, which is bound before the first worker starts.
    fn listen(&mut self) -> Result<(), Violation> {
        let endpoint = Endpoint::Tcp { host: Host::Any, port: 82, only_v6: false };
        let spec = ListenerSpec::new(endpoint, 0);
        self.request(Request::Listen(Listen { spec, policy: Policy::Auto, backlog: None }))?;
        self.answer_opening()
    }

    fn roll(&mut self) -> Result<(), Violation> {
        self.generations += 1;
        let surge = match self.chance.below(3) {
            0 => Surge::Percent(self.chance.below(120)),
            _ => Surge::Workers(self.chance.below(4)),
        };
        let workers = self.chance.percent(30).then(|| self.chance.below(6));
        let generation = Generation(self.generations);
        self.request(Request::Roll(RollPlan { generation, workers, surge }))
    }

    fn request(&mut self, request: Request) -> Result<(), Violation> {
        self.trail.note(|| format!("{request:?}"));
        let answer = self.core.request(self.now, request.clone());
        self.trail.note(|| format!("    {answer:?}"));
        self.perform_all_after(|ledger| ledger.hears_answer(request, answer))
    }

    // The shell's loop.

    fn input(&mut self, input: Input) -> Result<(), Violation> {
        self.trail.note(|| format!("{input:?}"));
        self.ledger.hears(&input);
        self.core.handle(self.now, input);
        self.perform_all()
    }

    fn perform_all(&mut self) -> Result<(), Violation> {
        self.perform_all_after(|_| Ok(()))
    }

    /// A request's answer is known only when its actions are; a fork's slot has to be
    /// known from its spawn, everything else before.
    fn perform_all_after(
        &mut self,
        note: impl FnOnce(&mut Ledger) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        note(&mut self.ledger)?;
        while let Some(action) = self.core.next_action() {
            self.trail.note(|| format!("    {action:?}"));
            self.ledger.sees(&action)?;
            self.perform(action);
        }
        self.ledger.settle()?;
        self.ledger.agrees(|worker| self.core.view(worker))
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Check { worker } => self.checks.push(worker),
            Action::Spawn { worker, .. } => {
                let mut process = Process::new(worker, self.mood, &mut self.chance);
                for (listener, lane) in self.core.inherits(worker) {
                    process.inherits(listener);
                    self.ledger.inherits(worker, listener, lane);
                    self.at(listener, |socket| socket.start(lane, worker));
                }
                self.processes.insert(worker, process);
            }
            Action::OpenListener { listener, spec, .. } => {
                self.opening.push((listener, spec.endpoint));
            }
            Action::Deal { listener, lanes } => self.at(listener, |socket| socket.deal(lanes)),
            Action::Renew { listener, lane } => self.at(listener, |socket| socket.renew(lane)),
            Action::Reclaim { listener, lane } => {
                self.at(listener, |socket| socket.set_primarys(lane, true));
            }
            Action::GiveBack { listener, lane } => {
                self.at(listener, |socket| socket.set_primarys(lane, false));
            }
            Action::Probe { worker } => self.tell(worker, Order::Probe),
            Action::CloseListener { listener } => {
                self.sockets.remove(&listener);
                self.opening.retain(|(id, _)| *id != listener);
            }
            Action::Grant { worker, listener, lane, .. } => {
                if let Some(lane) = lane {
                    self.at(listener, |socket| socket.grant(lane, worker));
                }
                self.tell(worker, Order::Granted(listener));
            }
            Action::HandOff { worker, listener, connection } => {
                self.tell(worker, Order::Connection(connection, listener));
            }
            Action::AskDisconnect { worker } => self.tell(worker, Order::Disconnect),
            Action::AcknowledgeLeave { worker, .. } => self.tell(worker, Order::Acknowledged),
            Action::Terminate { worker } => self.signal(worker, |p| p.term_pending = true),
            Action::Kill { worker } => {
                self.signal(worker, |p| p.die(forkyard_core::ExitStatus::Signal(9)));
            }
            Action::Refuse { .. }
            | Action::Release { .. }
            | Action::Emit(_)
            | Action::Finish(_) => {}
        }
    }

    fn at(&mut self, listener: ListenerId, change: impl FnOnce(&mut Socket)) {
        if let Some(socket) = self.sockets.get_mut(&listener) {
            change(socket);
        }
    }

    fn tell(&mut self, worker: WorkerId, order: Order) {
        if let Some(process) = self.processes.get_mut(&worker).filter(|p| p.channel_open) {
            process.heard.push_back(order);
        }
    }

    fn signal(&mut self, worker: WorkerId, effect: impl FnOnce(&mut Process)) {
        if let Some(process) = self.processes.get_mut(&worker) {
            effect(process);
        }
    }

    // Rest.

    /// Lets everything run that can, and time pass when nothing can.
    fn come_to_rest(&mut self) -> Result<(), Violation> {
        for _ in 0..MAX_ROUNDS {
            if self.is_busy()? {
                continue;
            }
            match self.core.next_deadline() {
                Some(at) => self.time_out(at.max(self.now))?,
                None => return Ok(()),
            }
        }
        Err("it never comes to rest".to_owned())
    }

    fn is_busy(&mut self) -> Result<bool, Violation> {
        let mut is_busy = !self.opening.is_empty() || !self.checks.is_empty();
        self.answer_opening()?;
        self.answer_check()?;
        let workers: Vec<_> = self.processes.keys().copied().collect();
        for worker in workers {
            is_busy |= self.act(worker)?;
            is_busy |= self.hear(worker)?;
        }
        for (listener, lane, view) in self.views() {
            self.input(Input::LaneSeen { listener, lane, view })?;
        }
        for (listener, place) in self.acceptable() {
            if self.core.has_capacity(self.now, listener) {
                self.accept(listener, place)?;
                is_busy = true;
            }
        }
        Ok(is_busy)
    }
}

fn any_settings(chance: &mut Chance) -> Settings {
    let start_timeout = chance.percent(30).then(|| chance.millis(500, 8000));
    Settings {
        supervise: SuperviseSettings {
            restart: any_restart(chance),
            start_timeout,
            drain_timeout: chance.millis(100, 5000),
            term_timeout: chance.millis(100, 3000),
            exit_grace: chance.millis(10, 1000),
            ready: any_ready(chance),
            ready_timeout: chance.millis(500, 8000),
            check: if chance.percent(30) { CheckRule::Ask } else { CheckRule::Skip },
            settle: if chance.percent(50) { Duration::ZERO } else { chance.millis(1, 300) },
            when_idle: if chance.percent(30) { IdleRule::Finish } else { IdleRule::Wait },
        },
        dispatch: DispatchSettings {
            window: 1 + chance.below(3),
            patience: chance.millis(0, 50),
            linger: chance.millis(20, 2000),
            accept_pause: chance.millis(5, 100),
            waiting: 1 + chance.below(20),
            rescue_after: chance.millis(0, 50),
            trial_after: chance.millis(50, 2000),
        },
        seed: chance.next(),
    }
}

fn any_ready(chance: &mut Chance) -> ReadyRule {
    let others = [ReadyRule::Message, ReadyRule::Notify, ReadyRule::Started];
    let other = chance.percent(40).then(|| chance.pick(&others)).flatten();
    other.unwrap_or(ReadyRule::Listening)
}

fn any_restart(chance: &mut Chance) -> RestartSettings {
    let never = chance.percent(10);
    RestartSettings {
        mode: if never { RestartMode::Never } else { RestartMode::Always },
        delay: chance.millis(1, 200),
        max_delay: Duration::from_secs(1),
        limit: if chance.percent(20) { 2 } else { 50 },
        window: chance.millis(1000, 60_000),
        reset_after: chance.millis(500, 10_000),
        done_codes: if chance.percent(20) { vec![0] } else { Vec::new() },
    }
}
