//! A Unix datagram socket of the system's, to which a log is sent.
//!
//! Whoever reads it may be slow for a moment, or be started anew: a line waits for that, and with
//! it the workers whose lines come after it, as they would for a file. When nobody reads for a
//! second, lines are lost and counted until it is read again: no worker is kept from its work.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_send_buffer_size;

use super::trouble::{Notice, Tell, Trouble};

/// How long a line waits for whoever reads.
const PATIENCE: Duration = Duration::from_secs(1);
/// As much as the system allows of it may be on the way.
const SEND_BUFFER: usize = 8 * 1024 * 1024;

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posted {
    Sent,
    /// It has to be sent in parts.
    TooLarge,
    Lost,
}

/// Sends messages, and counts those that nobody takes.
pub(super) struct Mailbox {
    path: PathBuf,
    /// Gone while nobody is there.
    socket: Option<UnixDatagram>,
    trouble: Trouble,
    tell: Tell,
}

impl Mailbox {
    pub(super) fn new(path: &Path, tell: Tell) -> Self {
        Self { path: path.to_owned(), socket: None, trouble: Trouble::default(), tell }
    }

    pub(super) fn post(&mut self, message: &[u8]) -> Posted {
        if !self.trouble.may_try() {
            self.trouble.lose(1);
            return Posted::Lost;
        }
        match self.send(message) {
            Ok(()) => {
                if let Some(lost) = self.trouble.over() {
                    (self.tell)(&Notice::Works { what: self.shown(), lost });
                }
                Posted::Sent
            }
            Err(error) if is_too_large(&error) => Posted::TooLarge,
            Err(error) => {
                self.failed(&error);
                Posted::Lost
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.socket = None;
        self.trouble.lose(1);
        if self.trouble.failed() {
            let why = match error.kind() {
                io::ErrorKind::WouldBlock => "nobody reads it".to_owned(),
                _ => error.to_string(),
            };
            (self.tell)(&Notice::Failed { what: self.shown(), why });
        }
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let patience = if self.trouble.is_there() { Duration::ZERO } else { PATIENCE };
        let deadline = Instant::now() + patience;
        let had_socket = self.socket.is_some();
        match self.send_by(message, deadline) {
            // Another one reads now.
            Err(error) if had_socket && is_gone(&error) => {
                self.socket = None;
                self.send_by(message, deadline)
            }
            other => other,
        }
    }

    fn send_by(&mut self, message: &[u8], deadline: Instant) -> io::Result<()> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            None => self.socket.insert(connect(&self.path)?),
        };
        loop {
            match socket.send(message) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(error);
                    }
                    wait_for_room(socket, left)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(drop),
            }
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    // Less will do, too.
    let _ = set_socket_send_buffer_size(&socket, SEND_BUFFER);
    socket.connect(path)?;
    Ok(socket)
}

fn wait_for_room(socket: &UnixDatagram, limit: Duration) -> io::Result<()> {
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected, NotFound};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionRefused | ConnectionReset | NotConnected | NotFound
    )
}

fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn mailbox(path: &Path) -> (Mailbox, Arc<Mutex<Vec<Notice>>>) {
        let notices = Arc::<Mutex<Vec<Notice>>>::default();
        let told = Arc::clone(&notices);
        let tell: Tell = Arc::new(move |notice| told.lock().unwrap().push(notice.clone()));
        (Mailbox::new(path, tell), notices)
    }

    /// Posts until one is sent, and returns how many were lost before.
    fn post_until_sent(mailbox: &mut Mailbox) -> u64 {
        let (start, mut lost) = (Instant::now(), 0);
        while mailbox.post(b"again") == Posted::Lost {
            assert!(start.elapsed() < Duration::from_secs(30));
            lost += 1;
            std::thread::yield_now();
        }
        lost
    }

    fn receive(socket: &UnixDatagram) -> Vec<u8> {
        let mut bytes = [0; 64];
        let length = socket.recv(&mut bytes).unwrap();
        bytes[..length].to_vec()
    }

    #[test]
    fn whoever_is_started_anew_is_found_again() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let (mut mailbox, notices) = mailbox(&path);
        let first = UnixDatagram::bind(&path).unwrap();
        assert_eq!(mailbox.post(b"one"), Posted::Sent);
        assert_eq!(receive(&first), b"one");
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        assert_eq!(mailbox.post(b"two"), Posted::Sent);
        assert_eq!(receive(&second), b"two");
        assert!(notices.lock().unwrap().is_empty());
    }

    #[test]
    fn what_nobody_takes_is_counted_and_told_once() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let (mut mailbox, notices) = mailbox(&path);
        for _ in 0..3 {
            assert_eq!(mailbox.post(b"lost"), Posted::Lost);
        }
        let what = path.display().to_string();
        assert!(
            matches!(&notices.lock().unwrap()[..], [Notice::Failed { what: of, .. }] if *of == what)
        );
        let reader = UnixDatagram::bind(&path).unwrap();
        let lost = 3 + post_until_sent(&mut mailbox);
        assert_eq!(receive(&reader), b"again");
        assert_eq!(notices.lock().unwrap()[1..], [Notice::Works { what, lost }]);
    }

    #[test]
    fn who_does_not_read_holds_nobody_up_for_long() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let (mut mailbox, notices) = mailbox(&path);
        let reader = UnixDatagram::bind(&path).unwrap();
        let mut sent = 0;
        while mailbox.post(b"waits") == Posted::Sent {
            sent += 1;
        }
        let why = "nobody reads it".to_owned();
        let what = path.display().to_string();
        assert_eq!(*notices.lock().unwrap(), [Notice::Failed { what, why }]);
        for _ in 0..sent {
            assert_eq!(receive(&reader), b"waits");
        }
        post_until_sent(&mut mailbox);
        assert_eq!(receive(&reader), b"again");
    }
}
