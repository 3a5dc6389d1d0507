//! Sockets of the workers' own, to which the kernel deals: see [`Dealing::ByKernel`].
//!
//! ```text
//!             Grant                      leaves, closes, dies
//!   Primary's ─────▶ Worker's, dealt to ──────────────────────▶ Primary's
//!                      │          ▲                               (its worker's
//!        does not take │          │ answers                        until that has ended)
//!                      ▼          │
//!                    Worker's and Primary's, left out
//! ```
//!
//! Every lane is a listening socket of the primary's, which stays open as long as its
//! listener. A worker is given one to accept from. Two may accept from one lane at the same
//! time, because the kernel gives every connection to one of them only; so whenever a
//! worker stops taking what waits there, the primary begins to, and no connection has to
//! wait for somebody who is not coming, nor is any lost with a socket.
//!
//! **Blocked workers.** Whoever drives the core looks at the lanes and says what it sees
//! ([`Dispatcher::lane_seen`]). If on one of them connections wait and none has been taken
//! for [`DispatchSettings::rescue_after`](super::DispatchSettings::rescue_after), while another
//! worker is awake, its worker is blocked. It is sent a probe; when it answers that, it has
//! its lanes again. One that cannot answer is tried again after
//! [`DispatchSettings::trial_after`](super::DispatchSettings::trial_after). Under `ip-hash`
//! connections wait for their worker, because no other one knows the client.
//!
//! On a machine that is short of processors all workers may look blocked, and one of them be
//! it. The last is dealt to all the same, for want of others; but nobody is *handed* a
//! connection who has left others waiting for longer than
//! [`DispatchSettings::patience`](super::DispatchSettings::patience), or who is on trial, as
//! that could not be taken back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::listener::{Access, Listener, Member};
use super::policy::{Choice, Dealing};
use super::worker::Attention;
use super::{Dispatcher, Timer};
use crate::id::{LaneId, ListenerId, SlotId, WorkerId};
use crate::input::Action;

/// The most lanes one listener may have; as many as a group of sockets can have.
pub const MAX_LANES: u16 = 1024;

/// What was seen of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneView {
    /// How many connections wait to be accepted.
    pub waiting: u32,
    /// How many the kernel has dealt to it so far.
    pub dealt: u64,
}

impl LaneView {
    /// How many have been taken, or whose handshake is under way.
    fn taken(self) -> u64 {
        self.dealt.saturating_sub(self.waiting.into())
    }
}

/// One lane of a listener.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    /// Whose it is; nobody else's until that worker has ended.
    pub(super) worker: Option<WorkerId>,
    pub(super) watch: Watch,
}

/// Since when nothing has been taken from a lane where something waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// The most connections that were seen to have been taken, since the worker is looked at.
    /// The count is off by those that the kernel has dealt and whose handshake is under way, so
    /// it may go down again.
    pub(super) taken: Option<u64>,
    pub(super) still_since: Option<Instant>,
}

/// What a look at a lane says of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// It has taken something since the last look.
    Takes,
    /// Nothing can be said.
    None,
    /// It has taken nothing for long enough.
    Still,
}

impl Watch {
    fn see(&mut self, now: Instant, view: LaneView, patience: Duration) -> Sign {
        let takes = self.has_taken(view);
        if view.waiting == 0 || takes {
            self.still_since = None;
        }
        self.taken = self.taken.max(Some(view.taken()));
        if view.waiting > 0 {
            self.still_since.get_or_insert(now);
        }
        match takes {
            true => Sign::Takes,
            false if self.is_still(now, patience) => Sign::Still,
            false => Sign::None,
        }
    }

    /// Whether something has been taken since the last look.
    fn has_taken(self, view: LaneView) -> bool {
        self.taken.is_some_and(|before| view.taken() > before)
    }

    /// Whether something waits and has not been taken for long enough.
    fn is_still(self, now: Instant, patience: Duration) -> bool {
        self.still_since.is_some_and(|since| now.duration_since(since) >= patience)
    }
}

/// A lane to which the kernel deals, and the slot that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DealtLane {
    /// For whom.
    pub slot: SlotId,
    /// Where to.
    pub lane: LaneId,
}

impl Listener {
    /// The lane that a worker is given: the one it had before, or the lowest that is free.
    pub(super) fn assign_lane(&mut self, worker: WorkerId) -> Option<LaneId> {
        let own = self.lanes.iter().position(|lane| lane.worker == Some(worker));
        let free = || self.lanes.iter().position(|lane| lane.worker.is_none());
        let at = own.or_else(free).unwrap_or(self.lanes.len());
        let id = u16::try_from(at).ok().filter(|id| *id < MAX_LANES)?;
        if at == self.lanes.len() {
            self.lanes.push(Lane::default());
        }
        self.lanes[at] = Lane { worker: Some(worker), watch: Watch::default() };
        Some(LaneId(id))
    }

    /// A lane whose socket is to be replaced can be anybody's.
    fn free_lane(&mut self, lane: LaneId) {
        if let Some(lane) = self.lanes.get_mut(usize::from(lane.0)) {
            *lane = Lane::default();
        }
    }

    /// Whether the kernel deals to this worker, and it has not taken what waits for it.
    pub(super) fn is_left_waiting(
        &self,
        now: Instant,
        worker: WorkerId,
        patience: Duration,
    ) -> bool {
        let lane = self.members.get(&worker).and_then(|member| member.lane);
        let dealt = lane.filter(|lane| self.dealt.iter().any(|dealt| dealt.lane == *lane));
        let lane = dealt.and_then(|lane| self.lanes.get(usize::from(lane.0)));
        lane.is_some_and(|lane| lane.watch.is_still(now, patience))
    }

    fn free_lanes_of(&mut self, worker: WorkerId, is_kept: impl Fn(LaneId) -> bool) {
        for (id, lane) in (0..).map(LaneId).zip(&mut self.lanes) {
            if lane.worker == Some(worker) && !is_kept(id) {
                lane.worker = None;
            }
        }
    }
}

impl Dispatcher {
    /// What waits on a lane that the kernel deals to.
    pub(crate) fn lane_seen(
        &mut self,
        now: Instant,
        (listener, lane): (ListenerId, LaneId),
        view: LaneView,
        out: &mut VecDeque<Action>,
    ) {
        let Some(entry) = self.listeners.get_mut(&listener) else { return };
        if entry.dealing != Some(Dealing::ByKernel(Choice::InTurn)) {
            return;
        }
        let Some(seen) = entry.lanes.get_mut(usize::from(lane.0)) else { return };
        let sign = seen.watch.see(now, view, self.settings.rescue_after);
        let Some(worker) = seen.worker else { return };
        let access = entry.members.get(&worker).map(|member| member.access);
        if access != Some(Access::Asked) {
            return;
        }
        match sign {
            Sign::Takes => self.takes(now, worker, out),
            Sign::None => {}
            Sign::Still => self.does_not_take(now, worker, listener, out),
        }
    }

    pub(crate) fn leaves_waiting(
        &self,
        listener: ListenerId,
        lane: LaneId,
        view: LaneView,
    ) -> Option<(WorkerId, Instant)> {
        let lane = self.listeners.get(&listener)?.lanes.get(usize::from(lane.0))?;
        let still_since = lane.watch.still_since.filter(|_| !lane.watch.has_taken(view))?;
        Some((lane.worker?, still_since))
    }

    /// A worker has answered a probe.
    pub(crate) fn answered(&mut self, now: Instant, worker: WorkerId, out: &mut VecDeque<Action>) {
        self.readmit(now, worker, Attention::Awake, out);
    }

    /// A worker that has not answered is dealt to again.
    pub(super) fn try_again(&mut self, now: Instant, worker: WorkerId, out: &mut VecDeque<Action>) {
        self.readmit(now, worker, Attention::OnTrial, out);
    }

    /// A worker has taken something from a lane of its own.
    fn takes(&mut self, now: Instant, worker: WorkerId, out: &mut VecDeque<Action>) {
        let attention = self.workers.get(&worker).map(|entry| entry.attention);
        if attention == Some(Attention::OnTrial) {
            self.readmit(now, worker, Attention::Awake, out);
        }
    }

    fn readmit(
        &mut self,
        now: Instant,
        worker: WorkerId,
        attention: Attention,
        out: &mut VecDeque<Action>,
    ) {
        self.timers.cancel(Timer::Trial(worker));
        let Some(entry) = self.workers.get_mut(&worker) else { return };
        match std::mem::replace(&mut entry.attention, attention) {
            Attention::Awake => return,
            Attention::OnTrial => {}
            Attention::Blocked => self.give_back_lanes(worker, out),
        }
        self.place_for(now, worker, out);
    }

    fn give_back_lanes(&mut self, worker: WorkerId, out: &mut VecDeque<Action>) {
        for id in self.all() {
            if let Some(lane) = self.lane_in_turn(id, worker) {
                self.watch_anew(id, lane);
                out.push_back(Action::GiveBack { listener: id, lane });
            }
            self.deal(id, out);
        }
    }

    /// What its worker had left waiting others have, and have taken.
    fn watch_anew(&mut self, id: ListenerId, lane: LaneId) {
        let entry = self.listeners.get_mut(&id);
        if let Some(lane) = entry.and_then(|entry| entry.lanes.get_mut(usize::from(lane.0))) {
            lane.watch = Watch::default();
        }
    }

    /// Tells the kernel to whom it deals from now on, if that has changed.
    pub(super) fn deal(&mut self, id: ListenerId, out: &mut VecDeque<Action>) {
        let Some(entry) = self.listeners.get(&id) else { return };
        let Some(Dealing::ByKernel(choice)) = entry.dealing else { return };
        let waits_for_the_blocked = choice == Choice::ByOrigin;
        let members = entry.members.iter().filter_map(|(worker, member)| {
            let worker = self.workers.get(worker)?;
            let may_take = waits_for_the_blocked || worker.attention != Attention::Blocked;
            let lane = member.lane.filter(|_| worker.serves() && may_take)?;
            Some(DealtLane { slot: worker.slot, lane })
        });
        let mut lanes: Vec<_> = members.collect();
        lanes.sort_unstable();
        let Some(entry) = self.listeners.get_mut(&id) else { return };
        if entry.dealt != lanes {
            entry.dealt.clone_from(&lanes);
            out.push_back(Action::Deal { listener: id, lanes });
        }
    }

    /// A worker no longer takes part in a listener: others see to what waits on its lane, if
    /// it had one.
    pub(super) fn give_up_lane(
        &mut self,
        listener: ListenerId,
        member: Option<Member>,
        out: &mut VecDeque<Action>,
    ) {
        let Some(Member { lane: Some(lane), access, .. }) = member else { return };
        self.deal(listener, out);
        match access {
            Access::Asked => out.push_back(Action::Reclaim { listener, lane }),
            Access::Inherited => {
                self.renewing.push((listener, lane));
                out.push_back(Action::Renew { listener, lane });
            }
        }
    }

    /// A worker has ended: what it had may be given to others.
    pub(super) fn free_lanes(&mut self, worker: WorkerId) {
        self.timers.cancel(Timer::Trial(worker));
        let is_renewing = |place: &(ListenerId, LaneId)| self.renewing.contains(place);
        for (id, entry) in &mut self.listeners {
            entry.free_lanes_of(worker, |lane| is_renewing(&(*id, lane)));
        }
    }

    /// All that was asked for has been carried out.
    pub(crate) fn have_renewed(&mut self) {
        for (id, lane) in self.renewing.drain(..) {
            if let Some(entry) = self.listeners.get_mut(&id) {
                entry.free_lane(lane);
            }
        }
    }

    fn does_not_take(
        &mut self,
        now: Instant,
        worker: WorkerId,
        listener: ListenerId,
        out: &mut VecDeque<Action>,
    ) {
        if !self.is_anybody_else_awake(now, worker, listener) {
            return;
        }
        let Some(entry) = self.workers.get_mut(&worker).filter(|entry| entry.serves()) else {
            return;
        };
        if std::mem::replace(&mut entry.attention, Attention::Blocked) == Attention::Blocked {
            return;
        }
        self.timers.set_after(Timer::Trial(worker), now, self.settings.trial_after);
        out.push_back(Action::Probe { worker });
        for id in self.all() {
            self.reclaim_from_blocked(id, worker, out);
        }
    }

    /// The primary takes what waits for a worker that is blocked.
    pub(super) fn reclaim_from_blocked(
        &mut self,
        id: ListenerId,
        worker: WorkerId,
        out: &mut VecDeque<Action>,
    ) {
        let attention = self.workers.get(&worker).map(|entry| entry.attention);
        if attention != Some(Attention::Blocked) {
            return;
        }
        self.deal(id, out);
        if let Some(lane) = self.lane_in_turn(id, worker) {
            out.push_back(Action::Reclaim { listener: id, lane });
        }
    }

    fn is_anybody_else_awake(&self, now: Instant, worker: WorkerId, listener: ListenerId) -> bool {
        let Some(entry) = self.listeners.get(&listener) else { return false };
        let mut others = entry.members.keys().filter(|member| **member != worker);
        others.any(|other| {
            self.workers.get(other).is_some_and(|other| other.has_room(now, &self.settings))
        })
    }

    /// The worker's lane in a listener whose lanes are dealt to in turn, if others can be handed
    /// what waits there.
    fn lane_in_turn(&self, id: ListenerId, worker: WorkerId) -> Option<LaneId> {
        let entry = self.listeners.get(&id)?;
        let in_turn = entry.dealing == Some(Dealing::ByKernel(Choice::InTurn));
        let member = entry.members.get(&worker).filter(|_| in_turn)?;
        member.lane.filter(|_| member.access == Access::Asked)
    }
}
