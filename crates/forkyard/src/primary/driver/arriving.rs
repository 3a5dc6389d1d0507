//! Takes over what the image before has left.

use std::io;
use std::os::fd::OwnedFd;
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
use crate::output::{Capture, OutputPump, RestingPipe};
use crate::primary::PrimarySettings;
use crate::primary::binding::{Bound, SocketFile};
use crate::primary::channel::Unread;
use crate::primary::exit_watch::Unattended;
use crate::primary::lanes::Lanes;
use crate::primary::listeners::{Kept, Listed};
use crate::primary::outgoing::{Outgoing, Sent};
use crate::primary::rolls::Rolls;
use crate::primary::seats::Running;
use crate::primary::upgrade::state::{
    ConnectionState, HoldingState, LanesState, ListenerState, OutputState, PipeState,
    QuestionState, ReadingState, SendingState, SentState, State, WorkerState,
};
use crate::primary::upgrade::{Descriptors, TakeOver, UpgradeFailure, VERSION};

/// What has happened to the program, to be told once it serves again.
#[derive(Debug)]
struct News {
    paused_at: Duration,
    /// What was wrong with the image after this one, if it has come back.
    failure: Option<UpgradeFailure>,
}

impl Driver {
    /// A driver that goes on where that of another image was.
    pub(in crate::primary) fn take_over(
        settings: PrimarySettings,
        outlets: Outlets,
        take_over: TakeOver,
    ) -> io::Result<Self> {
        let (state, mut descriptors, failure) = take_over.unpack();
        let news = News { paused_at: Duration::from_nanos(state.paused_at_ns), failure };
        let core = Core::resume(settings.core.clone(), state.core.clone(), Instant::now());
        let rolls = Rolls::resume(state.rolls.clone());
        let mut driver = Self { core, ..Self::with(settings, rolls, outlets) };
        driver.next_number = state.last_number;
        driver.fill(state, &mut descriptors)?;
        driver.perform_all();
        driver.tell(news);
        Ok(driver)
    }

    fn fill(&mut self, state: State, descriptors: &mut Descriptors) -> io::Result<()> {
        for listener in state.listeners {
            self.resume_listener(listener, descriptors)?;
        }
        for ConnectionState { id, socket, mark } in state.connections {
            let kept = Kept { socket: descriptors.take(socket)?, mark: mark.map(Into::into) };
            self.connections.keep(id, kept);
        }
        // What was closed meanwhile is found by the next count, as a connection keeps its inode.
        for HoldingState { worker, mark } in state.holdings {
            self.census.handed_over(Instant::now(), worker, mark.into());
        }
        self.go_on_counting();
        for QuestionState { worker, seq, address, data } in state.questions {
            let data = value(data.as_ref())?;
            self.questions.insert((worker, seq), Question { address, data });
        }
        for worker in state.workers {
            self.resume_worker(worker, descriptors)?;
        }
        Ok(())
    }

    fn resume_listener(
        &mut self,
        state: ListenerState,
        descriptors: &mut Descriptors,
    ) -> io::Result<()> {
        let file = state
            .file
            .map(|file| SocketFile { path: file.path.into(), identity: (file.device, file.inode) });
        let socket = descriptors.take(state.socket)?;
        let bound = Bound { socket, kind: state.kind.into(), file };
        let data = value(state.data.as_ref())?;
        let ListenerState { id, dealing, access, lanes, key, address, policy, reason, .. } = state;
        let lanes =
            lanes.map(|lanes| resume_lanes(lanes, (bound.kind, access, dealing), descriptors));
        let info = ListenerInfo { address, policy, reason };
        self.listeners.resume(
            id,
            bound,
            lanes.transpose()?,
            Listed { dealing, access, info, key, data },
        );
        self.lookout.lanes_changed();
        Ok(())
    }

    fn resume_worker(
        &mut self,
        state: WorkerState,
        descriptors: &mut Descriptors,
    ) -> io::Result<()> {
        let WorkerState { worker, slot, pid, pidfd, channel, reading, sending, .. } = state;
        let process = Arc::new(Process::inherit(pid, descriptors.take(pidfd)?)?);
        let channel = Watched::new(descriptors.take(channel)?, Interest::READABLE)?;
        let sending = self.outbox(sending, descriptors)?;
        let outgoing = Outgoing::resume(Arc::new(channel), self.settings.dialect, sending);
        let info = WorkerInfo { slot, worker, pid };
        let output = match (state.output, self.outlets.spawner.output()) {
            (Some(output), Some(pump)) => Some(resume_output(output, info, pump, descriptors)?),
            _ => None,
        };
        let notify = state.notify.map(|socket| descriptors.take(socket)).transpose()?;
        let running = Running {
            process,
            outgoing,
            agent: state.agent.into(),
            tail: output.as_ref().map(Capture::tail),
            notify: notify.and_then(|socket| self.listen_for_readiness(worker, socket)),
            probe: state.probe,
        };
        self.seats.add(worker, slot);
        self.seats.started(worker, running);
        let unread = reading.map(|reading| self.unread(reading, descriptors)).transpose()?;
        self.attend(worker, Unattended { unread, output });
        // What was full before may have room by now; if not, it is remembered anew.
        self.seats.flush(worker, &self.connections);
        Ok(())
    }

    fn outbox(
        &self,
        sending: SendingState,
        descriptors: &mut Descriptors,
    ) -> io::Result<OutboxState<Sent>> {
        let OutboxState { waiting, written, sent, run, stopped } = sending.into();
        let mut own = |sent: SentState| self.sent(sent, descriptors);
        let sent = sent.into_iter().map(&mut own).collect::<io::Result<_>>()?;
        let waiting = waiting.into_iter().map(|Frame { bytes, handle }| {
            Ok(Frame { bytes, handle: handle.map(&mut own).transpose()? })
        });
        let waiting = waiting.collect::<io::Result<_>>()?;
        Ok(OutboxState { waiting, written, sent, run, stopped })
    }

    fn sent(&self, sent: SentState, descriptors: &mut Descriptors) -> io::Result<Sent> {
        Ok(match sent {
            SentState::Connection { id, socket: Some(socket) }
                if self.connections.get(id).is_none() =>
            {
                Sent::Check(id, descriptors.take(socket)?)
            }
            SentState::Connection { id, .. } => Sent::Connection(id),
            SentState::Listener(socket) => Sent::Listener(descriptors.take(socket)?),
            SentState::User(socket) => Sent::User(descriptors.take(socket)?),
        })
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

fn resume_output(
    state: OutputState,
    info: WorkerInfo,
    pump: &OutputPump,
    descriptors: &mut Descriptors,
) -> io::Result<Capture> {
    let mut resting = |PipeState { pipe, unfinished }: PipeState| {
        let pipe: Option<OwnedFd> = pipe.map(|pipe| descriptors.take(pipe)).transpose()?;
        io::Result::Ok(RestingPipe { pipe, unfinished: unfinished.0 })
    };
    let pipes = (resting(state.stdout)?, resting(state.stderr)?);
    Ok(pump.take_over(info, pipes, state.stderr_tail))
}

fn value(data: Option<&crate::primary::upgrade::Bytes>) -> io::Result<Option<Value>> {
    data.map(Value::try_from).transpose().map_err(io::Error::other)
}
