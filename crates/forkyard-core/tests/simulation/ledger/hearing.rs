//! What the ledger is told before the core hears it.

use std::time::Instant;

use forkyard_core::{
    Admission, ConnectionId, Denied, Input, ListenerId, Query, Request, SlotId, Verdict, WorkerId,
};

use super::{Connection, Keeper, Ledger, Owner, Place, Seat, Slot, Violation, Worker, name_of};

impl Ledger {
    pub fn time_passes(&mut self, now: Instant) {
        self.now = now;
        for worker in self.workers.values_mut() {
            worker.blocked_until = worker.blocked_until.filter(|until| *until > now);
        }
        let settled =
            self.workers.iter_mut().filter(|(_, worker)| worker.settles_by(now, &self.rules));
        for (_, worker) in settled {
            worker.is_settled = true;
            let slot = Keeper::Slot(worker.slot);
            self.keepers.retain(|(_, keeper)| *keeper != slot);
        }
    }

    /// A worker has taken a connection for itself; its answer is on the way.
    pub fn taken(&mut self, worker: WorkerId, connection: ConnectionId) -> Result<(), Violation> {
        let Some(entry) = self.connections.get_mut(&connection) else { return Ok(()) };
        ensure!(
            entry.taken_by.is_none(),
            "c{connection} was taken by {:?} and by {worker}",
            entry.taken_by
        );
        entry.taken_by = Some(worker);
        Ok(())
    }

    pub fn hears(&mut self, input: &Input) {
        self.asked.clear();
        match input {
            Input::Accepted { listener, connection, .. } => {
                self.hears_accepted(*listener, *connection);
            }
            Input::Replied { worker, connection, verdict } => {
                self.hears_reply(*worker, *connection, *verdict);
            }
            Input::ChannelEnded { worker } => self.hears_end(*worker),
            Input::Closed { worker, listener } => self.hears_closed(*worker, *listener),
            Input::Spawned { worker, .. } => self.of(*worker, |worker, now| {
                worker.runs_since = Some(now);
            }),
            Input::SpawnFailed { worker, .. } | Input::Exited { worker, .. } => {
                self.hears_exit(*worker);
            }
            Input::Online { worker } => self.of(*worker, |worker, _| worker.is_online = true),
            Input::Listening { worker } => self.of(*worker, |worker, _| {
                worker.is_online = true;
                worker.is_listening = true;
            }),
            Input::LeaveAnnounced { worker, .. } | Input::ChannelBroken { worker } => {
                self.departs(*worker);
                self.of(*worker, |worker, _| worker.is_leaving = true);
            }
            Input::Query(query) => self.hears_query(query),
            Input::Ready { worker, by } => self.of(*worker, |worker, _| {
                worker.said_ready.insert(name_of(*by));
            }),
            Input::Checked { worker, result } => self.of(*worker, |worker, _| {
                worker.is_healthy = result.is_ok();
            }),
            Input::ListenerOpened { listener, dealing } => {
                self.listeners.entry(*listener).or_default().dealing = Some(*dealing);
            }
            Input::Answered { worker } => {
                if let Some(entry) = self.workers.get_mut(worker) {
                    entry.blocked_until = None;
                }
            }
            Input::Finished { .. }
            | Input::LaneSeen { .. }
            | Input::ListenerFailed { .. }
            | Input::AcceptFailed { .. } => {}
        }
        self.notes_who_is_fit();
    }

    fn of(&mut self, worker: WorkerId, change: impl FnOnce(&mut Worker, Instant)) {
        let now = self.now;
        if let Some(entry) = self.workers.get_mut(&worker).filter(|entry| !entry.is_gone) {
            change(entry, now);
        }
    }

    /// One that asks for an address is not on its way out.
    fn hears_query(&mut self, query: &Query) {
        self.closings.retain(|_, (closer, _)| *closer != query.worker);
        self.asked.push(query.spec.clone());
        self.of(query.worker, |worker, _| {
            worker.wishes.push(query.spec.clone());
            worker.questions += usize::from(!worker.is_leaving);
        });
    }

    fn hears_accepted(&mut self, listener: ListenerId, connection: ConnectionId) {
        let entry = Connection { listener, owner: Owner::Waiting, taken_by: None };
        self.connections.insert(connection, entry);
        self.touched.push(connection);
        let readable = self.workers.values().filter(|worker| !worker.channel_ended).count();
        let may_wait = if self.goes_by_origin(listener) { self.rules.waiting } else { 0 };
        let entry = self.listeners.entry(listener).or_default();
        entry.unserved += 1;
        entry.bound = readable * self.rules.window + may_wait;
    }

    fn hears_reply(&mut self, worker: WorkerId, connection: ConnectionId, verdict: Verdict) {
        let offered = Owner::Offered(worker);
        let entry = self.connections.get_mut(&connection).filter(|entry| entry.owner == offered);
        let Some(entry) = entry else {
            self.must_be_silent = true;
            return self.sight("a forged reply");
        };
        entry.owner = match verdict {
            Verdict::Accepted => Owner::Answered,
            Verdict::Declined => Owner::Waiting,
        };
        self.touched.push(connection);
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.in_hand -= 1;
            if worker.is_gone {
                self.sight("an answer from the dead");
            }
        }
        if verdict == Verdict::Declined {
            self.sight("a connection declined");
        }
    }

    fn hears_end(&mut self, worker: WorkerId) {
        self.departs(worker);
        for (id, connection) in &mut self.connections {
            if connection.owner == Owner::Offered(worker) {
                connection.owner = Owner::Waiting;
                self.touched.push(*id);
            }
        }
        for _ in 0..self.touched.len() {
            self.sight("a connection that the dead left unanswered");
        }
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.channel_ended = true;
            entry.in_hand = 0;
            entry.members_of.clear();
            entry.questions = 0;
        }
    }

    fn hears_closed(&mut self, worker: WorkerId, listener: ListenerId) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        if !entry.is_leaving && !entry.is_gone && entry.members_of.remove(&listener) {
            self.keepers.remove(&(listener, Keeper::Worker(worker)));
            self.closings.insert(listener, (worker, self.now));
        }
    }

    fn hears_exit(&mut self, worker: WorkerId) {
        self.departs(worker);
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        entry.is_gone = true;
        entry.channel_ended |= entry.runs_since.is_none();
        let Some(slot) = self.slots.get_mut(&entry.slot) else { return };
        if entry.place != Place::Seated {
            return;
        }
        self.just_emptied = Some(entry.slot);
        slot.seat = Seat::Empty;
        slot.is_stuck = false;
        if slot.is_retiring {
            self.slots.remove(&entry.slot);
        }
    }

    pub fn hears_answer(&mut self, request: Request, answer: Admission) -> Result<(), Violation> {
        match (request.clone(), answer) {
            (Request::Stop(_), Admission::Denied(_)) => {
                return Err("a stop was denied".to_owned());
            }
            (_, Admission::Denied(Denied::Rolling)) => {
                ensure!(self.roll.is_some(), "{request:?} was denied for a roll that is not");
            }
            (_, Admission::Denied(_)) => {}
            (Request::Listen(listen), Admission::Accepted) => self.own_address = Some(listen.spec),
            (Request::Fork(role), Admission::Forked(slot)) => {
                ensure!(!self.is_stopped, "forked after the stop");
                let lowest = self.free_numbers().next();
                ensure!(Some(slot) == lowest, "forked {slot}, but {lowest:?} is free");
                self.slots.insert(slot, Slot::new(role));
            }
            (Request::Roll(plan), Admission::Accepted) => self.begins_roll(plan),
            (Request::Replace(slot), Admission::Accepted) => self.begins_replacing(slot),
            (Request::Retire(slot), Admission::Accepted) => self.hears_retired(slot),
            (Request::Retire(_), Admission::AlreadySo) => {}
            (Request::Stop(_), Admission::Accepted | Admission::AlreadySo) => {
                self.is_stopped = true;
            }
            (request, answer) => return Err(format!("{answer:?} is no answer to {request:?}")),
        }
        Ok(())
    }

    pub(super) fn hears_retired(&mut self, slot: SlotId) {
        self.nobody_expects(slot);
        let Some(entry) = self.slots.get_mut(&slot) else { return };
        entry.is_retiring = true;
        match entry.seat {
            Seat::Taken(worker) => self.lets_go(worker, None),
            Seat::New | Seat::Empty | Seat::Done => drop(self.slots.remove(&slot)),
        }
    }
}
