//! The task that owns a worker's channel.
//!
//! ```text
//!   Worker ── Command ──▶ Link ◀─▶ channel ◀─▶ primary
//!   Listener ◀─ sockets ───┘
//! ```

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

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
use super::listener::{Listener, Source};
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
    /// A listener was dropped.
    Close(String),
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
    /// Where connections are handed on to, if the primary hands them over.
    connections: Option<mpsc::Sender<OwnedFd>>,
    /// Dropped to end the listener.
    _ended: oneshot::Sender<Infallible>,
}

/// A question that is not answered yet.
#[derive(Debug)]
struct Pending {
    question: Question,
    answer: Answer<Result<Granted, ListenError>>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Link {
    channel: Watched,
    dialect: Dialect,
    decoder: Decoder,
    handles: VecDeque<OwnedFd>,
    outbox: Outbox<OwnedFd>,
    commands: mpsc::WeakSender<Command>,
    inbox: mpsc::Receiver<Command>,
    left: watch::Sender<bool>,
    messages: mpsc::Sender<Value>,
    pending: HashMap<u64, Pending>,
    ports: HashMap<String, Port>,
    indexes: HashMap<String, u64>,
    /// Waits for the primary to acknowledge that the worker leaves, by sequence number.
    leave: Option<(u64, Answer<()>)>,
    seq: u64,
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
        (commands, inbox): (mpsc::WeakSender<Command>, mpsc::Receiver<Command>),
        left: watch::Sender<bool>,
        messages: mpsc::Sender<Value>,
    ) -> io::Result<Self> {
        Ok(Self {
            channel: Watched::new(channel, Interest::READABLE | Interest::WRITABLE)?,
            dialect,
            decoder: Decoder::new(dialect, MESSAGE_LIMIT),
            handles: VecDeque::new(),
            outbox: Outbox::new(OUTBOX_LIMIT),
            commands,
            inbox,
            left,
            messages,
            pending: HashMap::new(),
            ports: HashMap::new(),
            indexes: HashMap::new(),
            leave: None,
            seq: 0,
        })
    }

    /// Runs until the primary is gone, or nobody here needs it any more.
    pub(super) async fn run(mut self) {
        let seq = self.next_seq();
        self.post(&WorkerMessage::Online { seq });
        while self.step().await == Life::GoesOn {}
        self.close_ports();
        // Nobody may be waiting for it.
        let _ = self.left.send(true);
    }

    async fn step(&mut self) -> Life {
        let blocked = self.flush();
        tokio::select! {
            command = self.inbox.recv() => match command {
                Some(command) => self.obey(command),
                None => return Life::Over,
            },
            ready = self.channel.readable() => {
                let Ok(mut ready) = ready else { return Life::Over };
                match read(&self.channel, &mut self.decoder, &mut self.handles) {
                    Ok(0) => return Life::Over,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                    Err(_) => return Life::Over,
                }
                return self.take_messages();
            }
            ready = self.channel.writable(), if blocked => {
                let Ok(mut ready) = ready else { return Life::Over };
                ready.clear_ready();
            }
        }
        Life::GoesOn
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
            Command::Close(key) => {
                if self.ports.remove(&key).is_some() {
                    self.say_closed(key);
                }
            }
            Command::Send(value, answer) => {
                let sent = self.try_post(&WorkerMessage::User(value));
                // Whoever sent it may have stopped waiting.
                let _ = answer.send(sent);
            }
            Command::Leave(answer) => {
                self.close_ports();
                let seq = self.next_seq();
                self.post(&WorkerMessage::ExitedAfterDisconnect { seq });
                self.leave = Some((seq, answer));
            }
        }
    }

    fn ask(&mut self, mut question: Question, answer: Answer<Result<Granted, ListenError>>) {
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

    /// Ends every listener and tells the primary.
    fn close_ports(&mut self) {
        let keys: Vec<_> = self.ports.drain().map(|(key, _)| key).collect();
        for key in keys {
            self.say_closed(key);
        }
    }

    // What the primary says.

    fn take_messages(&mut self) -> Life {
        loop {
            let message = match self.decoder.next_frame() {
                None => return Life::GoesOn,
                Some(Ok(frame)) => PrimaryMessage::parse(self.dialect, frame),
                Some(Err(error)) => {
                    tracing::error!(%error, "dropped a message of the primary's");
                    continue;
                }
            };
            match message {
                Ok(message) => {
                    if self.handle(message) == Life::Over {
                        return Life::Over;
                    }
                }
                Err(error) => tracing::error!(%error, "ignored a message of the primary's"),
            }
        }
    }

    fn handle(&mut self, message: PrimaryMessage) -> Life {
        let handle = match message.needs_handle() {
            false => None,
            true => match self.take_handle() {
                Some(handle) => Some(handle),
                None => return Life::GoesOn,
            },
        };
        match message {
            PrimaryMessage::NewConnection { seq, key, .. } => {
                self.take_connection(seq, &key, handle)
            }
            PrimaryMessage::ServerReply { ack, reply, .. } => self.answered(ack, reply, handle),
            PrimaryMessage::Disconnect { .. } => self.asked_to_leave(),
            PrimaryMessage::Ack { ack, .. } => return self.leave_acknowledged(ack),
            PrimaryMessage::User(value) | PrimaryMessage::Handle { message: value, .. } => {
                // As documented, what nobody fetches is dropped.
                let _ = self.messages.try_send(value);
            }
            PrimaryMessage::HandleAck | PrimaryMessage::HandleNack => {
                drop(self.outbox.acknowledge());
            }
            PrimaryMessage::Socket(SocketAnswer::AllClosed { .. } | SocketAnswer::Count { .. })
            | PrimaryMessage::Unknown { .. } => {}
        }
        Life::GoesOn
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
        let port = self.ports.get(key).and_then(|port| port.connections.as_ref());
        let accepted = match (port, socket) {
            (Some(port), Some(socket)) => port.try_send(socket).is_ok(),
            _ => false,
        };
        self.post(&WorkerMessage::Reply { ack: seq, accepted });
    }

    fn asked_to_leave(&mut self) {
        self.close_ports();
        // Nobody may be waiting for it.
        let _ = self.left.send(true);
    }

    fn leave_acknowledged(&mut self, ack: u64) -> Life {
        match self.leave.take() {
            Some((seq, answer)) if seq == ack => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(());
                Life::Over
            }
            other => {
                self.leave = other;
                Life::GoesOn
            }
        }
    }

    fn answered(&mut self, ack: u64, reply: ServerReply, socket: Option<OwnedFd>) {
        let Some(Pending { question, answer }) = self.pending.remove(&ack) else { return };
        let key = reply.key.clone();
        let granted = self
            .grant(&question, reply, socket)
            .map_err(|source| ListenError::Refused { address: question.shown.clone(), source });
        let port = granted.as_ref().ok().map(Granted::port);
        if answer.send(granted).is_err() {
            // Nobody waits for the listener any more; it was dropped.
            if self.ports.remove(&key).is_some() {
                self.say_closed(key);
            }
        } else if let Some(port) = port {
            self.say_listening(question, port);
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
        let source = accepting(socket)?;
        Ok(self.open_port(reply.key, source, address, None))
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
        let (connections, inbox) = mpsc::channel(WAITING_CONNECTIONS);
        Ok(self.open_port(reply.key, Source::HandedOver(inbox), address, Some(connections)))
    }

    fn open_port(
        &mut self,
        key: String,
        source: Source,
        address: LocalAddress,
        connections: Option<mpsc::Sender<OwnedFd>>,
    ) -> Granted {
        let (end, ended) = oneshot::channel();
        let (in_use, dropped) = oneshot::channel::<Infallible>();
        self.report_drop(key.clone(), dropped);
        self.ports.insert(key, Port { connections, _ended: end });
        Granted::Listener(Listener::new(source, address, ended, in_use))
    }

    /// Has the link told when a listener is dropped, and keeps it going until then.
    fn report_drop(&self, key: String, dropped: oneshot::Receiver<Infallible>) {
        let Some(commands) = self.commands.upgrade() else { return };
        tokio::spawn(async move {
            // Ends with an error, as nothing can be sent.
            let _ = dropped.await;
            // A link that is gone needs no telling.
            let _ = commands.send(Command::Close(key)).await;
        });
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

/// Makes a bound socket accept connections here.
fn accepting(socket: OwnedFd) -> io::Result<Source> {
    forkyard_sys::sockets::set_nonblocking(&socket)?;
    forkyard_sys::sockets::listen(socket.as_fd(), BACKLOG)?;
    match forkyard_sys::sockets::socket_kind(socket.as_fd())? {
        Some(SocketKind::Tcp) => TcpListener::from_std(socket.into()).map(Source::Tcp),
        Some(SocketKind::UnixStream) => UnixListener::from_std(socket.into()).map(Source::Unix),
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
