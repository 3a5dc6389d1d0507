//! The memory that the primary and the program in the kernel share: who is to get
//! connections, whose turn it is, and how many each one got.
//!
//! ```text
//!  word  0          LAYOUT, so that the next image knows what it finds
//!        8          the turn; the program counts it on
//!       16          how many entries the list has; 0 sends everything to the waiting room
//!       32 …  1056  how many connections each seat got, and behind them the waiting room
//!     2048 …  6143  the list: each entry is a seat
//! ```
//!
//! It is one array map of 64-bit words, mapped into memory, so that a change is a store and
//! not a system call, and needs no privilege any more. Turn and count have cache lines of their
//! own: every connection writes the one and reads the other.
//!
//! **A list is not replaced at one stroke**, and need not be. The program reads the count, then
//! one entry, each of which is one word. Beside a change it finds for each the old or the new,
//! so it chooses a seat that the old list or the new one names: what it might as well have
//! chosen a moment earlier. When [`Board::set_list`] has returned, every run of the program
//! that begins sees the new list only. A run that began before may still choose a seat that has
//! been left out, and so may every handshake that began before, by milliseconds and more; whoever
//! leaves out a seat has to look at its queue in any case ([`super`]). Two lists with a switch,
//! or a map of maps, would bring nothing but that wait for the kernel's readers.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use super::bpf::{MapKind, MapMemory, create_map};
use super::{CAPACITY, LIST_LIMIT, Seat};

/// The number of this layout, and of the program that reads it. To be counted on with every
/// change that an older or newer Forkyard would misread after an upgrade.
const LAYOUT: u64 = 1;

const LAYOUT_WORD: u32 = 0;
pub(super) const TURN_WORD: u32 = 8;
pub(super) const COUNT_WORD: u32 = 16;
pub(super) const DEALT_WORD: u32 = 32;
pub(super) const LIST_WORD: u32 = 2048;
const WORDS: u32 = LIST_WORD + LIST_LIMIT as u32;
const BYTES: usize = WORDS as usize * size_of::<u64>();

/// The memory and its map. There is one writer of the list, hence `&mut`.
#[derive(Debug)]
pub(super) struct Board {
    memory: Memory,
    map: OwnedFd,
}

impl Board {
    /// An empty list, and nothing dealt yet.
    ///
    /// # Errors
    ///
    /// Those of making a map, and of mapping it.
    pub(super) fn new() -> io::Result<Self> {
        let map = create_map(MapKind::Array, MapMemory::Shared, 8, WORDS, "forkyard_board")?;
        let memory = Memory::of(map.as_fd())?;
        memory.word(LAYOUT_WORD).store(LAYOUT, Ordering::Relaxed);
        Ok(Self { memory, map })
    }

    /// The board that another image of this process has left.
    ///
    /// # Errors
    ///
    /// `InvalidData` for one with another layout; those of mapping what is none.
    pub(super) fn inherit(map: OwnedFd) -> io::Result<Self> {
        let memory = Memory::of(map.as_fd())?;
        if memory.word(LAYOUT_WORD).load(Ordering::Relaxed) != LAYOUT {
            let why = "the group of sockets was made by another version of Forkyard";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Self { memory, map })
    }

    pub(super) fn map(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }

    pub(super) fn into_map(self) -> OwnedFd {
        self.map
    }

    /// Replaces the list, which the caller has checked. Works as the head of this file says.
    pub(super) fn set_list(&mut self, seats: &[Seat]) {
        for (word, seat) in (LIST_WORD..WORDS).zip(seats) {
            self.memory.word(word).store(u64::from(seat.0), Ordering::Relaxed);
        }
        // After the entries, so that whoever sees the count sees them too.
        self.memory.word(COUNT_WORD).store(seats.len() as u64, Ordering::Release);
    }

    /// The seats in the list, some more than once.
    pub(super) fn list(&self) -> impl Iterator<Item = Seat> + '_ {
        let count = self.memory.word(COUNT_WORD).load(Ordering::Acquire);
        let words = (LIST_WORD..WORDS).zip(0..count);
        let entry = |(word, _)| self.memory.word(word).load(Ordering::Relaxed);
        words.map(entry).filter_map(|entry| u16::try_from(entry).ok()).map(Seat)
    }

    /// How many connections a seat got, or the waiting room, which is number [`CAPACITY`].
    pub(super) fn dealt(&self, place: u16) -> u64 {
        let word = DEALT_WORD + u32::from(place.min(CAPACITY));
        self.memory.word(word).load(Ordering::Relaxed)
    }
}

/// The words of a board, mapped.
#[derive(Debug)]
struct Memory(NonNull<AtomicU64>);

// SAFETY: it is this process's own mapping until it is dropped, and is accessed by atomic
// operations only, from here and by the program.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn of(map: BorrowedFd<'_>) -> io::Result<Self> {
        let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping where there is room, which concerns no memory of ours. A map
        // that is shorter is refused by the kernel.
        let memory =
            unsafe { libc::mmap(ptr::null_mut(), BYTES, access, shared, map.as_raw_fd(), 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self(memory))
    }

    fn word(&self, index: u32) -> &AtomicU64 {
        assert!(index < WORDS, "invariant: a word of the board");
        // SAFETY: within the mapping, which begins at a page, and which lives as long as self.
        unsafe { self.0.add(index as usize).as_ref() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped by `of` with this length, and nothing refers to it any more. It
        // cannot fail then.
        unsafe { libc::munmap(self.0.as_ptr().cast(), BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_inherited_if_it_is_understood() {
        let mut board = match Board::new() {
            Ok(board) => board,
            Err(error) => return println!("NOT TESTED: BPF is not permitted here: {error}"),
        };
        board.set_list(&[Seat(3), Seat(3), Seat(1)]);
        let board = Board::inherit(board.into_map()).unwrap();
        assert_eq!(board.list().collect::<Vec<_>>(), [Seat(3), Seat(3), Seat(1)]);

        board.memory.word(LAYOUT_WORD).store(LAYOUT + 1, Ordering::Relaxed);
        let error = Board::inherit(board.into_map()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
