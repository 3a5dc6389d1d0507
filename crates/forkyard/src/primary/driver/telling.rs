//! Tells the world what happens.

use forkyard_core::{Event as Core, WorkerId};

use super::Driver;
use crate::event::{Event, WorkerInfo};

impl Driver {
    pub(super) fn publish(&mut self, event: Core) {
        match event {
            Core::Started { worker, .. } => self.emit_for(worker, Event::Started),
            Core::StartFailed { worker, message, .. } => {
                self.emit_for(worker, |info| Event::StartFailed { info, message });
            }
            Core::Online { worker, .. } => self.emit_for(worker, Event::Online),
            Core::Ready { worker, .. } => self.emit_for(worker, Event::Ready),
            Core::StartTimedOut { worker, after, .. } => {
                self.emit_for(worker, |info| Event::StartTimedOut { info, after });
            }
            Core::Disconnected { worker, .. } => self.emit_for(worker, Event::Disconnected),
            Core::Exited { worker, status, leaving, .. } => {
                let stderr_tail = self.stderr_tail.clone();
                self.emit_for(worker, |info| Event::Exited { info, status, leaving, stderr_tail });
            }
            Core::Escalated { worker, stage, .. } => {
                self.emit_for(worker, |info| Event::Escalated { info, stage });
            }
            Core::StandsBy { worker, .. } => self.emit_for(worker, Event::StandsBy),
            Core::SpareDoesNotAsk { worker, after, .. } => {
                self.emit_for(worker, |info| Event::SpareDoesNotAsk { info, after });
            }
            Core::Promoted { worker, .. } => self.emit_for(worker, Event::Promoted),
            event => self.publish_of_slots(event),
        }
    }

    /// What concerns a seat, or the whole app.
    fn publish_of_slots(&mut self, event: Core) {
        match event {
            Core::RestartScheduled { slot, delay, restarts } => {
                self.emit(Event::RestartScheduled { slot, delay, restarts });
            }
            Core::AppReady => self.emit(Event::AppReady),
            Core::SlotDone { slot } => self.emit(Event::SlotDone { slot }),
            Core::Failed(reason) => {
                let stderr_tail = std::mem::take(&mut self.stderr_tail);
                self.emit(Event::Failed { reason, stderr_tail });
            }
            Core::Stopping { stage, workers } => self.emit(Event::Stopping { stage, workers }),
            event => self.publish_of_roll(event),
        }
    }

    fn publish_of_roll(&mut self, event: Core) {
        match event {
            Core::RollStarted { generation, reason, extent } => {
                self.emit(Event::RollStarted { generation, reason, extent });
            }
            Core::RollStep { worker, step, .. } => {
                self.emit_for(worker, |info| Event::RollStep { info, step });
            }
            Core::RollFailed { generation, worker, reason, .. } => {
                self.roll_failed(generation, worker, reason);
            }
            Core::RollBackFailed { worker, reason, .. } => {
                let stderr_tail = self.tail_of(worker);
                self.emit_for(worker, |info| Event::RollBackFailed { info, reason, stderr_tail });
            }
            Core::RollFinished { generation, took } => {
                self.emit(Event::RollFinished { generation, took });
                self.roll_ended(generation);
            }
            Core::RolledBack { generation, took, pending } => {
                self.emit(Event::RolledBack { generation, took, pending });
                self.roll_ended(generation);
            }
            Core::RollAborted { generation } => {
                self.emit(Event::RollAborted { generation });
                self.rolls.abort();
            }
            event => tracing::error!(?event, "an event that nobody is told of"),
        }
    }

    pub(super) fn emit_for(&self, worker: WorkerId, event: impl FnOnce(WorkerInfo) -> Event) {
        if let Some(info) = self.seats.info(worker) {
            self.emit(event(info));
        }
    }

    pub(super) fn emit(&self, event: Event) {
        self.outlets.events.announce(event);
    }
}
