//! The addresses that are bound, and the connections that came in by them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use forkyard_core::{
    Access, Choice, ConnectionId, Dealing, DealtLane, Endpoint, LaneId, ListenerId, Policy,
};
use forkyard_ipc::{HandleKind, ServerReply, Transport, Value};
use forkyard_sys::inherited::InheritedFds;
use forkyard_sys::reuseport::{Heir, NotPermitted};
use forkyard_sys::sockets::{SocketKind, accept_queue, set_blocking};

use super::acceptor::Acceptor;
use super::binding::{self, bind, bind_group};
use super::census::Mark;
use super::check;
use super::lanes::Lanes;
use super::ruling::{Ruling, rule};
use crate::event::ListenerInfo;

/// One bound address.
#[derive(Debug)]
struct Entry {
    /// Its socket; where the kernel deals, that is the waiting room.
    bound: binding::Bound,
    /// Who accepts from that.
    acceptor: Acceptor,
    /// The workers' own sockets, where the kernel deals.
    lanes: Option<Lanes>,
    listed: Listed,
}

/// What is known of a bound address beside its sockets.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) dealing: Dealing,
    /// How workers come by it.
    pub(super) access: Access,
    /// Where it is and how it is dealt, for people.
    pub(super) info: ListenerInfo,
    /// Names it on the wire; ends in its id.
    pub(super) key: String,
    /// What the first TLS worker brought, for all of them to share.
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

    /// Binds an address. Returns where it ended up and how it is dealt.
    pub(super) fn open(
        &mut self,
        id: ListenerId,
        (endpoint, policy, access): (&Endpoint, Policy, Access),
        means: (Option<u32>, &InheritedFds),
    ) -> io::Result<(ListenerInfo, Dealing)> {
        let wanted = (endpoint, access);
        let ruling = rule(wanted, policy, permitted);
        let (bound, lanes, ruling) = match bind_as(ruling, wanted, means) {
            // It was not when it was tried, a moment before.
            Err(error) if is_not_permitted(&error) => {
                let ruling = rule(wanted, policy, || Err(not_permitted(&error)));
                bind_as(ruling, wanted, means)?
            }
            bound => bound?,
        };
        if access == Access::Inherited {
            // As systemd passes sockets, and most programs expect them. Nobody here accepts.
            set_blocking(&bound.socket)?;
        }
        let Ruling { policy, reason, dealing, .. } = ruling;
        let address = bound.describe(endpoint);
        let key = format!("{address}#{id}");
        let info = ListenerInfo { address, policy, reason };
        let listed = Listed { dealing, access, info: info.clone(), key, data: None };
        self.resume(id, bound, lanes, listed);
        Ok((info, dealing))
    }

    /// Goes on with an address that is bound.
    pub(super) fn resume(
        &mut self,
        id: ListenerId,
        bound: binding::Bound,
        lanes: Option<Lanes>,
        listed: Listed,
    ) {
        let acceptor = acceptor_for(&listed, bound.kind);
        self.entries.insert(id, Entry { bound, acceptor, lanes, listed });
    }

    /// All of them, to be gone on with by another program of this process.
    pub(super) fn all(
        &self,
    ) -> impl Iterator<Item = (ListenerId, &binding::Bound, Option<&Lanes>, &Listed)> {
        self.entries
            .iter()
            .map(|(id, entry)| (*id, &entry.bound, entry.lanes.as_ref(), &entry.listed))
    }

    /// All of them, for people.
    pub(super) fn infos(&self) -> Vec<ListenerInfo> {
        self.entries.values().map(|entry| entry.listed.info.clone()).collect()
    }

    /// A listener's lanes, if the kernel deals.
    pub(super) fn lanes(&mut self, id: ListenerId) -> Option<&mut Lanes> {
        self.entries.get_mut(&id)?.lanes.as_mut()
    }

    /// The lanes of all listeners.
    pub(super) fn all_lanes(&self) -> impl Iterator<Item = (ListenerId, &Lanes)> {
        self.entries.iter().filter_map(|(id, entry)| Some((*id, entry.lanes.as_ref()?)))
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
        self.entries.get(&id).map_or("", |entry| &entry.listed.info.address)
    }

    pub(super) fn kind(&self, id: ListenerId) -> Option<SocketKind> {
        self.entries.get(&id).map(|entry| entry.bound.kind)
    }

    /// By which rule its connections find their workers, if the primary has a say in it.
    pub(super) fn choice(&self, id: ListenerId) -> Option<Choice> {
        match self.entries.get(&id)?.listed.dealing {
            Dealing::ByPrimary(choice) | Dealing::ByKernel(choice) => Some(choice),
            Dealing::ByWorkers => None,
        }
    }

    pub(super) fn socket(&self, id: ListenerId) -> Option<BorrowedFd<'_>> {
        self.entries.get(&id).map(|entry| entry.bound.socket.as_fd())
    }

    /// What is spoken on its connections, as far as it shows: only TLS servers have keys to
    /// share.
    pub(super) fn transport_above(&self, id: ListenerId) -> check::Transport {
        let data = self.entries.get(&id).and_then(|entry| entry.listed.data.as_ref());
        match data.and_then(|data| data.get("ticketKeys")) {
            Some(_) => check::Transport::Tls,
            None => check::Transport::Plain,
        }
    }

    /// What `newconn` needs to say about a connection.
    pub(super) fn key_and_transport(&self, id: ListenerId) -> Option<(&str, Transport)> {
        let entry = self.entries.get(&id)?;
        Some((&entry.listed.key, transport(entry.bound.kind)))
    }

    /// The reply to a worker that gets the address, and the socket that goes with it if
    /// the worker accepts by itself: that of all, or its lane.
    pub(super) fn grant(
        &mut self,
        id: ListenerId,
        lane: Option<LaneId>,
        data: Option<Value>,
    ) -> io::Result<Option<(ServerReply, Option<OwnedFd>)>> {
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(None) };
        if entry.listed.data.is_none() {
            entry.listed.data = data;
        }
        let socket = entry.lend(lane)?;
        let sockname = if socket.is_none() { entry.bound.sockname() } else { None };
        let handle = match entry.bound.kind {
            SocketKind::Udp => HandleKind::DgramNative,
            _ => HandleKind::NetNative,
        };
        let reply = ServerReply {
            errno: 0,
            key: entry.listed.key.clone(),
            data: entry.listed.data.clone(),
            sockname,
            handle: socket.is_some().then_some(handle),
            transport: transport(entry.bound.kind),
        };
        Ok(Some((reply, socket)))
    }

    /// What a worker is started with.
    pub(super) fn lend(&mut self, id: ListenerId, lane: Option<LaneId>) -> io::Result<OwnedFd> {
        let entry = self.entries.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        let socket = entry.lend(lane)?.ok_or(io::ErrorKind::Unsupported)?;
        if lane.is_some() {
            // One for all stays as the workers that have it have set it: it is the same for all
            // of them, and whoever expects not to wait in accept(2) would.
            set_blocking(&socket)?;
        }
        Ok(socket)
    }

    /// Has the kernel deal to these lanes from now on.
    pub(super) fn deal_to(&mut self, id: ListenerId, dealt: Vec<DealtLane>) -> io::Result<()> {
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(()) };
        let Some(lanes) = &mut entry.lanes else { return Ok(()) };
        let nobody_was_there = lanes.dealt().is_empty();
        lanes.deal_to(dealt)?;
        let socket = &mut entry.bound.socket;
        // Where the primary does not accept. Datagrams cannot change their socket.
        let is_left_to_workers =
            entry.listed.access == Access::Inherited && entry.bound.kind == SocketKind::Tcp;
        if is_left_to_workers
            && !lanes.dealt().is_empty()
            && (nobody_was_there || accept_queue(socket.as_fd())?.waiting > 0)
        {
            // What has waited for somebody to come goes to those who are there now, once the
            // socket is nobody's any more. So do handshakes that began there, which cannot be
            // seen and would end where nobody accepts.
            *socket = lanes.renew_waiting_room()?;
        }
        Ok(())
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

impl Entry {
    /// What a worker accepts from by itself.
    fn lend(&mut self, lane: Option<LaneId>) -> io::Result<Option<OwnedFd>> {
        match (self.listed.dealing, &mut self.lanes, lane) {
            (Dealing::ByPrimary(_), ..) => Ok(None),
            (Dealing::ByKernel(_), Some(lanes), Some(lane)) => lanes.lend(lane).map(Some),
            (Dealing::ByKernel(_) | Dealing::ByWorkers, ..) => {
                self.bound.socket.try_clone().map(Some)
            }
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<OwnedFd>> {
        // The waiting room first: who waits there was nobody's from the beginning.
        match (self.acceptor.poll(self.bound.socket.as_fd(), cx), &mut self.lanes) {
            (Poll::Pending, Some(lanes)) => lanes.poll_accept(cx),
            (accepted, _) => accepted,
        }
    }

    fn rest(&mut self, cx: &mut Context<'_>) {
        self.acceptor.rest(cx);
        if let Some(lanes) = &mut self.lanes {
            lanes.rest(cx);
        }
    }
}

/// Binds an address as it was ruled.
fn bind_as(
    ruling: Ruling,
    (endpoint, access): (&Endpoint, Access),
    (backlog, inherited): (Option<u32>, &InheritedFds),
) -> io::Result<(binding::Bound, Option<Lanes>, Ruling)> {
    let Some(by_kernel) = ruling.by_kernel else {
        return Ok((bind(endpoint, backlog, inherited)?, None, ruling));
    };
    let heir = heir(access);
    let (bound, group) = bind_group(endpoint, backlog, (by_kernel, heir))?;
    let lanes = Lanes::new(group, (bound.kind, access), ruling.dealing.choice());
    Ok((bound, Some(lanes), ruling))
}

/// Who gets what a lane leaves when its worker has gone: whoever can give it to somebody.
fn heir(access: Access) -> Heir {
    match access {
        Access::Asked => Heir::WaitingRoom,
        Access::Inherited => Heir::List,
    }
}

fn permitted() -> Result<(), String> {
    forkyard_sys::reuseport::permitted().map_err(|why| not_permitted(&why))
}

fn not_permitted(why: &dyn std::fmt::Display) -> String {
    format!("not permitted to deal by BPF: {why}")
}

fn is_not_permitted(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<NotPermitted>())
}

/// Nobody can accept datagrams for somebody else.
fn acceptor_for(listed: &Listed, kind: SocketKind) -> Acceptor {
    match listed.dealing {
        _ if listed.access == Access::Inherited => Acceptor::Workers,
        Dealing::ByPrimary(_) => Acceptor::Unwatched,
        Dealing::ByKernel(_) if kind != SocketKind::Udp => Acceptor::Unwatched,
        Dealing::ByWorkers | Dealing::ByKernel(_) => Acceptor::Workers,
    }
}

fn first_arrival<'a>(
    entries: impl Iterator<Item = (&'a ListenerId, &'a mut Entry)>,
    cx: &mut Context<'_>,
    wanted: impl Fn(ListenerId) -> bool,
) -> Option<(ListenerId, io::Result<OwnedFd>)> {
    for (id, entry) in entries {
        if !wanted(*id) {
            entry.rest(cx);
        } else if let Poll::Ready(accepted) = entry.poll_accept(cx) {
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

/// A connection that the primary has accepted and not let go of.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) socket: OwnedFd,
    /// By what it is found again, if its end is of interest.
    pub(super) mark: Option<Mark>,
}

/// The connections that the primary has accepted and not let go of.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: HashMap<ConnectionId, Kept>,
}

impl Connections {
    pub(super) fn keep(&mut self, id: ConnectionId, kept: Kept) {
        self.open.insert(id, kept);
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<BorrowedFd<'_>> {
        self.open.get(&id).map(|kept| kept.socket.as_fd())
    }

    /// Its mark, if it has one; `None` if it is none of these.
    pub(super) fn mark(&self, id: ConnectionId) -> Option<Option<Mark>> {
        self.open.get(&id).map(|kept| kept.mark)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (ConnectionId, &Kept)> {
        self.open.iter().map(|(id, kept)| (*id, kept))
    }

    pub(super) fn release(&mut self, id: ConnectionId) {
        self.open.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use forkyard_core::{Host, SlotId};
    use forkyard_sys::sockets::inode;

    use super::*;

    const LANE: LaneId = LaneId(0);

    /// An address that is dealt to one lane, and to none before; `None` if that is not permitted.
    fn open(endpoint: &Endpoint, id: ListenerId) -> Option<Listeners> {
        let mut listeners = Listeners::new();
        let wanted = (endpoint, Policy::Kernel, Access::Inherited);
        let (_, dealing) = listeners.open(id, wanted, (None, &InheritedFds::none())).unwrap();
        if !dealing.has_lanes() {
            println!("NOT TESTED: not permitted to deal by BPF");
            return None;
        }
        listeners.lend(id, Some(LANE)).unwrap();
        Some(listeners)
    }

    /// Which of these lists have the waiting room renewed.
    fn renewing(endpoint: &Endpoint, lists: &[usize]) -> Option<Vec<bool>> {
        let id = ListenerId(1);
        let mut listeners = open(endpoint, id)?;
        let room = |listeners: &Listeners| inode(listeners.socket(id).unwrap()).unwrap();
        let renews = |length: &usize| {
            let before = room(&listeners);
            let dealt = vec![DealtLane { slot: SlotId(0), lane: LANE }; *length];
            listeners.deal_to(id, dealt).unwrap();
            room(&listeners) != before
        };
        Some(lists.iter().map(renews).collect())
    }

    #[test]
    fn a_socket_for_all_stays_as_its_workers_have_set_it() {
        let host = Host::V4(Ipv4Addr::LOCALHOST);
        let tcp = Endpoint::Tcp { host, port: 0, only_v6: false };
        let (mut listeners, id) = (Listeners::new(), ListenerId(1));
        let wanted = (&tcp, Policy::Shared, Access::Inherited);
        listeners.open(id, wanted, (None, &InheritedFds::none())).unwrap();
        let first = std::net::TcpListener::from(listeners.lend(id, None).unwrap());
        first.set_nonblocking(true).unwrap();
        listeners.lend(id, None).unwrap();
        assert_eq!(first.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    /// Handshakes that have begun there cannot be seen.
    #[test]
    fn the_waiting_room_is_cleared_when_somebody_comes_though_nothing_seems_to_wait() {
        let host = Host::V4(Ipv4Addr::LOCALHOST);
        let tcp = Endpoint::Tcp { host, port: 0, only_v6: false };
        let Some(renewed) = renewing(&tcp, &[0, 1, 1, 0, 1]) else { return };
        assert_eq!(renewed, [false, true, false, false, true]);
    }

    #[test]
    fn datagrams_stay_in_the_waiting_room() {
        let host = Host::V4(Ipv4Addr::LOCALHOST);
        let udp = Endpoint::Udp { host, port: 0, only_v6: false, reuse_address: false };
        let Some(renewed) = renewing(&udp, &[0, 1, 0, 1]) else { return };
        assert_eq!(renewed, [false; 4]);
    }
}
