//! One client's connection, which never makes its thread wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::client::{self, Failure, Reply, Reuse};
use crate::origin::Origin;

/// The longest answer that is read. Those of the program measured are shorter by far.
const LONGEST_ANSWER: usize = 4096;

/// A connection with one request on it at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    request: Request,
    asked: Instant,
    state: State,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) reuse: Reuse,
}

/// What a request does to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// It blocks the event loop.
    Blocking,
}

#[derive(Debug)]
enum State {
    /// The request could not be sent yet.
    Connecting,
    /// So much of the answer has come.
    Waiting(Vec<u8>),
}

/// What came of a connection that was ready.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is more to come: see [`Connection::interest`].
    Unfinished,
    Answered {
        pid: i32,
        keeps_alive: bool,
    },
}

impl Connection {
    /// Opens a connection and asks on it, as far as that goes at once.
    pub(crate) fn open(origin: Origin, port: u16, request: Request) -> Result<Self, Failure> {
        let asked = Instant::now();
        let socket = origin.start_to_connect(port)?;
        let mut connection = Self { socket, request, asked, state: State::Connecting };
        connection.send()?;
        Ok(connection)
    }

    /// Asks once more, after an answer.
    pub(crate) fn ask(&mut self, request: Request) -> Result<(), Failure> {
        self.asked = Instant::now();
        self.request = request;
        self.send()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.request.kind
    }

    /// When the present request was asked; a new connection is part of it.
    pub(crate) fn asked(&self) -> Instant {
        self.asked
    }

    /// What has to happen before the next call of [`Connection::advance`].
    pub(crate) fn interest(&self) -> EventFlags {
        match self.state {
            State::Connecting => EventFlags::OUT,
            State::Waiting(_) => EventFlags::IN,
        }
    }

    /// Goes on as far as that is possible now.
    pub(crate) fn advance(&mut self) -> Result<Progress, Failure> {
        match self.state {
            State::Connecting => self.send().map(|()| Progress::Unfinished),
            State::Waiting(_) => self.receive(),
        }
    }

    /// Waits for the answer, and says who gave it.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<i32, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            if let Progress::Answered { pid, .. } = self.advance()? {
                return Ok(pid);
            }
            let flags = match self.state {
                State::Connecting => PollFlags::OUT,
                State::Waiting(_) => PollFlags::IN,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|error| other(&error))?;
            match poll(&mut [PollFd::new(&self.socket, flags)], Some(&left)) {
                Ok(0) => return Err(Failure::TimedOut),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(other(&error)),
            }
        }
    }

    fn send(&mut self) -> Result<(), Failure> {
        let text = client::request(&self.request.path, self.request.reuse);
        match rustix::io::write(&self.socket, text.as_bytes()) {
            // What fits into one packet is written whole or not at all.
            Ok(length) if length == text.len() => self.state = State::Waiting(Vec::new()),
            Ok(_) => return Err(Failure::Other("half a request was sent".into())),
            Err(Errno::AGAIN) => self.state = State::Connecting,
            Err(error) => return Err(io::Error::from(error).into()),
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Progress, Failure> {
        let State::Waiting(answer) = &mut self.state else { return Ok(Progress::Unfinished) };
        let mut bytes = [0; LONGEST_ANSWER];
        match rustix::io::read(&self.socket, &mut bytes) {
            Ok(0) => return Err(Failure::Reset),
            Ok(length) => answer.extend_from_slice(&bytes[..length]),
            Err(Errno::AGAIN) => return Ok(Progress::Unfinished),
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let Some(reply) = Reply::parse(answer)? else { return Ok(Progress::Unfinished) };
        let pid = reply.who_answered(&self.request.path)?;
        let keeps_alive = reply.keeps_alive && self.request.reuse == Reuse::KeepAlive;
        Ok(Progress::Answered { pid, keeps_alive })
    }
}

fn other(error: &impl std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
