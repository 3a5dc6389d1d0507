//! The supervisor and the dispatcher as one machine.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Instant;

use crate::dispatch::{DispatchSettings, Dispatcher, LaneView, Seat};
use crate::id::{Generation, LaneId, ListenerId, SlotId, WorkerId};
use crate::input::{Action, Admission, Denied, Input, Request};
use crate::snapshot::Snapshot;
use crate::supervise::{
    Decision, Notice, Refill, Scaled, SuperviseSettings, Supervisor, WorkerView,
};

/// All that the core can be told beforehand.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How workers are kept.
    pub supervise: SuperviseSettings,
    /// How connections are dealt out.
    pub dispatch: DispatchSettings,
    /// Where its chance comes from; the same seed gives the same run.
    pub seed: u64,
}

/// The primary's decisions. See the crate's documentation for the loop around it.
#[derive(Debug)]
pub struct Core {
    supervisor: Supervisor,
    dispatcher: Dispatcher,
    actions: VecDeque<Action>,
}

impl Core {
    /// A primary without any slot.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let leave_linger = settings.supervise.drain_timeout;
        Self {
            supervisor: Supervisor::new(settings.supervise, settings.seed),
            dispatcher: Dispatcher::new(settings.dispatch, leave_linger),
            actions: VecDeque::new(),
        }
    }

    /// A primary that goes on where another one was, `now` being the moment of its snapshot.
    /// What was under way outside of the core is asked for again.
    #[must_use]
    pub fn resume(settings: Settings, snapshot: Snapshot, now: Instant) -> Self {
        let mut core = Self::new(settings);
        core.dispatcher.resume(snapshot.dispatcher, now);
        core.supervisor.resume(snapshot.supervisor, now);
        core.take_decisions(now);
        core
    }

    /// All that it knows, once every action has been carried out.
    ///
    /// # Errors
    ///
    /// If the app is stopping: there is nothing to go on with.
    pub fn snapshot(&self, now: Instant) -> Result<Snapshot, Denied> {
        let supervisor = self.supervisor.snapshot(now)?;
        Ok(Snapshot { supervisor, dispatcher: self.dispatcher.snapshot(now) })
    }

    /// Takes note of something that happened. Never waits; actions follow, and have to be
    /// carried out before this is called again.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.dispatcher.have_renewed();
        let (supervisor, dispatcher, out) =
            (&mut self.supervisor, &mut self.dispatcher, &mut self.actions);
        match input {
            Input::Replied { worker, connection, verdict } => {
                return dispatcher.replied(now, worker, connection, verdict, out);
            }
            Input::Accepted { listener, connection, origin } => {
                return dispatcher.accepted(now, listener, (connection, origin), out);
            }
            Input::LaneSeen { listener, lane, view } => {
                return dispatcher.lane_seen(now, (listener, lane), view, out);
            }
            Input::Finished { worker, connections } => {
                return dispatcher.finished(worker, connections);
            }
            Input::Answered { worker } => return dispatcher.answered(now, worker, out),
            Input::AcceptFailed { listener } => dispatcher.accept_failed(now, listener),
            Input::ListenerOpened { listener, dealing } => {
                dispatcher.listener_opened(now, (listener, dealing), out);
            }
            Input::ListenerFailed { listener, errno } => {
                dispatcher.listener_failed(listener, errno, out);
            }
            Input::Query(query) => {
                dispatcher.query(now, query.clone(), out);
                supervisor.asked(now, query.worker);
            }
            Input::Closed { worker, listener } => dispatcher.closed(now, worker, listener, out),
            Input::Spawned { worker, pid } => supervisor.spawned(now, worker, pid),
            Input::SpawnFailed { worker, message } => {
                supervisor.spawn_failed(now, worker, message);
            }
            Input::Exited { worker, status } => supervisor.exited(now, worker, status),
            Input::ChannelEnded { worker } => return self.channel_ended(now, worker),
            Input::ChannelBroken { worker } => supervisor.channel_broken(now, worker),
            Input::Online { worker } => supervisor.online(worker),
            Input::Listening { worker } => supervisor.listening(now, worker),
            Input::Ready { worker, by } => supervisor.says_ready(now, worker, by),
            Input::Checked { worker, result } => supervisor.checked(now, worker, result),
            Input::LeaveAnnounced { worker, seq } => {
                supervisor.leave_announced(now, worker, seq);
            }
        }
        self.carry_on(now);
    }

    /// Decides at once whether a request can be met, and begins with it.
    pub fn request(&mut self, now: Instant, request: Request) -> Admission {
        self.dispatcher.have_renewed();
        let out = &mut self.actions;
        let admission = match request {
            Request::Listen(listen) => self.dispatcher.listen(listen, out),
            Request::Fork(role) => self.supervisor.fork(now, role),
            Request::Retire(slot) => self.supervisor.retire(now, slot),
            Request::Roll(plan) => self.supervisor.roll(now, plan),
            Request::Replace(slot) => self.supervisor.replace(now, slot),
            Request::Stop(stage) => self.supervisor.stop(now, stage),
        };
        self.carry_on(now);
        admission
    }

    /// Keeps so many slots that serve, from now on: adds what is missing, takes the highest away
    /// that are too many. All of it, or nothing.
    ///
    /// # Errors
    ///
    /// If the app is stopping, a roll is under way, or there would be more slots than there can be.
    pub fn scale(&mut self, now: Instant, workers: NonZeroUsize) -> Result<Scaled, Denied> {
        self.dispatcher.have_renewed();
        let scaled = self.supervisor.scale(now, workers);
        self.carry_on(now);
        scaled
    }

    /// Does what was due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.dispatcher.have_renewed();
        self.supervisor.handle_timeout(now);
        // Whoever was just asked to leave gets nothing any more.
        self.carry_on(now);
        self.dispatcher.handle_timeout(now, &mut self.actions);
    }

    /// When [`Core::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [self.supervisor.next_deadline(), self.dispatcher.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// The next thing to do, in order.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether a connection may be accepted on this listener: a worker can have it at once.
    /// Changes with every input, so ask before each one.
    #[must_use]
    pub fn has_capacity(&self, now: Instant, listener: ListenerId) -> bool {
        self.dispatcher.has_capacity(now, listener)
    }

    /// The worker that has this seat; its successor and its predecessors are none of them.
    #[must_use]
    pub fn seated(&self, slot: SlotId) -> Option<WorkerId> {
        self.supervisor.seated(slot)
    }

    /// How many slots there may yet be.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.supervisor.free_slots()
    }

    /// Whether every slot but those of spares has had a ready worker at some time.
    #[must_use]
    pub fn has_been_ready(&self) -> bool {
        self.supervisor.has_been_ready()
    }

    /// How a worker stands; `None` once its process has ended.
    #[must_use]
    pub fn view(&self, worker: WorkerId) -> Option<WorkerView> {
        self.supervisor.view(worker)
    }

    /// Whether a worker of this generation may yet be started.
    #[must_use]
    pub fn needs(&self, generation: Generation) -> bool {
        self.supervisor.needs(generation)
    }

    /// Whether this question for an address is a spare's, and waits for the spare to be
    /// needed.
    #[must_use]
    pub fn has_put_off(&self, worker: WorkerId, seq: u64) -> bool {
        self.dispatcher.has_put_off(worker, seq)
    }

    /// A listener by which this worker can be given a connection of the primary's own making;
    /// `None` if it takes none, or does not speak the cluster protocol.
    #[must_use]
    pub fn stream_listener_of(&self, worker: WorkerId) -> Option<ListenerId> {
        self.dispatcher.stream_listener_of(worker)
    }

    /// The worker whose lane this is, and since when it has taken nothing, if that is what this
    /// view shows. That of one that had no chance to run need not be said.
    #[must_use]
    pub fn leaves_waiting(
        &self,
        listener: ListenerId,
        lane: LaneId,
        view: LaneView,
    ) -> Option<(WorkerId, Instant)> {
        self.dispatcher.leaves_waiting(listener, lane, view)
    }

    /// What a worker that is to be started inherits: listeners of the app's own, in the order
    /// in which they were asked for, each with the lane that is the worker's, if it has lanes.
    #[must_use]
    pub fn inherits(&self, worker: WorkerId) -> Vec<(ListenerId, Option<LaneId>)> {
        self.dispatcher.inherits(worker)
    }

    /// Only now may what the worker did not answer go to another one: an answer could
    /// still have stood in the channel, even if the process was gone.
    fn channel_ended(&mut self, now: Instant, worker: WorkerId) {
        self.dispatcher.ended(now, worker, &mut self.actions);
        self.supervisor.channel_ended(now, worker);
        self.carry_on(now);
    }

    /// Passes on what the supervisor has decided, and has the dispatcher follow it step by step.
    fn carry_on(&mut self, now: Instant) {
        self.supervisor.may_app_be_ready();
        self.take_decisions(now);
        // Not before it is known who leaves: what waits is not for them.
        self.dispatcher.place_all(now, &mut self.actions);
    }

    fn take_decisions(&mut self, now: Instant) {
        while let Some(decision) = self.supervisor.next_decision() {
            match decision {
                Decision::Act(action) => self.actions.push_back(action),
                Decision::Notify(notice) => self.notify(now, notice),
            }
        }
    }

    fn notify(&mut self, now: Instant, notice: Notice) {
        let (dispatcher, out) = (&mut self.dispatcher, &mut self.actions);
        match notice {
            Notice::Started { worker, slot, standing } => {
                dispatcher.worker_started(worker, slot, standing, out);
            }
            Notice::Serves { worker } => dispatcher.worker_serves(now, worker, out),
            Notice::Leaving { worker, refill: Refill::Yes } => {
                dispatcher.leaving(now, worker, Seat::StaysWanted, out);
            }
            Notice::Leaving { worker, refill: Refill::No } => {
                dispatcher.leaving(now, worker, Seat::GoesAway, out);
            }
            Notice::NeverWas { worker } => dispatcher.ended(now, worker, out),
            Notice::Settled { slot } => dispatcher.settled(now, slot),
            Notice::SlotGone { slot } => dispatcher.slot_gone(now, slot),
            Notice::StopAll => dispatcher.stop(out),
            Notice::Finished(outcome) => out.push_back(Action::Finish(outcome)),
        }
    }
}

#[cfg(test)]
mod tests;
