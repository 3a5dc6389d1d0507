//! What handles ask the driver for. Whoever asked may have stopped waiting for the answer.

use std::io;
use std::num::NonZeroUsize;
use std::time::Instant;

use forkyard_core::{Admission, Denied, Request, Role, SlotId, WorkerView};
use forkyard_ipc::{PrimaryMessage, Value};
use forkyard_sys::process::Signal;

use super::Driver;
use crate::event::{WorkerInfo, WorkerStatus};
use crate::primary::outgoing::Sent;
use crate::primary::{Command, Handle};

impl Driver {
    pub(super) fn handle_command(&mut self, command: Command) {
        match command {
            Command::Request(request, answer) => {
                let admission = self.core.request(Instant::now(), request);
                // Whoever is told that a worker leaves reaches it no more.
                self.perform_all();
                let _ = answer.send(admission);
            }
            Command::Fork(count, answer) => {
                let _ = answer.send(self.fork(count));
            }
            Command::Scale(workers, answer) => {
                let _ = answer.send(self.core.scale(Instant::now(), workers));
            }
            Command::Roll(wanted, answer) => {
                let _ = answer.send(self.ask_for_roll(wanted));
            }
            Command::Signal(slot, signal, answer) => {
                let _ = answer.send(self.signal_slot(slot, signal));
            }
            Command::Send(slot, value, handle, answer) => {
                let _ = answer.send(self.send_to_slot(slot, value, handle));
            }
            Command::Upgrade(answer) => self.begin_upgrade(answer),
            Command::Note(note, answer) => {
                self.note = note;
                let _ = answer.send(());
            }
            Command::Workers(answer) => {
                let _ = answer.send(self.statuses());
            }
            Command::HasBeenReady(answer) => {
                let _ = answer.send(self.core.has_been_ready());
            }
            Command::Generation(answer) => {
                let _ = answer.send(self.rolls.present());
            }
            Command::Listen(address, answer) => {
                let _ = answer.send(self.listen(&address));
            }
            Command::Listeners(answer) => {
                let _ = answer.send(self.listeners.infos());
            }
        }
    }

    /// All of them, or none. Nothing else happens meanwhile.
    fn fork(&mut self, count: NonZeroUsize) -> Result<Vec<SlotId>, Denied> {
        if self.core.free_slots() < count.get() {
            return Err(Denied::TooManySlots);
        }
        let fork = |_| match self.core.request(Instant::now(), Request::Fork(Role::Serving)) {
            Admission::Forked(slot) => Ok(slot),
            Admission::Denied(denied) => Err(denied),
            Admission::Accepted | Admission::AlreadySo => Err(Denied::Stopping),
        };
        (0..count.get()).map(fork).collect()
    }

    fn statuses(&self) -> Vec<WorkerStatus> {
        let status = |(info, started): (WorkerInfo, _)| {
            let WorkerView { state, restarts } = self.core.view(info.worker)?;
            Some(WorkerStatus { info, state, started, restarts })
        };
        self.seats.all().filter_map(status).collect()
    }

    fn signal_slot(&mut self, slot: SlotId, signal: Signal) -> io::Result<()> {
        let worker = self.core.seated(slot);
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
        let worker = self.core.seated(slot).ok_or_else(|| no_worker(slot))?;
        let (message, sent) = match handle {
            Some(Handle { kind, fd }) => {
                (PrimaryMessage::Handle { kind, message: value }, Some(Sent::User(fd)))
            }
            None => (PrimaryMessage::User(value), None),
        };
        let running = self.seats.running(worker).ok_or_else(|| no_worker(slot))?;
        running.outgoing.push(&message, sent)?;
        self.seats.flush(worker, &self.connections);
        Ok(())
    }
}

fn no_worker(slot: SlotId) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no worker in slot {slot}"))
}
