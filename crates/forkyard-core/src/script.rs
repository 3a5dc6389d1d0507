//! Tests as tables: what happens stands on the left, what the core does about it on the
//! right, both in short words.
//!
//! | left | means |
//! |---|---|
//! | `fork`, `spare`, `retire 0`, `scale 3`, `stop terminate` | a request; denials show on the right |
//! | `listen tcp:80` | the app is to serve an address of its own |
//! | `roll 1`, `roll 1 workers 3 surge 2`, `replace 0` | the same; `roll 1` is to generation 1 with the workers there are |
//! | `spawned 1`, `spawn-failed 1`, `exited 1 code 0`, `exited 1 signal 9` | of worker 1's process |
//! | `online 1`, `listening 1`, `leave 1`, `broken 1`, `channel-ended 1` | on worker 1's channel |
//! | `ready 1 message`, `ready 1 notify`, `healthy 1`, `unhealthy 1` | worker 1 says so, or its check does |
//! | `query 1 tcp:80`, `query 1 tcp:0#1 shared`, `query 1 unix:/a`, `closed 1 L0` | worker 1 wants, or has closed, a listener |
//! | `opened L0`, `open-failed L0 98`, `accept-failed L0` | what the system said |
//! | `opened L0 kernel`, `opened L0 kernel hash`, `opened L0 least`, `opened L0 hash` | the same, and how L0 is dealt |
//! | `accept L0`, `accept L0 from 7` | a connection is accepted if there is capacity; they are numbered from c0 |
//! | `seen L0 1 3/40` | on lane 1 of L0 wait 3 of the 40 connections dealt to it |
//! | `answered 1`, `finished 1 3` | worker 1 answers a probe; 3 of its connections are closed |
//! | `force L0` | a connection is accepted without asking for capacity |
//! | `accepted 1 c0`, `declined 1 c0` | worker 1 answers a hand-off |
//! | `+500ms`, `+10s` | time passes; what is due is done when it is due |

use std::time::{Duration, Instant};

use crate::{
    Action, Admission, Choice, ConnectionId, Core, Dealing, Endpoint, Event, ExitStatus,
    Generation, Host, Input, LaneId, LaneView, Listen, ListenerId, ListenerSpec, Origin, Outcome,
    Policy, Query, ReadySignal, Request, Role, RollExtent, RollPlan, Settings, SlotId, Stage,
    Surge, Verdict, WorkerId, WorkerView,
};

/// Which of the core's actions a table shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Everything,
    AllButEvents,
}

/// A core with its own clock. Before each row of a table it is handed over to another
/// one, which is to go on as if nothing had been.
pub(crate) struct Script {
    settings: Settings,
    core: Core,
    now: Instant,
    show: Show,
    next_connection: u64,
}

impl Script {
    pub(crate) fn new(settings: Settings, show: Show) -> Self {
        let core = Core::new(settings.clone());
        Self { settings, core, now: Instant::now(), show, next_connection: 0 }
    }

    /// Lets things happen without looking at what the core does.
    pub(crate) fn given(&mut self, happenings: &[&str]) {
        for happening in happenings {
            self.play(happening);
        }
    }

    /// Holds what the core does, row by row, against the table.
    #[track_caller]
    pub(crate) fn check(&mut self, rows: &[(&str, &str)]) {
        for (number, (happening, expected)) in rows.iter().enumerate() {
            self.hand_over();
            let seen = self.play(happening);
            assert_eq!(seen, *expected, "row {number}: {happening}");
        }
    }

    /// What a worker is started with.
    pub(crate) fn inherited(&self, worker: u32) -> String {
        let inherits = self.core.inherits(WorkerId(worker)).into_iter();
        let shown = inherits.map(|(listener, lane)| match lane {
            Some(lane) => format!("L{listener} {lane}"),
            None => format!("L{listener}"),
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// How a worker stands.
    pub(crate) fn standing(&self, worker: u32) -> String {
        match self.core.view(WorkerId(worker)) {
            Some(WorkerView { state, restarts: 0 }) => format!("{state:?}"),
            Some(WorkerView { state, restarts }) => format!("{state:?} after {restarts} crashes"),
            None => "gone".to_owned(),
        }
    }

    /// Has L0 accept a connection of which the number is known, and whoever gets it answer at
    /// once. Returns who that was.
    pub(crate) fn accept_and_answer(&mut self, connection: u64) -> u32 {
        let seen = self.play("accept L0");
        let worker = seen.strip_prefix(&format!("hand c{connection} to ")).expect("a hand-off");
        self.given(&[&format!("accepted {worker} c{connection}")]);
        worker.parse().expect("a worker")
    }

    fn play(&mut self, happening: &str) -> String {
        let words: Vec<_> = happening.split_whitespace().collect();
        let mut seen = Vec::new();
        if let Some(duration) = happening.strip_prefix('+') {
            self.pass(parse_duration(duration), &mut seen);
        } else if let Some(request) = self.parse_roll(&words).or_else(|| parse_request(&words)) {
            let admission = self.core.request(self.now, request);
            seen.extend(show_admission(admission));
        } else if let ["scale", workers] = *words {
            let scaled = self.core.scale(self.now, workers.parse().unwrap());
            seen.extend(scaled.err().map(|denied| format!("denied: {denied}")));
        } else if words[0] == "accept"
            && !self.core.has_capacity(self.now, parse_listener(words[1]))
        {
            seen.push("no capacity".to_owned());
        } else {
            let input = self.parse_input(&words);
            self.core.handle(self.now, input);
        }
        self.drain(&mut seen);
        seen.join(", ")
    }

    fn hand_over(&mut self) {
        // A core that is stopping is not handed over.
        let Ok(snapshot) = self.core.snapshot(self.now) else { return };
        let written = serde_json::to_vec(&snapshot).unwrap();
        let read = serde_json::from_slice(&written).unwrap();
        self.core = Core::resume(self.settings.clone(), read, self.now);
        // Checks that are under way are asked for again.
        while let Some(action) = self.core.next_action() {
            assert!(matches!(action, Action::Check { .. }), "{action:?}");
        }
    }

    fn pass(&mut self, duration: Duration, seen: &mut Vec<String>) {
        let end = self.now + duration;
        let mut calls = 0;
        while let Some(at) = self.core.next_deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.core.handle_timeout(self.now);
            self.drain(seen);
            calls += 1;
            assert!(calls < 1000, "the same deadlines come again and again");
        }
        self.now = end;
    }

    fn drain(&mut self, seen: &mut Vec<String>) {
        while let Some(action) = self.core.next_action() {
            match action {
                Action::Emit(_) if self.show == Show::AllButEvents => {}
                Action::Emit(event) => seen.push(show_event(event)),
                action => seen.push(show_action(action)),
            }
        }
    }

    fn parse_roll(&self, words: &[&str]) -> Option<Request> {
        let ["roll", generation, ref rest @ ..] = *words else { return None };
        let number = |name: &str| {
            let at = rest.iter().position(|word| *word == name)?;
            Some(rest[at + 1].parse().unwrap())
        };
        let generation = Generation(generation.parse().unwrap());
        let surge = Surge::Workers(number("surge").unwrap_or(1));
        Some(Request::Roll(RollPlan { generation, workers: number("workers"), surge }))
    }

    fn parse_input(&mut self, words: &[&str]) -> Input {
        match *words {
            ["opened", id, ref dealing @ ..] => {
                let dealing = parse_dealing(dealing);
                Input::ListenerOpened { listener: parse_listener(id), dealing }
            }
            ["seen", id, lane, view] => {
                let (waiting, dealt) = view.split_once('/').unwrap();
                let (waiting, dealt) = (waiting.parse().unwrap(), dealt.parse().unwrap());
                let lane = LaneId(lane.parse().unwrap());
                let view = LaneView { waiting, dealt };
                Input::LaneSeen { listener: parse_listener(id), lane, view }
            }
            ["open-failed", id, errno] => {
                let errno = errno.parse().unwrap();
                Input::ListenerFailed { listener: parse_listener(id), errno }
            }
            ["accept-failed", id] => Input::AcceptFailed { listener: parse_listener(id) },
            ["accept" | "force", id, ref from @ ..] => {
                let connection = ConnectionId(self.next_connection);
                self.next_connection += 1;
                let origin = from.get(1).map(|origin| Origin(origin.parse().unwrap()));
                Input::Accepted { listener: parse_listener(id), connection, origin }
            }
            [verb, worker, ref rest @ ..] => {
                parse_of_worker(verb, WorkerId(worker.parse().unwrap()), rest)
            }
            _ => panic!("no such happening: {words:?}"),
        }
    }
}

fn parse_request(words: &[&str]) -> Option<Request> {
    match *words {
        ["listen", spec] => Some(Request::Listen(listen(spec))),
        ["fork"] => Some(Request::Fork(Role::Serving)),
        ["spare"] => Some(Request::Fork(Role::Spare)),
        ["replace", slot] => Some(Request::Replace(SlotId(slot.parse().unwrap()))),
        ["retire", slot] => Some(Request::Retire(SlotId(slot.parse().unwrap()))),
        ["stop", "disconnect"] => Some(Request::Stop(Stage::Disconnect)),
        ["stop", "terminate"] => Some(Request::Stop(Stage::Terminate)),
        ["stop", "kill"] => Some(Request::Stop(Stage::Kill)),
        _ => None,
    }
}

fn listen(spec: &str) -> Listen {
    let Query { spec, policy, backlog, .. } = query(WorkerId(0), spec, Policy::Auto);
    Listen { spec, policy, backlog }
}

fn parse_of_worker(verb: &str, worker: WorkerId, rest: &[&str]) -> Input {
    match (verb, rest) {
        ("spawned", []) => Input::Spawned { worker, pid: 100 + worker.0 },
        ("spawn-failed", []) => Input::SpawnFailed { worker, message: "no such file".to_owned() },
        ("exited", ["code", code]) => {
            Input::Exited { worker, status: ExitStatus::Code(code.parse().unwrap()) }
        }
        ("exited", ["signal", signal]) => {
            Input::Exited { worker, status: ExitStatus::Signal(signal.parse().unwrap()) }
        }
        ("online", []) => Input::Online { worker },
        ("listening", []) => Input::Listening { worker },
        ("leave", []) => Input::LeaveAnnounced { worker, seq: 7 },
        ("ready", ["message"]) => Input::Ready { worker, by: ReadySignal::Message },
        ("ready", ["notify"]) => Input::Ready { worker, by: ReadySignal::Notify },
        ("healthy", []) => Input::Checked { worker, result: Ok(()) },
        ("unhealthy", []) => Input::Checked { worker, result: Err("503".to_owned()) },
        ("broken", []) => Input::ChannelBroken { worker },
        ("channel-ended", []) => Input::ChannelEnded { worker },
        ("query", [spec]) => Input::Query(query(worker, spec, Policy::RoundRobin)),
        ("query", [spec, "shared"]) => Input::Query(query(worker, spec, Policy::Shared)),
        ("answered", []) => Input::Answered { worker },
        ("finished", [count]) => Input::Finished { worker, connections: count.parse().unwrap() },
        ("closed", [id]) => Input::Closed { worker, listener: parse_listener(id) },
        ("accepted", [id]) => replied(worker, id, Verdict::Accepted),
        ("declined", [id]) => replied(worker, id, Verdict::Declined),
        _ => panic!("no such happening: {verb} {rest:?}"),
    }
}

fn parse_dealing(words: &[&str]) -> Dealing {
    match words {
        [] => Dealing::ByPrimary(Choice::InTurn),
        ["least"] => Dealing::ByPrimary(Choice::LeastConnections),
        ["hash"] => Dealing::ByPrimary(Choice::ByOrigin),
        ["shared"] => Dealing::ByWorkers,
        ["kernel"] => Dealing::ByKernel(Choice::InTurn),
        ["kernel", "hash"] => Dealing::ByKernel(Choice::ByOrigin),
        _ => panic!("no such dealing: {words:?}"),
    }
}

fn replied(worker: WorkerId, id: &str, verdict: Verdict) -> Input {
    let connection = ConnectionId(id.strip_prefix('c').unwrap().parse().unwrap());
    Input::Replied { worker, connection, verdict }
}

fn query(worker: WorkerId, spec: &str, policy: Policy) -> Query {
    let (address, index) = spec.split_once('#').unwrap_or((spec, "0"));
    let (kind, place) = address.split_once(':').unwrap();
    let spec = ListenerSpec::new(endpoint(kind, place), index.parse().unwrap());
    Query { worker, seq: 1, spec, policy, backlog: None }
}

fn endpoint(kind: &str, place: &str) -> Endpoint {
    let (host, port) = (Host::Any, || place.parse().unwrap());
    match kind {
        "tcp" | "tcp6" => Endpoint::Tcp { host, port: port(), only_v6: kind == "tcp6" },
        "udp" | "udp6" => {
            let (port, only_v6) = (port(), kind == "udp6");
            Endpoint::Udp { host, port, only_v6, reuse_address: false }
        }
        "unix" => {
            let path = place.to_owned();
            Endpoint::Unix { path, readable_all: false, writable_all: false }
        }
        _ => panic!("no such kind of address: {kind}"),
    }
}

fn parse_listener(id: &str) -> ListenerId {
    ListenerId(id.strip_prefix('L').unwrap().parse().unwrap())
}

fn parse_duration(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(millis.parse().unwrap()),
        None => Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap()),
    }
}

fn show_admission(admission: Admission) -> Option<String> {
    match admission {
        Admission::Accepted | Admission::Forked(_) => None,
        Admission::AlreadySo => Some("already so".to_owned()),
        Admission::Denied(reason) => Some(format!("denied: {reason}")),
    }
}

fn show_action(action: Action) -> String {
    match action {
        Action::Spawn { slot, worker, generation: Generation(0) } => {
            format!("spawn {worker} in {slot}")
        }
        Action::Spawn { slot, worker, generation } => {
            format!("spawn {worker} in {slot} of generation {generation}")
        }
        Action::Check { worker } => format!("check {worker}"),
        Action::OpenListener { listener, policy, .. } => {
            format!("open L{listener} {}", policy.name())
        }
        Action::CloseListener { listener } => format!("close L{listener}"),
        Action::Grant { worker, listener, lane: None, .. } => format!("grant {worker} L{listener}"),
        Action::Grant { worker, listener, lane: Some(lane), .. } => {
            format!("grant {worker} L{listener} lane {lane}")
        }
        Action::Deal { listener, lanes } => {
            let lanes: Vec<_> = lanes.iter().map(|dealt| format!(" {}", dealt.lane)).collect();
            format!("deal L{listener} to{}", lanes.concat())
        }
        Action::Reclaim { listener, lane } => format!("reclaim L{listener} {lane}"),
        Action::Renew { listener, lane } => format!("renew L{listener} {lane}"),
        Action::GiveBack { listener, lane } => format!("give back L{listener} {lane}"),
        Action::Probe { worker } => format!("probe {worker}"),
        Action::Refuse { worker, refusal, .. } => format!("refuse {worker} {refusal:?}"),
        Action::HandOff { worker, connection, .. } => format!("hand c{connection} to {worker}"),
        Action::Release { connection } => format!("release c{connection}"),
        Action::AskDisconnect { worker } => format!("ask {worker}"),
        Action::AcknowledgeLeave { worker, .. } => format!("acknowledge {worker}"),
        Action::Terminate { worker } => format!("terminate {worker}"),
        Action::Kill { worker } => format!("kill {worker}"),
        Action::Emit(event) => show_event(event),
        Action::Finish(Outcome::Stopped) => "finish stopped".to_owned(),
        Action::Finish(Outcome::Finished { code }) => format!("finish finished {code}"),
        Action::Finish(Outcome::Failed(_)) => "finish failed".to_owned(),
    }
}

fn show_event(event: Event) -> String {
    match event {
        Event::Started { worker, .. } => format!("(started {worker})"),
        Event::StartFailed { worker, .. } => format!("(start failed {worker})"),
        Event::Online { worker, .. } => format!("(online {worker})"),
        Event::Ready { worker, .. } => format!("(ready {worker})"),
        Event::AppReady => "(app ready)".to_owned(),
        Event::StartTimedOut { worker, .. } => format!("(start timed out {worker})"),
        Event::Disconnected { worker, .. } => format!("(disconnected {worker})"),
        Event::Exited { worker, leaving: None, .. } => format!("(crashed {worker})"),
        Event::Exited { worker, leaving: Some(why), .. } => format!("(left {worker} {why:?})"),
        Event::RollStarted { generation, extent, .. } => {
            let RollExtent { replaced, added, removed, surge: _ } = extent;
            match (added, removed) {
                (0, 0) => format!("(roll to {generation}: {replaced})"),
                _ => format!("(roll to {generation}: {replaced} +{added} -{removed})"),
            }
        }
        Event::RollStep { worker, step, .. } => format!("({worker} {step:?})"),
        Event::RollFinished { generation, .. } => format!("(rolled to {generation})"),
        Event::RollFailed { worker, reason, .. } => format!("(roll failed: {worker} {reason:?})"),
        Event::RollBackFailed { worker, .. } => format!("(roll back failed: {worker})"),
        Event::RolledBack { generation, pending, .. } if pending.is_empty() => {
            format!("(rolled back to {generation})")
        }
        Event::RolledBack { generation, pending, .. } => {
            let pending: Vec<_> = pending.iter().map(ToString::to_string).collect();
            format!("(rolled back to {generation}, but for {})", pending.join(" "))
        }
        Event::RollAborted { .. } => "(roll aborted)".to_owned(),
        Event::StandsBy { worker, .. } => format!("({worker} stands by)"),
        Event::SpareDoesNotAsk { worker, .. } => format!("({worker} does not ask)"),
        Event::Promoted { worker, .. } => format!("(promoted {worker})"),
        Event::RestartScheduled { delay, restarts, .. } if delay.is_zero() => {
            format!("(restart #{restarts} now)")
        }
        Event::RestartScheduled { restarts, .. } => format!("(restart #{restarts} later)"),
        Event::SlotDone { slot } => format!("(done {slot})"),
        Event::Failed(_) => "(failed)".to_owned(),
        Event::Stopping { stage, workers } => format!("(stopping {workers} {stage:?})"),
        Event::Escalated { worker, stage, .. } => format!("(escalated {worker} {stage:?})"),
    }
}
