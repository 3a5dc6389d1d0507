//! Has somebody attend to a worker: read its channel, and wait for its end.

use std::sync::Arc;

use forkyard_core::WorkerId;
use tokio::sync::oneshot;

use super::Driver;
use crate::primary::channel::Reader;
use crate::primary::exit_watch::{Unattended, Watch};

impl Driver {
    /// Starts, or goes on with, what has to be done for a worker that runs.
    pub(super) fn attend(&mut self, worker: WorkerId, unattended: Unattended) {
        let Some(info) = self.seats.info(worker) else { return };
        let Some(running) = self.seats.running(worker) else { return };
        if let Some(notify) = &mut running.notify {
            notify.go_on();
        }
        let (process, exit) = (Arc::clone(&running.process), Arc::clone(&running.exit));
        let channel = Arc::clone(running.outgoing.channel());
        let Unattended { unread, output: output_done } = unattended;
        let (finish, finished) = oneshot::channel();
        let (mail, tap) = (self.outlets.mail.clone(), self.outlets.tap.clone());
        let reader = match unread {
            Some(unread) => {
                let reading = (self.settings.dialect, unread);
                let outlets = (mail.clone(), tap);
                let reader = Reader::new(info, channel, reading, outlets, finished);
                tokio::spawn(reader.run(self.rest.signal()))
            }
            None => tokio::spawn(std::future::ready(None)),
        };
        let rest = self.rest.signal();
        let watch = Watch { worker, process, exit: Some(exit), finish, reader, output_done, rest };
        tokio::spawn(watch.run(mail));
    }
}
