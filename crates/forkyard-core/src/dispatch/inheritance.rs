//! Addresses that the app has from its settings, and every worker from its start.
//!
//! Such a listener is there before any worker and until the app stops. Its workers need not
//! speak the protocol (one that does may ask for the address all the same, and gets it), so
//! nobody can hand them a connection that the primary has accepted: what waits on the lane of a
//! worker that leaves goes to the others' lanes by the kernel ([`Action::Renew`]), and a worker
//! that is blocked keeps what waits for it. That it is blocked is noticed only if it has other
//! listeners, for which it has asked.

use std::collections::VecDeque;

use super::listener::{Access, Binding, Hold, Listener, Member};
use super::policy::Dealing;
use super::{Dispatcher, MAX_LISTENERS};
use crate::id::{LaneId, ListenerId, WorkerId};
use crate::input::{Action, Admission, Denied, Listen};

impl Dispatcher {
    /// The app is to serve an address of its own. It is open before the first worker starts.
    pub(crate) fn listen(&mut self, listen: Listen, out: &mut VecDeque<Action>) -> Admission {
        let Listen { spec, policy, backlog } = listen;
        if self.stopping {
            return Admission::Denied(Denied::Stopping);
        }
        if self.by_spec.contains_key(&spec) {
            return Admission::AlreadySo;
        }
        if self.listeners.len() >= MAX_LISTENERS {
            return Admission::Denied(Denied::TooManyListeners);
        }
        let id = self.next_listener_id();
        let mut listener = Listener::new(spec.clone(), policy);
        listener.holds.insert(Hold::App);
        self.by_spec.insert(spec.clone(), id);
        self.listeners.insert(id, listener);
        let access = Access::Inherited;
        out.push_back(Action::OpenListener { listener: id, spec, policy, backlog, access });
        Admission::Accepted
    }

    /// A worker starts with a place in every listener of the app's own.
    pub(super) fn bequeath(&mut self, worker: WorkerId, out: &mut VecDeque<Action>) {
        for id in self.all() {
            let Some(entry) = self.listeners.get_mut(&id) else { continue };
            if entry.access() != Access::Inherited || entry.binding != Binding::Open {
                continue;
            }
            let has_lanes = entry.dealing.is_some_and(Dealing::has_lanes);
            let lane = if has_lanes { entry.assign_lane(worker) } else { None };
            let member = Member { lane, access: Access::Inherited, ..Member::default() };
            entry.members.insert(worker, member);
            self.deal(id, out);
        }
    }

    pub(crate) fn inherits(&self, worker: WorkerId) -> Vec<(ListenerId, Option<LaneId>)> {
        let own = self.listeners.iter().filter(|(_, entry)| entry.access() == Access::Inherited);
        own.filter_map(|(id, entry)| Some((*id, entry.members.get(&worker)?.lane))).collect()
    }
}
