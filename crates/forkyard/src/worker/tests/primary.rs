//! A primary for tests: the other end of a worker's channel, in the hands of the test.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use forkyard_core::WorkerId;
use forkyard_ipc::{
    Decoder, Dialect, Family, HandleKind, PrimaryMessage, ServerReply, SockName, Transport,
    WorkerMessage,
};
use forkyard_sys::reactor::Watched;
use tokio::io::Interest;

use crate::worker::Worker;

/// Only what never comes waits for so long.
const DEADLINE: Duration = Duration::from_secs(30);
const LIMIT: usize = 1 << 20;

/// See the module's documentation.
pub(super) struct Primary {
    channel: Watched,
    decoder: Decoder,
    handles: VecDeque<OwnedFd>,
    seq: u64,
}

/// A worker that has said that it is online, and its primary.
pub(super) async fn online() -> (Worker, Primary) {
    let (ours, theirs) = forkyard_sys::channel::channel_pair().unwrap();
    forkyard_sys::sockets::set_nonblocking(&theirs).unwrap();
    let worker = Worker::on(theirs, WorkerId(1), Dialect::Json).unwrap();
    let mut primary = Primary {
        channel: Watched::new(ours, Interest::READABLE).unwrap(),
        decoder: Decoder::new(Dialect::Json, LIMIT),
        handles: VecDeque::new(),
        seq: 0,
    };
    assert!(matches!(primary.hear().await, WorkerMessage::Online { .. }));
    (worker, primary)
}

impl Primary {
    /// The worker's next message.
    pub(super) async fn hear(&mut self) -> WorkerMessage {
        let heard = tokio::time::timeout(DEADLINE, self.next()).await;
        heard.expect("the worker says something").expect("the worker is there")
    }

    /// The worker's next message; `None` when it has closed the channel.
    pub(super) async fn next(&mut self) -> Option<WorkerMessage> {
        loop {
            if let Some(frame) = self.decoder.next_frame() {
                return Some(WorkerMessage::parse(Dialect::Json, frame.unwrap()).unwrap());
            }
            let mut ready = self.channel.readable().await.unwrap();
            let mut buffer = [0; 4096];
            let channel = self.channel.get_ref().as_fd();
            match forkyard_sys::channel::receive(channel, &mut buffer, &mut self.handles) {
                Ok(received) if received.bytes == 0 => return None,
                Ok(received) => self.decoder.feed(&buffer[..received.bytes]),
                Err(_) => ready.clear_ready(),
            }
        }
    }

    /// Waits for a query and says its number.
    pub(super) async fn hear_query(&mut self) -> u64 {
        match self.hear().await {
            WorkerMessage::QueryServer { seq, .. } => seq,
            other => panic!("a query was to come: {other:?}"),
        }
    }

    /// Whether the worker serves the connection handed over last.
    pub(super) async fn hear_verdict(&mut self) -> bool {
        assert_eq!(self.hear().await, WorkerMessage::HandleAck);
        match self.hear().await {
            WorkerMessage::Reply { accepted, .. } => accepted,
            other => panic!("a reply was to come: {other:?}"),
        }
    }

    fn say(&mut self, message: &PrimaryMessage, handle: Option<&OwnedFd>) {
        let mut bytes = Vec::new();
        message.encode(Dialect::Json, &mut bytes).unwrap();
        let channel = self.channel.get_ref().as_fd();
        let sent = forkyard_sys::channel::send(channel, &bytes, handle.map(AsFd::as_fd));
        assert_eq!(sent.unwrap(), bytes.len(), "it goes out in one piece");
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Grants a listener whose connections are handed over.
    pub(super) fn grant(&mut self, ack: u64, key: &str) {
        let name = SockName { address: "127.0.0.1".into(), family: Family::IPv4, port: 8000 };
        let seq = self.next_seq();
        let reply = ServerReply { sockname: Some(name), ..reply(key) };
        self.say(&PrimaryMessage::ServerReply { ack, seq, reply }, None);
    }

    /// Grants a socket that the worker accepts from by itself.
    pub(super) fn grant_shared(&mut self, ack: u64, key: &str, socket: &OwnedFd) {
        let seq = self.next_seq();
        let reply = ServerReply { handle: Some(HandleKind::NetNative), ..reply(key) };
        self.say(&PrimaryMessage::ServerReply { ack, seq, reply }, Some(socket));
    }

    /// Hands over a connection and gives the client's end of it.
    pub(super) fn hand_over(&mut self, key: &str) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        let seq = self.next_seq();
        let message =
            PrimaryMessage::NewConnection { seq, key: key.into(), transport: Transport::Tcp };
        self.say(&message, Some(&socket.into()));
        client
    }

    /// Asks the worker to leave.
    pub(super) fn ask_to_leave(&mut self) {
        let seq = self.next_seq();
        self.say(&PrimaryMessage::Disconnect { seq }, None);
    }

    /// Answers that the worker leaves.
    pub(super) fn acknowledge(&mut self, ack: u64) {
        let seq = self.next_seq();
        self.say(&PrimaryMessage::Ack { ack, seq }, None);
    }
}

fn reply(key: &str) -> ServerReply {
    ServerReply {
        errno: 0,
        key: key.into(),
        data: None,
        sockname: None,
        handle: None,
        transport: Transport::Tcp,
    }
}

/// A socket for workers to accept from, and where it is.
pub(super) fn shared_socket() -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener.into(), address)
}
