//! One address dealt out to many sockets by a program in the kernel, without the primary on
//! the path.
//!
//! ```text
//!                         ┌► seat 0's socket ──► its worker
//!   SYN ──► the program ──┼► seat 1's socket ──► its worker
//!             │  reads    └► waiting room    ──► the primary
//!           the board ◄── the primary: deal_to, dealt
//! ```
//!
//! A [`Group`] owns all of that. Every slot has a *seat*: a listening socket that its workers
//! get one after the other, and that the primary keeps, so its queue outlives them. The *list*
//! says which seats get connections; what finds it empty goes to the *waiting room*, a socket of
//! the group that is the primary's alone. So no connection is refused, whoever is up.
//!
//! # What holds, and what the primary has to do
//!
//! - **A seat that is left out can still get connections**, a few milliseconds later or much
//!   later: the kernel chooses at the SYN, and the connection appears at that socket when its
//!   last acknowledgement comes. The primary watches the sockets of seats that nobody accepts
//!   from, and places what comes ([`accept_queue`](crate::sockets::accept_queue), accept).
//! - **What waits at a socket when it is closed for good goes to its [`Heir`]**: the waiting room
//!   or whoever is in the list, complete connections and half-open ones. Closed for good means by
//!   everybody who has it. `net.ipv4.tcp_migrate_req` plays no part: the program says that it does
//!   so. [`Group::renew`] gives a seat a new socket, so that the old one can be closed.
//! - A program that *shuts down* (`shutdown(2)`) a socket it was given ends it for everybody.
//!   What waits there goes to the waiting room too, and the seat is passed over from then on.
//! - The address is the group's alone: who binds it too gets `AddrInUse`, with `SO_REUSEADDR`,
//!   `SO_REUSEPORT` or both, before or after. The kernel lets sockets share an address only if
//!   they belong to one user, so those of a group belong to one who does not exist. That is why
//!   `CAP_CHOWN` is needed. What is accepted belongs to whoever accepts; but `ss -e` shows the
//!   number at the sockets that listen, and routing rules by user (`ip rule … uidrange`) see it in
//!   answers to a SYN.
//! - A seat whose queue is full drops the SYN; the client repeats it after a second, and the
//!   program is asked anew. In turn that is another seat, by address the same one.
//! - Where SYN cookies are in use the program is asked at the SYN, which leaves nothing behind,
//!   and again at the acknowledgement. So turns are not even then, and [`Group::dealt`] counts
//!   choices rather than connections.
//! - UDP has no queue that could be moved: what was at a socket when it is closed is lost, as are
//!   datagrams in the waiting room. With [`Dealing::ByPeer`] and a table that changes little, a
//!   peer stays with its seat.
//!
//! # What it takes
//!
//! Linux 5.14 (for what is left by closed sockets; shared maps came with 5.5, atomic fetching
//! with 5.12), `CAP_BPF` and `CAP_CHOWN` while sockets are made. [`permitted`] tells. Without
//! `CAP_BPF` the kernel would take a classic BPF program (`SO_ATTACH_REUSEPORT_CBPF`), which can
//! choose by chance or by processor, by a socket's number in the order of binding. It has no
//! memory and no map, so it could neither take turns nor leave out a seat, and by chance is what
//! the kernel does without any program; it is left out on purpose.
//!
//! | file | is about |
//! |---|---|
//! | `group` | the sockets |
//! | `board` | what the primary and the program tell each other |
//! | `program` | the program |
//! | `address_hash` | what it makes of an address |
//! | `assembler` | its instructions |
//! | `bpf` | the system call |
//! | `permission` | whether all that is allowed |

mod address_hash;
mod assembler;
mod board;
mod bpf;
mod group;
mod permission;
mod program;

pub use address_hash::address_hash;
pub use group::{Group, Kind, Options, Parts};
pub use permission::{NotPermitted, permitted};
pub use program::Heir;

/// How many seats a group can have.
pub const CAPACITY: u16 = 1024;

/// How many entries a list can have.
pub const LIST_LIMIT: usize = 4096;

/// The number of a seat, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat(pub u16);

/// How a connection finds its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dealing {
    /// One after the other.
    InTurn,
    /// By [`address_hash()`] of the client's address.
    ByAddress,
    /// By the kernel's hash over the addresses and ports of both ends, which is another one
    /// after each boot.
    ByPeer,
}
