//! A piece of memory with a descriptor, written once and then sealed: how a process tells
//! its successor what it knows, and nobody can change it on the way.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

/// All that keeps the content as it is.
const SEALED: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Puts `bytes` into a sealed memory file (`memfd_create(2)`). `name` is seen in `/proc`.
///
/// # Errors
///
/// Those of `memfd_create(2)`, and of writing: no memory.
pub fn seal(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let memory = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memory);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SEALED)?;
    Ok(file.into())
}

/// Reads all that was put in by [`seal`], however often it has been read before.
///
/// # Errors
///
/// - `InvalidInput` for what is not sealed, and so may be something else altogether.
/// - `FileTooLarge` for more than `limit` bytes.
pub fn read_sealed(memory: impl AsFd, limit: u64) -> io::Result<Vec<u8>> {
    if !fcntl_get_seals(&memory).is_ok_and(|seals| seals.contains(SEALED)) {
        let why = "that descriptor is no sealed memory";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let file = File::from(memory.as_fd().try_clone_to_owned()?);
    let length = file.metadata()?.len();
    if length > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_can_be_read_again_and_not_changed() {
        let memory = seal("test", b"what I know").unwrap();
        for _ in 0..2 {
            assert_eq!(read_sealed(&memory, 100).unwrap(), b"what I know");
        }
        let file = File::from(memory);
        assert!(file.write_all_at(b"else", 0).is_err());
        assert!(file.set_len(0).is_err());
    }

    #[test]
    fn what_anybody_can_change_is_not_read() {
        let (reader, _writer) = io::pipe().unwrap();
        let error = read_sealed(reader, 100).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let open = memfd_create("open", MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(read_sealed(open, 100).is_err());
    }

    #[test]
    fn there_is_a_limit() {
        let memory = seal("test", &[0; 11]).unwrap();
        assert_eq!(read_sealed(memory, 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
