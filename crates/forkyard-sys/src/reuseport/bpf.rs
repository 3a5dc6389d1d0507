//! The system call `bpf(2)`: making maps, filling them, loading a program.

use std::ffi::{c_int, c_long};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::assembler::Instruction;

/// The program's licence, which the kernel wants to know: some of its functions are for GPL
/// programs only. Ours are not among them.
const LICENCE: &[u8] = b"MIT OR Apache-2.0\0";

/// Room for what the kernel's verifier has to say about a program it refuses.
const LOG_BYTES: u32 = 64 * 1024;

/// A kind of map (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum MapKind {
    /// Values in a row.
    Array = 2,
    /// Sockets of one group.
    ReuseportSockets = 20,
}

/// Whether a map can be mapped into memory. Linux 5.5.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum MapMemory {
    /// It cannot.
    Own = 0,
    /// It can (`BPF_F_MMAPABLE`).
    Shared = 1 << 10,
}

/// What the system call does (`enum bpf_cmd`).
#[derive(Clone, Copy)]
#[repr(u32)]
enum Command {
    MapCreate = 0,
    MapUpdate = 2,
    ProgramLoad = 5,
}

/// A connection's listening socket is chosen by the program, and so is another one for what
/// waits at a socket that is closed (`BPF_SK_REUSEPORT_SELECT_OR_MIGRATE`). Linux 5.14.
const SELECT_OR_MIGRATE: u32 = 40;

/// `BPF_PROG_TYPE_SK_REUSEPORT`.
const PROGRAM_OF_REUSEPORT: u32 = 21;

/// The arguments of making a map, as the head of `union bpf_attr`. The kernel takes what is
/// not there for zeros.
#[repr(C)]
struct MapCreate {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
    inner_map: u32,
    numa_node: u32,
    name: [u8; 16],
}

/// The arguments of putting something into a map.
#[repr(C)]
struct MapUpdate {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The arguments of loading a program.
#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_kind: u32,
}

/// Makes a map of `entries` values of `value_bytes` each, with keys from 0. `name` is seen in
/// lists of maps.
///
/// # Errors
///
/// - `EPERM` without `CAP_BPF`, `ENOSYS` in a sandbox or a kernel without BPF.
/// - `EINVAL` if the kernel does not know what is asked for; `ENOMEM`.
pub(super) fn create_map(
    kind: MapKind,
    memory: MapMemory,
    value_bytes: u32,
    entries: u32,
    name: &str,
) -> io::Result<OwnedFd> {
    let arguments = MapCreate {
        kind: kind as u32,
        key_bytes: 4,
        value_bytes,
        entries,
        flags: memory as u32,
        inner_map: 0,
        numa_node: 0,
        name: kernel_name(name),
    };
    // SAFETY: the arguments are those of this command and hold no pointers.
    unsafe { new_descriptor(Command::MapCreate, &arguments) }
}

/// Puts a socket into a map of sockets, in place of another. It leaves the map by itself when it
/// is closed.
///
/// # Errors
///
/// - `EINVAL` if it does not listen (TCP) or is not bound (UDP), or is in no group.
/// - `EBUSY` if it is in another map.
pub(super) fn put_socket(map: BorrowedFd<'_>, key: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
    let value = u64::from(descriptor(socket));
    let arguments = MapUpdate {
        map: descriptor(map),
        padding: 0,
        key: address(&raw const key),
        value: address(&raw const value),
        flags: 0,
    };
    // SAFETY: the arguments are those of this command; key and value live until it returns and
    // have the map's sizes.
    unsafe { bpf(Command::MapUpdate, &arguments) }.map(drop)
}

/// Loads a program that chooses among the sockets of a group.
///
/// # Errors
///
/// - `EPERM` without `CAP_BPF`.
/// - `EINVAL` on Linux before 5.14.
/// - `EACCES` or `EINVAL`, and what the verifier says about it, for a program it refuses.
pub(super) fn load_program(code: &[Instruction], name: &str) -> io::Result<OwnedFd> {
    let error = match load(code, name, &mut []) {
        Ok(program) => return Ok(program),
        Err(error) => error,
    };
    if error.raw_os_error() == Some(libc::EPERM) {
        return Err(error);
    }
    // Once more for the reason: writing it takes time, and the kernel refuses to load a
    // program of which the reasons do not fit.
    let mut log = vec![0; LOG_BYTES as usize];
    load(code, name, &mut log).map_err(|error| with_log(error, &log))
}

fn load(code: &[Instruction], name: &str, log: &mut [u8]) -> io::Result<OwnedFd> {
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let arguments = ProgramLoad {
        kind: PROGRAM_OF_REUSEPORT,
        instruction_count: u32::try_from(code.len()).map_err(too_long)?,
        instructions: address(code.as_ptr()),
        licence: address(LICENCE.as_ptr()),
        log_level: u32::from(!log.is_empty()),
        log_bytes: u32::try_from(log.len()).map_err(too_long)?,
        log: if log.is_empty() { 0 } else { address(log.as_mut_ptr()) },
        kernel_version: 0,
        flags: 0,
        name: kernel_name(name),
        interface: 0,
        attach_kind: SELECT_OR_MIGRATE,
    };
    // SAFETY: the arguments are those of this command; what they point to lives until it
    // returns and has the lengths told, and the log can be written to.
    unsafe { new_descriptor(Command::ProgramLoad, &arguments) }
}

/// The error with the last thing the verifier said before its statistics.
fn with_log(error: io::Error, log: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(log);
    let lines = text.trim_end_matches('\0').lines();
    let telling = lines.rev().find(|line| !line.starts_with("processed") && !line.is_empty());
    match telling {
        Some(line) => io::Error::new(error.kind(), format!("{error}: the verifier says: {line}")),
        None => error,
    }
}

/// # Safety
///
/// As [`bpf`], and the command returns a new descriptor.
unsafe fn new_descriptor<T>(command: Command, arguments: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches for it.
    let number = unsafe { bpf(command, arguments) }?;
    let number = RawFd::try_from(number).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just opened it for us. It has CLOEXEC (`bpf(2)`).
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// # Safety
///
/// The arguments are those of the command, and the addresses in them are valid for what it
/// does with them.
unsafe fn bpf<T>(command: Command, arguments: &T) -> io::Result<c_long> {
    // SAFETY: the kernel reads as many bytes as it is told there are.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as c_int, arguments as *const T, size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A name as the kernel takes it: at most 15 bytes and a zero.
fn kernel_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    bytes
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

fn descriptor(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::super::assembler::{Assembler, Register, Width};
    use super::*;

    #[test]
    fn what_the_verifier_says_is_in_the_error() {
        let mut assembler = Assembler::default();
        // Reads a register that nothing was written to.
        assembler.load(Width::Bits64, Register::R0, Register::R9, 0);
        assembler.exit();
        let error = load_program(&assembler.finish(), "test").unwrap_err();
        if error.raw_os_error() == Some(libc::EPERM) {
            return println!("NOT TESTED: BPF is not permitted here");
        }
        assert!(error.to_string().contains("R9 !read_ok"), "{error}");
    }

    #[test]
    fn only_a_socket_in_a_group_gets_into_the_map() {
        let map = match create_map(MapKind::ReuseportSockets, MapMemory::Own, 8, 1, "test") {
            Ok(map) => map,
            Err(error) => return println!("NOT TESTED: BPF is not permitted here: {error}"),
        };
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = put_socket(map.as_fd(), 0, socket.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
