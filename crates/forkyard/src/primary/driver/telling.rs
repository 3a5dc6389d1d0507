//! Tells the world what happens.

use forkyard_core::WorkerId;

use super::Driver;
use crate::event::{Event, WorkerInfo};

impl Driver {
    pub(super) fn publish(&mut self, event: forkyard_core::Event) {
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
            Core::RollStarted { .. }
            | Core::RollStep { .. }
            | Core::RollFinished { .. }
            | Core::RollFailed { .. }
            | Core::RollBackFailed { .. }
            | Core::RolledBack { .. }
            | Core::RollAborted { .. }
            | Core::Promoted { .. } => {}
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

    pub(super) fn emit_for(&self, worker: WorkerId, event: impl FnOnce(WorkerInfo) -> Event) {
        if let Some(info) = self.seats.info(worker) {
            self.emit(event(info));
        }
    }

    pub(super) fn emit(&self, event: Event) {
        self.outlets.events.announce(event);
    }
}
