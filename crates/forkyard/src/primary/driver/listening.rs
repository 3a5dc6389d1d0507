//! Addresses of the app's own: they are bound at once, and every worker is started with a socket
//! of each.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use forkyard_core::{
    Access, Action, Admission, Dealing, Input, Listen, ListenerId, ListenerSpec, Policy, Refusal,
    Request, WorkerId,
};

use super::Driver;
use crate::event::{Event, ListenerInfo};
use crate::listen::{BindError, ListenAddress};
use crate::primary::{PolicyRule, address};

/// A listener to be bound.
pub(super) struct Opening {
    pub(super) listener: ListenerId,
    pub(super) spec: ListenerSpec,
    pub(super) policy: Policy,
    pub(super) backlog: Option<u32>,
    pub(super) access: Access,
}

impl Driver {
    /// Binds an address of the app's own.
    pub(super) fn listen(&mut self, address: &ListenAddress) -> Result<ListenerInfo, BindError> {
        self.ask_for(address)?;
        let refused = |errno| {
            let (code, message) = address::explain(&address.to_string(), Refusal::System(errno));
            BindError::System { code, message }
        };
        let mut opened = Err(refused(address::EINVAL));
        while let Some(action) = self.core.next_action() {
            match action {
                Action::OpenListener { listener, spec, policy, backlog, access } => {
                    let opening = Opening { listener, spec, policy, backlog, access };
                    opened = self.open_listener(&opening).map_err(refused);
                }
                action => self.perform(action),
            }
        }
        opened
    }

    /// Has the core want it. "Any port" can be wanted several times.
    fn ask_for(&mut self, address: &ListenAddress) -> Result<(), BindError> {
        let [port_or_path, host] = &address.names;
        let policy = self.policy_for([port_or_path.as_deref(), host.as_deref()]);
        let last = if address.endpoint.is_ephemeral() { u32::MAX } else { 0 };
        for index in 0..=last {
            let spec = ListenerSpec::new(address.endpoint.clone(), index);
            let request = Request::Listen(Listen { spec, policy, backlog: None });
            match self.core.request(Instant::now(), request) {
                Admission::Accepted | Admission::Forked(_) => return Ok(()),
                Admission::Denied(denied) => return Err(BindError::Denied(denied)),
                Admission::AlreadySo => {}
            }
        }
        Err(BindError::Already { address: address.to_string() })
    }

    /// Binds an address, and tells the core how that went; what is refused, by its number.
    pub(super) fn open_listener(&mut self, opening: &Opening) -> Result<ListenerInfo, i32> {
        let Opening { listener, spec, policy, backlog, access } = opening;
        let means = (*backlog, &*self.settings.inherited);
        let stand_in = self.settings.activated.stand_in(&spec.endpoint);
        let wanted = (stand_in.as_ref().unwrap_or(&spec.endpoint), *policy, *access);
        let opened = self.listeners.open(*listener, wanted, means);
        match opened {
            Ok((info, dealing)) => {
                self.opened(*listener, &info, dealing);
                Ok(info)
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(address::EINVAL);
                self.input(Input::ListenerFailed { listener: *listener, errno });
                Err(errno)
            }
        }
    }

    fn opened(&mut self, listener: ListenerId, info: &ListenerInfo, dealing: Dealing) {
        self.emit(Event::Bound(info.clone()));
        self.input(Input::ListenerOpened { listener, dealing });
    }

    /// The sockets that a worker is started with.
    pub(super) fn sockets_for(&mut self, worker: WorkerId) -> io::Result<Vec<OwnedFd>> {
        let inherited = self.core.inherits(worker).into_iter();
        inherited.map(|(listener, lane)| self.listeners.lend(listener, lane)).collect()
    }

    /// The rule that names this listener, or the one that names none.
    pub(super) fn policy_for(&self, names: [Option<&str>; 2]) -> Policy {
        let matching = |rule: &&PolicyRule| match rule.listener.as_deref() {
            Some(listener) => names.contains(&Some(listener)),
            None => false,
        };
        let rules = &self.settings.policies;
        let rule = rules.iter().rev().find(matching);
        let rule = rule.or_else(|| rules.iter().rev().find(|rule| rule.listener.is_none()));
        rule.map_or(Policy::default(), |rule| rule.policy)
    }
}
