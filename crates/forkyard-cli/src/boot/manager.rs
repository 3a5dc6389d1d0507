//! The socket of the service manager that has started this process (`NOTIFY_SOCKET` of
//! `sd_notify(3)`).
//!
//! Nothing here waits: what does not fit into the manager's socket is put together with what
//! comes after it, and sent a moment later.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::notification::Notification;

/// Tells where the manager listens.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// When it is tried again to send what did not fit.
const AGAIN: Duration = Duration::from_millis(100);

/// Why a manager cannot be told anything.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManagerError {
    /// Such as `vsock:2:1234`, which reaches out of a virtual machine.
    #[error("NOTIFY_SOCKET is {0:?}, and only a path or @NAME can be notified")]
    Address(OsString),
    #[error("failed to use NOTIFY_SOCKET={address:?}: {source}")]
    Socket {
        address: OsString,
        #[source]
        source: io::Error,
    },
}

/// The way to a service manager.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// What did not fit yet.
    waiting: Notification,
    reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Reached,
    /// Nobody is there, which has been said.
    Lost,
}

impl Manager {
    /// The manager that the environment names, if it names one.
    pub(crate) fn find() -> Result<Option<Self>, ManagerError> {
        let named = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
        named.map(|name| Self::at(&name)).transpose()
    }

    /// The manager that listens there.
    pub(crate) fn at(name: &OsStr) -> Result<Self, ManagerError> {
        let failed = |source| ManagerError::Socket { address: name.to_owned(), source };
        let address = match name.as_bytes() {
            [b'/', ..] => SocketAddr::from_pathname(name),
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
            _ => return Err(ManagerError::Address(name.to_owned())),
        };
        let address = address.map_err(failed)?;
        let socket = UnixDatagram::unbound().map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self { socket, address, waiting: Notification::default(), reach: Reach::Reached })
    }

    /// Tells it, or keeps it to be told when there is room.
    pub(crate) fn tell(&mut self, news: Notification) {
        self.waiting = std::mem::take(&mut self.waiting).then(news);
        self.send();
    }

    /// Waits until it is time to try again, and does; for ever if everything has been sent.
    pub(crate) async fn catch_up(&mut self) {
        if self.waiting == Notification::default() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(AGAIN).await;
        self.send();
    }

    fn send(&mut self) {
        let text = self.waiting.text();
        if text.is_empty() {
            return;
        }
        match self.socket.send_to_addr(text.as_bytes(), &self.address) {
            Ok(_) => self.reach = Reach::Reached,
            Err(error) if is_full(&error) => return,
            Err(error) if self.reach == Reach::Reached => {
                tracing::warn!(%error, "failed to notify the service manager");
                self.reach = Reach::Lost;
            }
            Err(_) => {}
        }
        self.waiting = Notification::default();
    }
}

/// The manager has more to read than it has read.
fn is_full(error: &io::Error) -> bool {
    const ENOBUFS: i32 = 105;
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(ENOBUFS)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::boot::notification::Lifecycle;

    /// More than any socket holds (`net.unix.max_dgram_qlen`).
    const MANY: usize = 5000;

    fn status(text: &str) -> Notification {
        Notification { status: Some(text.to_owned()), ..Notification::default() }
    }

    fn listen(path: &Path) -> UnixDatagram {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    fn received(socket: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    #[test]
    fn it_is_reached_by_a_path_or_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = listen(&path);
        Manager::at(path.as_os_str()).unwrap().tell(status("one"));
        assert_eq!(received(&by_path).as_deref(), Some("STATUS=one\n"));

        let name = format!("forkyard-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        Manager::at(format!("@{name}").as_ref()).unwrap().tell(status("two"));
        assert_eq!(received(&by_name).as_deref(), Some("STATUS=two\n"));
    }

    #[test]
    fn what_is_no_address_is_said() {
        for name in ["vsock:2:1234", "relative/path", "@"] {
            let error = Manager::at(name.as_ref()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let long = format!("/{}", "x".repeat(200));
        assert!(matches!(Manager::at(long.as_ref()), Err(ManagerError::Socket { .. })));
    }

    #[test]
    fn nobody_there_is_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let mut manager = Manager::at(path.as_os_str()).unwrap();
        manager.tell(status("lost"));
        // It may come, as a manager does that is restarted.
        let socket = listen(&path);
        manager.tell(status("heard"));
        assert_eq!(received(&socket).as_deref(), Some("STATUS=heard\n"));
        assert_eq!(received(&socket), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_sent_later_and_nothing_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = listen(&path);
        let mut manager = Manager::at(path.as_os_str()).unwrap();
        for number in 0..MANY {
            manager.tell(status(&number.to_string()));
        }
        let ready = Notification { lifecycle: Some(Lifecycle::Ready), ..status("last") };
        manager.tell(ready);
        let early = std::iter::from_fn(|| received(&socket)).count();
        assert!(early < MANY, "all of them fit: the test needs more");
        let caught_up = tokio::time::timeout(AGAIN * 2, manager.catch_up()).await;
        assert!(caught_up.is_ok(), "something is left to be sent");
        assert_eq!(received(&socket).as_deref(), Some("READY=1\nSTATUS=last\n"));
        assert_eq!(received(&socket), None);
    }
}
