//! What the core may do, held against the account.

use forkyard_core::{
    Action, CheckRule, Choice, ConnectionId, Dealing, Endpoint, Event, Generation, IdleRule,
    ListenerId, ListenerSpec, Outcome, Policy, Role, RollStep, SlotId, Stage, WorkerId,
};

use super::{Connection, Keeper, Ledger, Listener, Owner, Place, Seat, Slot, Violation, Worker};

impl Ledger {
    pub fn sees(&mut self, action: &Action) -> Result<(), Violation> {
        self.actions += 1;
        self.sees_what_the_spawn_was_for(action)?;
        ensure!(
            self.finish.is_none() || matches!(action, Action::Release { .. }),
            "{action:?} after the finish"
        );
        match action {
            Action::Spawn { slot, worker, generation } => {
                self.sees_spawn(*slot, *worker, *generation)
            }
            Action::Check { worker } => {
                ensure!(self.rules.check == CheckRule::Ask, "{worker} was checked unasked");
                // One that was under way is begun again after a hand-over, whatever became of its
                // worker.
                let is_there = self.workers.get(worker).is_some_and(|worker| !worker.is_gone);
                ensure!(is_there, "{worker} was checked, but is gone");
                Ok(())
            }
            Action::OpenListener { listener, spec, policy, .. } => {
                self.sees_open(*listener, spec, *policy)
            }
            Action::CloseListener { listener } => self.sees_close(*listener),
            Action::Grant { worker, listener, lane, .. } => {
                self.sees_lane_granted(*worker, *listener, *lane)?;
                self.sees_grant(*worker, *listener)
            }
            Action::Deal { listener, lanes } => self.sees_deal(*listener, lanes),
            Action::Reclaim { listener, lane } => self.sees_reclaim(*listener, *lane),
            Action::Renew { listener, lane } => self.sees_renew(*listener, *lane),
            Action::GiveBack { listener, lane } => self.sees_give_back(*listener, *lane),
            Action::Probe { worker } => self.sees_probe(*worker),
            Action::HandOff { worker, listener, connection } => {
                self.sees_hand_off(*worker, *listener, *connection)
            }
            Action::Release { connection } => self.sees_release(*connection),
            Action::AskDisconnect { worker } => self.sees_step(*worker, Stage::Disconnect),
            Action::Terminate { worker } => self.sees_step(*worker, Stage::Terminate),
            Action::Kill { worker } => self.sees_step(*worker, Stage::Kill),
            Action::Emit(event) => {
                self.sees_event(event)?;
                // What begins with these is only about to be done.
                let begins = matches!(event, Event::Stopping { .. } | Event::Promoted { .. });
                if begins { Ok(()) } else { self.is_dealt_rightly() }
            }
            Action::Finish(outcome) => self.sees_finish(outcome),
            Action::Refuse { worker, .. } => self.sees_refusal(*worker),
            Action::AcknowledgeLeave { .. } => Ok(()),
        }
    }

    fn sees_spawn(
        &mut self,
        slot: SlotId,
        worker: WorkerId,
        generation: Generation,
    ) -> Result<(), Violation> {
        ensure!(!self.is_stopped, "{worker} was spawned after the stop");
        ensure!(worker.0 > self.last_worker, "{worker} is no new name");
        self.last_worker = worker.0;
        if self.slots.get(&slot).is_none_or(|entry| self.is_gone(entry)) {
            let is_expected = self.roll.as_ref().is_some_and(|roll| roll.adds(slot));
            ensure!(is_expected, "{worker} was spawned into {slot}, which is not there");
            self.slots.insert(slot, Slot { is_added: true, ..Slot::new(Role::Serving) });
        }
        let entry = &self.slots[&slot];
        ensure!(!entry.is_retiring, "{worker} was spawned into {slot}, which retires");
        self.workers.insert(worker, Worker::new(slot, generation));
        self.just_spawned = Some(worker);
        Ok(())
    }

    /// A successor is told of at once; everybody else takes an empty seat.
    fn sees_what_the_spawn_was_for(&mut self, action: &Action) -> Result<(), Violation> {
        let Some(worker) = self.just_spawned.take() else { return Ok(()) };
        let is_successor = matches!(
            action,
            Action::Emit(Event::RollStep { worker: named, step: RollStep::Starting, .. })
                if *named == worker
        );
        if is_successor { self.is_successor(worker) } else { self.sits_down(worker) }
    }

    fn sits_down(&mut self, worker: WorkerId) -> Result<(), Violation> {
        let slot = self.workers[&worker].slot;
        let generation = self.workers[&worker].generation;
        let rolled_to = self.roll.as_ref().map(|roll| roll.target);
        let is_known = generation == self.generation || Some(generation) == rolled_to;
        ensure!(is_known, "{worker} was spawned from generation {generation}");
        let entry = self.slots.get_mut(&slot).ok_or_else(|| format!("{slot} is unknown"))?;
        let is_free = matches!(entry.seat, Seat::Empty | Seat::New);
        ensure!(is_free, "{worker} was spawned into {slot}: {:?}", entry.seat);
        entry.seat = Seat::Taken(worker);
        Ok(())
    }

    fn sees_open(
        &mut self,
        id: ListenerId,
        spec: &ListenerSpec,
        policy: Policy,
    ) -> Result<(), Violation> {
        ensure!(!self.is_stopped, "L{id} was opened after the stop");
        ensure!(!self.listeners.contains_key(&id), "L{id} is no new name");
        let twin = self.open_listeners().find(|(_, entry)| {
            entry.specification.as_ref().is_some_and(|(other, _)| other == spec)
        });
        ensure!(twin.is_none(), "L{id} has the address of an open one");
        if self.own_address.as_ref() == Some(spec) {
            self.keepers.insert((id, Keeper::App));
        }
        let specification = Some((spec.clone(), policy));
        self.listeners.insert(id, Listener { specification, ..Listener::default() });
        Ok(())
    }

    pub(super) fn goes_by_origin(&self, id: ListenerId) -> bool {
        let dealing = self.listeners.get(&id).and_then(|entry| entry.dealing);
        matches!(
            dealing,
            Some(Dealing::ByPrimary(Choice::ByOrigin) | Dealing::ByKernel(Choice::ByOrigin))
        )
    }

    pub(super) fn open_listeners(&self) -> impl Iterator<Item = (ListenerId, &Listener)> {
        self.listeners.iter().filter(|(_, entry)| !entry.is_closed).map(|(id, entry)| (*id, entry))
    }

    /// The system did not give the address.
    pub fn open_failed(&mut self, id: ListenerId) {
        self.listeners.entry(id).or_default().is_closed = true;
    }

    fn sees_close(&mut self, id: ListenerId) -> Result<(), Violation> {
        let entry = self.listeners.entry(id).or_default();
        ensure!(!entry.is_closed, "L{id} was closed twice");
        entry.is_closed = true;
        if !self.is_stopped {
            self.sight("a listener that nobody wanted");
        }
        let keeper = self.keepers.iter().find(|(kept, _)| *kept == id);
        let is_over = self.is_stopped || self.is_finished();
        ensure!(is_over || keeper.is_none(), "L{id} was closed, but {keeper:?} wants it");
        self.keepers.retain(|(kept, _)| *kept != id);
        self.has_lingered(id)?;
        for worker in self.workers.values_mut() {
            worker.members_of.remove(&id);
        }
        Ok(())
    }

    /// Nothing is left to be done.
    fn is_finished(&self) -> bool {
        let is_done = self.slots.values().all(|slot| slot.seat == Seat::Done);
        is_done && self.rules.when_idle == IdleRule::Finish
    }

    /// What a worker has closed stays open for a while, unless it is in the way.
    fn has_lingered(&mut self, id: ListenerId) -> Result<(), Violation> {
        let Some((worker, closed)) = self.closings.remove(&id) else { return Ok(()) };
        let specification = self.listeners.get(&id).and_then(|entry| entry.specification.as_ref());
        let bound = specification.map(|(spec, _)| &spec.endpoint);
        let in_the_way = self.asked.iter().any(|asked| match (bound, &asked.endpoint) {
            (Some(Endpoint::Tcp { port, .. }), Endpoint::Tcp { port: asked, .. }) => {
                *asked != 0 && (port == asked || *port == 0)
            }
            _ => false,
        });
        let is_over = self.now >= self.lingers_until(worker, closed);
        ensure!(
            self.is_stopped || in_the_way || is_over,
            "L{id} was closed, but {worker} may be on its way out"
        );
        Ok(())
    }

    fn sees_grant(&mut self, worker: WorkerId, id: ListenerId) -> Result<(), Violation> {
        let is_open = self.listeners.get(&id).is_some_and(|entry| !entry.is_closed);
        ensure!(is_open, "L{id} was granted, but is not open");
        let entry = self.reachable(worker)?;
        let is_new = entry.members_of.insert(id) || entry.inherited.contains(&id);
        ensure!(is_new, "L{id} was granted twice to {worker}");
        let slot = entry.slot;
        ensure!(self.role_of(slot) == Role::Serving, "{worker} is a spare, but got L{id}");
        self.keepers.remove(&(id, Keeper::Slot(slot)));
        self.keepers.insert((id, Keeper::Worker(worker)));
        self.closings.remove(&id);
        self.sees_answer(worker)
    }

    /// It had asked for something when it closed what it had, so it was not on its way out.
    fn sees_refusal(&mut self, worker: WorkerId) -> Result<(), Violation> {
        self.closings.retain(|_, (closer, _)| *closer != worker);
        self.sees_answer(worker)
    }

    fn sees_answer(&mut self, worker: WorkerId) -> Result<(), Violation> {
        let entry = self.workers.get_mut(&worker).ok_or_else(|| format!("{worker} is unknown"))?;
        ensure!(entry.questions > 0, "{worker} was answered, but had not asked");
        entry.questions -= 1;
        Ok(())
    }

    pub(super) fn reachable(&mut self, worker: WorkerId) -> Result<&mut Worker, Violation> {
        let entry = self.workers.get_mut(&worker);
        let entry = entry.filter(|entry| !entry.is_gone && !entry.channel_ended);
        entry.filter(|entry| !entry.is_leaving).ok_or_else(|| format!("{worker} cannot be served"))
    }

    fn sees_hand_off(
        &mut self,
        worker: WorkerId,
        listener: ListenerId,
        id: ConnectionId,
    ) -> Result<(), Violation> {
        let window = self.rules.window;
        let target = self.reachable(worker)?;
        ensure!(target.place == Place::Seated, "{worker} was offered c{id}, but has no seat");
        ensure!(target.blocked_until.is_none(), "{worker} was offered c{id}, but is blocked");
        ensure!(target.in_hand < window, "{worker} was offered more than its window");
        ensure!(target.members_of.contains(&listener), "{worker} does not serve L{listener}");
        ensure!(!target.inherited.contains(&listener), "{worker} cannot be handed c{id}");
        target.in_hand += 1;
        let entry = self.connections.get_mut(&id).ok_or_else(|| format!("c{id} is unknown"))?;
        ensure!(entry.listener == listener, "c{id} changed its listener");
        ensure!(entry.owner == Owner::Waiting, "c{id} was offered, but is {:?}", entry.owner);
        ensure!(entry.taken_by.is_none(), "c{id} was offered, but {:?} has it", entry.taken_by);
        entry.owner = Owner::Offered(worker);
        Ok(())
    }

    fn sees_release(&mut self, id: ConnectionId) -> Result<(), Violation> {
        let entry = self.connections.get_mut(&id).ok_or_else(|| format!("c{id} is unknown"))?;
        entry.owner = match entry.owner {
            Owner::Answered => Owner::Served,
            Owner::Waiting => Owner::Dropped,
            owner => return Err(format!("c{id} was released, but is {owner:?}")),
        };
        let sight = if entry.owner == Owner::Served {
            "a connection served"
        } else {
            "a connection dropped with its listener"
        };
        self.touched.push(id);
        self.listeners.entry(entry.listener).or_default().unserved -= 1;
        self.sight(sight);
        Ok(())
    }

    fn sees_step(&mut self, worker: WorkerId, stage: Stage) -> Result<(), Violation> {
        self.is_not_dealt_to(worker)?;
        self.may_be_surplus(worker, stage);
        self.departs(worker);
        let entry = self.workers.get_mut(&worker).ok_or_else(|| format!("{worker} is unknown"))?;
        ensure!(!entry.is_gone, "{stage:?} for {worker}, which is gone");
        ensure!(entry.runs_since.is_some(), "{stage:?} for {worker}, which does not run yet");
        ensure!(entry.severity < Some(stage), "{stage:?} for {worker} after {:?}", entry.severity);
        let is_replaced = entry.place == Place::Former;
        let is_retiring = self.slots.get(&entry.slot).is_none_or(|slot| slot.is_retiring);
        ensure!(
            stage > Stage::Disconnect || is_replaced || is_retiring || self.is_stopped,
            "{worker} was asked to leave for no reason"
        );
        let in_vain = stage == Stage::Disconnect && entry.channel_ended;
        ensure!(!in_vain, "{worker} was asked on a channel that has ended");
        entry.severity = Some(stage);
        entry.is_leaving = true;
        self.sight(match stage {
            Stage::Disconnect => "a worker asked to leave",
            Stage::Terminate => "a worker terminated",
            Stage::Kill => "a worker killed",
        });
        Ok(())
    }

    fn sees_event(&mut self, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Ready { slot, worker } => return self.sees_ready(*slot, *worker),
            Event::AppReady => return self.sees_app_ready(),
            Event::StartTimedOut { .. } => self.sight("a start that took too long"),
            Event::StartFailed { .. } => self.sight("a failed start"),
            Event::Exited { leaving: None, .. } => self.sight("a crash"),
            Event::SlotDone { slot } => {
                self.nobody_expects(*slot);
                let entry = self.slots.get_mut(slot).ok_or_else(|| format!("{slot} is unknown"))?;
                ensure!(entry.seat == Seat::Empty, "{slot} is done, but {:?}", entry.seat);
                entry.seat = Seat::Done;
            }
            Event::RestartScheduled { slot, restarts, .. } => {
                ensure!(!self.is_stopped, "a restart of {slot} after the stop");
                ensure!(*restarts <= self.rules.limit, "{slot} was restarted {restarts} times");
                if let Some(entry) = self.slots.get_mut(slot) {
                    entry.restarts += u32::from(*restarts > 0);
                }
            }
            Event::RollStep { .. }
            | Event::RollFinished { .. }
            | Event::RollFailed { .. }
            | Event::RollBackFailed { .. }
            | Event::RolledBack { .. }
            | Event::RollAborted { .. }
            | Event::Promoted { .. } => return self.sees_roll(event),
            Event::SpareDoesNotAsk { slot, worker, .. } => {
                let entry = &self.workers[worker];
                let is_right = entry.is_up() && !entry.has_come_to_listen();
                ensure!(is_right, "{worker} has asked, or is not there to do so");
                ensure!(self.role_of(*slot) == Role::Spare, "{worker} is no spare");
                self.sight("a spare that did not ask");
            }
            Event::Failed(_) => self.has_failed = true,
            Event::Stopping { .. } => {
                self.is_stopped = true;
                // Even those who only start are on their way out.
                self.workers.values_mut().for_each(|worker| worker.is_leaving = true);
            }
            _ => {}
        }
        Ok(())
    }

    fn sees_finish(&mut self, outcome: &Outcome) -> Result<(), Violation> {
        let alive = self.workers.iter().find(|(_, worker)| !worker.is_gone);
        ensure!(alive.is_none(), "finished, but {:?} lives", alive.map(|(id, _)| id));
        let open = self.open_listeners().next().map(|(id, _)| id);
        ensure!(open.is_none(), "finished, but {open:?} is open");
        self.sight(match outcome {
            Outcome::Stopped => "an end by stop",
            Outcome::Finished { .. } => "an end by itself",
            Outcome::Failed(_) => "an end by failure",
        });
        let fits = match outcome {
            Outcome::Stopped => self.is_stopped && !self.has_failed,
            Outcome::Failed(_) => self.has_failed,
            Outcome::Finished { .. } => !self.is_stopped && self.is_finished(),
        };
        ensure!(fits, "{outcome:?} is not how it ended");
        self.finish = Some(outcome.clone());
        self.is_stopped = true;
        Ok(())
    }

    /// The step is over: nothing may be left half done.
    pub fn settle(&mut self) -> Result<(), Violation> {
        if let Some(worker) = self.just_spawned.take() {
            self.sits_down(worker)?;
        }
        self.just_emptied = None;
        let silent = !std::mem::take(&mut self.must_be_silent);
        let actions = std::mem::take(&mut self.actions);
        ensure!(silent || actions == 0, "a forged reply had an effect");
        for id in std::mem::take(&mut self.touched) {
            self.settle_connection(id)?;
        }
        self.settle_lanes()?;
        self.settle_readiness()?;
        for (id, entry) in &self.listeners {
            let (unserved, bound) = (entry.unserved, entry.bound);
            ensure!(unserved <= bound, "L{id} has {unserved} unserved, more than {bound}");
        }
        Ok(())
    }

    fn settle_connection(&self, id: ConnectionId) -> Result<(), Violation> {
        let entry = &self.connections[&id];
        let is_closed = self.listeners.get(&entry.listener).is_none_or(|entry| entry.is_closed);
        match entry.owner {
            Owner::Answered => Err(format!("c{id} was accepted by a worker, but not released")),
            Owner::Dropped if !is_closed => Err(format!("c{id} was dropped")),
            Owner::Dropped => match entry.taken_by {
                Some(worker) => Err(format!("c{id} counts as dropped, but {worker} has it")),
                None => Ok(()),
            },
            Owner::Waiting if is_closed => Err(format!("c{id} waits on a closed listener")),
            Owner::Waiting | Owner::Offered(_) | Owner::Served => Ok(()),
        }
    }

    /// A connection that was just accepted is with a worker: that is what capacity means. Only
    /// one that belongs to a certain worker may have to wait for it.
    pub fn was_placed(&mut self, id: ConnectionId) -> Result<(), Violation> {
        let Connection { owner, listener, .. } = self.connections[&id];
        if owner == Owner::Waiting && self.goes_by_origin(listener) {
            self.sight("a connection that waits for the one worker");
            return Ok(());
        }
        ensure!(matches!(owner, Owner::Offered(_)), "c{id} was accepted, but is {owner:?}");
        Ok(())
    }
}
