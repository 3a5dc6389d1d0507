//! The loop around the core.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::task::{Context, Poll};
use std::time::Instant;

use forkyard_core::{
    Action, ConnectionId, Core, Input, ListenerId, ListenerSpec, Outcome, Policy, Query, Refusal,
    Request, SlotId, Stage, Verdict, WorkerId,
};
use forkyard_ipc::{
    PrimaryMessage, ServerQuery, ServerReply, SocketAnswer, SocketQuery, Transport, Value,
    WorkerMessage,
};
use forkyard_sys::process::Signal;
use forkyard_sys::reactor::Watched;
use tokio::io::Interest;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Sleep;

use super::address;
use super::channel::{MessageTap, Reader};
use super::exit_watch::Watch;
use super::listeners::{Arrival, Connections, Listeners};
use super::outgoing::{Outgoing, SendError, Sent};
use super::seats::{Running, Seats};
use super::spawner::{Job, Spawned};
use super::{Command, Handle, Mail, PrimarySettings};
use crate::event::Event;

/// Where the driver sends things.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) mail: mpsc::Sender<Mail>,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) tap: MessageTap,
    pub(super) spawner: SyncSender<Job>,
}

/// Where the driver's news comes from, besides listeners and the clock.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) inbox: mpsc::Receiver<Mail>,
    /// Ends when whoever started the primary lets go of it; then `None`.
    pub(super) owner: Option<oneshot::Receiver<Infallible>>,
}

impl Sources {
    fn poll_abandoned(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(owner) = &mut self.owner else { return Poll::Pending };
        let gone = Pin::new(owner).poll(cx).map(|_| ());
        if gone.is_ready() {
            self.owner = None;
        }
        gone
    }
}

/// How much mail is handled before connections get a turn.
const MAIL_IN_A_ROW: u32 = 64;

/// What a worker asked, until it is answered.
#[derive(Debug)]
struct Question {
    address: String,
    data: Option<Value>,
}

/// What the loop woke up for.
#[derive(Debug)]
enum Wake {
    Mail(Mail),
    Arrival(Arrival),
    Deadline,
    /// Whoever started the primary has let go of it.
    Abandoned,
}

/// Owns everything that belongs to one primary.
#[derive(Debug)]
pub(super) struct Driver {
    settings: PrimarySettings,
    outlets: Outlets,
    core: Core,
    seats: Seats,
    listeners: Listeners,
    connections: Connections,
    questions: HashMap<(WorkerId, u64), Question>,
    /// Numbers connections and, from the same row, messages to workers, so that a reply
    /// names a connection and nothing else.
    next_number: u64,
    /// The last lines of the worker whose exit is being handled.
    stderr_tail: Vec<String>,
    /// Mail handled since it was last looked for connections.
    mail_in_a_row: u32,
    outcome: Option<Outcome>,
}

impl Driver {
    pub(super) fn new(settings: PrimarySettings, outlets: Outlets) -> Self {
        Self {
            core: Core::new(settings.core.clone()),
            settings,
            outlets,
            seats: Seats::default(),
            listeners: Listeners::new(),
            connections: Connections::default(),
            questions: HashMap::new(),
            next_number: 0,
            stderr_tail: Vec::new(),
            mail_in_a_row: 0,
            outcome: None,
        }
    }

    /// Runs until the core is finished.
    pub(super) async fn run(mut self, mut sources: Sources) {
        let mut sleep = Box::pin(tokio::time::sleep_until(Instant::now().into()));
        while self.outcome.is_none() {
            self.set_alarm(sleep.as_mut());
            let wake = std::future::poll_fn(|cx| self.poll_wake(cx, &mut sources, sleep.as_mut()));
            match wake.await {
                Wake::Mail(mail) => self.handle_mail(mail),
                Wake::Arrival(arrival) => self.handle_arrival(arrival),
                Wake::Deadline => self.core.handle_timeout(Instant::now()),
                Wake::Abandoned => self.handle_abandoned(),
            }
            self.perform_all();
        }
        // With their sockets' files, before anybody learns that it is over.
        drop(self.listeners);
        if let Some(outcome) = self.outcome {
            // Nobody needs to be watching.
            let _ = self.outlets.events.send(Event::Over(outcome));
        }
    }

    fn set_alarm(&self, sleep: Pin<&mut Sleep>) {
        let Some(deadline) = self.core.next_deadline() else { return };
        if sleep.deadline() != deadline.into() {
            sleep.reset(deadline.into());
        }
    }

    /// Mail first, as what workers say may make room for a connection; but neither mail nor
    /// connections keep the other, or the clock, waiting for long.
    fn poll_wake(
        &mut self,
        cx: &mut Context<'_>,
        sources: &mut Sources,
        sleep: Pin<&mut Sleep>,
    ) -> Poll<Wake> {
        if self.core.next_deadline().is_some() && sleep.poll(cx).is_ready() {
            return Poll::Ready(Wake::Deadline);
        }
        if sources.poll_abandoned(cx).is_ready() {
            return Poll::Ready(Wake::Abandoned);
        }
        self.seats.poll_blocked(cx);
        if self.mail_in_a_row < MAIL_IN_A_ROW
            && let Poll::Ready(Some(mail)) = sources.inbox.poll_recv(cx)
        {
            self.mail_in_a_row += 1;
            return Poll::Ready(Wake::Mail(mail));
        }
        let patience_over = std::mem::take(&mut self.mail_in_a_row) == MAIL_IN_A_ROW;
        let (core, now) = (&self.core, Instant::now());
        let wanted = |id| core.has_capacity(now, id);
        if let Poll::Ready(arrival) = self.listeners.poll_accept(cx, wanted) {
            return Poll::Ready(Wake::Arrival(arrival));
        }
        if patience_over {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn input(&mut self, input: Input) {
        self.core.handle(Instant::now(), input);
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    // What comes in.

    fn handle_abandoned(&mut self) {
        // Whether it was stopping already does not matter.
        let _ = self.core.request(Instant::now(), Request::Stop(Stage::Terminate));
    }

    fn handle_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Message { worker, message } => self.handle_message(worker, message),
            Mail::Spawned(spawned) => self.handle_spawned(spawned),
            Mail::SpawnFailed { worker, message } => {
                self.input(Input::SpawnFailed { worker, message });
                self.perform_all();
                self.seats.remove(worker);
            }
            Mail::HandleArrived { worker, intact } => {
                let answer =
                    if intact { PrimaryMessage::HandleAck } else { PrimaryMessage::HandleNack };
                self.send(worker, &answer, None);
            }
            Mail::ChannelTrouble { worker, message } => self.channel_trouble(worker, message),
            Mail::ChannelEnded { worker } => {
                // What it did not get goes to others, and must not stay open here.
                if let Some(running) = self.seats.running(worker) {
                    running.outgoing.end();
                }
                self.input(Input::ChannelEnded { worker });
            }
            Mail::Exited { worker, status, stderr_tail } => {
                self.stderr_tail = stderr_tail;
                self.input(Input::Exited { worker, status });
                self.perform_all();
                self.stderr_tail.clear();
                self.seats.remove(worker);
            }
            Mail::Command(command) => self.handle_command(command),
        }
    }

    fn handle_spawned(&mut self, spawned: Spawned) {
        let worker = spawned.worker;
        if let Err(error) = self.install(spawned) {
            let message = format!("failed to watch the new worker: {error}");
            self.input(Input::SpawnFailed { worker, message });
            self.perform_all();
            self.seats.remove(worker);
        }
    }

    fn install(&mut self, spawned: Spawned) -> io::Result<()> {
        let Spawned { worker, process, channel, output_done } = spawned;
        let mail = self.outlets.mail.clone();
        let pid = process.pid();
        let process = Arc::new(process);
        let (finish, finished) = oneshot::channel();
        let channel = match Watched::new(channel, Interest::READABLE) {
            Ok(channel) => Arc::new(channel),
            Err(error) => {
                // Of no use without its channel. It is still waited for.
                process.signal_group(Signal::KILL)?;
                let reader = tokio::spawn(std::future::ready(()));
                tokio::spawn(Watch { worker, process, finish, reader, output_done }.run(mail));
                return Err(error);
            }
        };
        let outgoing = Outgoing::new(Arc::clone(&channel), self.settings.dialect);
        self.seats.started(worker, Running { process: Arc::clone(&process), outgoing });
        let Some(info) = self.seats.info(worker) else { return Ok(()) };
        let reading = (self.settings.dialect, self.settings.message_limit);
        let tap = self.outlets.tap.clone();
        let reader = Reader::new(info, channel, reading, mail.clone(), tap, finished);
        let reader = tokio::spawn(reader.run());
        let watch = Watch { worker, process, finish, reader, output_done };
        tokio::spawn(watch.run(mail));
        self.input(Input::Spawned { worker, pid });
        Ok(())
    }

    fn handle_message(&mut self, worker: WorkerId, message: WorkerMessage) {
        match message {
            WorkerMessage::Reply { ack, accepted } => {
                let verdict = if accepted { Verdict::Accepted } else { Verdict::Declined };
                self.input(Input::Replied { worker, connection: ConnectionId(ack), verdict });
            }
            WorkerMessage::HandleAck => {
                self.acknowledged(worker);
            }
            WorkerMessage::HandleNack => self.handle_lost(worker),
            WorkerMessage::Online { .. } => self.input(Input::Online { worker }),
            WorkerMessage::QueryServer { seq, query } => self.handle_query(worker, seq, query),
            WorkerMessage::Listening { query, .. } => {
                self.input(Input::Listening { worker });
                let address = address::describe(&query);
                self.emit_for(worker, |info| Event::Listening { info, address });
            }
            WorkerMessage::Close { key, .. } => {
                if let Some(listener) = Listeners::by_key(&key) {
                    self.input(Input::Closed { worker, listener });
                }
            }
            WorkerMessage::ExitedAfterDisconnect { seq } => {
                self.input(Input::LeaveAnnounced { worker, seq });
            }
            WorkerMessage::Socket(query) => self.answer_socket_query(worker, query),
            // The channel's reader keeps these.
            WorkerMessage::Handle { .. }
            | WorkerMessage::User(_)
            | WorkerMessage::Unknown { .. } => {}
        }
    }

    /// A descriptor that a worker has received is its own; what held the channel back may
    /// go on.
    fn acknowledged(&mut self, worker: WorkerId) -> Option<Sent> {
        let sent = self.seats.running(worker)?.outgoing.acknowledge();
        self.seats.flush(worker);
        sent
    }

    /// A descriptor did not arrive, and the message it belonged to was dropped.
    fn handle_lost(&mut self, worker: WorkerId) {
        match self.acknowledged(worker) {
            Some(Sent::Connection(connection, _)) => {
                let verdict = Verdict::Declined;
                self.input(Input::Replied { worker, connection, verdict });
            }
            Some(Sent::Listener(_)) => {
                let why = "lost a listening socket on the way to the worker; ending the worker";
                self.channel_trouble(worker, why.into());
                self.input(Input::ChannelBroken { worker });
            }
            Some(Sent::User(_)) => {
                let why = "lost a descriptor on the way to the worker";
                self.channel_trouble(worker, why.into());
            }
            None => {}
        }
    }

    fn handle_query(&mut self, worker: WorkerId, seq: u64, query: ServerQuery) {
        let address = address::describe(&query);
        let spec = match address::spec_of(&query) {
            Ok(spec) => spec,
            Err(errno) => return self.answer_refusal(worker, seq, "", -errno),
        };
        let policy = self.policy_for(&query);
        let backlog = query.backlog.and_then(|length| u32::try_from(length).ok());
        self.questions.insert((worker, seq), Question { address, data: query.data });
        self.input(Input::Query(Query { worker, seq, spec, policy, backlog }));
        self.perform_all();
        // Binding takes no time, so it is answered by now, or never: the worker is leaving.
        self.questions.remove(&(worker, seq));
    }

    /// The rule that names this listener, or the one that names none.
    fn policy_for(&self, query: &ServerQuery) -> Policy {
        let port = query.port.map(|port| port.to_string());
        let names = [port.as_deref(), query.address.as_deref()];
        let matching = |rule: &&super::PolicyRule| match rule.listener.as_deref() {
            Some(listener) => names.contains(&Some(listener)),
            None => false,
        };
        let rules = &self.settings.policies;
        let rule = rules.iter().rev().find(matching);
        let rule = rule.or_else(|| rules.iter().rev().find(|rule| rule.listener.is_none()));
        rule.map_or(Policy::RoundRobin, |rule| rule.policy)
    }

    /// What a worker has sent us is ours: none of its server's connections are left here.
    fn answer_socket_query(&mut self, worker: WorkerId, query: SocketQuery) {
        let answer = match query {
            SocketQuery::NotifyClose { key } => SocketAnswer::AllClosed { key },
            SocketQuery::GetCount { key } => SocketAnswer::Count { key, count: 0 },
        };
        self.send(worker, &PrimaryMessage::Socket(answer), None);
    }

    fn channel_trouble(&mut self, worker: WorkerId, message: String) {
        self.emit_for(worker, |info| Event::ChannelTrouble { info, message });
    }

    fn handle_arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Connection(listener, socket) => {
                let connection = ConnectionId(self.number());
                self.connections.keep(connection, socket);
                self.input(Input::Accepted { listener, connection });
            }
            Arrival::Failure { listener, error, first } => {
                if first {
                    let address = self.listeners.address(listener).to_owned();
                    self.emit(Event::AcceptFailed { address, message: error.to_string() });
                }
                self.input(Input::AcceptFailed { listener });
            }
        }
    }

    // What handles ask for. Whoever asked may have stopped waiting for the answer.

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Request(request, answer) => {
                let admission = self.core.request(Instant::now(), request);
                let _ = answer.send(admission);
            }
            Command::Signal(slot, signal, answer) => {
                let _ = answer.send(self.signal_slot(slot, signal));
            }
            Command::Send(slot, value, handle, answer) => {
                let _ = answer.send(self.send_to_slot(slot, value, handle));
            }
            Command::Workers(answer) => {
                let _ = answer.send(self.seats.all());
            }
        }
    }

    fn signal_slot(&mut self, slot: SlotId, signal: Signal) -> io::Result<()> {
        let worker = self.seats.in_slot(slot);
        match worker.and_then(|worker| self.seats.running(worker)) {
            Some(running) => running.process.signal(signal),
            None => Err(no_worker(slot)),
        }
    }

    fn send_to_slot(
        &mut self,
        slot: SlotId,
        value: Value,
        handle: Option<Handle>,
    ) -> io::Result<()> {
        let worker = self.seats.in_slot(slot).ok_or_else(|| no_worker(slot))?;
        let (message, sent) = match handle {
            Some(Handle { kind, fd }) => {
                (PrimaryMessage::Handle { kind, message: value }, Some(Sent::User(fd)))
            }
            None => (PrimaryMessage::User(value), None),
        };
        let running = self.seats.running(worker).ok_or_else(|| no_worker(slot))?;
        running.outgoing.push(&message, sent)?;
        self.seats.flush(worker);
        Ok(())
    }

    // What the core wants done.

    fn perform_all(&mut self) {
        while let Some(action) = self.core.next_action() {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::HandOff { worker, listener, connection } => {
                self.hand_off(worker, listener, connection);
            }
            Action::Release { connection } => self.connections.release(connection),
            Action::Spawn { slot, worker } => self.spawn(slot, worker),
            Action::OpenListener { listener, spec, policy, backlog } => {
                self.open_listener(listener, &spec, policy, backlog);
            }
            Action::CloseListener { listener } => self.listeners.close(listener),
            Action::Grant { worker, seq, listener } => self.grant(worker, seq, listener),
            Action::Refuse { worker, seq, listener, refusal } => {
                self.refuse(worker, seq, listener, refusal);
            }
            Action::AskDisconnect { worker } => {
                let seq = self.number();
                self.send(worker, &PrimaryMessage::Disconnect { seq }, None);
            }
            Action::AcknowledgeLeave { worker, seq: ack } => {
                let seq = self.number();
                self.send(worker, &PrimaryMessage::Ack { ack, seq }, None);
            }
            Action::Terminate { worker } => self.terminate(worker),
            Action::Kill { worker } => self.kill(worker),
            Action::Emit(event) => self.publish(event),
            Action::Finish(outcome) => self.outcome = Some(outcome),
        }
    }

    fn hand_off(&mut self, worker: WorkerId, listener: ListenerId, connection: ConnectionId) {
        let Some(socket) = self.connections.get(connection) else { return };
        let Some(named) = self.listeners.key_and_transport(listener) else { return };
        let Some(running) = self.seats.running(worker) else { return };
        let pushed = running.outgoing.push_connection(connection, socket, named);
        self.after_push(worker, pushed);
    }

    fn spawn(&mut self, slot: SlotId, worker: WorkerId) {
        self.seats.add(worker, slot);
        if self.outlets.spawner.try_send(Job { slot, worker }).is_err() {
            let message = "the thread that starts processes is gone".into();
            self.input(Input::SpawnFailed { worker, message });
        }
    }

    fn open_listener(
        &mut self,
        listener: ListenerId,
        spec: &ListenerSpec,
        policy: Policy,
        backlog: Option<u32>,
    ) {
        let means = (backlog, &*self.settings.inherited);
        match self.listeners.open(listener, &spec.endpoint, policy, means) {
            Ok(address) => {
                self.emit(Event::Bound { address, policy });
                self.input(Input::ListenerOpened { listener });
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(address::EINVAL);
                self.input(Input::ListenerFailed { listener, errno });
            }
        }
    }

    fn grant(&mut self, worker: WorkerId, seq: u64, listener: ListenerId) {
        let data = self.questions.remove(&(worker, seq)).and_then(|question| question.data);
        match self.listeners.grant(listener, data) {
            Ok(Some((reply, socket))) => {
                let message = PrimaryMessage::ServerReply { ack: seq, seq: self.number(), reply };
                self.send(worker, &message, socket.map(Sent::Listener));
            }
            Ok(None) => {}
            Err(error) => {
                let errno = -error.raw_os_error().unwrap_or(address::EINVAL);
                self.answer_refusal(worker, seq, "", errno);
            }
        }
    }

    fn refuse(&mut self, worker: WorkerId, seq: u64, listener: ListenerId, refusal: Refusal) {
        let question = self.questions.remove(&(worker, seq));
        let key = format!("refused#{listener}");
        self.answer_refusal(worker, seq, &key, address::errno_of(refusal));
        if let Some(Question { address, .. }) = question {
            let (code, message) = address::explain(&address, refusal);
            self.emit_for(worker, |info| Event::ListenRefused { info, address, code, message });
        }
    }

    fn answer_refusal(&mut self, worker: WorkerId, ack: u64, key: &str, errno: i32) {
        let reply = ServerReply {
            errno,
            key: key.into(),
            data: None,
            sockname: None,
            handle: None,
            transport: Transport::Tcp,
        };
        let message = PrimaryMessage::ServerReply { ack, seq: self.number(), reply };
        self.send(worker, &message, None);
    }

    fn terminate(&mut self, worker: WorkerId) {
        let signal = self.settings.stop_signal;
        if let Some(running) = self.seats.running(worker)
            && let Err(error) = running.process.signal(signal)
        {
            tracing::warn!(%worker, %signal, %error, "failed to signal a worker");
        }
    }

    fn kill(&mut self, worker: WorkerId) {
        if let Some(running) = self.seats.running(worker)
            && let Err(error) = running.process.signal_group(Signal::KILL)
        {
            tracing::error!(%worker, %error, "failed to kill a worker");
        }
    }

    fn send(&mut self, worker: WorkerId, message: &PrimaryMessage, handle: Option<Sent>) {
        let Some(running) = self.seats.running(worker) else { return };
        let pushed = running.outgoing.push(message, handle);
        self.after_push(worker, pushed);
    }

    fn after_push(&mut self, worker: WorkerId, pushed: Result<(), SendError>) {
        match pushed {
            Ok(()) => self.seats.flush(worker),
            Err(error) => {
                self.channel_trouble(worker, format!("{error}; ending the worker"));
                self.input(Input::ChannelBroken { worker });
            }
        }
    }

    // What the world is told.

    fn publish(&mut self, event: forkyard_core::Event) {
        use forkyard_core::Event as Core;
        match event {
            Core::Started { worker, .. } => self.emit_for(worker, Event::Started),
            Core::StartFailed { worker, message, .. } => {
                self.emit_for(worker, |info| Event::StartFailed { info, message });
            }
            Core::Online { worker, .. } => self.emit_for(worker, Event::Online),
            Core::StartTimedOut { worker, after, .. } => {
                self.emit_for(worker, |info| Event::StartTimedOut { info, after });
            }
            Core::Disconnected { worker, .. } => self.emit_for(worker, Event::Disconnected),
            Core::Exited { worker, status, leaving, .. } => {
                let stderr_tail = self.stderr_tail.clone();
                self.emit_for(worker, |info| Event::Exited { info, status, leaving, stderr_tail });
            }
            Core::RestartScheduled { slot, delay, restarts } => {
                self.emit(Event::RestartScheduled { slot, delay, restarts });
            }
            Core::SlotDone { slot } => self.emit(Event::SlotDone { slot }),
            Core::Failed(reason) => {
                let stderr_tail = std::mem::take(&mut self.stderr_tail);
                self.emit(Event::Failed { reason, stderr_tail });
            }
            Core::Stopping { stage, workers } => self.emit(Event::Stopping { stage, workers }),
            Core::Escalated { worker, stage, .. } => {
                self.emit_for(worker, |info| Event::Escalated { info, stage });
            }
        }
    }

    fn emit_for(&self, worker: WorkerId, event: impl FnOnce(crate::WorkerInfo) -> Event) {
        if let Some(info) = self.seats.info(worker) {
            self.emit(event(info));
        }
    }

    fn emit(&self, event: Event) {
        // Nobody needs to be watching.
        let _ = self.outlets.events.send(event);
    }
}

fn no_worker(slot: SlotId) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no worker in slot {slot}"))
}
