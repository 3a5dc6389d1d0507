//! The sockets of one address, and who gets its connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Uid, fchown};
use rustix::net::{SocketType, bind, sockopt};

use super::board::Board;
use super::bpf::{MapKind, MapMemory, create_map, put_socket};
use super::permission::NotPermitted;
use super::program::{self, Heir, Maps};
use super::{CAPACITY, Dealing, LIST_LIMIT, Seat};
use crate::sockets::{
    LocalAddress, OnlyV6, SocketKind, accept_queue, inet_socket, listen, local_address, socket_kind,
};

/// The user to whom the sockets of groups belong, for the kernel's rule that only sockets of
/// one user can share an address. No system gives this number to anybody: it is in the last
/// range below 2³¹, behind those that systemd's `UIDS-GIDS.md` knows.
const SOCKET_OWNER: u32 = 0x7fff_464b;

/// What kind of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP; the sockets listen, with room for that many connections each.
    Stream {
        /// How many connections may wait at each socket; the kernel caps it at
        /// `net.core.somaxconn`.
        backlog: u32,
    },
    /// UDP.
    Datagram,
}

/// How a group is to be.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// TCP or UDP.
    pub kind: Kind,
    /// Whether an IPv6 address leaves IPv4 alone.
    pub only_v6: OnlyV6,
    /// How many seats there are at first.
    pub seats: u16,
    /// How connections find their places in the list.
    pub dealing: Dealing,
    /// Who gets what waits at a socket that is closed for good.
    pub heir: Heir,
}

/// One address, whose connections are dealt out to the seats' sockets by a program in the
/// kernel. See [the module](super) for what holds of it.
#[derive(Debug)]
pub struct Group {
    waiting_room: OwnedFd,
    seats: Vec<OwnedFd>,
    /// The map of the sockets.
    sockets: OwnedFd,
    board: Board,
}

/// All that a group consists of, for the next image of the process.
#[derive(Clone, Debug)]
pub struct Parts<Fd = OwnedFd> {
    /// The waiting room's socket.
    pub waiting_room: Fd,
    /// The seats' sockets, from seat 0 on.
    pub seats: Vec<Fd>,
    /// The map in which the program finds the sockets.
    pub sockets: Fd,
    /// The map that says who gets connections.
    pub board: Fd,
}

impl Group {
    /// Binds the address, and for TCP listens on it. Until the first [`Self::deal_to`]
    /// everything goes to the waiting room. Port 0 picks a free one.
    ///
    /// # Errors
    ///
    /// - `AddrInUse` if anybody else has the address, whatever options either has set, and the
    ///   other errors of `bind(2)` and `listen(2)`.
    /// - `InvalidInput` for more than [`CAPACITY`] seats.
    /// - One that holds a [`NotPermitted`].
    pub fn bind(address: SocketAddr, options: Options) -> io::Result<Self> {
        let Dealer { board, sockets, program } = Dealer::new(options.dealing, options.heir)?;
        let waiting_room = open_group(address, options, program.as_fd())?;
        put_socket(sockets.as_fd(), u32::from(CAPACITY), waiting_room.as_fd())?;
        let mut group = Self { waiting_room, seats: Vec::new(), sockets, board };
        group.add_seats(options.seats)?;
        Ok(group)
    }

    /// Puts the parts together that another image of this process had.
    ///
    /// # Errors
    ///
    /// `InvalidData` if that one was of a version whose groups this one does not understand.
    pub fn from_parts(parts: Parts) -> io::Result<Self> {
        let Parts { waiting_room, seats, sockets, board } = parts;
        Ok(Self { waiting_room, seats, sockets, board: Board::inherit(board)? })
    }

    /// Takes it apart. As long as all the parts are open nothing changes for clients.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        let Self { waiting_room, seats, sockets, board } = self;
        Parts { waiting_room, seats, sockets, board: board.into_map() }
    }

    /// The parts as they are, to be kept through an exec.
    #[must_use]
    pub fn parts(&self) -> Parts<BorrowedFd<'_>> {
        Parts {
            waiting_room: self.waiting_room.as_fd(),
            seats: self.seats.iter().map(AsFd::as_fd).collect(),
            sockets: self.sockets.as_fd(),
            board: self.board.map(),
        }
    }

    /// Where it is bound, with the real port.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        match local_address(self.waiting_room.as_fd())? {
            LocalAddress::Inet(address) => Ok(address),
            LocalAddress::Unix(_) | LocalAddress::Abstract(_) => {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
    }

    /// A seat's socket, for its workers, one after the other. `None` if there is no such seat.
    #[must_use]
    pub fn socket(&self, seat: Seat) -> Option<BorrowedFd<'_>> {
        self.seats.get(usize::from(seat.0)).map(AsFd::as_fd)
    }

    /// The socket that gets what no seat is to have: for the primary alone.
    #[must_use]
    pub fn waiting_room(&self) -> BorrowedFd<'_> {
        self.waiting_room.as_fd()
    }

    /// How many seats there are.
    #[must_use]
    pub fn seat_count(&self) -> usize {
        self.seats.len()
    }

    /// Says who gets connections from now on, in place of the list from before: in turn those
    /// who are up; by address or peer a table, in which a seat stands as often as is its share.
    /// An empty list sends everything to the waiting room.
    ///
    /// Every connection that begins after this has returned goes by the new list. Costs no
    /// system call.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a seat that does not exist, or more than [`LIST_LIMIT`] entries.
    /// Nothing changes then.
    pub fn deal_to(&mut self, list: &[Seat]) -> io::Result<()> {
        if list.len() > LIST_LIMIT || list.iter().any(|seat| self.socket(*seat).is_none()) {
            let why = "a list that is too long, or a seat that does not exist";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.board.set_list(list);
        Ok(())
    }

    /// How often each seat was chosen so far, from seat 0 on, which is how many connections (or
    /// datagrams) it got but for those that came to nothing. What the primary moved later is
    /// counted where it went first.
    #[must_use]
    pub fn dealt(&self) -> Vec<u64> {
        (0..CAPACITY).take(self.seats.len()).map(|seat| self.dealt_to(Seat(seat))).collect()
    }

    /// How many connections (or datagrams) one seat got so far; none for one that does not exist.
    #[must_use]
    pub fn dealt_to(&self, seat: Seat) -> u64 {
        if self.socket(seat).is_none() { 0 } else { self.board.dealt(seat.0) }
    }

    /// How often the waiting room was, for what was left by closed sockets too.
    #[must_use]
    pub fn dealt_to_waiting_room(&self) -> u64 {
        self.board.dealt(CAPACITY)
    }

    /// Adds seats behind the present ones. They get nothing until the list names them.
    ///
    /// # Errors
    ///
    /// As [`Self::bind`], for all but the address. No seat is added then.
    pub fn add_seats(&mut self, more: u16) -> io::Result<()> {
        let former = self.seats.len();
        let total = former + usize::from(more);
        if total > usize::from(CAPACITY) {
            let why = format!("a group has at most {CAPACITY} seats");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        for _ in former..total {
            if let Err(error) = self.add_seat() {
                // What was added is in no list, so nothing is lost.
                let _ = self.keep_seats(former);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes the seats from number `count` on. What waits at their sockets goes to the waiting
    /// room as soon as the last process that has one has closed it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if one of them is in the list.
    pub fn keep_seats(&mut self, count: usize) -> io::Result<()> {
        if self.board.list().any(|seat| usize::from(seat.0) >= count) {
            let why = "a seat that is to get connections cannot be removed";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.seats.truncate(count);
        Ok(())
    }

    /// Gives a seat a new socket, and closes the one it had. Once whoever else has that one has
    /// closed it too, what waits there goes to its [`Heir`].
    ///
    /// # Errors
    ///
    /// As [`Self::add_seats`]; nothing changes then. `InvalidInput` if there is no such seat.
    pub fn renew(&mut self, seat: Seat) -> io::Result<()> {
        let place = usize::from(seat.0);
        if place >= self.seats.len() {
            let why = "a seat that does not exist";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.seats[place] = self.join(u32::from(seat.0))?;
        Ok(())
    }

    /// Gives the waiting room a new socket. What waits in it goes to those in the list, if that
    /// is what [`Heir`] says.
    ///
    /// # Errors
    ///
    /// As [`Self::add_seats`]; nothing changes then.
    pub fn renew_waiting_room(&mut self) -> io::Result<()> {
        self.waiting_room = self.join(u32::from(CAPACITY))?;
        Ok(())
    }

    fn add_seat(&mut self) -> io::Result<()> {
        let number = u32::try_from(self.seats.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let socket = self.join(number)?;
        self.seats.push(socket);
        Ok(())
    }

    /// A new socket joins the group of the waiting room's, in that place.
    fn join(&self, place: u32) -> io::Result<OwnedFd> {
        let (address, kind) = (self.local_address()?, self.kind()?);
        let socket = new_socket(address, kind, self.only_v6(address)?)?;
        open(&socket, address, kind)?;
        put_socket(self.sockets.as_fd(), place, socket.as_fd())?;
        Ok(socket)
    }

    fn kind(&self) -> io::Result<Kind> {
        let socket = self.waiting_room.as_fd();
        Ok(match socket_kind(socket)? {
            Some(SocketKind::Udp) => Kind::Datagram,
            _ => Kind::Stream { backlog: accept_queue(socket)?.limit },
        })
    }

    fn only_v6(&self, address: SocketAddr) -> io::Result<OnlyV6> {
        let only = address.is_ipv6() && sockopt::ipv6_v6only(&self.waiting_room)?;
        Ok(if only { OnlyV6::Yes } else { OnlyV6::No })
    }
}

/// What decides about connections, before there are any.
#[derive(Debug)]
pub(super) struct Dealer {
    board: Board,
    sockets: OwnedFd,
    program: OwnedFd,
}

impl Dealer {
    pub(super) fn new(dealing: Dealing, heir: Heir) -> Result<Self, NotPermitted> {
        Self::set_up(dealing, heir).map_err(NotPermitted::setting_up)
    }

    fn set_up(dealing: Dealing, heir: Heir) -> io::Result<Self> {
        let (kind, entries) = (MapKind::ReuseportSockets, u32::from(CAPACITY) + 1);
        let board = Board::new()?;
        let sockets = create_map(kind, MapMemory::Own, 8, entries, "forkyard_seats")?;
        let maps = Maps { board: board.map(), sockets: sockets.as_fd() };
        let program = program::load(dealing, heir, maps)?;
        Ok(Self { board, sockets, program })
    }
}

/// Makes the waiting room, which is the first socket of the group, so that nothing is dealt
/// without the program.
///
/// Other sockets can join it, but it joins none: the kernel does not let a socket share an
/// address that is taken if it has a program already (`sk_reuseport_cb` in
/// `net/ipv4/inet_connection_sock.c` and `udp.c`). So this fails if anybody has the address,
/// another group included.
fn open_group(
    address: SocketAddr,
    options: Options,
    program: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    let socket = new_socket(address, options.kind, options.only_v6)?;
    attach(&socket, program)?;
    open(&socket, address, options.kind)?;
    Ok(socket)
}

fn new_socket(address: SocketAddr, kind: Kind, only_v6: OnlyV6) -> io::Result<OwnedFd> {
    let (socket_type, reuse_address) = match kind {
        // As every listener here: a port is free again right after a restart.
        Kind::Stream { .. } => (SocketType::STREAM, true),
        Kind::Datagram => (SocketType::DGRAM, false),
    };
    let socket = inet_socket(&address, socket_type, only_v6)?;
    sockopt::set_socket_reuseaddr(&socket, reuse_address)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    give_away(&socket)?;
    Ok(socket)
}

/// Gives the socket to [`SOCKET_OWNER`], so that no other process can bind its address:
/// `SO_REUSEPORT` is for sockets of one user (`socket(7)`), and any program of ours could set it.
/// What is accepted from it belongs to whoever accepts.
pub(super) fn give_away(socket: &OwnedFd) -> Result<(), NotPermitted> {
    fchown(socket, Some(Uid::from_raw(SOCKET_OWNER)), None)
        .map_err(|error| NotPermitted::giving_away(error.into()))
}

fn open(socket: &OwnedFd, address: SocketAddr, kind: Kind) -> io::Result<()> {
    bind(socket, &address)?;
    match kind {
        Kind::Stream { backlog } => listen(socket.as_fd(), backlog),
        Kind::Datagram => Ok(()),
    }
}

/// Attaches the program to the group of the socket.
fn attach(socket: &OwnedFd, program: BorrowedFd<'_>) -> io::Result<()> {
    let number = program.as_raw_fd();
    // SAFETY: the option's value is the number of a descriptor, which is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_EBPF,
            (&raw const number).cast(),
            size_of_val(&number) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
