//! Leaves everything to the next image of the program.
//!
//! The driver itself goes to the first thread for that, because every descriptor that is left
//! is the driver's, and only that thread may execute the next image.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use forkyard_ipc::DecoderState;
use forkyard_sys::image::{self, FileIdentity};
use forkyard_sys::memory;
use forkyard_sys::reuseport::Parts;
use tokio::sync::oneshot;

use super::Driver;
use super::upgrading::{AtRest, Upgrade};
use crate::event::ListenerInfo;
use crate::output::{Pipes, RestingPipe};
use crate::primary::exit_watch::Unattended;
use crate::primary::lanes::Lanes;
use crate::primary::listeners::{Connections, Kept, Listed};
use crate::primary::outgoing::Sent;
use crate::primary::seats::Running;
use crate::primary::upgrade::state::{
    ConnectionState, Descriptor, FORMAT, FileState, HoldingState, LaneState, LanesState,
    ListenerState, OutputState, PipeState, QuestionState, ReadingState, SentState, State,
    WorkerState,
};
use crate::primary::upgrade::{Bytes, Text, UpgradeFailure, VERSION, next_image};

/// The descriptors that are left, as they are named.
#[derive(Debug, Default)]
struct Luggage<'a>(Vec<BorrowedFd<'a>>);

impl<'a> Luggage<'a> {
    fn pack(&mut self, fd: BorrowedFd<'a>) -> Descriptor {
        let number = fd.as_raw_fd();
        if !self.0.iter().any(|packed| packed.as_raw_fd() == number) {
            self.0.push(fd);
        }
        Descriptor(number)
    }
}

impl Driver {
    /// Executes the next image. If that fails, the driver comes back and says why; `None` if
    /// the program is ending.
    pub(super) async fn depart(self) -> Option<(Self, UpgradeFailure)> {
        let errands = self.outlets.spawner.errands().clone();
        let (answer, came_back) = oneshot::channel();
        let errand = move || {
            let failure = self.execute_next();
            // Somebody waits for it.
            drop(answer.send((self, failure)));
        };
        if let Err(error) = errands.send(errand) {
            tracing::error!(%error, "failed to upgrade");
        }
        came_back.await.ok()
    }

    /// Returns only if it fails.
    fn execute_next(&self) -> UpgradeFailure {
        match self.try_execute_next() {
            Err(failure) => failure,
            Ok(error) => format!("failed to execute the new program: {error}").into(),
        }
    }

    fn try_execute_next(&self) -> Result<io::Error, UpgradeFailure> {
        let Upgrade::Pausing(pausing) = &self.upgrade else {
            return Err("no upgrade is under way".into());
        };
        let asked = &pausing.asked;
        if !FileIdentity::of(&asked.binary).is_ok_and(|now| now == asked.file) {
            return Err("the program was replaced once more while it was tried out".into());
        }
        let failed = |error: io::Error| format!("failed to leave the state: {error}");
        let (state, mut left) = self.state(pausing.since, &pausing.at_rest)?;
        let state = serde_json::to_vec(&state).map_err(|error| error.to_string())?;
        let memory = memory::seal("forkyard-state", &state).map_err(failed)?;
        let executable = image::own_executable().map_err(failed)?;
        let (number, way_back) = (memory.as_raw_fd(), executable.as_raw_fd());
        let next = next_image(asked.binary.clone(), number, way_back);
        left.extend([memory.as_fd(), executable.as_fd()]);
        left.extend(self.settings.inherited.all());
        Ok(image::replace(&next, &left))
    }

    /// All that the next image needs to know, and the descriptors that it names.
    pub(super) fn state<'a>(
        &'a self,
        paused_at: Duration,
        at_rest: &'a AtRest,
    ) -> Result<(State, Vec<BorrowedFd<'a>>), UpgradeFailure> {
        let core = self.core.snapshot(Instant::now()).map_err(|denied| denied.to_string())?;
        let mut luggage = Luggage::default();
        let state = State {
            format: FORMAT,
            version: VERSION.into(),
            binary: Text::of(&self.settings.binary),
            args: std::env::args_os().map(Text::of).collect(),
            paused_at_ns: u64::try_from(paused_at.as_nanos()).unwrap_or(u64::MAX),
            dialect: self.settings.dialect.to_string(),
            nofile_soft: self.settings.nofile_soft,
            note: self.note.clone(),
            last_number: self.next_number,
            rolls: self.rolls.state(),
            core,
            workers: self.workers_state(at_rest, &mut luggage),
            listeners: self.listeners_state(&mut luggage)?,
            connections: self.connections_state(&mut luggage),
            questions: self.questions_state()?,
            holdings: self.holdings_state(),
            descriptors: luggage.0.iter().map(|fd| Descriptor(fd.as_raw_fd())).collect(),
        };
        Ok((state, luggage.0))
    }

    fn workers_state<'a>(
        &'a self,
        at_rest: &'a AtRest,
        luggage: &mut Luggage<'a>,
    ) -> Vec<WorkerState> {
        let started = self.seats.all_started();
        let states = started.map(|(worker, slot, running)| {
            let Running { process, started, exit: _, outgoing, agent, tail: _, notify, probe } =
                running;
            let sending = outgoing.state(|sent| sent_state(sent, &self.connections, luggage));
            let unattended = at_rest.workers.get(&worker);
            let pipes = at_rest.output.iter().find(|pipes| pipes.info.worker == worker);
            WorkerState {
                worker,
                slot,
                index: self.seats.index(worker).unwrap_or_default().0,
                pid: process.pid(),
                started_ms: (*started).into(),
                pidfd: luggage.pack(process.pidfd()),
                channel: luggage.pack(outgoing.channel().get_ref().as_fd()),
                reading: reading_state(unattended, luggage),
                sending: sending.into(),
                output: output_state(unattended, pipes, luggage),
                notify: notify.as_ref().map(|notify| luggage.pack(notify.socket())),
                agent: (*agent).into(),
                probe: *probe,
            }
        });
        states.collect()
    }

    fn listeners_state<'a>(
        &'a self,
        luggage: &mut Luggage<'a>,
    ) -> Result<Vec<ListenerState>, UpgradeFailure> {
        let states = self.listeners.all().map(|(id, bound, lanes, listed)| {
            let Listed { dealing, access, info, key, data } = listed;
            let ListenerInfo { address, policy, reason } = info.clone();
            let file = bound.file.as_ref().map(|file| FileState {
                path: Text::of(&file.path),
                device: file.identity.0,
                inode: file.identity.1,
            });
            let data = data.as_ref().map(Bytes::try_from).transpose();
            Ok(ListenerState {
                id,
                socket: luggage.pack(bound.socket.as_fd()),
                kind: bound.kind.into(),
                dealing: *dealing,
                access: *access,
                lanes: lanes.map(|lanes| lanes_state(lanes, luggage)),
                key: key.clone(),
                address,
                policy,
                reason,
                data: data.map_err(|error| error.to_string())?,
                file,
            })
        });
        states.collect()
    }

    fn connections_state<'a>(&'a self, luggage: &mut Luggage<'a>) -> Vec<ConnectionState> {
        let all = self.connections.all();
        let state = |(id, kept): (_, &'a Kept)| {
            let socket = luggage.pack(kept.socket.as_fd());
            ConnectionState { id, socket, mark: kept.mark.map(Into::into) }
        };
        all.map(state).collect()
    }

    fn holdings_state(&self) -> Vec<HoldingState> {
        let all = self.census.all();
        all.map(|(worker, mark)| HoldingState { worker, mark: mark.into() }).collect()
    }

    fn questions_state(&self) -> Result<Vec<QuestionState>, UpgradeFailure> {
        let states = self.questions.iter().map(|((worker, seq), question)| {
            let data = question.data.as_ref().map(Bytes::try_from).transpose();
            let address = question.address.clone();
            let data = data.map_err(|error| error.to_string())?;
            Ok(QuestionState { worker: *worker, seq: *seq, address, data })
        });
        states.collect()
    }
}

fn lanes_state<'a>(lanes: &'a Lanes, luggage: &mut Luggage<'a>) -> LanesState {
    let Parts { waiting_room, seats, sockets, board } = lanes.parts();
    let states = seats
        .into_iter()
        .zip(lanes.reclaimed())
        .map(|(socket, reclaimed)| LaneState { socket: luggage.pack(socket), reclaimed });
    LanesState {
        lanes: states.collect(),
        waiting_room: luggage.pack(waiting_room),
        sockets: luggage.pack(sockets),
        board: luggage.pack(board),
        dealt: lanes.dealt().to_vec(),
    }
}

fn sent_state<'a>(
    sent: &'a Sent,
    connections: &'a Connections,
    luggage: &mut Luggage<'a>,
) -> SentState {
    match sent {
        Sent::Connection(id) | Sent::Check(id, _) => {
            let socket = sent.descriptor(connections).map(|fd| luggage.pack(fd));
            SentState::Connection { id: *id, socket }
        }
        Sent::Listener(fd) => SentState::Listener(luggage.pack(fd.as_fd())),
        Sent::User(fd) => SentState::User(luggage.pack(fd.as_fd())),
    }
}

/// A worker that is still attended to, as in a rehearsal, has nothing that is known here.
fn reading_state<'a>(
    unattended: Option<&'a Unattended>,
    luggage: &mut Luggage<'a>,
) -> Option<ReadingState> {
    let Some(unattended) = unattended else { return Some(ReadingState::default()) };
    let unread = unattended.unread.as_ref()?;
    let DecoderState { rest, skip } = unread.decoder.state();
    Some(ReadingState {
        rest: Bytes(rest),
        skip: skip.into(),
        handles: unread.handles.iter().map(|fd| luggage.pack(fd.as_fd())).collect(),
        unusable: unread.unusable,
    })
}

/// A worker whose pipes have been read to the end has no pipes but last lines.
fn output_state<'a>(
    unattended: Option<&'a Unattended>,
    pipes: Option<&'a Pipes>,
    luggage: &mut Luggage<'a>,
) -> Option<OutputState> {
    let capture = unattended?.output.as_ref()?;
    let mut state = |pipe: fn(&'a Pipes) -> &'a RestingPipe| {
        pipes.map(|pipes| pipe_state(pipe(pipes), luggage)).unwrap_or_default()
    };
    Some(OutputState {
        stdout: state(|pipes| &pipes.stdout),
        stderr: state(|pipes| &pipes.stderr),
        stderr_tail: capture.tail().lines(),
    })
}

fn pipe_state<'a>(resting: &'a RestingPipe, luggage: &mut Luggage<'a>) -> PipeState {
    PipeState {
        pipe: resting.pipe.as_ref().map(|pipe| luggage.pack(pipe.as_fd())),
        unfinished: Bytes(resting.unfinished.clone()),
    }
}
