//! A worker's process, which may do anything.
//!
//! ```text
//!            heard                        said
//!   primary ───────▶ Asked ▶ Running ▶ Dead ───────▶ primary
//! ```
//!
//! What it said stays readable after its death, as in a socket.

use std::collections::{BTreeSet, VecDeque};

use forkyard_core::{
    ConnectionId, Endpoint, ExitStatus, Host, Input, ListenerId, ListenerSpec, Policy, Query,
    ReadySignal, Verdict, WorkerId,
};

use crate::chance::Chance;

/// What comes to a worker.
#[derive(Clone, Copy)]
pub enum Order {
    Granted(ListenerId),
    Connection(ConnectionId, ListenerId),
    Disconnect,
    Acknowledged,
    /// It is asked for a sign of life.
    Probe,
}

/// How far a process is from its start and its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Asked,
    Running,
    Dead(ExitStatus),
}

/// Whether things go wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Chaos,
    Calm,
}

/// How this one misbehaves; percentages of the occasions for it.
struct Temper {
    speaks: bool,
    declines: usize,
    forges: usize,
    crashes: usize,
    ignores_disconnect: bool,
    ignores_term: bool,
    /// Its event loop is blocked for a while, now and then.
    blocks: usize,
    /// It has a child that inherits its channel and lives on.
    bequeaths: bool,
}

impl Temper {
    fn any(mood: Mood, chance: &mut Chance) -> Self {
        let mut odd = |percent| mood == Mood::Chaos && chance.percent(percent);
        Self {
            speaks: !odd(10),
            declines: if odd(25) { 60 } else { 0 },
            forges: if odd(20) { 10 } else { 0 },
            crashes: if odd(50) { 40 } else { 3 },
            ignores_disconnect: odd(20),
            ignores_term: odd(20),
            blocks: if odd(30) { 10 } else { 0 },
            bequeaths: odd(10),
        }
    }
}

pub struct Process {
    pub worker: WorkerId,
    pub life: Life,
    pub channel_open: bool,
    pub end_told: bool,
    pub exit_told: bool,
    pub said: VecDeque<Input>,
    pub heard: VecDeque<Order>,
    pub term_pending: bool,
    /// The connections it has taken since somebody looked.
    pub taken: Vec<ConnectionId>,
    temper: Temper,
    to_boot: VecDeque<Input>,
    serves: BTreeSet<ListenerId>,
    /// What it was started with.
    inherited: BTreeSet<ListenerId>,
    is_leaving: bool,
    /// So many more of its occasions to act are lost to a blocked event loop.
    blocked_for: usize,
    /// It has closed all it had, and will say that it leaves when its connections are done.
    is_finishing: bool,
    /// It wrote garbage: nobody understands it any more, and it does nothing else.
    is_mute: bool,
}

impl Process {
    pub fn new(worker: WorkerId, mood: Mood, chance: &mut Chance) -> Self {
        let temper = Temper::any(mood, chance);
        let to_boot = if temper.speaks { boot(worker, mood, chance) } else { VecDeque::new() };
        Self {
            worker,
            life: Life::Asked,
            channel_open: true,
            end_told: false,
            exit_told: false,
            said: VecDeque::new(),
            heard: VecDeque::new(),
            term_pending: false,
            taken: Vec::new(),
            temper,
            to_boot,
            serves: BTreeSet::new(),
            inherited: BTreeSet::new(),
            is_leaving: false,
            blocked_for: 0,
            is_finishing: false,
            is_mute: false,
        }
    }

    /// Whether the channel can be read to its end.
    pub fn has_hung_up(&self) -> bool {
        let has_heir = self.temper.bequeaths && matches!(self.life, Life::Dead(_));
        !self.channel_open && !has_heir
    }

    /// Who inherited its channel, or would, lets go of it. Answers whether there was anybody.
    pub fn disinherit(&mut self) -> bool {
        let is_kept_open = !self.channel_open && !self.has_hung_up() && !self.end_told;
        self.temper.bequeaths = false;
        is_kept_open
    }

    pub fn is_alive(&self) -> bool {
        self.life == Life::Running
    }

    pub fn die(&mut self, status: ExitStatus) {
        if self.is_alive() {
            self.life = Life::Dead(status);
            self.close_channel();
        }
    }

    /// Does one thing. Answers whether there was anything to do.
    pub fn act(&mut self, mood: Mood, chance: &mut Chance) -> bool {
        if !self.is_alive() {
            return false;
        }
        if self.is_blocked(mood, chance) {
            return true;
        }
        if mood == Mood::Chaos && !self.is_mute && chance.percent(15) {
            self.misbehave(chance);
            return true;
        }
        if self.term_pending && !self.temper.ignores_term {
            self.die(ExitStatus::Signal(15));
            return true;
        }
        if self.is_leaving && !self.channel_open {
            self.die(ExitStatus::Code(0));
            return true;
        }
        if self.is_mute {
            return false;
        }
        if let Some(order) = self.heard.pop_front() {
            self.obey(order, mood, chance);
            return true;
        }
        if self.is_finishing && (mood == Mood::Calm || chance.percent(5)) {
            self.is_finishing = false;
            self.say(Input::LeaveAnnounced { worker: self.worker, seq: 6 });
            return true;
        }
        self.boot_on()
    }

    pub fn inherits(&mut self, listener: ListenerId) {
        self.inherited.insert(listener);
    }

    /// Whether it takes connections from its own lane of this listener.
    pub fn accepts_from(&self, listener: ListenerId) -> bool {
        let has_it = self.serves.contains(&listener) || self.inherited.contains(&listener);
        self.is_alive() && self.blocked_for == 0 && has_it
    }

    /// Nothing gets through to it, but for signals that kill.
    fn is_blocked(&mut self, mood: Mood, chance: &mut Chance) -> bool {
        if mood == Mood::Calm {
            self.blocked_for = 0;
        } else if self.blocked_for > 0 {
            self.blocked_for -= 1;
        } else if chance.percent(self.temper.blocks) {
            self.blocked_for = chance.below(40);
        }
        self.blocked_for > 0
    }

    fn boot_on(&mut self) -> bool {
        let Some(word) = self.to_boot.pop_front() else { return false };
        self.say(word);
        true
    }

    fn obey(&mut self, order: Order, mood: Mood, chance: &mut Chance) {
        match order {
            Order::Granted(listener) => {
                self.serves.insert(listener);
                self.say(Input::Listening { worker: self.worker });
                for by in [ReadySignal::Message, ReadySignal::Notify] {
                    if mood == Mood::Calm || chance.percent(70) {
                        self.say(Input::Ready { worker: self.worker, by });
                    }
                }
            }
            Order::Connection(connection, listener) => {
                let declines = mood == Mood::Chaos && chance.percent(self.temper.declines);
                let takes = self.serves.contains(&listener) && !declines;
                self.answer(connection, if takes { Verdict::Accepted } else { Verdict::Declined });
            }
            Order::Probe => self.say(Input::Answered { worker: self.worker }),
            Order::Disconnect if self.temper.ignores_disconnect => {}
            Order::Disconnect => self.leave(),
            Order::Acknowledged => {
                self.is_leaving = true;
                self.close_channel();
            }
        }
    }

    /// Closes its servers, then its channel.
    fn leave(&mut self) {
        self.close_servers();
        self.is_leaving = true;
        self.close_channel();
    }

    fn close_servers(&mut self) {
        for listener in std::mem::take(&mut self.serves) {
            self.say(Input::Closed { worker: self.worker, listener });
        }
    }

    fn answer(&mut self, connection: ConnectionId, verdict: Verdict) {
        if verdict == Verdict::Accepted {
            self.taken.push(connection);
        }
        self.say(Input::Replied { worker: self.worker, connection, verdict });
    }

    fn misbehave(&mut self, chance: &mut Chance) {
        let worker = self.worker;
        match chance.below(6) {
            0 if chance.percent(self.temper.crashes) => self.die(any_status(chance)),
            1 if chance.percent(20) => self.close_one(chance),
            2 if chance.percent(20) && self.temper.speaks => {
                self.say(Input::Query(any_query(worker, chance)));
            }
            3 if chance.percent(3) && self.temper.speaks => {
                self.say(Input::LeaveAnnounced { worker, seq: 5 });
            }
            3 if chance.percent(5) && !self.serves.is_empty() => {
                self.close_servers();
                self.is_finishing = true;
            }
            4 if chance.percent(2) => self.close_channel(),
            5 if chance.percent(2) => {
                self.say(Input::ChannelBroken { worker });
                self.is_mute = true;
            }
            _ => {}
        }
    }

    fn close_one(&mut self, chance: &mut Chance) {
        let serves: Vec<_> = self.serves.iter().copied().collect();
        if let Some(listener) = chance.pick(&serves) {
            self.serves.remove(&listener);
            self.say(Input::Closed { worker: self.worker, listener });
        }
    }

    /// Something that is not so, said of things that are mostly others'.
    pub fn forge(&self, chance: &mut Chance) -> Option<Input> {
        if self.life == Life::Asked || !chance.percent(self.temper.forges) {
            return None;
        }
        let worker = self.worker;
        Some(match chance.below(7) {
            0 => Input::Closed { worker, listener: ListenerId(chance.below(6) as u32) },
            1 => Input::Online { worker },
            2 => Input::Listening { worker },
            3 => Input::Answered { worker },
            _ => {
                let connection = ConnectionId(chance.below(200) as u64);
                let verdict =
                    if chance.percent(50) { Verdict::Accepted } else { Verdict::Declined };
                Input::Replied { worker, connection, verdict }
            }
        })
    }

    fn say(&mut self, word: Input) {
        if self.channel_open {
            self.said.push_back(word);
        }
    }

    fn close_channel(&mut self) {
        self.channel_open = false;
        self.heard.clear();
    }
}

fn any_status(chance: &mut Chance) -> ExitStatus {
    match chance.below(4) {
        0 => ExitStatus::Signal(9),
        1 => ExitStatus::Signal(11),
        code => ExitStatus::Code(code as i32 - 2),
    }
}

fn boot(worker: WorkerId, mood: Mood, chance: &mut Chance) -> VecDeque<Input> {
    let mut words = VecDeque::from([Input::Online { worker }]);
    if mood == Mood::Calm {
        words.push_back(query(worker, 0));
        return words;
    }
    // One that asks for nothing never listens.
    for _ in 0..chance.below(5) {
        words.push_back(Input::Query(any_query(worker, chance)));
    }
    words
}

fn query(worker: WorkerId, address: usize) -> Input {
    Input::Query(query_for(worker, address))
}

fn any_query(worker: WorkerId, chance: &mut Chance) -> Query {
    query_for(worker, chance.below(5))
}

fn query_for(worker: WorkerId, address: usize) -> Query {
    let (host, only_v6) = (Host::Any, false);
    let tcp = |port| Endpoint::Tcp { host, port, only_v6 };
    let udp = Endpoint::Udp { host, port: 53, only_v6, reuse_address: false };
    let (endpoint, index, policy) = match address {
        0 => (tcp(80), 0, Policy::Auto),
        1 => (tcp(0), 0, Policy::Auto),
        2 => (tcp(0), 1, Policy::Auto),
        3 => (tcp(81), 0, Policy::Shared),
        _ => (udp, 0, Policy::Auto),
    };
    let spec = ListenerSpec::new(endpoint, index);
    Query { worker, seq: 1, spec, policy, backlog: None }
}
