//! What the driver makes of news: from workers, from their processes, from listeners.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use forkyard_core::{ConnectionId, Input, Query, Request, Stage, Verdict, WorkerId};
use forkyard_ipc::{
    AgentReport, PrimaryMessage, ServerQuery, SocketAnswer, SocketQuery, WorkerMessage,
};
use forkyard_sys::notify::NotifySocket;
use forkyard_sys::process::Signal;
use forkyard_sys::reactor::Watched;
use tokio::io::Interest;
use tokio::sync::oneshot;

use super::{Driver, Question};
use crate::event::Event;
use crate::output::Capture;
use crate::primary::channel::Unread;
use crate::primary::exit_watch::{self, Unattended, Watch};
use crate::primary::listeners::{Arrival, Kept, Listeners};
use crate::primary::notify::NotifyWatch;
use crate::primary::outgoing::{Outgoing, Sent};
use crate::primary::seats::{Agent, Running};
use crate::primary::spawner::Spawned;
use crate::primary::{Mail, address};

impl Driver {
    pub(super) fn handle_abandoned(&mut self) {
        // Whether it was stopping already does not matter.
        let _ = self.core.request(Instant::now(), Request::Stop(Stage::Terminate));
    }

    pub(super) fn handle_mail(&mut self, mail: Mail) {
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
            Mail::Ready { worker, by } => self.input(Input::Ready { worker, by }),
            Mail::CheckPair(made) => self.go_on_with_check(made),
            Mail::Checked { worker, result } => self.checked(worker, result),
            Mail::Exited { worker, status, stderr_tail } => {
                self.stderr_tail = stderr_tail;
                self.seats.ended(worker);
                self.input(Input::Exited { worker, status });
                self.perform_all();
                self.stderr_tail.clear();
                self.census.forget(worker);
                self.suspects.forget(worker);
                self.questions.retain(|(asker, _), _| *asker != worker);
                self.seats.remove(worker);
            }
            Mail::Counted(counted) => self.counted(counted),
            Mail::Unattended { worker, unattended } => self.unattended(worker, unattended),
            Mail::Rehearsed(result) => self.rehearsed(result),
            Mail::EventsHandled(count) => self.events_handled(count),
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
        let Spawned { worker, process, channel, notify, output_done } = spawned;
        let pid = process.pid();
        let process = Arc::new(process);
        let exit = exit_watch::watched(process.pidfd());
        let channel = Watched::new(channel, Interest::READABLE).map(Arc::new);
        let (channel, exit) = match (channel, exit) {
            (Ok(channel), Ok(exit)) => (channel, exit),
            (channel, exit) => {
                // Of no use. It is still waited for, if that is possible.
                process.signal_group(Signal::KILL)?;
                let (finish, _) = oneshot::channel();
                let reader = tokio::spawn(std::future::ready(None));
                let (rest, waited) = (self.rest.signal(), exit.as_ref().ok().cloned());
                let watch =
                    Watch { worker, process, exit: waited, finish, reader, output_done, rest };
                tokio::spawn(watch.run(self.outlets.mail.clone()));
                return channel.and(exit).map(drop);
            }
        };
        let running = Running {
            process,
            started: SystemTime::now(),
            exit,
            outgoing: Outgoing::new(channel, self.settings.dialect),
            agent: Agent::Absent,
            tail: output_done.as_ref().map(Capture::tail),
            // Without it a worker can still be ready by other means.
            notify: notify.and_then(|socket| {
                self.listen_for_readiness(worker, socket)
                    .inspect_err(|error| {
                        tracing::warn!(%worker, %error, "failed to listen for readiness");
                    })
                    .ok()
            }),
            probe: None,
        };
        self.seats.started(worker, running);
        let unread = Unread::nothing(self.settings.dialect, self.settings.message_limit);
        self.attend(worker, Unattended { unread: Some(unread), output: output_done });
        self.input(Input::Spawned { worker, pid });
        Ok(())
    }

    fn listen_for_readiness(
        &self,
        worker: WorkerId,
        socket: NotifySocket,
    ) -> io::Result<NotifyWatch> {
        let outlets = (self.outlets.mail.clone(), self.rest.signal());
        NotifyWatch::start(worker, socket, self.believed_users(), outlets)
    }

    /// Goes on listening where the image before did.
    pub(super) fn go_on_listening(
        &self,
        worker: WorkerId,
        socket: OwnedFd,
    ) -> io::Result<NotifyWatch> {
        let outlets = (self.outlets.mail.clone(), self.rest.signal());
        NotifyWatch::resume(worker, socket, self.believed_users(), outlets)
    }

    /// Who may speak for a worker.
    fn believed_users(&self) -> Vec<u32> {
        self.rolls.users().chain([forkyard_sys::process::own_user()]).collect()
    }

    fn handle_message(&mut self, worker: WorkerId, message: WorkerMessage) {
        match message {
            WorkerMessage::Reply { ack, accepted } => {
                let connection = ConnectionId(ack);
                let verdict = if accepted { Verdict::Accepted } else { Verdict::Declined };
                self.replied(worker, connection, verdict);
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
            WorkerMessage::Agent(AgentReport::Loaded { .. }) => {
                if let Some(running) = self.seats.running(worker) {
                    running.agent = Agent::Present;
                }
            }
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
        self.seats.flush(worker, &self.connections);
        sent
    }

    /// A descriptor did not arrive, and the message it belonged to was dropped.
    fn handle_lost(&mut self, worker: WorkerId) {
        match self.acknowledged(worker) {
            Some(Sent::Connection(connection) | Sent::Check(connection, _)) => {
                self.replied(worker, connection, Verdict::Declined);
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
        let port = query.port.map(|port| port.to_string());
        let policy = self.policy_for([port.as_deref(), query.address.as_deref()]);
        let backlog = query.backlog.and_then(|length| u32::try_from(length).ok());
        self.questions.insert((worker, seq), Question { address, data: query.data });
        self.input(Input::Query(Query { worker, seq, spec, policy, backlog }));
        self.perform_all();
        // Binding takes no time, so it is answered by now, or never, because the worker is
        // leaving; or when a spare is needed.
        if !self.core.has_put_off(worker, seq) {
            self.questions.remove(&(worker, seq));
        }
    }

    /// What a worker has sent us is ours: none of its server's connections are left here.
    fn answer_socket_query(&mut self, worker: WorkerId, query: SocketQuery) {
        let answer = match query {
            SocketQuery::NotifyClose { key } => SocketAnswer::AllClosed { key },
            SocketQuery::GetCount { key } => SocketAnswer::Count { key, count: 0 },
        };
        self.send(worker, &PrimaryMessage::Socket(answer), None);
    }

    pub(super) fn channel_trouble(&mut self, worker: WorkerId, message: String) {
        self.emit_for(worker, |info| Event::ChannelTrouble { info, message });
    }

    pub(super) fn handle_arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Connection(listener, socket) => {
                let connection = ConnectionId(self.number());
                let origin = self.origin(listener, &socket);
                let mark = self.mark(listener, &socket);
                self.connections.keep(connection, Kept { socket, mark });
                self.input(Input::Accepted { listener, connection, origin });
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
}
