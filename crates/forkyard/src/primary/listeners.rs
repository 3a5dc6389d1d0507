//! The addresses that are bound, and the connections that came in by them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::Bound;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use forkyard_core::{ConnectionId, Endpoint, ListenerId, Policy};
use forkyard_ipc::{HandleKind, ServerReply, Transport, Value};
use forkyard_sys::inherited::InheritedFds;
use forkyard_sys::sockets::SocketKind;

use super::acceptor::Acceptor;
use super::binding::{self, bind};
use super::check;

/// One bound address.
#[derive(Debug)]
struct Entry {
    bound: binding::Bound,
    acceptor: Acceptor,
    policy: Policy,
    /// Names it on the wire; ends in its id.
    key: String,
    /// Where it is, for people.
    address: String,
    /// What the first TLS worker brought, for all of them to share.
    data: Option<Value>,
}

/// What is known of a bound address beside its socket.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) policy: Policy,
    pub(super) key: String,
    pub(super) address: String,
    pub(super) data: Option<Value>,
}

/// All bound addresses.
#[derive(Debug)]
pub(super) struct Listeners {
    entries: BTreeMap<ListenerId, Entry>,
    /// The listener after which the next search for a connection begins, so that a busy
    /// one does not starve the others.
    last_served: ListenerId,
    /// Those on which the system could not accept the last time.
    failing: BTreeSet<ListenerId>,
}

/// What the search for a connection found.
#[derive(Debug)]
pub(super) enum Arrival {
    Connection(ListenerId, OwnedFd),
    /// The system could not accept.
    Failure {
        listener: ListenerId,
        error: io::Error,
        /// Whether it could the last time.
        first: bool,
    },
}

impl Listeners {
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new(), last_served: ListenerId(0), failing: BTreeSet::new() }
    }

    /// Binds an address. Returns where it ended up, for people.
    pub(super) fn open(
        &mut self,
        id: ListenerId,
        endpoint: &Endpoint,
        policy: Policy,
        (backlog, inherited): (Option<u32>, &InheritedFds),
    ) -> io::Result<String> {
        let bound = bind(endpoint, backlog, inherited)?;
        let acceptor = acceptor_for(policy);
        let address = bound.describe(endpoint);
        let key = format!("{address}#{id}");
        let entry = Entry { bound, acceptor, policy, key, address: address.clone(), data: None };
        self.entries.insert(id, entry);
        Ok(address)
    }

    /// Goes on with an address that was bound by another program of this process.
    pub(super) fn resume(&mut self, id: ListenerId, bound: binding::Bound, listed: Listed) {
        let Listed { policy, key, address, data } = listed;
        let acceptor = acceptor_for(policy);
        self.entries.insert(id, Entry { bound, acceptor, policy, key, address, data });
    }

    /// All of them, to be gone on with by another program of this process.
    pub(super) fn all(&self) -> impl Iterator<Item = (ListenerId, &binding::Bound, Listed)> {
        self.entries.iter().map(|(id, entry)| {
            let Entry { policy, key, address, data, .. } = entry;
            let (key, address, data) = (key.clone(), address.clone(), data.clone());
            (*id, &entry.bound, Listed { policy: *policy, key, address, data })
        })
    }

    pub(super) fn close(&mut self, id: ListenerId) {
        self.entries.remove(&id);
        self.failing.remove(&id);
    }

    /// The listener that a worker calls by this key.
    pub(super) fn by_key(key: &str) -> Option<ListenerId> {
        key.rsplit_once('#')?.1.parse().ok().map(ListenerId)
    }

    pub(super) fn address(&self, id: ListenerId) -> &str {
        self.entries.get(&id).map_or("", |entry| &entry.address)
    }

    pub(super) fn kind(&self, id: ListenerId) -> Option<SocketKind> {
        self.entries.get(&id).map(|entry| entry.bound.kind)
    }

    /// What is spoken on its connections, as far as it shows: only TLS servers have keys to
    /// share.
    pub(super) fn transport_above(&self, id: ListenerId) -> check::Transport {
        let data = self.entries.get(&id).and_then(|entry| entry.data.as_ref());
        match data.and_then(|data| data.get("ticketKeys")) {
            Some(_) => check::Transport::Tls,
            None => check::Transport::Plain,
        }
    }

    /// What `newconn` needs to say about a connection.
    pub(super) fn key_and_transport(&self, id: ListenerId) -> Option<(&str, Transport)> {
        let entry = self.entries.get(&id)?;
        Some((&entry.key, transport(entry.bound.kind)))
    }

    /// The reply to a worker that gets the address, and the socket that goes with it if
    /// the worker accepts by itself.
    pub(super) fn grant(
        &mut self,
        id: ListenerId,
        data: Option<Value>,
    ) -> io::Result<Option<(ServerReply, Option<OwnedFd>)>> {
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(None) };
        if entry.data.is_none() {
            entry.data = data;
        }
        let reply = ServerReply {
            errno: 0,
            key: entry.key.clone(),
            data: entry.data.clone(),
            sockname: None,
            handle: None,
            transport: transport(entry.bound.kind),
        };
        Ok(Some(match entry.policy {
            Policy::RoundRobin => (ServerReply { sockname: entry.bound.sockname(), ..reply }, None),
            Policy::Shared => {
                let kind = match entry.bound.kind {
                    SocketKind::Udp => HandleKind::DgramNative,
                    _ => HandleKind::NetNative,
                };
                let socket = entry.bound.socket.try_clone()?;
                (ServerReply { handle: Some(kind), ..reply }, Some(socket))
            }
        }))
    }

    /// Accepts one connection on a listener for which `wanted` says that it can be placed.
    pub(super) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        wanted: impl Fn(ListenerId) -> bool,
    ) -> Poll<Arrival> {
        let last_served = self.last_served;
        let behind = self.entries.range_mut((Bound::Excluded(last_served), Bound::Unbounded));
        let mut found = first_arrival(behind, cx, &wanted);
        if found.is_none() {
            found = first_arrival(self.entries.range_mut(..=last_served), cx, &wanted);
        }
        let Some((id, accepted)) = found else { return Poll::Pending };
        self.last_served = id;
        Poll::Ready(match accepted {
            Ok(connection) => {
                self.failing.remove(&id);
                Arrival::Connection(id, connection)
            }
            Err(error) => Arrival::Failure { listener: id, error, first: self.failing.insert(id) },
        })
    }
}

fn acceptor_for(policy: Policy) -> Acceptor {
    match policy {
        Policy::RoundRobin => Acceptor::Unwatched,
        Policy::Shared => Acceptor::Workers,
    }
}

fn first_arrival<'a>(
    entries: impl Iterator<Item = (&'a ListenerId, &'a mut Entry)>,
    cx: &mut Context<'_>,
    wanted: impl Fn(ListenerId) -> bool,
) -> Option<(ListenerId, io::Result<OwnedFd>)> {
    for (id, entry) in entries {
        if !wanted(*id) {
            entry.acceptor.rest(cx);
        } else if let Poll::Ready(accepted) = entry.acceptor.poll(&entry.bound.socket, cx) {
            return Some((*id, accepted));
        }
    }
    None
}

fn transport(kind: SocketKind) -> Transport {
    match kind {
        SocketKind::Udp => Transport::Udp,
        SocketKind::UnixStream | SocketKind::UnixDatagram => Transport::Pipe,
        SocketKind::Tcp | SocketKind::Other => Transport::Tcp,
    }
}

/// The connections that the primary has accepted and not let go of.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: HashMap<ConnectionId, Arc<OwnedFd>>,
}

impl Connections {
    pub(super) fn keep(&mut self, id: ConnectionId, socket: OwnedFd) {
        self.open.insert(id, Arc::new(socket));
    }

    /// Goes on with one that may be on its way to a worker.
    pub(super) fn resume(&mut self, id: ConnectionId, socket: Arc<OwnedFd>) {
        self.open.insert(id, socket);
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<Arc<OwnedFd>> {
        self.open.get(&id).cloned()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (ConnectionId, &OwnedFd)> {
        self.open.iter().map(|(id, socket)| (*id, &**socket))
    }

    pub(super) fn release(&mut self, id: ConnectionId) {
        self.open.remove(&id);
    }
}
