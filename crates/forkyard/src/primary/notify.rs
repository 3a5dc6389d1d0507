//! Listens for a worker's word that it is ready: `READY=1` on its `NOTIFY_SOCKET`
//! (`sd_notify(3)`), which any program can send without speaking Node's protocol.
//!
//! ```text
//!   waiting ──READY=1──▶ told        until dropped, at the worker's end
//!    │   ▲                │  ▲
//!    └───┘ anything else  └──┘ anything
//! ```
//!
//! It goes on taking notifications once it has told: a program that keeps sending them
//! would otherwise wait for room in the socket for ever.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use forkyard_core::{ReadySignal, WorkerId};
use forkyard_sys::notify::{NotifyFile, NotifySocket, Received, Sender, receive};
use forkyard_sys::reactor::Watched;
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Mail;
use super::rest::RestSignal;

/// The longest notification that is looked at.
const LONGEST: usize = 4096;

/// How many notifications are taken before others have their turn.
const AT_ONCE: usize = 16;

/// The system's user, who may speak for a worker of any other.
const ROOT: u32 = 0;

/// A task that listens to one worker until this is dropped, with pauses while everything is
/// to rest.
#[derive(Debug)]
pub(super) struct NotifyWatch {
    listener: Arc<Listener>,
    outlets: (mpsc::Sender<Mail>, RestSignal),
    task: JoinHandle<()>,
    file: NotifyFile,
}

impl NotifyWatch {
    /// Starts listening. The word counts if it comes from a process of root or of one of
    /// `users`, and is passed on as [`Mail::Ready`] the first time.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(super) fn start(
        worker: WorkerId,
        socket: NotifySocket,
        users: Vec<u32>,
        outlets: (mpsc::Sender<Mail>, RestSignal),
    ) -> io::Result<Self> {
        let (socket, file) = socket.into_parts();
        let mut watch = Self::resume(worker, socket, users, outlets)?;
        watch.file = file;
        Ok(watch)
    }

    /// Listens on, where another image of this program did. Its file is left alone until
    /// [`own_file`](Self::own_file), because that one may go on with it.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(super) fn resume(
        worker: WorkerId,
        socket: OwnedFd,
        users: Vec<u32>,
        outlets: (mpsc::Sender<Mail>, RestSignal),
    ) -> io::Result<Self> {
        let socket = Watched::new(socket, Interest::READABLE)?;
        let listener = Arc::new(Listener { worker, socket, users });
        let task = listen(&listener, &outlets);
        Ok(Self { listener, outlets, task, file: NotifyFile::default() })
    }

    /// From now on the socket's file ends with this.
    pub(super) fn own_file(&mut self) {
        self.file = NotifyFile::of(self.socket());
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.listener.socket.get_ref().as_fd()
    }

    /// Whether it has come to rest, or cannot listen any more.
    pub(super) fn is_at_rest(&self) -> bool {
        self.task.is_finished()
    }

    /// Listens again, if it rests.
    pub(super) fn go_on(&mut self) {
        if self.is_at_rest() {
            self.task = listen(&self.listener, &self.outlets);
        }
    }
}

fn listen(
    listener: &Arc<Listener>,
    (mail, rest): &(mpsc::Sender<Mail>, RestSignal),
) -> JoinHandle<()> {
    tokio::spawn(Arc::clone(listener).run(mail.clone(), rest.clone()))
}

impl Drop for NotifyWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Listener {
    worker: WorkerId,
    socket: Watched,
    users: Vec<u32>,
}

/// What came of taking some notifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turn {
    /// One of them said that the worker is ready.
    ready: bool,
    /// There are no more for now.
    silent: bool,
}

impl Listener {
    async fn run(self: Arc<Self>, mail: mpsc::Sender<Mail>, rest: RestSignal) {
        if let Err(error) = self.listen(mail, rest).await {
            let worker = self.worker;
            tracing::warn!(%worker, %error, "failed to listen to a worker's notifications");
        }
    }

    /// Until everything is to rest.
    async fn listen(&self, mail: mpsc::Sender<Mail>, mut rest: RestSignal) -> io::Result<()> {
        let mut mail = Some(mail);
        loop {
            let mut readable = tokio::select! {
                biased;
                () = rest.wait() => return Ok(()),
                readable = self.socket.readable() => readable?,
            };
            let turn = self.take_some()?;
            if turn.silent {
                readable.clear_ready();
            }
            if turn.ready
                && let Some(mail) = mail.take()
            {
                // A driver that is gone needs no mail.
                let ready = Mail::Ready { worker: self.worker, by: ReadySignal::Notify };
                let _ = mail.send(ready).await;
            }
            // Whoever floods the socket waits until others have had their turn.
            tokio::task::yield_now().await;
        }
    }

    /// On a buffer that lives on the stack: a worker that says nothing costs no memory.
    fn take_some(&self) -> io::Result<Turn> {
        let mut buffer = [0; LONGEST];
        let mut turn = Turn::default();
        for _ in 0..AT_ONCE {
            match receive(self.socket.get_ref().as_fd(), &mut buffer) {
                Ok(Received::Notification { bytes, sender }) => {
                    turn.ready |= says_ready(&buffer[..bytes]) && self.believes(sender);
                }
                Ok(Received::Unusable) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    turn.silent = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(turn)
    }

    fn believes(&self, sender: Sender) -> bool {
        let believed = sender.uid == ROOT || self.users.contains(&sender.uid);
        if !believed {
            let Sender { pid, uid } = sender;
            tracing::debug!(worker = %self.worker, pid, uid, "ignored a stranger's notification");
        }
        believed
    }
}

/// Whether one of the lines is `READY=1`. All others are somebody else's business:
/// `STATUS=…`, `STOPPING=1`, `RELOADING=1`, `WATCHDOG=1`, `MAINPID=…`.
fn says_ready(notification: &[u8]) -> bool {
    // Senders in C may have counted the zero at the end of their string.
    let text = notification.strip_suffix(b"\0").unwrap_or(notification);
    text.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::path::PathBuf;
    use std::time::Duration;

    use forkyard_sys::process::own_user;
    use proptest::prelude::*;

    use super::*;
    use crate::primary::rest::RestSwitch;

    /// More than a socket holds (`net.unix.max_dgram_qlen`), so that a sender gets through
    /// only if somebody takes them.
    const MANY: usize = 2000;

    const WORKER: WorkerId = WorkerId(7);

    /// Only a failing test takes that long.
    const DEADLINE: Duration = Duration::from_secs(30);

    /// Sends from a thread of its own, as it may have to wait for room.
    async fn send(path: PathBuf, texts: Vec<&'static str>) {
        let sending = tokio::task::spawn_blocking(move || {
            let sender = UnixDatagram::unbound().unwrap();
            for text in texts {
                sender.send_to(text.as_bytes(), &path).unwrap();
            }
        });
        tokio::time::timeout(DEADLINE, sending).await.expect("they are taken").unwrap();
    }

    /// A watch, where it listens, and its mail. The folder goes with the first of these.
    fn watch(users: Vec<u32>) -> (tempfile::TempDir, PathBuf, NotifyWatch, mpsc::Receiver<Mail>) {
        let (mail, inbox) = mpsc::channel(8);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = NotifySocket::bind(&path).unwrap();
        let outlets = (mail, RestSwitch::default().signal());
        let watch = NotifyWatch::start(WORKER, socket, users, outlets).unwrap();
        (dir, path, watch, inbox)
    }

    #[tokio::test]
    async fn a_worker_is_told_ready_once_and_listened_to_for_ever() {
        let (_dir, path, watch, mut inbox) = watch(vec![own_user()]);
        send(path.clone(), vec!["STATUS=loading", "STATUS=loaded\nREADY=1\n"]).await;
        assert!(matches!(inbox.recv().await, Some(Mail::Ready { worker: WORKER, .. })));
        send(path, vec!["READY=1"; MANY]).await;
        drop(watch);
        assert!(inbox.recv().await.is_none(), "it was told once");
    }

    #[tokio::test]
    async fn what_is_not_ready_is_not_told() {
        let (_dir, path, watch, mut inbox) = watch(vec![own_user()]);
        let texts = ["STATUS=READY=1", "READY=0", "READY=10", "XREADY=1", ""];
        send(path, texts.into_iter().cycle().take(MANY).collect()).await;
        drop(watch);
        assert!(inbox.recv().await.is_none());
    }

    /// The image that is gone back to goes on with it.
    #[tokio::test]
    async fn the_file_goes_with_whoever_owns_it() {
        let (_dir, path, mut watch, _inbox) = watch(Vec::new());
        let socket = || watch.socket().try_clone_to_owned().unwrap();
        let (mail, _) = mpsc::channel(8);
        let outlets = (mail, RestSwitch::default().signal());
        let tried = NotifyWatch::resume(WORKER, socket(), Vec::new(), outlets.clone()).unwrap();
        let mut next = NotifyWatch::resume(WORKER, socket(), Vec::new(), outlets).unwrap();
        drop(tried);
        assert!(path.exists());
        // As if this image had been replaced by the next one.
        std::mem::forget(std::mem::take(&mut watch.file));
        drop(watch);
        next.own_file();
        assert!(path.exists());
        drop(next);
        assert!(!path.exists());
    }

    #[test]
    fn only_root_and_the_named_users_are_believed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let socket = NotifySocket::bind_abstract().unwrap().into_parts().0;
        let socket = Watched::new(socket, Interest::READABLE);
        let listener = Listener { worker: WORKER, socket: socket.unwrap(), users: vec![1000, 33] };
        let believed = |uid| listener.believes(Sender { pid: 1, uid });
        assert_eq!([0, 1000, 33].map(believed), [true; 3]);
        assert_eq!([1001, 65534, u32::MAX].map(believed), [false; 3]);
    }

    proptest! {
        /// Against the plainest reading there is.
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let lines = String::from_utf8_lossy(&bytes).replace('\r', "\n");
            let lines = lines.strip_suffix('\0').unwrap_or(&lines);
            prop_assert_eq!(says_ready(&bytes), lines.lines().any(|line| line == "READY=1"));
        }

        #[test]
        fn one_line_among_others_is_enough(
            before in prop::collection::vec("[A-Z_]{1,9}=[^\n\r]{0,9}", 0..4),
            after in prop::collection::vec("[A-Z_]{1,9}=[^\n\r]{0,9}", 0..4),
            end in prop::sample::select(vec!["", "\n", "\r\n", "\0", "\n\0"]),
        ) {
            let others = [before.clone(), after.clone()].concat();
            let lines = [before, vec!["READY=1".into()], after].concat();
            let text = |lines: Vec<String>| lines.join("\n") + end;
            prop_assert!(says_ready(text(lines).as_bytes()));
            if !others.iter().any(|line| line == "READY=1") {
                prop_assert!(!says_ready(text(others).as_bytes()));
            }
        }
    }
}
