//! The programs that run in the kernel for each connection (`BPF_PROG_TYPE_SK_REUSEPORT`): at
//! its SYN, or its ACK where SYN cookies are in use; for UDP at each datagram.
//!
//! ```text
//!   left by a closed socket? ──yes──► waiting room, or the list by turn: its heir
//!        │ no
//!   list empty? ──────────────yes──► waiting room
//!        │ no
//!   place in the list: by turn, by address, or by peer
//!        │
//!   its seat's socket ──cannot be had──► the next place, three times, then waiting room
//!        │ chosen
//!   count it
//! ```
//!
//! Whatever goes wrong, the answer is to pass (`SK_PASS`), never to drop, which would refuse
//! the connection. Passing without a choice leaves it to the kernel's own choice over the whole
//! group: it then waits in some queue of the primary's. That takes the waiting room's socket to
//! be gone.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::address_hash::{FIRST_FACTOR, LAST_FACTOR, SECOND_FACTOR, SHIFTS};
use super::assembler::Operation::{Add, Modulo, Move, Multiply, ShiftRight, Xor};
use super::assembler::Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Stack};
use super::assembler::Width::{Bits8, Bits32, Bits64};
use super::assembler::{Assembler, Condition, Helper, Instruction, Label, Register};
use super::board::{COUNT_WORD, DEALT_WORD, LIST_WORD, TURN_WORD};
use super::{CAPACITY, Dealing, bpf};

/// How many places of the list are tried. A socket cannot be had only if somebody who shares
/// it has shut it down.
const ATTEMPTS: usize = 3;

/// `SK_PASS`.
const PASS: i32 = 1;

/// Offsets in `struct sk_reuseport_md`.
const CONTEXT_HASH: i16 = 32;
const CONTEXT_MIGRATING: i16 = 48;

/// `BPF_HDR_START_NET`: offsets count from the IP header.
const FROM_IP_HEADER: i32 = 1;
/// Where an IPv4 header has the source address (RFC 791), and how long it is.
const IPV4_SOURCE: (i32, i32) = (12, 4);
/// Where an IPv6 header has it (RFC 8200); of which the first half says the network.
const IPV6_NETWORK: (i32, i32) = (8, 8);

/// Places on the stack, from its end: a map's key, and eight bytes of an address.
const KEY: i16 = -4;
const ADDRESS: i16 = -16;

/// Registers that keep their meaning throughout.
const CONTEXT: Register = R6;
const COUNT: Register = R7;
const PLACE: Register = R8;
const SEAT: Register = R9;

/// Who gets what waits at a socket that is closed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heir {
    /// The waiting room.
    WaitingRoom,
    /// Those in the list, in turn, whatever the dealing: there is no packet to go by. The waiting
    /// room if nobody is.
    List,
}

/// What the program reads and writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maps<'a> {
    /// The map of the board.
    pub(super) board: BorrowedFd<'a>,
    /// The sockets: the seats', and the waiting room's under [`CAPACITY`].
    pub(super) sockets: BorrowedFd<'a>,
}

/// Loads the program for that dealing.
///
/// # Errors
///
/// Those of [`bpf::load_program`].
pub(super) fn load(dealing: Dealing, heir: Heir, maps: Maps<'_>) -> io::Result<OwnedFd> {
    bpf::load_program(&assemble(dealing, heir, maps), "forkyard_deal")
}

fn assemble(dealing: Dealing, heir: Heir, maps: Maps<'_>) -> Vec<Instruction> {
    let mut assembler = Assembler::default();
    let labels = Labels {
        waiting_room: assembler.label(),
        chosen: assembler.label(),
        pass: assembler.label(),
    };
    let mut program = Program { assembler, maps, labels };
    program.look_whether_to_choose(heir);
    program.choose_number(dealing);
    program.find_place();
    program.choose_seat();
    program.choose_waiting_room();
    program.count_and_pass();
    program.assembler.finish()
}

/// Where the parts of the program meet.
#[derive(Clone, Copy)]
struct Labels {
    /// Nobody else is to have it.
    waiting_room: Label,
    /// The socket of `SEAT` has been chosen.
    chosen: Label,
    /// The end.
    pass: Label,
}

struct Program<'a> {
    assembler: Assembler,
    maps: Maps<'a>,
    labels: Labels,
}

impl Program<'_> {
    fn look_whether_to_choose(&mut self, heir: Heir) {
        let Labels { waiting_room, .. } = self.labels;
        // The context, which R1 is at the start, is needed in the end.
        self.assembler.set(CONTEXT, R1);
        if heir == Heir::WaitingRoom {
            self.jump_if_left_by_a_closed_socket(waiting_room);
        }
        // How many entries the list has.
        self.assembler.set(R1, COUNT_WORD.cast_signed());
        self.look_up_word();
        self.assembler.load(Bits64, COUNT, R0, 0);
        self.assembler.jump_if(COUNT, Condition::Equal, 0, waiting_room);
    }

    fn jump_if_left_by_a_closed_socket(&mut self, target: Label) {
        self.assembler.load(Bits64, R1, CONTEXT, CONTEXT_MIGRATING);
        self.assembler.jump_if(R1, Condition::NotEqual, 0, target);
    }

    /// The number by which the place is found. What a closed socket leaves has no packet.
    fn choose_number(&mut self, dealing: Dealing) {
        let (by_turn, chosen) = (self.assembler.label(), self.assembler.label());
        if dealing != Dealing::InTurn {
            self.jump_if_left_by_a_closed_socket(by_turn);
        }
        match dealing {
            Dealing::InTurn => {}
            Dealing::ByAddress => self.hash_address(),
            Dealing::ByPeer => self.hash_peer(),
        }
        if dealing != Dealing::InTurn {
            self.assembler.jump(chosen);
        }
        self.assembler.place(by_turn);
        self.take_turn();
        self.assembler.place(chosen);
    }

    /// The number of the turn, and the next one for the next.
    fn take_turn(&mut self) {
        self.assembler.set(R1, TURN_WORD.cast_signed());
        self.look_up_word();
        self.assembler.set(PLACE, 1);
        self.assembler.fetch_add(R0, PLACE);
    }

    /// The kernel's hash over both addresses and ports.
    fn hash_peer(&mut self) {
        self.assembler.load(Bits32, PLACE, CONTEXT, CONTEXT_HASH);
    }

    /// The same as [`address_hash`](super::address_hash()) of the packet's source.
    fn hash_address(&mut self) {
        let (version_6, hash) = (self.assembler.label(), self.assembler.label());
        // The first four bits are the version.
        self.load_from_ip_header((0, 1));
        self.assembler.load(Bits8, R1, Stack, ADDRESS);
        self.assembler.operate(ShiftRight, R1, 4);
        self.assembler.jump_if(R1, Condition::Equal, 6, version_6);
        // IPv4: the whole address, and a zero for the second word.
        self.load_from_ip_header(IPV4_SOURCE);
        self.assembler.set(R1, 0);
        self.assembler.store(Bits32, Stack, ADDRESS + 4, R1);
        self.assembler.jump(hash);
        // IPv6: the two words of its network.
        self.assembler.place(version_6);
        self.load_from_ip_header(IPV6_NETWORK);
        self.assembler.place(hash);
        self.mix_address();
    }

    /// The arithmetic of [`address_hash`](super::address_hash()).
    fn mix_address(&mut self) {
        let assembler = &mut self.assembler;
        assembler.load(Bits32, PLACE, Stack, ADDRESS);
        assembler.load(Bits32, R2, Stack, ADDRESS + 4);
        for (shift, factor) in SHIFTS.into_iter().zip([FIRST_FACTOR, SECOND_FACTOR, LAST_FACTOR]) {
            // place *= factor
            assembler.operate_32(Multiply, PLACE, factor.cast_signed());
            // place ^= place >> shift
            assembler.operate_32(Move, R1, PLACE);
            assembler.operate_32(ShiftRight, R1, shift.cast_signed());
            assembler.operate_32(Xor, PLACE, R1);
            // The second word comes in after the first round, and is nothing after that.
            assembler.operate_32(Xor, PLACE, R2);
            assembler.set(R2, 0);
        }
    }

    /// Copies bytes of the IP header to `ADDRESS`. A packet without them is the primary's.
    fn load_from_ip_header(&mut self, (offset, length): (i32, i32)) {
        let assembler = &mut self.assembler;
        assembler.set(R1, CONTEXT);
        assembler.set(R2, offset);
        assembler.point_to_stack(R3, ADDRESS);
        assembler.set(R4, length);
        assembler.set(R5, FROM_IP_HEADER);
        assembler.call(Helper::LoadBytesRelative);
        assembler.jump_if(R0, Condition::NotEqual, 0, self.labels.waiting_room);
    }

    fn find_place(&mut self) {
        self.assembler.operate(Modulo, PLACE, COUNT);
    }

    fn choose_seat(&mut self) {
        let Labels { waiting_room, chosen, .. } = self.labels;
        for _ in 0..ATTEMPTS {
            // The seat that stands there.
            self.assembler.set(R1, PLACE);
            self.assembler.operate(Add, R1, LIST_WORD.cast_signed());
            self.look_up_word();
            self.assembler.load(Bits64, SEAT, R0, 0);
            self.select_socket();
            self.assembler.jump_if(R0, Condition::Equal, 0, chosen);
            // The next place, around the end of the list.
            let next = self.assembler.label();
            self.assembler.operate(Add, PLACE, 1);
            self.assembler.jump_if(PLACE, Condition::Less, COUNT, next);
            self.assembler.set(PLACE, 0);
            self.assembler.place(next);
        }
        self.assembler.jump(waiting_room);
    }

    fn choose_waiting_room(&mut self) {
        self.assembler.place(self.labels.waiting_room);
        self.assembler.set(SEAT, i32::from(CAPACITY));
        self.select_socket();
        self.assembler.jump_if(R0, Condition::NotEqual, 0, self.labels.pass);
        self.assembler.jump(self.labels.chosen);
    }

    fn count_and_pass(&mut self) {
        self.assembler.place(self.labels.chosen);
        self.assembler.set(R1, SEAT);
        self.assembler.operate(Add, R1, DEALT_WORD.cast_signed());
        self.look_up_word();
        self.assembler.set(R1, 1);
        self.assembler.fetch_add(R0, R1);
        self.assembler.place(self.labels.pass);
        self.assembler.set(R0, PASS);
        self.assembler.exit();
    }

    /// R0 becomes a pointer to the word of the board whose number is in R1.
    fn look_up_word(&mut self) {
        self.assembler.store(Bits32, Stack, KEY, R1);
        self.assembler.load_map(R1, self.maps.board);
        self.assembler.point_to_stack(R2, KEY);
        self.assembler.call(Helper::MapLookup);
        // There is none beyond the end of the board only, which nothing leads to.
        self.assembler.jump_if(R0, Condition::Equal, 0, self.labels.pass);
    }

    /// Chooses the socket of `SEAT`. R0 becomes 0 if it could.
    fn select_socket(&mut self) {
        self.assembler.store(Bits32, Stack, KEY, SEAT);
        self.assembler.set(R1, CONTEXT);
        self.assembler.load_map(R2, self.maps.sockets);
        self.assembler.point_to_stack(R3, KEY);
        self.assembler.set(R4, 0);
        self.assembler.call(Helper::SelectReuseport);
    }
}
