//! Which worker gets a connection that the primary has accepted.
//!
//! Turns are kept in a time of the dispatcher's own: whoever gets a connection has its next
//! turn one [stride](stride) later. Strides are equal, so equals take turns; but a worker
//! that takes several times as long as the fastest one to answer has longer ones, and so
//! gets fewer. One that does not answer at all gets none: see
//! [`Worker::has_room`](super::worker::Worker::has_room).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::listener::{Binding, Listener};
use super::policy::{Choice, Origin};
use super::worker::{Offer, Waiting, Worker};
use super::{Dispatcher, Timer, slot_of_class};
use crate::id::{ConnectionId, ListenerId, WorkerId};
use crate::input::{Action, Verdict};

/// A worker is slow when it takes longer than this many times as long as the fastest, ...
const SLOW_TIMES: u32 = 4;
/// ... and longer than this: below it is the noise of a busy machine.
const SLOW_FROM: Duration = Duration::from_millis(1);
/// The slowest get this share of a fast one's connections.
const LONGEST_STRIDE: u64 = 16;

/// How much later a worker's next turn is, given how long it and the fastest take to answer.
fn stride(lag: Duration, fastest: Duration) -> u64 {
    let normal = (fastest * SLOW_TIMES).max(SLOW_FROM);
    let times = lag.as_nanos() / normal.as_nanos();
    u64::try_from(times).unwrap_or(LONGEST_STRIDE).clamp(1, LONGEST_STRIDE)
}

/// A worker that was chosen.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    worker: WorkerId,
    stride: u64,
}

impl Dispatcher {
    /// Whether a connection may be accepted on this listener: it could be offered at once, or
    /// there is room for it to wait.
    pub(crate) fn has_capacity(&self, now: Instant, listener: ListenerId) -> bool {
        let Some(entry) = self.listeners.get(&listener) else { return false };
        if entry.binding != Binding::Open || entry.paused || self.stopping {
            return false;
        }
        match entry.choice() {
            Choice::ByOrigin => {
                entry.queue.len() < self.settings.waiting && self.serving(entry).next().is_some()
            }
            Choice::InTurn | Choice::LeastConnections => {
                entry.queue.is_empty() && self.free(now, entry).next().is_some()
            }
        }
    }

    pub(crate) fn accepted(
        &mut self,
        now: Instant,
        listener: ListenerId,
        (connection, origin): (ConnectionId, Option<Origin>),
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.listeners.get_mut(&listener) else {
            out.push_back(Action::Release { connection });
            return;
        };
        entry.queue.push_back(Waiting { connection, origin });
        self.place(now, listener, out);
    }

    pub(crate) fn accept_failed(&mut self, now: Instant, listener: ListenerId) {
        let Some(entry) = self.listeners.get_mut(&listener) else { return };
        entry.paused = true;
        self.timers.set_after(Timer::AcceptPause(listener), now, self.settings.accept_pause);
    }

    pub(crate) fn replied(
        &mut self,
        now: Instant,
        worker: WorkerId,
        connection: ConnectionId,
        verdict: Verdict,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        let Some(Offer { listener, waiting, .. }) = entry.answers(now, connection) else { return };
        match verdict {
            Verdict::Accepted => {
                out.push_back(Action::Release { connection });
                self.forgive(listener, worker);
            }
            Verdict::Declined => {
                entry.open = entry.open.saturating_sub(1);
                self.pause(now, listener, worker);
                self.requeue(now, listener, waiting, out);
            }
        }
        self.place_for(now, worker, out);
    }

    /// So many of the connections that the worker was handed are closed.
    pub(crate) fn finished(&mut self, worker: WorkerId, connections: u32) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.open = entry.open.saturating_sub(connections);
        }
    }

    /// Those who take part in a listener and have not declined a moment ago.
    fn serving<'a>(
        &'a self,
        listener: &'a Listener,
    ) -> impl Iterator<Item = (WorkerId, &'a Worker)> {
        let members = listener.members.iter().filter(|(_, member)| member.can_be_handed());
        let workers = members.filter_map(|(id, _)| Some((*id, self.workers.get(id)?)));
        workers.filter(|(_, worker)| worker.serves())
    }

    fn free<'a>(
        &'a self,
        now: Instant,
        listener: &'a Listener,
    ) -> impl Iterator<Item = (WorkerId, &'a Worker)> {
        let patience = self.settings.patience;
        self.serving(listener).filter(move |(id, worker)| {
            worker.has_room(now, &self.settings) && !listener.is_left_waiting(now, *id, patience)
        })
    }

    /// The worker for the next connection, if there is one that can take it now.
    fn choose(&self, now: Instant, listener: &Listener, waiting: Waiting) -> Option<Chosen> {
        match (listener.choice(), waiting.origin) {
            (Choice::ByOrigin, Some(origin)) => self.owner(now, listener, origin),
            (Choice::InTurn | Choice::ByOrigin, _) => {
                self.first(now, listener, |worker| worker.in_hand.len())
            }
            (Choice::LeastConnections, _) => self.first(now, listener, |worker| worker.open),
        }
    }

    /// The worker to which a client belongs.
    fn owner(&self, now: Instant, listener: &Listener, origin: Origin) -> Option<Chosen> {
        let slots = self.serving(listener).map(|(_, worker)| worker.slot);
        let slot = slot_of_class(origin.class(), slots)?;
        let mut free = self.free(now, listener);
        let (worker, _) = free.find(|(_, worker)| worker.slot == slot)?;
        Some(Chosen { worker, stride: 1 })
    }

    /// The free worker with the lowest burden; among equals the one whose turn comes first.
    fn first<B: Ord>(
        &self,
        now: Instant,
        listener: &Listener,
        burden: impl Fn(&Worker) -> B,
    ) -> Option<Chosen> {
        let free = || self.free(now, listener);
        let (worker, chosen) = free().min_by_key(|(_, entry)| (burden(entry), entry.turn))?;
        let fastest = free().map(|(_, entry)| entry.lag).min().unwrap_or_default();
        Some(Chosen { worker, stride: stride(chosen.lag, fastest) })
    }

    /// Hands out what waits, as far as it can be taken now.
    pub(super) fn place(&mut self, now: Instant, id: ListenerId, out: &mut VecDeque<Action>) {
        let mut at = 0;
        while let Some(listener) = self.listeners.get(&id) {
            let Some(waiting) = listener.queue.get(at).copied() else { return };
            match self.choose(now, listener, waiting) {
                Some(chosen) => {
                    self.hand_off(now, (id, at), chosen, waiting, out);
                }
                // Others may be for somebody else.
                None if listener.choice() == Choice::ByOrigin => at += 1,
                None => return,
            }
        }
    }

    fn hand_off(
        &mut self,
        now: Instant,
        (listener, at): (ListenerId, usize),
        Chosen { worker, stride }: Chosen,
        waiting: Waiting,
        out: &mut VecDeque<Action>,
    ) {
        if let Some(entry) = self.listeners.get_mut(&listener) {
            entry.queue.remove(at);
        }
        if let Some(entry) = self.workers.get_mut(&worker) {
            // Whoever had no use for its turns for a while does not get them all at once.
            let turn = entry.turn.max(self.turn);
            self.turn = turn;
            entry.turn = turn + stride;
            entry.open += 1;
            entry.in_hand.push(Offer { waiting, listener, since: now });
        }
        out.push_back(Action::HandOff { worker, listener, connection: waiting.connection });
    }

    /// Places what waits, after a change in who takes part: it may be for somebody else now.
    pub(crate) fn place_all(&mut self, now: Instant, out: &mut VecDeque<Action>) {
        if self.listeners.values().all(|entry| entry.queue.is_empty()) {
            return;
        }
        for id in self.all() {
            self.place(now, id, out);
        }
    }

    /// Places what waits on the listeners that this worker serves.
    pub(super) fn place_for(&mut self, now: Instant, worker: WorkerId, out: &mut VecDeque<Action>) {
        if self.listeners.values().all(|entry| entry.queue.is_empty()) {
            return;
        }
        let served: Vec<_> = self
            .listeners
            .iter()
            .filter(|(_, entry)| entry.members.contains_key(&worker))
            .map(|(id, _)| *id)
            .collect();
        for listener in served {
            self.place(now, listener, out);
        }
    }

    pub(super) fn requeue(
        &mut self,
        now: Instant,
        listener: ListenerId,
        waiting: Waiting,
        out: &mut VecDeque<Action>,
    ) {
        match self.listeners.get_mut(&listener) {
            Some(entry) => {
                entry.queue.push_front(waiting);
                self.place(now, listener, out);
            }
            None => out.push_back(Action::Release { connection: waiting.connection }),
        }
    }

    fn pause(&mut self, now: Instant, listener: ListenerId, worker: WorkerId) {
        let Some(entry) = self.listeners.get_mut(&listener) else { return };
        let Some(member) = entry.members.get_mut(&worker) else { return };
        let pause = member.decline();
        self.timers.set_after(Timer::Declined(listener, worker), now, pause);
    }

    fn forgive(&mut self, listener: ListenerId, worker: WorkerId) {
        let Some(entry) = self.listeners.get_mut(&listener) else { return };
        if let Some(member) = entry.members.get_mut(&worker)
            && member.declined > 0
        {
            (member.declined, member.paused) = (0, false);
            self.timers.cancel(Timer::Declined(listener, worker));
        }
    }

    pub(super) fn end_pause(
        &mut self,
        now: Instant,
        listener: ListenerId,
        worker: WorkerId,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.listeners.get_mut(&listener) else { return };
        if let Some(member) = entry.members.get_mut(&worker) {
            member.paused = false;
        }
        self.place(now, listener, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_much_slower_than_the_fastest_waits_longer() {
        let millis = Duration::from_millis;
        for (lag, fastest, expected) in [
            (millis(0), millis(0), 1),
            // Within the noise.
            (millis(1), millis(0), 1),
            (millis(3), millis(1), 1),
            (millis(8), millis(1), 2),
            (millis(40), millis(1), 10),
            (millis(1000), millis(1), LONGEST_STRIDE),
            // All of them are slow.
            (millis(100), millis(90), 1),
        ] {
            assert_eq!(stride(lag, fastest), expected, "{lag:?} where the fastest has {fastest:?}");
        }
    }
}
