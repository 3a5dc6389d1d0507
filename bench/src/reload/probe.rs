//! Knocks at a port until somebody answers, and says how long that took.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::client::{self, Reply, Reuse};
use crate::interrupt;

/// How often a new connection is tried. One that is refused, or that was handed to a
/// worker that has died, says nothing about those after it.
const KNOCK_EVERY: Duration = Duration::from_millis(1);

/// How many connections may wait for an answer. Beyond that the oldest is given up.
const MOST_WAITING: usize = 256;

/// How long it may take until somebody answers.
const LIMIT: Duration = Duration::from_secs(30);

/// What is asked for.
const PATH: &str = "/probe";

/// The first answer that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstAnswer {
    pub(crate) pid: i32,
    /// Since the beginning.
    pub(crate) after: Duration,
}

#[derive(Debug)]
struct Attempt {
    stream: TcpStream,
    answer: Vec<u8>,
}

/// Waits for an answer from any process but `not_from`.
pub(crate) fn first_answer(
    port: u16,
    began: Instant,
    not_from: Option<i32>,
) -> Result<FirstAnswer> {
    let mut attempts: Vec<Attempt> = Vec::new();
    loop {
        if attempts.len() == MOST_WAITING {
            attempts.remove(0);
        }
        // Refused: there is a next time.
        attempts.extend(Attempt::start(port).ok());
        if let Some(pid) = wait_for_answer(&mut attempts, not_from)? {
            return Ok(FirstAnswer { pid, after: began.elapsed() });
        }
        ensure!(began.elapsed() < LIMIT, "nobody answers on port {port}");
        interrupt::pause(Duration::ZERO)?;
    }
}

/// Waits until it is time to knock again, or less if there is an answer.
fn wait_for_answer(attempts: &mut Vec<Attempt>, not_from: Option<i32>) -> Result<Option<i32>> {
    let again = Instant::now() + KNOCK_EVERY;
    loop {
        let left = again.saturating_duration_since(Instant::now());
        let ready = wait_for_any(attempts, left)?;
        if ready.is_empty() {
            return Ok(None);
        }
        // From behind, so that what is removed does not shift what is to come.
        for index in ready.into_iter().rev() {
            match attempts[index].read() {
                Progress::Waiting => {}
                Progress::Over => drop(attempts.remove(index)),
                Progress::Answered(pid) if Some(pid) == not_from => drop(attempts.remove(index)),
                Progress::Answered(pid) => return Ok(Some(pid)),
            }
        }
    }
}

/// Which of them have something to read, in ascending order.
fn wait_for_any(attempts: &[Attempt], limit: Duration) -> Result<Vec<usize>> {
    let watch = |attempt| PollFd::from_borrowed_fd(attempt, PollFlags::IN);
    let mut watched: Vec<_> =
        attempts.iter().map(|attempt| watch(attempt.stream.as_fd())).collect();
    let limit = Timespec::try_from(limit).context("failed to convert a time")?;
    match poll(&mut watched, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error).context("failed to wait for an answer"),
    }
    let is_ready = |&index: &usize| !watched[index].revents().is_empty();
    Ok((0..watched.len()).filter(is_ready).collect())
}

enum Progress {
    Waiting,
    /// No answer will come.
    Over,
    Answered(i32),
}

impl Attempt {
    fn start(port: u16) -> std::io::Result<Self> {
        let mut stream = client::connect(port)?;
        stream.write_all(client::request(PATH, Reuse::Close).as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, answer: Vec::new() })
    }

    fn read(&mut self) -> Progress {
        let mut bytes = [0; 1024];
        match self.stream.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Waiting,
            Ok(0) | Err(_) => return Progress::Over,
            Ok(length) => self.answer.extend_from_slice(&bytes[..length]),
        }
        match Reply::parse(&self.answer) {
            Ok(None) => Progress::Waiting,
            Ok(Some(reply)) => match reply.who_answered(PATH) {
                Ok(pid) => Progress::Answered(pid),
                Err(_) => Progress::Over,
            },
            Err(_) => Progress::Over,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    /// Answers the connections in turn as these processes would; 0 hangs up.
    fn server(pids: &'static [i32]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for pid in pids {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                let body = format!("{pid} {PATH}\n");
                let answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                if *pid != 0 {
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
        port
    }

    #[test]
    fn who_hangs_up_or_is_dead_does_not_count() {
        let port = server(&[0, 7, 7, 8]);
        let answer = first_answer(port, Instant::now(), Some(7)).unwrap();
        assert_eq!(answer.pid, 8);
    }
}
