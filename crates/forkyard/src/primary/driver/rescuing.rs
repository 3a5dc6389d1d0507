//! Lanes, as the driver sees them: who accepts from which, which of them nobody takes from, and
//! whether a worker that does not is awake.

use std::time::Instant;

use forkyard_core::{
    ConnectionId, DealtLane, Input, LaneId, LaneView, ListenerId, Verdict, WorkerId,
};
use forkyard_ipc::Transport;
use forkyard_sys::process::scheduling;
use forkyard_sys::sockets::{SocketKind, private_pair};

use super::Driver;
use crate::primary::lookout::Glance;
use crate::primary::outgoing::Sent;

/// Names a listener that no worker has, so that each declines what comes by it. The names of
/// listeners end in a number.
const NOBODYS: &str = "probe";

impl Driver {
    /// Has the kernel deal to these lanes.
    pub(super) fn deal(&mut self, listener: ListenerId, dealt: Vec<DealtLane>) {
        if let Err(error) = self.listeners.deal_to(listener, dealt) {
            tracing::error!(%listener, %error, "failed to change who is dealt to");
        }
        self.lookout.lanes_changed();
    }

    pub(super) fn reclaim(&mut self, listener: ListenerId, lane: LaneId) {
        if let Some(lanes) = self.listeners.lanes(listener) {
            lanes.reclaim(lane);
        }
    }

    pub(super) fn renew(&mut self, listener: ListenerId, lane: LaneId) {
        if let Some(lanes) = self.listeners.lanes(listener)
            && let Err(error) = lanes.renew(lane)
        {
            tracing::error!(%listener, %error, "failed to renew a lane; what waits there waits on");
        }
    }

    pub(super) fn give_back(&mut self, listener: ListenerId, lane: LaneId) {
        if let Some(lanes) = self.listeners.lanes(listener) {
            lanes.give_back(lane);
        }
    }

    /// Looks at the lanes for connections that nobody takes.
    pub(super) fn look(&mut self) {
        let mut glance = Glance::default();
        // Taken out and put back, so that its memory is used again.
        let mut seen = std::mem::take(&mut self.seen);
        for (listener, lanes) in self.listeners.all_lanes() {
            seen.extend(lanes.views().map(|(lane, view)| (listener, lane, view)));
        }
        for (listener, lane, view) in seen.drain(..) {
            glance.add(view);
            if view.waiting > 0 && self.is_starved(listener, lane, view) {
                continue;
            }
            self.input(Input::LaneSeen { listener, lane, view });
            self.perform_all();
        }
        self.seen = seen;
        if glance.is_empty() {
            self.suspects.clear();
        }
        let watchable = self.listeners.all_lanes().flat_map(|(_, lanes)| lanes.watchable());
        self.lookout.looked(glance, watchable.map(|(_, socket)| socket));
    }

    /// Whether the worker of a lane where something waits has had no chance to take it.
    fn is_starved(&mut self, listener: ListenerId, lane: LaneId, view: LaneView) -> bool {
        let left = self.core.leaves_waiting(listener, lane, view);
        let Some((worker, since)) = left else { return false };
        let (now, seats) = (Instant::now(), &self.seats);
        let scheduling = || seats.info(worker).and_then(|info| scheduling(info.pid).ok());
        self.suspects.is_starved(now, (worker, since), scheduling)
    }

    /// Offers a worker a connection that it has to decline, which takes its event loop. One that
    /// has not answered the last one is not sent another: to answer any tells the same.
    pub(super) fn probe(&mut self, worker: WorkerId) {
        tracing::debug!(%worker, "a worker does not take its connections; others do");
        let connection = ConnectionId(self.number());
        let Some(running) = self.seats.running(worker) else { return };
        if running.probe.is_some() {
            return;
        }
        let socket = match private_pair(SocketKind::UnixStream) {
            Ok(pair) => pair.server,
            Err(error) => {
                return tracing::warn!(%worker, %error, "failed to ask a worker for a sign of life");
            }
        };
        let named = (NOBODYS, Transport::Pipe);
        let sent = (connection, Sent::Check(connection, socket));
        let pushed = running.outgoing.push_connection(sent, named);
        running.probe = Some(connection);
        self.after_push(worker, pushed);
    }

    /// A worker has answered an offer, or what it was offered has not arrived.
    pub(super) fn replied(&mut self, worker: WorkerId, connection: ConnectionId, verdict: Verdict) {
        let probe = self
            .seats
            .running(worker)
            .and_then(|running| running.probe.take_if(|probe| *probe == connection));
        if probe.is_some() {
            tracing::debug!(%worker, "a worker that did not take its connections is awake");
            return self.input(Input::Answered { worker });
        }
        if verdict == Verdict::Accepted {
            self.taken(worker, connection);
        }
        self.input(Input::Replied { worker, connection, verdict });
    }
}
