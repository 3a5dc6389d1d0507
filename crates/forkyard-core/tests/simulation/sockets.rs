//! Bound addresses, as the kernel sees them: queues, and lanes to which it deals.

use std::collections::BTreeMap;

use forkyard_core::{Choice, Dealing, DealtLane, Endpoint, LaneId, LaneView, WorkerId};

use crate::chance::Chance;

/// One queue of completed connections.
#[derive(Default)]
struct Queue {
    waiting: usize,
    dealt: u64,
}

/// A lane's queue, and who accepts from it.
#[derive(Default)]
struct Lane {
    queue: Queue,
    worker: Option<WorkerId>,
    is_primarys: bool,
}

/// Where the primary can accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The socket that is not a lane: the only one, or the one that is dealt to when nobody
    /// is up.
    Own,
    Lane(LaneId),
}

/// A bound address.
pub struct Socket {
    pub dealing: Dealing,
    is_datagram: bool,
    /// Workers are started with a socket of it, and nobody can be handed anything.
    is_inherited: bool,
    own: Queue,
    lanes: BTreeMap<LaneId, Lane>,
    dealt: Vec<DealtLane>,
}

impl Socket {
    pub fn new(endpoint: &Endpoint, chance: &mut Chance) -> Self {
        let dealing = any_dealing(endpoint, chance);
        let is_datagram = endpoint.is_datagram();
        let (own, lanes, dealt) = (Queue::default(), BTreeMap::new(), Vec::new());
        Self { dealing, is_datagram, is_inherited: false, own, lanes, dealt }
    }

    /// A client's connection is complete. Some were begun before the last change of lanes.
    pub fn connect(&mut self, chance: &mut Chance) {
        let dealt: Vec<_> = self.dealt.iter().map(|dealt| dealt.lane).collect();
        let known: Vec<_> = self.lanes.keys().copied().collect();
        let lane = if chance.percent(5) { chance.pick(&known) } else { chance.pick(&dealt) };
        let queue = lane.and_then(|lane| self.lanes.get_mut(&lane)).map(|lane| &mut lane.queue);
        let queue = queue.unwrap_or(&mut self.own);
        queue.waiting += 1;
        queue.dealt += 1;
    }

    pub fn grant(&mut self, lane: LaneId, worker: WorkerId) {
        let entry = self.lanes.entry(lane).or_default();
        entry.worker = Some(worker);
        entry.is_primarys = false;
    }

    /// A worker is started with a socket.
    pub fn start(&mut self, lane: Option<LaneId>, worker: WorkerId) {
        self.is_inherited = true;
        if let Some(lane) = lane {
            self.grant(lane, worker);
        }
    }

    /// What waits for nobody goes to those who are up.
    pub fn deal(&mut self, lanes: Vec<DealtLane>) {
        self.dealt = lanes;
        if self.is_inherited {
            let left = std::mem::take(&mut self.own.waiting);
            self.bequeath(left);
        }
    }

    /// The lane gets a new socket, and what waited at the old one goes to others.
    pub fn renew(&mut self, lane: LaneId) {
        let lane = self.lanes.remove(&lane).unwrap_or_default();
        self.bequeath(lane.queue.waiting);
    }

    fn bequeath(&mut self, waiting: usize) {
        let heir = self.dealt.first().and_then(|heir| self.lanes.get_mut(&heir.lane));
        heir.map_or(&mut self.own, |heir| &mut heir.queue).waiting += waiting;
    }

    pub fn set_primarys(&mut self, lane: LaneId, is_primarys: bool) {
        self.lanes.entry(lane).or_default().is_primarys = is_primarys;
    }

    /// What can be seen of the lanes that are dealt to.
    pub fn views(&self) -> Vec<(LaneId, LaneView)> {
        let view = |queue: &Queue| LaneView { waiting: queue.waiting as u32, dealt: queue.dealt };
        let dealt = self.dealt.iter().filter_map(|DealtLane { lane, .. }| {
            self.lanes.get(lane).map(|entry| (*lane, view(&entry.queue)))
        });
        dealt.collect()
    }

    /// Where the primary may accept and something waits.
    pub fn acceptable(&self) -> Vec<Place> {
        if self.is_datagram || self.dealing == Dealing::ByWorkers {
            return Vec::new();
        }
        let own = (self.own.waiting > 0).then_some(Place::Own);
        let lanes = self.lanes.iter();
        let lanes = lanes.filter(|(_, lane)| lane.is_primarys && lane.queue.waiting > 0);
        own.into_iter().chain(lanes.map(|(id, _)| Place::Lane(*id))).collect()
    }

    /// The primary accepts.
    pub fn accept(&mut self, place: Place) {
        let queue = match place {
            Place::Own => Some(&mut self.own),
            Place::Lane(lane) => self.lanes.get_mut(&lane).map(|lane| &mut lane.queue),
        };
        if let Some(queue) = queue {
            queue.waiting -= 1;
        }
    }

    /// A worker accepts from its lanes, if anything waits there.
    pub fn accept_by(&mut self, worker: WorkerId) -> bool {
        let mut own = self.lanes.values_mut().filter(|lane| lane.worker == Some(worker));
        match own.find(|lane| lane.queue.waiting > 0) {
            Some(lane) => {
                lane.queue.waiting -= 1;
                true
            }
            None => false,
        }
    }

    /// How many wait, and for nobody but a worker. Where no worker can be handed anything the
    /// primary has nothing to give, so what is its own is not counted.
    pub fn waiting(&self) -> usize {
        if self.is_inherited {
            return self.lanes.values().map(|lane| lane.queue.waiting).sum();
        }
        if self.is_datagram || self.dealing == Dealing::ByWorkers {
            return 0;
        }
        let lanes: usize = self.lanes.values().map(|lane| lane.queue.waiting).sum();
        self.own.waiting + lanes
    }
}

fn any_dealing(endpoint: &Endpoint, chance: &mut Chance) -> Dealing {
    if endpoint.is_datagram() {
        let dealings = [Dealing::ByWorkers, Dealing::ByKernel(Choice::ByOrigin)];
        return chance.pick(&dealings).unwrap_or(Dealing::ByWorkers);
    }
    let dealings = [
        Dealing::ByKernel(Choice::InTurn),
        Dealing::ByKernel(Choice::InTurn),
        Dealing::ByKernel(Choice::ByOrigin),
        Dealing::ByPrimary(Choice::InTurn),
        Dealing::ByPrimary(Choice::InTurn),
        Dealing::ByPrimary(Choice::LeastConnections),
        Dealing::ByPrimary(Choice::ByOrigin),
        Dealing::ByWorkers,
    ];
    chance.pick(&dealings).unwrap_or(Dealing::ByWorkers)
}
