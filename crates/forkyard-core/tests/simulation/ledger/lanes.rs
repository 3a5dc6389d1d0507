//! Lanes: whose they are, to which the kernel deals, and where the primary accepts.

use forkyard_core::{Choice, Dealing, DealtLane, LaneId, ListenerId, Role, WorkerId};

use super::{Lane, Ledger, Listener, Place, Violation};

impl Ledger {
    /// Nobody gets the lane of one that may still accept there.
    pub(super) fn sees_lane_granted(
        &mut self,
        worker: WorkerId,
        id: ListenerId,
        lane: Option<LaneId>,
    ) -> Result<(), Violation> {
        let entry = self.listeners.entry(id).or_default();
        let has_lanes = entry.dealing.is_some_and(Dealing::has_lanes);
        ensure!(has_lanes == lane.is_some(), "L{id} was granted with lane {lane:?}");
        let Some(lane) = lane else { return Ok(()) };
        if let Some(Lane { worker: owner, .. }) = entry.lanes.get(&lane) {
            let has_ended = self.workers.get(owner).is_none_or(|owner| owner.channel_ended);
            ensure!(*owner == worker || has_ended, "lane {lane} of L{id} is {owner}'s");
        }
        entry.lanes.insert(lane, Lane { worker, is_primarys: false });
        Ok(())
    }

    /// A worker is about to start with a socket.
    pub fn inherits(&mut self, worker: WorkerId, id: ListenerId, lane: Option<LaneId>) {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.inherited.insert(id);
            entry.members_of.insert(id);
        }
        let entry = self.listeners.entry(id).or_default();
        entry.lanes.extend(lane.map(|lane| (lane, Lane { worker, is_primarys: false })));
    }

    pub(super) fn sees_renew(&mut self, id: ListenerId, lane: LaneId) -> Result<(), Violation> {
        let worker = self.lane(id, lane)?.worker;
        let inherits = self.workers[&worker].inherited.contains(&id);
        ensure!(inherits, "lane {lane} of L{id} was renewed, but {worker} had asked for it");
        self.listeners.entry(id).or_default().lanes.remove(&lane);
        self.sight("a lane that was renewed");
        Ok(())
    }

    pub(super) fn sees_deal(
        &mut self,
        id: ListenerId,
        lanes: &[DealtLane],
    ) -> Result<(), Violation> {
        let entry = self.listeners.get_mut(&id).ok_or_else(|| format!("L{id} is unknown"))?;
        ensure!(!entry.is_closed, "L{id} is dealt, but not open");
        ensure!(entry.dealt != lanes, "L{id} is dealt as before");
        let unmade = lanes.iter().find(|dealt| !entry.lanes.contains_key(&dealt.lane));
        ensure!(unmade.is_none(), "L{id} is dealt to {unmade:?}, which nobody has been given");
        entry.dealt = lanes.to_vec();
        Ok(())
    }

    pub(super) fn sees_reclaim(&mut self, id: ListenerId, lane: LaneId) -> Result<(), Violation> {
        self.lane(id, lane)?.is_primarys = true;
        self.sight("a lane that the primary took back");
        Ok(())
    }

    pub(super) fn sees_give_back(&mut self, id: ListenerId, lane: LaneId) -> Result<(), Violation> {
        let entry = self.lane(id, lane)?;
        ensure!(entry.is_primarys, "lane {lane} of L{id} was not taken back");
        entry.is_primarys = false;
        let worker = entry.worker;
        let owner = self.workers.get_mut(&worker).ok_or_else(|| format!("{worker} is unknown"))?;
        ensure!(!owner.channel_ended, "{worker} has ended, but got lane {lane} of L{id} back");
        owner.blocked_until = None;
        self.sight("a blocked worker dealt to again");
        Ok(())
    }

    pub(super) fn sees_probe(&mut self, worker: WorkerId) -> Result<(), Violation> {
        let until = self.now + self.rules.trial_after;
        let entry = self.reachable(worker)?;
        ensure!(entry.blocked_until.is_none(), "{worker} is blocked already");
        entry.blocked_until = Some(until);
        self.sight("a blocked worker left out");
        Ok(())
    }

    /// Exactly those are dealt to who can be: whenever anybody is told of something, too.
    pub(super) fn is_dealt_rightly(&self) -> Result<(), Violation> {
        for (id, entry) in self.open_listeners() {
            let Some(Dealing::ByKernel(choice)) = entry.dealing else { continue };
            let (dealt, expected) = (&entry.dealt, self.to_be_dealt(id, entry, choice));
            ensure!(*dealt == expected, "L{id} is dealt to {dealt:?}, not to {expected:?}");
        }
        Ok(())
    }

    /// Whoever is asked to leave gets nothing any more.
    pub(super) fn is_not_dealt_to(&self, worker: WorkerId) -> Result<(), Violation> {
        for (id, entry) in self.open_listeners() {
            let owner = |dealt: &DealtLane| entry.lanes.get(&dealt.lane).map(|lane| lane.worker);
            let is_dealt = entry.dealt.iter().any(|dealt| owner(dealt) == Some(worker));
            ensure!(!is_dealt, "{worker} is to leave, but L{id} is dealt to it");
        }
        Ok(())
    }

    /// The step is over: exactly those are dealt to who can be, and what nobody else accepts
    /// is the primary's.
    pub(super) fn settle_lanes(&self) -> Result<(), Violation> {
        self.is_dealt_rightly()?;
        for (id, entry) in self.open_listeners() {
            let Some(Dealing::ByKernel(_)) = entry.dealing else { continue };
            for (lane, Lane { worker, is_primarys }) in &entry.lanes {
                let is_served = self.workers.get(worker).is_some_and(|worker| {
                    worker.members_of.contains(&id) && !worker.is_leaving && !worker.channel_ended
                });
                ensure!(is_served || *is_primarys, "nobody accepts from lane {lane} of L{id}");
            }
        }
        Ok(())
    }

    fn to_be_dealt(&self, id: ListenerId, entry: &Listener, choice: Choice) -> Vec<DealtLane> {
        let dealt = entry.lanes.iter().filter_map(|(lane, Lane { worker, .. })| {
            let worker = self.workers.get(worker)?;
            let takes_part = worker.members_of.contains(&id)
                && worker.place == Place::Seated
                && self.role_of(worker.slot) == Role::Serving
                && !worker.is_gone
                && !worker.is_leaving
                && !worker.channel_ended;
            let is_awake = choice == Choice::ByOrigin || worker.blocked_until.is_none();
            (takes_part && is_awake).then_some(DealtLane { slot: worker.slot, lane: *lane })
        });
        let mut dealt: Vec<_> = dealt.collect();
        dealt.sort_unstable();
        dealt
    }

    fn lane(&mut self, id: ListenerId, lane: LaneId) -> Result<&mut Lane, Violation> {
        let entry = self.listeners.get_mut(&id).and_then(|entry| entry.lanes.get_mut(&lane));
        entry.ok_or_else(|| format!("L{id} has no lane {lane}"))
    }
}
