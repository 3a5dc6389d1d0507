//! Reads one worker's channel.
//!
//! User messages go straight to whoever listens, so that a slow listener holds up the
//! worker that sends and not the primary; everything else is mail for the driver.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use forkyard_core::ReadySignal;
use forkyard_ipc::{Decoder, Dialect, FrameError, HandleKind, Value, WorkerMessage};
use forkyard_sys::reactor::Watched;
use tokio::sync::{mpsc, oneshot};

use super::rest::RestSignal;
use super::{Handle, Mail, ReceivedMessage};
use crate::event::WorkerInfo;

/// How much is read at once.
const CHUNK: usize = 8 * 1024;

/// How many descriptors may have arrived ahead of their messages. Node sends one at a time.
const STRAY_HANDLES: usize = 64;

/// A channel's descriptor, shared by its reader and the driver, which writes.
pub(super) type SharedChannel = Arc<Watched>;

/// Where user messages go, if anybody asked for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct MessageTap(Arc<Mutex<Option<mpsc::Sender<ReceivedMessage>>>>);

impl MessageTap {
    /// Lets messages go there from now on.
    pub(crate) fn open(&self, sender: mpsc::Sender<ReceivedMessage>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
    }

    /// Whether everything that was passed on has been fetched.
    pub(super) fn is_drained(&self) -> bool {
        let is_empty = |sender: mpsc::Sender<_>| {
            sender.is_closed() || sender.capacity() == sender.max_capacity()
        };
        self.sender().is_none_or(is_empty)
    }

    fn sender(&self) -> Option<mpsc::Sender<ReceivedMessage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What has been read of a channel and not been passed on.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(super) decoder: Decoder,
    /// Descriptors that arrived before the message they belong to was complete.
    pub(super) handles: VecDeque<OwnedFd>,
    /// Messages that could not be used.
    pub(super) unusable: u64,
}

impl Unread {
    /// Nothing, of a fresh channel.
    pub(super) fn nothing(dialect: Dialect, limit: usize) -> Self {
        let decoder = Decoder::new(dialect, limit);
        Self { decoder, handles: VecDeque::new(), unusable: 0 }
    }
}

/// One worker's channel, read side.
#[derive(Debug)]
pub(super) struct Reader {
    info: WorkerInfo,
    channel: SharedChannel,
    dialect: Dialect,
    unread: Unread,
    outlets: (mpsc::Sender<Mail>, MessageTap),
    /// Whether the program has said that it is ready.
    readiness: Readiness,
    /// Says that the writer is gone.
    finish: Finish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Unsaid,
    Said,
}

/// Whether more can come.
#[derive(Debug)]
enum Finish {
    NotYet(oneshot::Receiver<()>),
    WriterGone,
}

impl Finish {
    /// Resolves once, when the writer is gone.
    async fn wait(&mut self) {
        match self {
            Self::NotYet(signal) => {
                // Whoever would have told us is gone, which tells the same.
                let _ = signal.await;
                *self = Self::WriterGone;
            }
            Self::WriterGone => {}
        }
    }
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// Some bytes; there may be more.
    More,
    /// All there was.
    Drained,
    /// The end.
    End,
}

impl Reader {
    pub(super) fn new(
        info: WorkerInfo,
        channel: SharedChannel,
        (dialect, unread): (Dialect, Unread),
        outlets: (mpsc::Sender<Mail>, MessageTap),
        finish: oneshot::Receiver<()>,
    ) -> Self {
        let (readiness, finish) = (Readiness::Unsaid, Finish::NotYet(finish));
        Self { info, channel, dialect, unread, outlets, readiness, finish }
    }

    /// Reads to the end; or, once `finish` says that the writer is gone, as far as there
    /// is anything to read. If it is to rest before, it returns what it has not passed on.
    pub(super) async fn run(mut self, mut rest: RestSignal) -> Option<Unread> {
        let channel = Arc::clone(&self.channel);
        loop {
            tokio::select! {
                biased;
                () = rest.wait() => return Some(self.unread),
                () = self.finish.wait() => {
                    self.read_out().await;
                    break;
                }
                ready = channel.readable() => {
                    let Ok(mut ready) = ready else { break };
                    let chunk = self.read();
                    self.pass_on().await;
                    match chunk {
                        // Whoever floods its channel waits until others have had their turn.
                        Chunk::More => tokio::task::yield_now().await,
                        Chunk::Drained => ready.clear_ready(),
                        Chunk::End => break,
                    }
                }
            }
        }
        self.end().await;
        None
    }

    async fn read_out(&mut self) {
        while self.read() == Chunk::More {
            self.pass_on().await;
        }
        self.pass_on().await;
    }

    /// One read, on a buffer that lives on the stack: a channel at rest costs no memory.
    fn read(&mut self) -> Chunk {
        let mut buffer = [0; CHUNK];
        let channel = self.channel.get_ref().as_fd();
        match forkyard_sys::channel::receive(channel, &mut buffer, &mut self.unread.handles) {
            Ok(received) if received.bytes == 0 => Chunk::End,
            Ok(received) => {
                self.unread.decoder.feed(&buffer[..received.bytes]);
                // A read stops behind a descriptor; otherwise a short one means that
                // nothing was left, and whatever comes then wakes us anew.
                let whole = received.bytes < CHUNK && received.handles == 0 && !received.truncated;
                if whole { Chunk::Drained } else { Chunk::More }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Chunk::Drained,
            Err(error) => {
                tracing::warn!(worker = %self.info.worker, %error, "failed to read a channel");
                Chunk::End
            }
        }
    }

    /// Passes on every message that is complete.
    async fn pass_on(&mut self) {
        while let Some(parsed) = self.next_message() {
            match parsed {
                Ok(WorkerMessage::Handle { kind, message }) => {
                    self.deliver_handle(kind, message).await;
                }
                Ok(WorkerMessage::User(message)) => {
                    self.look_for_readiness(&message).await;
                    self.deliver(message, None).await;
                }
                Ok(message) if message.needs_handle() => drop(self.take_handle().await),
                Ok(WorkerMessage::Unknown { cmd }) => {
                    tracing::debug!(worker = %self.info.worker, cmd, "ignored an unknown message");
                }
                Ok(message) => {
                    self.post(Mail::Message { worker: self.info.worker, message }).await;
                }
                Err(trouble) => self.complain(trouble).await,
            }
        }
        if self.unread.handles.len() > STRAY_HANDLES {
            self.unread.handles.clear();
            self.complain("closed descriptors that no message was about".into()).await;
        }
    }

    fn next_message(&mut self) -> Option<Result<WorkerMessage, String>> {
        let dialect = self.dialect;
        let frame = self.unread.decoder.next_frame()?;
        Some(match frame {
            Ok(frame) => WorkerMessage::parse(dialect, frame)
                .map_err(|error| format!("ignored a message that makes no sense: {error}")),
            Err(FrameError::TooLong { limit }) => Err(format!(
                "dropped a message of more than {} MiB; send large data another way",
                limit >> 20
            )),
        })
    }

    /// What PM2's `wait_ready` waits for. It is the program's message all the same.
    async fn look_for_readiness(&mut self, message: &Value) {
        if message.as_str() == Some("ready") && self.readiness == Readiness::Unsaid {
            self.readiness = Readiness::Said;
            let by = ReadySignal::Message;
            self.post(Mail::Ready { worker: self.info.worker, by }).await;
        }
    }

    async fn deliver_handle(&mut self, kind: HandleKind, message: Value) {
        if let Some(fd) = self.take_handle().await {
            self.deliver(message, Some(Handle { kind, fd })).await;
        }
    }

    /// The descriptor of the message at hand, with the acknowledgement under way.
    async fn take_handle(&mut self) -> Option<OwnedFd> {
        let fd = self.unread.handles.pop_front();
        let intact = fd.is_some();
        self.post(Mail::HandleArrived { worker: self.info.worker, intact }).await;
        fd
    }

    /// Without anybody listening a message is dropped, and a descriptor closed. A slow
    /// listener is waited for while the worker lives.
    async fn deliver(&mut self, message: Value, handle: Option<Handle>) {
        let Some(sender) = self.outlets.1.sender() else { return };
        let received = ReceivedMessage { info: self.info, message, handle };
        let permit = tokio::select! {
            biased;
            permit = sender.reserve() => permit.ok(),
            () = self.finish.wait() => sender.try_reserve().ok(),
        };
        match permit {
            Some(permit) => permit.send(received),
            None if sender.is_closed() => {}
            None => self.complain("dropped a message that nobody fetched".into()).await,
        }
    }

    /// Says so the first time, the second, the fourth and so on.
    async fn complain(&mut self, trouble: String) {
        self.unread.unusable += 1;
        if self.unread.unusable.is_power_of_two() {
            let message = match self.unread.unusable {
                1 => trouble,
                count => format!("{trouble} ({count} such messages by now)"),
            };
            self.post(Mail::ChannelTrouble { worker: self.info.worker, message }).await;
        }
    }

    async fn end(mut self) {
        let unfinished = self.unread.decoder.unfinished();
        if unfinished > 0 {
            let message = format!("the channel ended within a message, {unfinished} bytes into it");
            self.complain(message).await;
        }
        self.post(Mail::ChannelEnded { worker: self.info.worker }).await;
    }

    async fn post(&self, mail: Mail) {
        // A driver that is gone needs no mail.
        let _ = self.outlets.0.send(mail).await;
    }
}
