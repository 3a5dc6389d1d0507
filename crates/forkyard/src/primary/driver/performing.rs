//! Carries out what the core wants done, none of which takes time.

use forkyard_core::{
    Action, ConnectionId, Generation, Input, LaneId, ListenerId, Refusal, SlotId, WorkerId,
};
use forkyard_ipc::{AgentOrder, PrimaryMessage, ServerReply, Transport, Value};
use forkyard_sys::process::Signal;

use super::listening::Opening;
use super::{Driver, Question};
use crate::event::Event;
use crate::host::NobodyThere;
use crate::primary::outgoing::{SendError, Sent};
use crate::primary::seats::Agent;
use crate::primary::spawner::Job;
use crate::primary::{DrainSettings, LiveIndex, address};

/// Tells a program with an agent that it is to leave. Without one nobody can tell whether the
/// program listens for such a thing, so it is not sent.
const DRAIN_MESSAGE: &str = "forkyard:drain";

impl Driver {
    pub(super) fn perform_all(&mut self) {
        while let Some(action) = self.core.next_action() {
            self.perform(action);
        }
        for worker in std::mem::take(&mut self.unstarted) {
            self.seats.remove(worker);
        }
    }

    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::HandOff { worker, listener, connection } => {
                self.hand_off(worker, listener, connection);
            }
            Action::Release { connection } => self.connections.release(connection),
            Action::Spawn { slot, worker, generation } => self.spawn(slot, worker, generation),
            Action::Check { worker } => self.begin_check(worker),
            Action::OpenListener { listener, spec, policy, backlog, access } => {
                let opening = Opening { listener, spec, policy, backlog, access };
                // Whoever asked for it hears of a failure from the core.
                let _ = self.open_listener(&opening);
            }
            Action::CloseListener { listener } => self.close_listener(listener),
            Action::Grant { worker, seq, listener, lane } => {
                self.grant(worker, seq, listener, lane);
            }
            Action::Refuse { worker, seq, listener, refusal } => {
                self.refuse(worker, seq, listener, refusal);
            }
            Action::AskDisconnect { worker } => self.ask_to_leave(worker),
            Action::AcknowledgeLeave { worker, seq: ack } => {
                let seq = self.number();
                self.send(worker, &PrimaryMessage::Ack { ack, seq }, None);
            }
            Action::Terminate { worker } => self.terminate(worker),
            Action::Kill { worker } => self.kill(worker),
            Action::Deal { listener, lanes } => self.deal(listener, lanes),
            Action::Reclaim { listener, lane } => self.reclaim(listener, lane),
            Action::Renew { listener, lane } => self.renew(listener, lane),
            Action::GiveBack { listener, lane } => self.give_back(listener, lane),
            Action::Probe { worker } => self.probe(worker),
            Action::Emit(event) => self.publish(event),
            Action::Finish(outcome) => self.outcome = Some(outcome),
        }
    }

    fn hand_off(&mut self, worker: WorkerId, listener: ListenerId, connection: ConnectionId) {
        let Some(named) = self.listeners.key_and_transport(listener) else { return };
        let Some(running) = self.seats.running(worker) else { return };
        let sent = (connection, Sent::Connection(connection));
        match running.outgoing.push_connection(sent, named) {
            Ok(()) => self.seats.flush_later(worker),
            failed => self.after_push(worker, failed),
        }
    }

    fn spawn(&mut self, slot: SlotId, worker: WorkerId, generation: Generation) {
        let index = self.seats.add(worker, slot);
        if let Err(message) = self.order_spawn((slot, index), worker, generation) {
            self.unstarted.push(worker);
            self.input(Input::SpawnFailed { worker, message });
        }
    }

    fn order_spawn(
        &mut self,
        (slot, index): (SlotId, LiveIndex),
        worker: WorkerId,
        generation: Generation,
    ) -> Result<(), String> {
        let sockets = self.sockets_for(worker);
        let sockets = sockets.map_err(|error| format!("failed to copy its sockets: {error}"))?;
        let program = self.rolls.program(generation).ok_or(NobodyThere);
        let job = program.map(|program| Job { slot, index, worker, program, sockets });
        let ordered = job.and_then(|job| self.outlets.spawner.spawn(job));
        ordered.map_err(|error| error.to_string())
    }

    /// The agent loses nobody; without it a worker is asked as Node's own primary would.
    fn ask_to_leave(&mut self, worker: WorkerId) {
        let agent = self.seats.running(worker).map_or(Agent::Absent, |running| running.agent);
        let DrainSettings { grace, messages } = self.settings.drain.clone();
        match agent {
            Agent::Present => {
                let tell = [vec![DRAIN_MESSAGE.to_owned()], messages].concat();
                let order = AgentOrder::Drain { grace, tell };
                self.send(worker, &PrimaryMessage::Agent(order), None);
            }
            Agent::Absent => {
                for message in messages {
                    self.send(worker, &PrimaryMessage::User(Value::String(message)), None);
                }
                let seq = self.number();
                self.send(worker, &PrimaryMessage::Disconnect { seq }, None);
            }
        }
    }

    fn close_listener(&mut self, listener: ListenerId) {
        self.listeners.close(listener);
        self.census.listener_closed(listener);
        self.lookout.lanes_changed();
    }

    fn grant(&mut self, worker: WorkerId, seq: u64, listener: ListenerId, lane: Option<LaneId>) {
        let data = self.questions.remove(&(worker, seq)).and_then(|question| question.data);
        match self.listeners.grant(listener, lane, data) {
            Ok(Some((reply, socket))) => {
                let message = PrimaryMessage::ServerReply { ack: seq, seq: self.number(), reply };
                self.send(worker, &message, socket.map(Sent::Listener));
            }
            Ok(None) => {}
            Err(error) => {
                let errno = -error.raw_os_error().unwrap_or(address::EINVAL);
                self.answer_refusal(worker, seq, "", errno);
                // It is to get nothing that comes there.
                self.input(Input::Closed { worker, listener });
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

    pub(super) fn answer_refusal(&mut self, worker: WorkerId, ack: u64, key: &str, errno: i32) {
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

    pub(super) fn send(
        &mut self,
        worker: WorkerId,
        message: &PrimaryMessage,
        handle: Option<Sent>,
    ) {
        let Some(running) = self.seats.running(worker) else { return };
        let pushed = running.outgoing.push(message, handle);
        self.after_push(worker, pushed);
    }

    pub(super) fn after_push(&mut self, worker: WorkerId, pushed: Result<(), SendError>) {
        match pushed {
            Ok(()) => self.seats.flush(worker, &self.connections),
            Err(error) => {
                self.channel_trouble(worker, format!("{error}; ending the worker"));
                self.input(Input::ChannelBroken { worker });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use forkyard_core::{Request, Role};
    use tokio::sync::mpsc;

    use super::*;
    use crate::host::Errands;
    use crate::primary::driver::Outlets;
    use crate::primary::spawner::{Recipe, Spawner};
    use crate::primary::{MessageTap, announcer::Announcer};
    use crate::program::Program;

    /// An empty seat would keep the primary from ever being upgraded.
    #[tokio::test]
    async fn a_worker_that_nobody_starts_leaves_no_seat() {
        let (settings, ..) = crate::Cluster::builder().settings(None).unwrap();
        let (mail, _inbox) = mpsc::channel(1);
        let (events, mut seen) = Announcer::new(8);
        let spawner = Spawner::of(Errands::of_nobody(), Recipe::new(&settings, None), mail.clone());
        let outlets = Outlets { mail, events, tap: MessageTap::default(), spawner };
        let mut driver = Driver::new(settings, Program::new("/bin/true"), outlets);
        driver.core.request(std::time::Instant::now(), Request::Fork(Role::Serving));
        driver.perform_all();
        assert_eq!(driver.seats.all().count(), 0);
        let told = seen.try_recv();
        assert!(matches!(told, Ok(Event::StartFailed { info, .. }) if info.slot == SlotId(0)));
    }
}
