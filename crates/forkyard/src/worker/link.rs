//! The task that owns a worker's channel.
//!
//! ```text
//!   Worker ── Command ──▶ Link ◀─▶ channel ◀─▶ primary
//!   Listener ◀─ sockets ───┘
//!
//!             asked to leave, disconnect(), channel's end
//!   Member ─────────────────────────────────────────────▶ Leaving
//!     │ Worker and all listeners dropped                     │ channel's end
//!     └──────────────────────▶ over ◀────────────────────────┘
//! ```
//!
//! Who leaves keeps the channel until the process ends: to the primary the channel's end
//! says that all is served, and it ends a process that lingers after that.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};

use forkyard_ipc::{
    Decoder, Dialect, Frame, Outbox, PrimaryMessage, ServerReply, SocketAnswer, Value,
    WorkerMessage,
};
use forkyard_sys::reactor::Watched;
use forkyard_sys::sockets::{LocalAddress, SocketKind};
use tokio::io::Interest;
use tokio::net::{TcpListener, UdpSocket, UnixListener};
use tokio::sync::{mpsc, oneshot, watch};

use super::ListenError;
use super::departure::{Departure, Holds, departure};
use super::listener::{Listener, ListeningSocket, Source};
use super::question::Question;

/// The largest message from the primary.
const MESSAGE_LIMIT: usize = 64 * 1024 * 1024;
/// How much may wait for a primary that does not read.
const OUTBOX_LIMIT: usize = 64 * 1024 * 1024;
/// How many handed-over connections may wait to be accepted; beyond that they are declined
/// and go to another worker.
const WAITING_CONNECTIONS: usize = 128;
/// The accept queue of a shared socket; the system cuts it to its own maximum.
const BACKLOG: u32 = 4096;
const CHUNK: usize = 16 * 1024;

type Answer<T> = oneshot::Sender<T>;

/// What [`Worker`](super::Worker) asks of the link.
#[derive(Debug)]
pub(super) enum Command {
    Listen(Question, Answer<Result<Granted, ListenError>>),
    Send(Value, Answer<io::Result<()>>),
    Leave(Answer<()>),
}

/// An address that the primary has granted.
#[derive(Debug)]
pub(super) enum Granted {
    Listener(Listener),
    Udp(UdpSocket),
}

impl Granted {
    pub(super) fn into_listener(self) -> Result<Listener, ListenError> {
        match self {
            Self::Listener(listener) => Ok(listener),
            Self::Udp(_) => Err(ListenError::Disconnected),
        }
    }

    pub(super) fn into_udp(self) -> Result<UdpSocket, ListenError> {
        match self {
            Self::Udp(socket) => Ok(socket),
            Self::Listener(_) => Err(ListenError::Disconnected),
        }
    }
}

/// The link's end of a listener.
#[derive(Debug)]
struct Port {
    /// Where connections that the primary hands over go. Dropped to end the listener.
    connections: mpsc::Sender<OwnedFd>,
    /// Closed when the listener is dropped.
    end: oneshot::Sender<Infallible>,
}

/// A question that is not answered yet.
#[derive(Debug)]
struct Pending {
    question: Question,
    answer: Answer<Result<Granted, ListenError>>,
}

/// Whether the worker takes part in the cluster.
#[derive(Debug)]
enum Membership {
    Member(Holds, Departure),
    Leaving,
}

/// Whether the program still has its [`Worker`](super::Worker).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Commands,
    HasLetGo,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Link {
    channel: Watched,
    dialect: Dialect,
    decoder: Decoder,
    handles: VecDeque<OwnedFd>,
    outbox: Outbox<OwnedFd>,
    inbox: mpsc::Receiver<Command>,
    program: Program,
    membership: Membership,
    left: watch::Sender<bool>,
    messages: mpsc::Sender<Value>,
    pending: HashMap<u64, Pending>,
    ports: HashMap<String, Port>,
    indexes: HashMap<String, u64>,
    /// Waits for the primary to acknowledge that the worker leaves, by sequence number.
    leave: Option<(u64, Answer<()>)>,
    seq: u64,
}

/// The link's ends of what connects it with [`Worker`](super::Worker).
#[derive(Debug)]
pub(super) struct LinkEnds {
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) left: watch::Sender<bool>,
    pub(super) messages: mpsc::Sender<Value>,
}

/// Whether the link goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    GoesOn,
    Over,
}

impl Link {
    pub(super) fn new(
        channel: OwnedFd,
        dialect: Dialect,
        LinkEnds { inbox, left, messages }: LinkEnds,
    ) -> io::Result<Self> {
        let (holds, departure) = departure();
        Ok(Self {
            channel: Watched::new(channel, Interest::READABLE | Interest::WRITABLE)?,
            dialect,
            decoder: Decoder::new(dialect, MESSAGE_LIMIT),
            handles: VecDeque::new(),
            outbox: Outbox::new(OUTBOX_LIMIT),
            inbox,
            program: Program::Commands,
            membership: Membership::Member(holds, departure),
            left,
            messages,
            pending: HashMap::new(),
            ports: HashMap::new(),
            indexes: HashMap::new(),
            leave: None,
            seq: 0,
        })
    }

    /// Runs until the primary is gone, or nobody here wants anything of it any more.
    pub(super) async fn run(mut self) {
        let seq = self.next_seq();
        self.post(&WorkerMessage::Online { seq });
        while self.step().await == Life::GoesOn {}
        self.leave();
        // What the program said last; a primary that is gone does not hear it.
        self.flush();
    }

    async fn step(&mut self) -> Life {
        let blocked = self.flush();
        tokio::select! {
            command = self.inbox.recv(), if self.program == Program::Commands => match command {
                Some(command) => self.obey(command),
                None => self.program = Program::HasLetGo,
            },
            () = poll_fn(|cx| poll_dropped(&mut self.ports, cx)) => self.close_dropped(),
            ready = self.channel.readable() => {
                let Ok(mut ready) = ready else { return Life::Over };
                match read(&self.channel, &mut self.decoder, &mut self.handles) {
                    Ok(0) => return Life::Over,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                    Err(_) => return Life::Over,
                }
                self.take_messages();
            }
            ready = self.channel.writable(), if blocked => {
                let Ok(mut ready) = ready else { return Life::Over };
                ready.clear_ready();
            }
        }
        if self.is_unwanted() { Life::Over } else { Life::GoesOn }
    }

    /// Whether the program has let go of everything, and did not say that it leaves.
    fn is_unwanted(&self) -> bool {
        let is_member = matches!(self.membership, Membership::Member(..));
        is_member && self.program == Program::HasLetGo && self.ports.is_empty()
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq - 1
    }

    fn post(&mut self, message: &WorkerMessage) {
        if let Err(error) = self.try_post(message) {
            tracing::error!(%error, "failed to tell the primary something");
        }
    }

    fn try_post(&mut self, message: &WorkerMessage) -> io::Result<()> {
        let mut bytes = self.outbox.buffer();
        message.encode(self.dialect, &mut bytes).map_err(io::Error::other)?;
        let pushed = self.outbox.push(Frame { bytes, handle: None });
        pushed.map_err(|_| io::Error::other("the primary has left too much unread"))
    }

    /// Writes what can be written; whether something is left.
    fn flush(&mut self) -> bool {
        while let Some(chunk) = self.outbox.next() {
            let channel = self.channel.get_ref().as_fd();
            match forkyard_sys::channel::send(channel, chunk.bytes, chunk.handle.map(AsFd::as_fd)) {
                Ok(written) => self.outbox.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                // The read side finds out that the primary is gone.
                Err(_) => return false,
            }
        }
        false
    }

    // What the program asks for.

    fn obey(&mut self, command: Command) {
        match command {
            Command::Listen(question, answer) => self.ask(question, answer),
            Command::Send(value, answer) => {
                let sent = self.try_post(&WorkerMessage::User(value));
                // Whoever sent it may have stopped waiting.
                let _ = answer.send(sent);
            }
            Command::Leave(answer) => {
                self.leave();
                let seq = self.next_seq();
                self.post(&WorkerMessage::ExitedAfterDisconnect { seq });
                self.leave = Some((seq, answer));
            }
        }
    }

    fn ask(&mut self, mut question: Question, answer: Answer<Result<Granted, ListenError>>) {
        if matches!(self.membership, Membership::Leaving) {
            // Dropping the answer says so.
            return;
        }
        // The address may be one that a listener had that was dropped just now.
        self.close_dropped();
        let index = self.indexes.entry(question.index_key()).or_insert(0);
        question.query.index = *index;
        *index += 1;
        let seq = self.next_seq();
        self.post(&WorkerMessage::QueryServer { seq, query: question.query.clone() });
        self.pending.insert(seq, Pending { question, answer });
    }

    fn say_closed(&mut self, key: String) {
        let seq = self.next_seq();
        self.post(&WorkerMessage::Close { seq, key });
    }

    /// Tells the primary of the listeners that were dropped.
    fn close_dropped(&mut self) {
        let dropped = self.ports.extract_if(|_, port| port.end.is_closed());
        let keys: Vec<_> = dropped.map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.say_closed(key));
    }

    /// Ends every listener, and has the program told when it has taken what was handed to
    /// it. Questions are not answered any more.
    fn leave(&mut self) {
        let Membership::Member(holds, departure) =
            std::mem::replace(&mut self.membership, Membership::Leaving)
        else {
            return;
        };
        drop(holds);
        self.pending.clear();
        let keys: Vec<_> = self.ports.drain().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.say_closed(key));
        let left = self.left.clone();
        tokio::spawn(async move {
            departure.may_begin().await;
            // Nobody may be waiting for it.
            let _ = left.send(true);
        });
    }

    // What the primary says.

    fn take_messages(&mut self) {
        while let Some(frame) = self.decoder.next_frame() {
            let message = match frame {
                Ok(frame) => PrimaryMessage::parse(self.dialect, frame),
                Err(error) => {
                    tracing::error!(%error, "dropped a message of the primary's");
                    continue;
                }
            };
            match message {
                Ok(message) => self.handle(message),
                Err(error) => tracing::error!(%error, "ignored a message of the primary's"),
            }
        }
    }

    fn handle(&mut self, message: PrimaryMessage) {
        let handle = match message.needs_handle() {
            false => None,
            true => match self.take_handle() {
                Some(handle) => Some(handle),
                None => return,
            },
        };
        match message {
            PrimaryMessage::NewConnection { seq, key, .. } => {
                self.take_connection(seq, &key, handle)
            }
            PrimaryMessage::ServerReply { ack, reply, .. } => self.answered(ack, reply, handle),
            PrimaryMessage::Disconnect { .. } => self.leave(),
            PrimaryMessage::Ack { ack, .. } => self.leave_acknowledged(ack),
            PrimaryMessage::User(value) | PrimaryMessage::Handle { message: value, .. } => {
                // As documented, what nobody fetches is dropped, and so is a descriptor.
                let _ = self.messages.try_send(value);
            }
            PrimaryMessage::HandleAck | PrimaryMessage::HandleNack => {
                drop(self.outbox.acknowledge());
            }
            // For an agent, which nobody has loaded here.
            PrimaryMessage::Agent(_)
            | PrimaryMessage::Socket(SocketAnswer::AllClosed { .. } | SocketAnswer::Count { .. })
            | PrimaryMessage::Unknown { .. } => {}
        }
    }

    /// The descriptor of the message at hand, acknowledged at once, as Node's primary
    /// sends nothing further before.
    fn take_handle(&mut self) -> Option<OwnedFd> {
        let handle = self.handles.pop_front();
        self.post(match handle {
            Some(_) => &WorkerMessage::HandleAck,
            None => &WorkerMessage::HandleNack,
        });
        handle
    }

    fn take_connection(&mut self, seq: u64, key: &str, socket: Option<OwnedFd>) {
        let port = self.ports.get(key).map(|port| &port.connections);
        let accepted = match (port, socket) {
            (Some(port), Some(socket)) => port.try_send(socket).is_ok(),
            _ => false,
        };
        self.post(&WorkerMessage::Reply { ack: seq, accepted });
    }

    fn leave_acknowledged(&mut self, ack: u64) {
        if let Some((_, answer)) = self.leave.take_if(|(seq, _)| *seq == ack) {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(());
        }
    }

    fn answered(&mut self, ack: u64, reply: ServerReply, socket: Option<OwnedFd>) {
        let Some(Pending { question, answer }) = self.pending.remove(&ack) else {
            return self.decline(reply);
        };
        let key = reply.key.clone();
        let granted = self
            .grant(&question, reply, socket)
            .map_err(|source| ListenError::Refused { address: question.shown.clone(), source });
        let port = granted.as_ref().ok().map(Granted::port);
        match (answer.send(granted), port) {
            (Ok(()), Some(port)) => self.say_listening(question, port),
            // Nobody waits for it any more; it was dropped.
            (Err(_), Some(_)) => {
                self.ports.remove(&key);
                self.say_closed(key);
            }
            (_, None) => {}
        }
    }

    /// Gives back what was granted after the worker had said that it leaves.
    fn decline(&mut self, reply: ServerReply) {
        if reply.errno == 0 {
            self.say_closed(reply.key);
        }
    }

    fn say_listening(&mut self, question: Question, port: Option<u16>) {
        let mut query = question.query;
        query.port = port.map(i64::from).or(query.port);
        let seq = self.next_seq();
        self.post(&WorkerMessage::Listening { seq, query });
    }

    fn grant(
        &mut self,
        question: &Question,
        reply: ServerReply,
        socket: Option<OwnedFd>,
    ) -> io::Result<Granted> {
        if reply.errno != 0 {
            return Err(io::Error::from_raw_os_error(-reply.errno));
        }
        let Some(socket) = socket else { return self.grant_handed_over(question, reply) };
        if question.query.address_type.is_udp() {
            forkyard_sys::sockets::set_nonblocking(&socket)?;
            return UdpSocket::from_std(socket.into()).map(Granted::Udp);
        }
        let address = forkyard_sys::sockets::local_address(socket.as_fd())?;
        let socket = listening(socket)?;
        self.open_port(reply.key, Some(socket), address)
    }

    fn grant_handed_over(
        &mut self,
        question: &Question,
        reply: ServerReply,
    ) -> io::Result<Granted> {
        let address = match &reply.sockname {
            Some(name) => {
                let ip = name.address.parse().map_err(io::Error::other)?;
                LocalAddress::Inet(SocketAddr::new(ip, name.port))
            }
            None => LocalAddress::Unix(question.query.address.clone().map(Into::into)),
        };
        self.open_port(reply.key, None, address)
    }

    fn open_port(
        &mut self,
        key: String,
        socket: Option<ListeningSocket>,
        address: LocalAddress,
    ) -> io::Result<Granted> {
        let Membership::Member(holds, _) = &self.membership else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let (connections, handed_over) = mpsc::channel(WAITING_CONNECTIONS);
        let source = Source { handed_over, socket };
        let (end, ended) = oneshot::channel();
        let listener = Listener::new(source, address, ended, holds.clone());
        self.ports.insert(key, Port { connections, end });
        Ok(Granted::Listener(listener))
    }
}

impl Granted {
    /// The real port, for TCP and UDP.
    fn port(&self) -> Option<u16> {
        match self {
            Self::Listener(listener) => match listener.local_address() {
                LocalAddress::Inet(address) => Some(address.port()),
                _ => None,
            },
            Self::Udp(socket) => socket.local_addr().ok().map(|address| address.port()),
        }
    }
}

/// Resolves when a listener was dropped.
fn poll_dropped(ports: &mut HashMap<String, Port>, cx: &mut Context<'_>) -> Poll<()> {
    // All of them are asked, so that each can wake the link.
    let dropped =
        ports.values_mut().filter_map(|port| port.end.poll_closed(cx).is_ready().then_some(()));
    if dropped.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
}

/// Makes a bound socket accept connections here.
fn listening(socket: OwnedFd) -> io::Result<ListeningSocket> {
    forkyard_sys::sockets::set_nonblocking(&socket)?;
    forkyard_sys::sockets::listen(socket.as_fd(), BACKLOG)?;
    match forkyard_sys::sockets::socket_kind(socket.as_fd())? {
        Some(SocketKind::Tcp) => TcpListener::from_std(socket.into()).map(ListeningSocket::Tcp),
        Some(SocketKind::UnixStream) => {
            UnixListener::from_std(socket.into()).map(ListeningSocket::Unix)
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no stream socket")),
    }
}

fn read(
    channel: &Watched,
    decoder: &mut Decoder,
    handles: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut buffer = [0; CHUNK];
    let received = forkyard_sys::channel::receive(channel.get_ref().as_fd(), &mut buffer, handles)?;
    decoder.feed(&buffer[..received.bytes]);
    Ok(received.bytes)
}
