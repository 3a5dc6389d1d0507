//! One run of a scenario: clients, sockets, workers and the primary in virtual time.

use std::time::Duration;

use forkyard_core::{Action, Choice, Dealing};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::agenda::{Agenda, Event};
use super::arrivals::{Arrivals, Traffic};
use super::connection::{Connection, Connections, Key, Socket};
use super::cost::{CostSettings, Costs};
use super::measure::{Figures, Measure};
use super::policies::{Means, Policy};
use super::primary::{Primary, Told, number_of};
use super::rules::Rules;
use super::worker::{Message, Source, Task, Worker};

/// What is asked of the workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scenario {
    pub(super) workers: usize,
    pub(super) traffic: Traffic,
    pub(super) cost: CostSettings,
    /// After how many connections the run ends. The first quarter is for warming up.
    pub(super) connections: u32,
    /// Where chance comes from: the same seed gives the same run.
    pub(super) seed: u64,
}

impl Scenario {
    /// The share of the time for which workers are busy with requests.
    pub(super) fn load(&self) -> f64 {
        let requests = self.traffic.rate * f64::from(self.traffic.requests);
        requests * self.cost.overall_mean().as_secs_f64() / self.workers as f64
    }

    /// How many connections a second make this load.
    pub(super) fn with_load(mut self, load: f64) -> Self {
        self.traffic.rate = 1.0;
        self.traffic.rate = load / self.load();
        self
    }
}

/// What a policy makes of a scenario.
pub(super) fn run(scenario: &Scenario, policy: Policy, rules: &Rules) -> Figures {
    let mut world = World::new(scenario, policy, rules);
    world.agenda.after(Duration::ZERO, Event::Arrival);
    while !world.measure.is_complete() {
        let event = world.agenda.next().expect("invariant: what is asked is answered");
        world.happen(event);
    }
    world.measure.figures()
}

#[derive(Debug)]
struct World<'a> {
    scenario: &'a Scenario,
    rules: &'a Rules,
    means: Means,
    agenda: Agenda,
    arrivals: Arrivals,
    costs: Costs,
    chance: ChaCha8Rng,
    arrived: u32,
    connections: Connections,
    sockets: Vec<Socket>,
    workers: Vec<Worker>,
    /// Workers that wait for something to do, the last to fall asleep last.
    sleepers: Vec<usize>,
    primary: Option<Primary>,
    measure: Measure,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, policy: Policy, rules: &'a Rules) -> Self {
        let workers = scenario.workers;
        let means = policy.means();
        let primary = match means {
            Means::Core(dealing, rescue) => Some(Primary::new(workers, dealing, rescue, rules)),
            _ => None,
        };
        // Streams of their own: whatever a policy does, it meets the same clients.
        let chance = |stream| {
            let mut chance = ChaCha8Rng::seed_from_u64(scenario.seed);
            chance.set_stream(stream);
            chance
        };
        let worker = |number| Worker::new(source(means, number), rules.accepts);
        Self {
            scenario,
            rules,
            means,
            agenda: Agenda::default(),
            arrivals: Arrivals::new(scenario.traffic, chance(1)),
            costs: Costs::new(scenario.cost, chance(2)),
            chance: chance(3),
            arrived: 0,
            connections: Connections::default(),
            sockets: (0..workers).map(|_| Socket::default()).collect(),
            workers: (0..workers).map(worker).collect(),
            sleepers: (0..workers).collect(),
            primary,
            measure: Measure::new(workers),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => self.arrive(),
            Event::Request(key) => self.ask(key),
            Event::WorkerDone(worker) => self.worker_done(worker),
            Event::PrimaryDone => self.primary_done(),
            Event::Look => self.primary_begins(),
            Event::Deadline => {
                let now = self.agenda.now();
                if let Some(primary) = &mut self.primary {
                    primary.deadline = None;
                    primary.handle_timeout(now);
                }
                self.perform();
                self.primary_goes_on();
            }
        }
    }

    fn arrive(&mut self) {
        let now = self.agenda.now();
        self.arrived += 1;
        if self.arrived == self.scenario.connections / 4 {
            self.measure.begin(now);
        }
        if self.arrived == self.scenario.connections {
            self.measure.end(now);
        } else {
            self.agenda.after(self.arrivals.next_gap(), Event::Arrival);
        }
        let key = self.connections.open(Connection {
            origin: self.arrivals.next_origin(),
            requests_left: self.scenario.traffic.requests,
            asked_at: now,
            cost: self.costs.next(),
            counts: self.measure.asked(),
            worker: None,
            copies: 1,
        });
        self.knock(key);
    }

    /// A new connection reaches a socket.
    fn knock(&mut self, key: Key) {
        let number = self.socket_for(key);
        if self.sockets[number].len() >= self.rules.backlog {
            self.measure.turned_away(self.connections.get(key).counts);
            return self.connections.let_go(key);
        }
        self.sockets[number].push(key);
        match self.means {
            Means::OneQueue | Means::OneSocket => self.wake_anybody(),
            Means::ByChance | Means::Core(Dealing::ByKernel(_), _) => self.wake(number),
            Means::Core(..) => {}
        }
        if let Some(primary) = &mut self.primary {
            primary.something_came(self.agenda.now());
        }
        self.primary_begins();
    }

    fn socket_for(&mut self, key: Key) -> usize {
        let origin = self.connections.get(key).origin;
        match (&mut self.primary, self.means) {
            (Some(primary), _) => primary.socket_for(origin),
            (None, Means::ByChance) => self.chance.random_range(0..self.workers.len()),
            (None, _) => 0,
        }
    }

    /// The next request on a connection that was kept.
    fn ask(&mut self, key: Key) {
        let (now, cost, counts) = (self.agenda.now(), self.costs.next(), self.measure.asked());
        let connection = self.connections.get(key);
        (connection.asked_at, connection.cost, connection.counts) = (now, cost, counts);
        match (self.means, connection.worker) {
            (Means::OneQueue, _) | (_, None) => {
                self.sockets[0].push(key);
                self.wake_anybody();
            }
            (_, Some(worker)) => {
                self.workers[worker].request(key);
                self.wake(worker);
            }
        }
    }

    fn wake_anybody(&mut self) {
        if let Some(worker) = self.sleepers.pop() {
            self.worker_begins(worker);
        }
    }

    fn wake(&mut self, worker: usize) {
        if let Some(at) = self.sleepers.iter().rposition(|sleeper| *sleeper == worker) {
            self.sleepers.remove(at);
            self.worker_begins(worker);
        }
    }

    fn worker_begins(&mut self, number: usize) {
        let worker = &mut self.workers[number];
        let task = worker.next_task(&mut self.sockets);
        worker.task = task;
        while let Some(key) = worker.accepted.pop() {
            self.connections.get(key).worker = Some(number);
            self.measure.taken(number);
        }
        let Some(task) = task else { return self.sleepers.push(number) };
        let lasts = match task {
            Task::Read(Message::HandOff(_)) => self.rules.prices.take,
            Task::Read(Message::Probe) => Duration::ZERO,
            Task::Serve(key) => self.connections.get(key).cost.lasts,
        };
        self.agenda.after(lasts, Event::WorkerDone(number));
    }

    fn worker_done(&mut self, worker: usize) {
        match self.workers[worker].task.take() {
            Some(Task::Read(Message::HandOff(key))) => self.take(worker, key),
            Some(Task::Read(Message::Probe)) => self.tell(Told::Answered { worker }),
            Some(Task::Serve(key)) => self.answer(worker, key),
            None => {}
        }
        self.worker_begins(worker);
    }

    fn take(&mut self, worker: usize, key: Key) {
        self.connections.get(key).worker = Some(worker);
        self.measure.taken(worker);
        self.workers[worker].request(key);
        self.tell(Told::Took { worker, key });
    }

    fn answer(&mut self, worker: usize, key: Key) {
        let now = self.agenda.now();
        let connection = self.connections.get(key);
        self.measure.answered(now - connection.asked_at, connection.cost, connection.counts);
        connection.requests_left -= 1;
        if connection.requests_left > 0 {
            let think = self.arrivals.next_think();
            return self.agenda.after(think, Event::Request(key));
        }
        self.connections.let_go(key);
        if let Means::Core(Dealing::ByPrimary(Choice::LeastConnections), _) = self.means
            && let Some(primary) = &mut self.primary
        {
            primary.closed(now, worker);
        }
    }

    fn tell(&mut self, told: Told) {
        if let Some(primary) = &mut self.primary {
            primary.hear(told);
            self.primary_begins();
        }
    }

    fn primary_begins(&mut self) {
        let Some(primary) = &mut self.primary else { return };
        let origin_of = |key| self.connections.get(key).origin;
        if let Some(lasts) = primary.begin(self.agenda.now(), &mut self.sockets, origin_of) {
            self.measure.primary_was_busy(lasts);
            self.agenda.after(lasts, Event::PrimaryDone);
        }
    }

    fn primary_done(&mut self) {
        let now = self.agenda.now();
        let glance = self.primary.as_mut().and_then(|primary| primary.finish(now, &self.sockets));
        self.perform();
        if let (Some(primary), Some(glance)) = (&mut self.primary, glance) {
            primary.looked(now, glance);
        }
        self.primary_goes_on();
    }

    /// Carries out what the core has decided.
    fn perform(&mut self) {
        let now = self.agenda.now();
        while let Some(action) = self.primary.as_mut().and_then(|primary| primary.next_action(now))
        {
            match action {
                Action::HandOff { worker, connection, .. } => {
                    let key = Key::of(connection);
                    self.connections.get(key).copies += 1;
                    self.measure.handed_over();
                    self.send(number_of(worker), Message::HandOff(key));
                }
                Action::Probe { worker } => self.send(number_of(worker), Message::Probe),
                Action::Release { connection } => self.connections.let_go(Key::of(connection)),
                _ => {}
            }
        }
    }

    /// Enters in the agenda when the primary has something to do, and has it begin.
    fn primary_goes_on(&mut self) {
        let Some(primary) = &mut self.primary else { return };
        if let Some(at) = primary.new_deadline() {
            self.agenda.at(at, Event::Deadline);
        }
        if let Some(at) = primary.new_alarm() {
            self.agenda.at(at, Event::Look);
        }
        self.primary_begins();
    }

    fn send(&mut self, worker: usize, message: Message) {
        self.workers[worker].send(message);
        self.wake(worker);
    }
}

fn source(means: Means, worker: usize) -> Source {
    match means {
        Means::OneQueue => Source::Pool(0),
        Means::OneSocket => Source::Socket(0),
        Means::ByChance | Means::Core(Dealing::ByKernel(_), _) => Source::Socket(worker),
        Means::Core(..) => Source::Channel,
    }
}
