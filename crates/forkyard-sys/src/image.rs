//! Putting another program into this very process: `execve(2)`, with the descriptors that
//! go along named one by one.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::getpid;
use rustix::thread::gettid;

/// Where the kernel shows the program of this process, also if its file has been removed.
const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// A program with all that its `main` is told.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its file.
    pub path: PathBuf,
    /// Its arguments, beginning with its name.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
}

/// Which file a path means, and in which state, as far as that can be seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl FileIdentity {
    /// Looks at a file, through symbolic links.
    ///
    /// # Errors
    ///
    /// Those of `stat(2)`.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Whether the calling thread is the one that runs `main`: the only one that survives
/// [`replace`], whoever calls it, in the sense that the children *it* has started do not get
/// their parent's death signal (`PR_SET_PDEATHSIG` goes by threads, `prctl(2)`).
#[must_use]
pub fn is_first_thread() -> bool {
    gettid() == getpid()
}

/// The program of this process, to be executed again through `/proc/self/fd/N`, also when
/// its file has been replaced by then.
///
/// # Errors
///
/// Those of `open(2)`.
pub fn own_executable() -> io::Result<OwnedFd> {
    Ok(open(OWN_EXECUTABLE, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// The path by which this process's program was started, absolute: as its name says, if that
/// leads to the program, through `PATH` like a shell; else where the kernel says that its
/// file is. Symbolic links stay, so that what they point to can be changed.
///
/// # Errors
///
/// If the kernel does not say either.
pub fn own_path() -> io::Result<PathBuf> {
    let file = std::env::current_exe()?;
    let own = FileIdentity::of(Path::new(OWN_EXECUTABLE))?;
    let leads_here = |path: &PathBuf| FileIdentity::of(path).is_ok_and(|found| found == own);
    let named = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let found = match named.components().count() {
        0 => None,
        1 => std::env::var_os("PATH").and_then(|folders| {
            std::env::split_paths(&folders).map(|folder| folder.join(&named)).find(leads_here)
        }),
        _ => Some(named).filter(leads_here),
    };
    found.map_or_else(|| Ok(without_deleted(&file)), std::path::absolute)
}

/// Names the calling thread; the first one's name is that of the process in lists. Cut to 15
/// bytes.
///
/// # Errors
///
/// Those of `prctl(2)`.
pub fn set_name(name: &Path) -> io::Result<()> {
    Ok(rustix::thread::set_name(&terminated(name.into())?)?)
}

/// The kernel marks the path of a file that is gone (`proc_pid_exe(5)`).
fn without_deleted(path: &Path) -> PathBuf {
    let bare = path.to_str().and_then(|path| path.strip_suffix(" (deleted)"));
    bare.map_or_else(|| path.to_path_buf(), PathBuf::from)
}

/// Replaces the program of this process. Its other threads end; its number, its children and
/// the descriptors in `keep` stay, under their numbers. Returns only if that fails, with
/// everything as it was.
///
/// Children live on that the calling thread has started; those of other threads get their
/// parent's death signal if they asked for one, as every child of
/// [`process::spawn`](crate::process::spawn) does. And only the first thread
/// ([`is_first_thread`]) can be the caller a second time.
#[must_use]
pub fn replace(image: &Image, keep: &[BorrowedFd<'_>]) -> io::Error {
    let prepared = Prepared::of(image);
    let result = prepared.and_then(|prepared| {
        set_flags(keep, FdFlags::empty())?;
        Err::<(), _>(prepared.execute())
    });
    // They came with it, and nothing else here may be without it.
    let _ = set_flags(keep, FdFlags::CLOEXEC);
    result.err().unwrap_or_else(|| io::Error::other("the new program was not executed"))
}

fn set_flags(fds: &[BorrowedFd<'_>], flags: FdFlags) -> io::Result<()> {
    for fd in fds {
        fcntl_setfd(fd, flags)?;
    }
    Ok(())
}

/// An image as the kernel takes it.
struct Prepared {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Prepared {
    fn of(image: &Image) -> io::Result<Self> {
        let args = image.args.iter().cloned().map(terminated);
        let env = image.env.iter().map(|(name, value)| {
            let mut entry = name.clone();
            entry.push("=");
            entry.push(value);
            terminated(entry)
        });
        Ok(Self {
            path: terminated(image.path.clone().into())?,
            args: args.collect::<io::Result<_>>()?,
            env: env.collect::<io::Result<_>>()?,
        })
    }

    /// Returns only if it fails.
    fn execute(&self) -> io::Error {
        let (args, env) = (pointers(&self.args), pointers(&self.env));
        // SAFETY: the path ends in zero; both lists end in a null pointer and hold pointers to
        // strings that end in zero and live in `self`.
        unsafe { libc::execve(self.path.as_ptr(), args.as_ptr(), env.as_ptr()) };
        io::Error::last_os_error()
    }
}

fn terminated(text: OsString) -> io::Result<CString> {
    CString::new(text.into_vec()).map_err(Into::into)
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_deleted_file_is_no_part_of_its_path() {
        assert_eq!(without_deleted(Path::new("/a/b (deleted)")), Path::new("/a/b"));
        assert_eq!(without_deleted(Path::new("/a/b")), Path::new("/a/b"));
    }

    #[test]
    fn a_test_does_not_run_on_the_first_thread() {
        assert!(!std::thread::spawn(is_first_thread).join().unwrap());
    }

    #[test]
    fn a_file_that_is_written_to_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let before = FileIdentity::of(&path).unwrap();
        assert_eq!(before, FileIdentity::of(&path).unwrap());
        fs::write(&path, "another").unwrap();
        assert_ne!(before, FileIdentity::of(&path).unwrap());
    }
}
