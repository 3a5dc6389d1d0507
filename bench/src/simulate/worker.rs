//! A worker: a process with a single event loop, as Node's.
//!
//! ```text
//!         ┌──────────────────── one turn ────────────────────┐
//!   sleep │ read the channel → accept → serve what was ready │ sleep, if there was nothing
//!         └──────────────────────────────────────────────────┘
//! ```
//!
//! What is accepted in a turn is served in the next one, before which there is another
//! `accept`. So a worker that begins with a long request often has a connection in its hands
//! already that nobody else can serve. That is as in libuv, where the listening socket stands
//! before a new connection among what is ready. libuv accepts one connection a turn since its
//! pull request 3696 (Node 20), and before that as many as there are (Node 18).

use std::collections::VecDeque;

use super::connection::{Key, Socket};

/// Where a worker gets its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// From this socket, its own or all workers', beside its channel.
    Socket(usize),
    /// From its channel alone.
    Channel,
    /// One request after the other from this queue of all requests: the ideal.
    Pool(usize),
}

/// What the primary writes to a worker's channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    HandOff(Key),
    Probe,
}

/// What keeps a worker busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Read(Message),
    Serve(Key),
}

#[derive(Debug)]
pub(super) struct Worker {
    source: Source,
    /// How many connections it accepts in one turn.
    accepts: usize,
    channel: VecDeque<Message>,
    /// Requests on its connections, the first to come first.
    ready: VecDeque<Key>,
    /// How many messages are still to be read in this turn, ...
    to_read: usize,
    /// ... and how many requests to be served.
    to_serve: usize,
    /// Connections that it has accepted and nobody has taken notice of yet.
    pub(super) accepted: Vec<Key>,
    pub(super) task: Option<Task>,
}

impl Worker {
    pub(super) fn new(source: Source, accepts: usize) -> Self {
        Self {
            source,
            accepts,
            channel: VecDeque::new(),
            ready: VecDeque::new(),
            to_read: 0,
            to_serve: 0,
            accepted: Vec::new(),
            task: None,
        }
    }

    pub(super) fn send(&mut self, message: Message) {
        self.channel.push_back(message);
    }

    pub(super) fn request(&mut self, key: Key) {
        self.ready.push_back(key);
    }

    /// What it does next; `None` if it sleeps now.
    pub(super) fn next_task(&mut self, sockets: &mut [Socket]) -> Option<Task> {
        if let Source::Pool(pool) = self.source {
            return sockets[pool].pop().map(Task::Serve);
        }
        loop {
            if let Some(task) = self.go_on_with_turn() {
                return Some(task);
            }
            if !self.begin_turn(sockets) {
                return None;
            }
        }
    }

    fn go_on_with_turn(&mut self) -> Option<Task> {
        if self.to_read > 0 {
            self.to_read -= 1;
            return self.channel.pop_front().map(Task::Read);
        }
        if self.to_serve > 0 {
            self.to_serve -= 1;
            return self.ready.pop_front().map(Task::Serve);
        }
        None
    }

    /// Whether there is something to do in it.
    fn begin_turn(&mut self, sockets: &mut [Socket]) -> bool {
        self.to_read = self.channel.len();
        self.to_serve = self.ready.len();
        let accepted = self.accept(sockets);
        self.to_read + self.to_serve + accepted > 0
    }

    fn accept(&mut self, sockets: &mut [Socket]) -> usize {
        let Source::Socket(socket) = self.source else { return 0 };
        let mut accepted = 0;
        while accepted < self.accepts {
            let Some(key) = sockets[socket].pop() else { break };
            self.ready.push_back(key);
            self.accepted.push(key);
            accepted += 1;
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket_with(count: u32) -> Vec<Socket> {
        let mut socket = Socket::default();
        (0..count).for_each(|number| socket.push(Key(number)));
        vec![socket]
    }

    #[test]
    fn the_next_connection_is_accepted_before_the_first_is_served() {
        let mut worker = Worker::new(Source::Socket(0), 1);
        let mut sockets = socket_with(3);
        assert_eq!(worker.next_task(&mut sockets), Some(Task::Serve(Key(0))));
        assert_eq!(sockets[0].len(), 1);
        assert_eq!(worker.next_task(&mut sockets), Some(Task::Serve(Key(1))));
        assert!(sockets[0].is_empty());
        assert_eq!(worker.next_task(&mut sockets), Some(Task::Serve(Key(2))));
        assert_eq!(worker.next_task(&mut sockets), None);
        assert_eq!(worker.accepted, [Key(0), Key(1), Key(2)]);
    }

    #[test]
    fn who_accepts_all_leaves_nothing_for_others() {
        let mut worker = Worker::new(Source::Socket(0), usize::MAX);
        let mut sockets = socket_with(3);
        assert_eq!(worker.next_task(&mut sockets), Some(Task::Serve(Key(0))));
        assert!(sockets[0].is_empty());
    }

    #[test]
    fn the_channel_is_read_once_a_turn() {
        let mut worker = Worker::new(Source::Channel, 1);
        worker.request(Key(7));
        worker.send(Message::Probe);
        assert_eq!(worker.next_task(&mut []), Some(Task::Read(Message::Probe)));
        worker.send(Message::HandOff(Key(8)));
        assert_eq!(worker.next_task(&mut []), Some(Task::Serve(Key(7))));
        assert_eq!(worker.next_task(&mut []), Some(Task::Read(Message::HandOff(Key(8)))));
    }
}
