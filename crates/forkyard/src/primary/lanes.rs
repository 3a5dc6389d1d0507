//! One listener's lanes: the sockets to which the kernel deals, and who accepts from each.
//!
//! ```text
//!              reclaim                            lend (its worker has ended)
//!   Workers ──────────────▶ the primary's too ───────────────────────────────▶ Workers
//!      ▲      give back            │
//!      └───────────────────────────┘
//! ```
//!
//! What a lane belongs to is for the core to say. From a lane that the primary accepts from its
//! worker may still accept too: the kernel gives each connection to one of them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use forkyard_core::{
    Access, Choice, DealtLane, LaneId, LaneView, ORIGIN_CLASSES, SlotId, slot_of_class,
};
use forkyard_sys::reuseport::{Group, LIST_LIMIT, Parts, Seat};
use forkyard_sys::sockets::{SocketKind, accept_queue};

use super::acceptor::Acceptor;

const _: () = assert!(ORIGIN_CLASSES <= LIST_LIMIT, "a table by origin fits into a list");

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Lanes {
    group: Group,
    kind: SocketKind,
    access: Access,
    choice: Choice,
    /// Who accepts from each, by number.
    acceptors: Vec<Acceptor>,
    /// Those that the kernel deals to.
    dealt: Vec<DealtLane>,
    /// Where the next search for a connection begins, so that a busy lane does not starve the
    /// others.
    next: usize,
}

impl Lanes {
    /// None yet.
    pub(super) fn new(group: Group, (kind, access): (SocketKind, Access), choice: Choice) -> Self {
        Self { group, kind, access, choice, acceptors: Vec::new(), dealt: Vec::new(), next: 0 }
    }

    /// Those that another image of this process has left; `reclaimed` says for each whether the
    /// primary accepts from it.
    pub(super) fn resume(
        group: Group,
        (kind, access): (SocketKind, Access),
        choice: Choice,
        (reclaimed, dealt): (impl IntoIterator<Item = bool>, Vec<DealtLane>),
    ) -> Self {
        let acceptor = |reclaimed| if reclaimed { Acceptor::Unwatched } else { Acceptor::Workers };
        let acceptors = reclaimed.into_iter().map(acceptor).collect();
        Self { acceptors, dealt, ..Self::new(group, (kind, access), choice) }
    }

    /// All that has to stay open, to be gone on with by another image.
    pub(super) fn parts(&self) -> Parts<BorrowedFd<'_>> {
        self.group.parts()
    }

    /// Whether the primary accepts from each of them.
    pub(super) fn reclaimed(&self) -> impl Iterator<Item = bool> {
        self.acceptors.iter().map(|acceptor| !matches!(acceptor, Acceptor::Workers))
    }

    pub(super) fn dealt(&self) -> &[DealtLane] {
        &self.dealt
    }

    /// Gives a worker a lane, which is made if it has not been there before. The primary does
    /// not accept from it any more.
    pub(super) fn lend(&mut self, lane: LaneId) -> io::Result<OwnedFd> {
        let missing = (usize::from(lane.0) + 1).saturating_sub(self.group.seat_count());
        self.group.add_seats(u16::try_from(missing).map_err(io::Error::other)?)?;
        self.acceptors.resize_with(self.group.seat_count(), || Acceptor::Workers);
        self.set_acceptor(lane, Acceptor::Workers);
        let socket = self.group.socket(seat(lane)).ok_or(io::ErrorKind::NotFound)?;
        socket.try_clone_to_owned()
    }

    /// Has the primary accept from a lane. There is nothing to accept where datagrams come.
    pub(super) fn reclaim(&mut self, lane: LaneId) {
        if self.kind != SocketKind::Udp {
            self.set_acceptor(lane, Acceptor::Unwatched);
        }
    }

    /// Gives a lane a new socket. What waits at the old one goes to those who are dealt to, once
    /// its worker has let go of it too.
    pub(super) fn renew(&mut self, lane: LaneId) -> io::Result<()> {
        self.set_acceptor(lane, Acceptor::Workers);
        self.group.renew(seat(lane))
    }

    /// Gives the waiting room a new socket, which is returned. Whoever has the old one has to
    /// let go of it.
    pub(super) fn renew_waiting_room(&mut self) -> io::Result<OwnedFd> {
        self.group.renew_waiting_room()?;
        self.group.waiting_room().try_clone_to_owned()
    }

    /// Leaves a lane to its worker again.
    pub(super) fn give_back(&mut self, lane: LaneId) {
        self.set_acceptor(lane, Acceptor::Workers);
    }

    /// Has the kernel deal to these from now on.
    pub(super) fn deal_to(&mut self, lanes: Vec<DealtLane>) -> io::Result<()> {
        let list: Vec<_> = match self.choice {
            Choice::ByOrigin => table(&lanes),
            Choice::InTurn | Choice::LeastConnections => {
                lanes.iter().map(|dealt| seat(dealt.lane)).collect()
            }
        };
        self.group.deal_to(&list)?;
        self.dealt = lanes;
        Ok(())
    }

    /// The next connection on a lane that the primary accepts from.
    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<OwnedFd>> {
        let count = self.acceptors.len();
        for at in (self.next..count).chain(0..self.next.min(count)) {
            let socket = u16::try_from(at).ok().and_then(|lane| self.group.socket(Seat(lane)));
            let (Some(socket), Some(acceptor)) = (socket, self.acceptors.get_mut(at)) else {
                continue;
            };
            if let Poll::Ready(accepted) = acceptor.poll(socket, cx) {
                self.next = at + 1;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }

    /// Nobody wants a connection now.
    pub(super) fn rest(&mut self, cx: &mut Context<'_>) {
        self.acceptors.iter_mut().for_each(|acceptor| acceptor.rest(cx));
    }

    /// The lanes on which it can be of use to notice that nobody takes what waits: somebody else
    /// could have it, and would.
    pub(super) fn watchable(&self) -> impl Iterator<Item = (LaneId, BorrowedFd<'_>)> {
        let may_be_rescued = self.kind == SocketKind::Tcp
            && self.access == Access::Asked
            && self.choice == Choice::InTurn
            && self.acceptors.len() > 1;
        let lanes = self.dealt.iter().filter(move |_| may_be_rescued);
        lanes.filter_map(|dealt| Some((dealt.lane, self.group.socket(seat(dealt.lane))?)))
    }

    /// What is to be seen of those. A lane that cannot be looked at is passed over.
    pub(super) fn views(&self) -> impl Iterator<Item = (LaneId, LaneView)> {
        self.watchable().filter_map(|(lane, socket)| {
            let waiting = accept_queue(socket.as_fd()).ok()?.waiting;
            Some((lane, LaneView { waiting, dealt: self.group.dealt_to(seat(lane)) }))
        })
    }

    fn set_acceptor(&mut self, lane: LaneId, acceptor: Acceptor) {
        if let Some(entry) = self.acceptors.get_mut(usize::from(lane.0)) {
            *entry = acceptor;
        }
    }
}

/// A lane is a seat of the group's, under the same number.
fn seat(lane: LaneId) -> Seat {
    Seat(lane.0)
}

/// Which lane each class of origins comes to. A slot that has two for a moment, while its worker
/// is being replaced, is served by the later one.
fn table(lanes: &[DealtLane]) -> Vec<Seat> {
    let slots = || lanes.iter().map(|dealt| dealt.slot);
    let lane_of = |slot: SlotId| lanes.iter().rev().find(|dealt| dealt.slot == slot);
    let classes = (0..ORIGIN_CLASSES).filter_map(|class| slot_of_class(class, slots()));
    classes.filter_map(lane_of).map(|dealt| seat(dealt.lane)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(slot: u32, lane: u16) -> DealtLane {
        DealtLane { slot: SlotId(slot), lane: LaneId(lane) }
    }

    #[test]
    fn a_slot_keeps_its_clients_through_a_change_of_lanes() {
        let before = table(&[dealt(0, 0), dealt(1, 1)]);
        let meanwhile = table(&[dealt(0, 0), dealt(0, 2), dealt(1, 1)]);
        let after = table(&[dealt(0, 2), dealt(1, 1)]);
        assert_eq!(before.len(), ORIGIN_CLASSES);
        assert_eq!(meanwhile, after);
        for (before, after) in before.into_iter().zip(after) {
            assert_eq!(before == Seat(1), after == Seat(1));
        }
        assert_eq!(table(&[]), []);
    }
}
