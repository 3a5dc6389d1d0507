//! Which primaries run, and the way to each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forkyard_sys::process;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use crate::folder::{self, FolderError};

/// How long a primary may refuse while it lives, because its next image does not listen yet.
pub(super) const BETWEEN_IMAGES: Duration = Duration::from_secs(2);
/// How soon it is looked again whether it is there.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A primary's socket that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The app's name, as far as it can stand in a file's name.
    pub app: String,
    /// The primary's process id.
    pub pid: u32,
    /// The socket.
    pub path: PathBuf,
}

/// The primaries that run, by name and process id. Removes what dead ones have left. Waits up to
/// two seconds for those that do not listen though they live: they may be just upgraded.
///
/// # Errors
///
/// If none is found, and one of the folders is not this user's alone. One that is not there has
/// no sockets in it.
pub async fn find(dirs: &[PathBuf]) -> Result<Vec<Found>, FolderError> {
    let (mut found, mut unusable) = (Vec::new(), None);
    let until = Instant::now() + BETWEEN_IMAGES;
    for dir in dirs.iter().filter(|dir| dir.exists()) {
        match find_in(dir, until).await {
            Ok(there) => found.extend(there),
            Err(error) => drop(unusable.get_or_insert(error)),
        }
    }
    found.sort_by(|a, b| (&a.app, a.pid).cmp(&(&b.app, b.pid)));
    match unusable {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

async fn find_in(dir: &Path, until: Instant) -> Result<Vec<Found>, FolderError> {
    folder::check(dir)?;
    let failed = |source| FolderError::Io { dir: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some((app, pid)) = folder::parse_socket_name(&path)
            && is_served(&path, pid, until).await
        {
            found.push(Found { app, pid, path });
        }
    }
    Ok(found)
}

/// Whether somebody listens there. If nobody can any more, the socket is removed. If the number
/// is a live process's that is no primary, what was left is in nobody's way.
async fn is_served(path: &Path, pid: u32, until: Instant) -> bool {
    match connect(path, pid, until).await {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            if !process::is_running(pid) {
                drop(fs::remove_file(path));
            }
            false
        }
        // More clients wait than there is room for.
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// While the process lives that refuses, it may be between two images of its program, and about
/// to listen again.
pub(super) async fn connect(path: &Path, pid: u32, until: Instant) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && process::is_running(pid)
                    && Instant::now() < until =>
            {
                // Nobody announces it.
                sleep(LOOK_AGAIN).await;
            }
            connected => return connected,
        }
    }
}
