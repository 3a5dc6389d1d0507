//! Workers ask for addresses, and get them.

use std::collections::VecDeque;
use std::time::Instant;

use super::listener::{Access, Binding, Hold, Listener, Member, Refusal};
use super::policy::Dealing;
use super::worker::Standing;
use super::{Dispatcher, MAX_LISTENERS, Timer};
use crate::id::{ListenerId, SlotId, WorkerId};
use crate::input::{Action, Query};

impl Dispatcher {
    /// A worker asks for an address.
    pub(crate) fn query(&mut self, now: Instant, query: Query, out: &mut VecDeque<Action>) {
        let Some(entry) = self.workers.get_mut(&query.worker).filter(|entry| !entry.leaving) else {
            return;
        };
        let slot = entry.slot;
        // Beyond the bound it goes unanswered for good: there cannot be that many.
        if entry.standing == Standing::Spare {
            if entry.asked.len() < MAX_LISTENERS {
                entry.asked.push(query);
            }
            return;
        }
        self.not_on_its_way_out(now, query.worker);
        match self.by_spec.get(&query.spec).copied() {
            Some(listener) => self.join(now, (listener, slot), &query, out),
            None => self.open(slot, query, out),
        }
    }

    pub(crate) fn listener_opened(
        &mut self,
        now: Instant,
        (listener, dealing): (ListenerId, Dealing),
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.listeners.get_mut(&listener) else { return };
        entry.dealing = Some(dealing);
        let Binding::Opening { waiting } = std::mem::replace(&mut entry.binding, Binding::Open)
        else {
            return;
        };
        for (worker, seq) in waiting {
            self.grant(now, listener, (worker, seq), out);
        }
    }

    pub(crate) fn listener_failed(
        &mut self,
        listener: ListenerId,
        errno: i32,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.listeners.remove(&listener) else { return };
        self.by_spec.remove(&entry.spec);
        let Binding::Opening { waiting } = entry.binding else { return };
        for (worker, seq) in waiting {
            let refusal = Refusal::System(errno);
            out.push_back(Action::Refuse { worker, seq, listener, refusal });
        }
    }

    fn join(
        &mut self,
        now: Instant,
        (id, slot): (ListenerId, SlotId),
        query: &Query,
        out: &mut VecDeque<Action>,
    ) {
        let Some(listener) = self.listeners.get_mut(&id) else { return };
        if listener.is_held_by(query.worker) {
            return out.push_back(query.refused(id, Refusal::AlreadyHeld));
        }
        listener.hold(query.worker, slot);
        listener.closer = None;
        self.timers.cancel(Timer::Linger(id));
        match &mut listener.binding {
            Binding::Opening { waiting } => waiting.push((query.worker, query.seq)),
            Binding::Open => self.grant(now, id, (query.worker, query.seq), out),
        }
    }

    fn open(&mut self, slot: SlotId, query: Query, out: &mut VecDeque<Action>) {
        self.make_room_for(&query.spec.endpoint, out);
        let id = self.next_listener_id();
        if self.stopping || self.listeners.len() >= MAX_LISTENERS {
            let refusal = if self.stopping { Refusal::Stopping } else { Refusal::TooMany };
            return out.push_back(query.refused(id, refusal));
        }
        let mut listener = Listener::new(query.spec.clone(), query.policy);
        listener.hold(query.worker, slot);
        listener.binding = Binding::Opening { waiting: vec![(query.worker, query.seq)] };
        out.push_back(Action::OpenListener {
            listener: id,
            spec: query.spec.clone(),
            policy: listener.policy,
            backlog: query.backlog,
            access: Access::Asked,
        });
        self.by_spec.insert(query.spec, id);
        self.listeners.insert(id, listener);
    }

    pub(super) fn next_listener_id(&mut self) -> ListenerId {
        let id = ListenerId(self.next_listener);
        self.next_listener += 1;
        id
    }

    fn grant(
        &mut self,
        now: Instant,
        id: ListenerId,
        (worker, seq): (WorkerId, u64),
        out: &mut VecDeque<Action>,
    ) {
        let Some(listener) = self.listeners.get_mut(&id) else { return };
        let mut lane = None;
        if listener.dealing.is_some_and(Dealing::has_lanes) {
            lane = listener.assign_lane(worker);
            if lane.is_none() {
                listener.holds.remove(&Hold::Worker(worker));
                let refusal = Refusal::TooMany;
                return out.push_back(Action::Refuse { worker, seq, listener: id, refusal });
            }
        }
        listener
            .members
            .insert(worker, Member { lane, access: listener.access(), ..Member::default() });
        out.push_back(Action::Grant { worker, seq, listener: id, lane });
        self.deal(id, out);
        self.reclaim_from_blocked(id, worker, out);
        self.place(now, id, out);
    }
}
