//! Takes over what the image before has left: first all that can fail, which changes nothing,
//! then all that changes something, which cannot fail.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forkyard_core::{Access, Core, Dealing};
use forkyard_ipc::{Decoder, Frame, OutboxState, Value};
use forkyard_sys::process::Process;
use forkyard_sys::reactor::Watched;
use forkyard_sys::reuseport::{Group, Parts};
use forkyard_sys::sockets::SocketKind;
use tokio::io::Interest;

use super::{Driver, Outlets, Question};
use crate::event::{Event, ListenerInfo, WorkerInfo};
use crate::output::{self, Capture, OutputPump, Pipes};
use crate::primary::binding::{Bound, SocketFile};
use crate::primary::channel::Unread;
use crate::primary::exit_watch::{self, Unattended};
use crate::primary::lanes::Lanes;
use crate::primary::listeners::{Connections, Kept, Listed};
use crate::primary::outgoing::{Outgoing, Sent};
use crate::primary::rolls::Rolls;
use crate::primary::seats::Running;
use crate::primary::upgrade::state::{
    ConnectionState, HoldingState, LanesState, ListenerState, OutputState, PipeState,
    QuestionState, ReadingState, SendingState, SentState, State, WorkerState,
};
use crate::primary::upgrade::{Descriptors, TakeOver, UpgradeFailure, VERSION};
use crate::primary::{LiveIndex, PrimarySettings};

/// A driver that could go on where that of another image was. All that can fail is behind it,
/// and nothing has happened yet: if it is dropped, the former image finds everything as it was.
#[derive(Debug)]
pub(in crate::primary) struct Newcomer {
    /// Not dropped before it has taken over: until then it has no right to remove the files
    /// of sockets, or to reap a worker that has ended.
    driver: ManuallyDrop<Driver>,
    pipes: Vec<Pipes>,
    news: News,
}

/// What has happened to the program, to be told once it serves again.
#[derive(Debug)]
struct News {
    paused_at: Duration,
    /// What was wrong with the image after this one, if it has come back.
    failure: Option<UpgradeFailure>,
}

impl Newcomer {
    /// To be called within the driver's runtime.
    pub(in crate::primary) fn prepare(
        settings: PrimarySettings,
        outlets: Outlets,
        left: &mut TakeOver,
    ) -> io::Result<Self> {
        let TakeOver { state, descriptors, failure, .. } = left;
        let state = state.clone();
        let paused_at = Duration::from_nanos(state.paused_at_ns);
        let news = News { paused_at, failure: failure.clone() };
        let core = Core::resume(settings.core.clone(), state.core.clone(), Instant::now());
        let rolls = Rolls::resume(state.rolls.clone());
        let driver = Driver { core, ..Driver::with(settings, rolls, outlets) };
        let mut newcomer = Self { driver: ManuallyDrop::new(driver), pipes: Vec::new(), news };
        newcomer.driver.next_number = state.last_number;
        newcomer.driver.note.clone_from(&state.note);
        newcomer.fill(state, descriptors)?;
        Ok(newcomer)
    }

    /// Goes on. To be called within the driver's runtime.
    pub(in crate::primary) fn take_over(self) -> Driver {
        let mut driver = ManuallyDrop::into_inner(self.driver);
        driver.seats.own_notify_files();
        if let Some(pump) = driver.outlets.spawner.output() {
            self.pipes.into_iter().for_each(|pipes| pump.follow(pipes));
        }
        // What was full before may have room by now; if not, it is remembered anew.
        let workers: Vec<_> = driver.seats.started_workers().collect();
        for worker in workers {
            driver.seats.flush(worker, &driver.connections);
        }
        driver.go_on_counting();
        driver.perform_all();
        driver.tell(self.news);
        driver
    }

    fn fill(&mut self, state: State, descriptors: &mut Descriptors) -> io::Result<()> {
        for listener in state.listeners {
            self.driver.resume_listener(listener, descriptors)?;
        }
        for ConnectionState { id, socket, mark } in state.connections {
            let kept = Kept { socket: descriptors.take(socket)?, mark: mark.map(Into::into) };
            self.driver.connections.keep(id, kept);
        }
        // What was closed meanwhile is found by the next count, as a connection keeps its inode.
        for HoldingState { worker, mark } in state.holdings {
            self.driver.census.handed_over(Instant::now(), worker, mark.into());
        }
        for QuestionState { worker, seq, address, data } in state.questions {
            let data = value(data.as_ref())?;
            self.driver.questions.insert((worker, seq), Question { address, data });
        }
        for worker in state.workers {
            self.pipes.extend(self.driver.resume_worker(worker, descriptors)?);
        }
        Ok(())
    }
}

/// Whatever fails here must leave nothing behind that does something when it is dropped.
impl Driver {
    fn resume_listener(
        &mut self,
        state: ListenerState,
        descriptors: &mut Descriptors,
    ) -> io::Result<()> {
        let socket = descriptors.take(state.socket)?;
        let data = value(state.data.as_ref())?;
        let file = state
            .file
            .map(|file| SocketFile { path: file.path.into(), identity: (file.device, file.inode) });
        let bound = Bound { socket, kind: state.kind.into(), file };
        let ListenerState { id, dealing, access, lanes, key, address, policy, reason, .. } = state;
        let lanes =
            lanes.map(|lanes| resume_lanes(lanes, (bound.kind, access, dealing), descriptors));
        let info = ListenerInfo { address, policy, reason };
        let listed = Listed { dealing, access, info, key, data };
        self.listeners.resume(id, bound, lanes.transpose()?, listed);
        self.lookout.lanes_changed();
        Ok(())
    }

    /// Returns the pipes with its output, which are not followed yet.
    fn resume_worker(
        &mut self,
        state: WorkerState,
        descriptors: &mut Descriptors,
    ) -> io::Result<Option<Pipes>> {
        let WorkerState { worker, slot, index, pid, pidfd, channel, reading, sending, .. } = state;
        let info = WorkerInfo { slot, worker, pid };
        let channel = Watched::new(descriptors.take(channel)?, Interest::READABLE)?;
        let sending = self.outbox(sending, descriptors)?;
        let outgoing = Outgoing::resume(Arc::new(channel), self.settings.dialect, sending);
        let (pipes, output) = match (state.output, self.outlets.spawner.output()) {
            (Some(output), Some(pump)) => resume_output(output, info, pump, descriptors)?,
            _ => (None, None),
        };
        let notify = state.notify.map(|socket| descriptors.take(socket)).transpose()?;
        let notify = notify.map(|socket| self.go_on_listening(worker, socket)).transpose()?;
        let unread = reading.map(|reading| self.unread(reading, descriptors)).transpose()?;
        let pidfd = descriptors.take(pidfd)?;
        let exit = exit_watch::watched(pidfd.as_fd())?;
        // Last, as it reaps the process when it is dropped.
        let process = Arc::new(Process::inherit(pid, pidfd)?);
        let tail = output.as_ref().map(Capture::tail);
        let (agent, probe) = (state.agent.into(), state.probe);
        let started = state.started_ms.into();
        let running = Running { process, started, exit, outgoing, agent, tail, notify, probe };
        self.seats.resume(worker, slot, LiveIndex(index));
        self.seats.started(worker, running);
        self.attend(worker, Unattended { unread, output });
        Ok(pipes)
    }

    fn outbox(
        &self,
        sending: SendingState,
        descriptors: &mut Descriptors,
    ) -> io::Result<OutboxState<Sent>> {
        let OutboxState { waiting, written, sent, run, stopped } = sending.into();
        let mut own = |sent: SentState| resume_sent(sent, &self.connections, descriptors);
        let sent = sent.into_iter().map(&mut own).collect::<io::Result<_>>()?;
        let waiting = waiting.into_iter().map(|Frame { bytes, handle }| {
            Ok(Frame { bytes, handle: handle.map(&mut own).transpose()? })
        });
        let waiting = waiting.collect::<io::Result<_>>()?;
        Ok(OutboxState { waiting, written, sent, run, stopped })
    }

    fn unread(&self, state: ReadingState, descriptors: &mut Descriptors) -> io::Result<Unread> {
        let (dialect, limit) = (self.settings.dialect, self.settings.message_limit);
        let decoder = Decoder::resume(dialect, limit, state.decoder());
        let handles = state.handles.into_iter().map(|handle| descriptors.take(handle));
        let handles = handles.collect::<io::Result<_>>()?;
        Ok(Unread { decoder, handles, unusable: state.unusable })
    }

    fn tell(&self, News { paused_at, failure }: News) {
        let pause = forkyard_sys::clock::monotonic().saturating_sub(paused_at);
        match failure {
            Some(failure) => self.tell_failure(failure),
            None => {
                let (pid, version) = (std::process::id(), VERSION.to_owned());
                self.emit(Event::Upgraded { pid, version, pause });
            }
        }
    }
}

fn resume_lanes(
    state: LanesState,
    (kind, access, dealing): (SocketKind, Access, Dealing),
    descriptors: &mut Descriptors,
) -> io::Result<Lanes> {
    let LanesState { waiting_room, lanes, sockets, board, dealt } = state;
    let reclaimed: Vec<_> = lanes.iter().map(|lane| lane.reclaimed).collect();
    let seats = lanes.into_iter().map(|lane| descriptors.take(lane.socket));
    let group = Group::from_parts(Parts {
        seats: seats.collect::<io::Result<_>>()?,
        waiting_room: descriptors.take(waiting_room)?,
        sockets: descriptors.take(sockets)?,
        board: descriptors.take(board)?,
    })?;
    Ok(Lanes::resume(group, (kind, access), dealing.choice(), (reclaimed, dealt)))
}

/// A connection that is not there any more, but under way to a worker, is of the primary's own
/// making.
fn resume_sent(
    sent: SentState,
    connections: &Connections,
    descriptors: &mut Descriptors,
) -> io::Result<Sent> {
    Ok(match sent {
        SentState::Connection { id, socket: Some(socket) } if connections.get(id).is_none() => {
            Sent::Check(id, descriptors.take(socket)?)
        }
        SentState::Connection { id, .. } => Sent::Connection(id),
        SentState::Listener(socket) => Sent::Listener(descriptors.take(socket)?),
        SentState::User(socket) => Sent::User(descriptors.take(socket)?),
    })
}

fn resume_output(
    state: OutputState,
    info: WorkerInfo,
    pump: &OutputPump,
    descriptors: &mut Descriptors,
) -> io::Result<(Option<Pipes>, Option<Capture>)> {
    let mut resting = |PipeState { pipe, unfinished }: PipeState| {
        let pipe = pipe.map(|pipe| descriptors.take(pipe)).transpose()?;
        pump.resting(pipe, unfinished.0)
    };
    let pipes = (resting(state.stdout)?, resting(state.stderr)?);
    let (pipes, capture) = output::pair(info, pipes, state.stderr_tail);
    Ok((Some(pipes), Some(capture)))
}

fn value(data: Option<&crate::primary::upgrade::Bytes>) -> io::Result<Option<Value>> {
    data.map(Value::try_from).transpose().map_err(io::Error::other)
}
