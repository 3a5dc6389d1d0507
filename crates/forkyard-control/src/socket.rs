//! The socket's file, which is made anew when somebody has removed it: whoever cleans up `/tmp`,
//! or the end of a session that the folder belongs to.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::folder;
use crate::server::ServeError;

/// Only the user may open the socket.
const MODE: u32 = 0o600;

/// A socket at a path.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    bound: Bound,
    state: State,
}

/// A socket, and the file that leads to it.
#[derive(Debug)]
struct Bound {
    listener: UnixListener,
    /// Its device and its number there.
    file: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    There,
    /// It could not be made anew, which has been said.
    Missing,
}

impl Socket {
    pub(crate) fn open(path: PathBuf) -> Result<Self, ServeError> {
        let bound = bind(&path)?;
        Ok(Self { path, bound, state: State::There })
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        self.bound.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Makes the file anew if it is not there, or not the socket's any more.
    pub(crate) fn look_after(&mut self) {
        let path = self.path.display();
        if identity(&self.path).is_ok_and(|file| file == self.bound.file) {
            return;
        }
        match bind(&self.path) {
            Ok(bound) => {
                tracing::warn!(%path, "the control socket was gone, and is made anew");
                (self.bound, self.state) = (bound, State::There);
            }
            Err(error) if self.state == State::There => {
                tracing::warn!(%path, %error, "the control socket is gone; trying again");
                self.state = State::Missing;
            }
            Err(_) => {}
        }
    }
}

/// The process id in its name is ours, so what is there was left by somebody who is gone. The
/// folder keeps others out before the mode is set.
fn bind(path: &Path) -> Result<Bound, ServeError> {
    if let Some(dir) = path.parent() {
        folder::prepare(dir)?;
    }
    bind_file(path).map_err(|source| ServeError::Bind { path: path.to_owned(), source })
}

/// In one step: whoever looks finds a socket at any time, and one that only the user may open.
fn bind_file(path: &Path) -> io::Result<Bound> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(MODE))?;
    let file = identity(&new)?;
    fs::rename(&new, path)?;
    Ok(Bound { listener, file })
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
