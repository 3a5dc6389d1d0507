//! A client that takes nothing kindly. It never asks twice for the same thing, and says of
//! every request that failed how it failed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

/// After so long a client gives up.
pub(crate) const TIME_OUT: Duration = Duration::from_secs(5);

/// An answer that takes longer is right, but late.
pub(crate) const DEADLINE: Duration = Duration::from_secs(1);

/// The longest answer that is read. Those of the programs measured are shorter by far.
const LONGEST_ANSWER: usize = 4096;

/// What a client does with a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reuse {
    /// It asks again on it, until the server says that it closes it.
    KeepAlive,
    /// Every request says `Connection: close`.
    Close,
}

/// How a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody listened.
    Refused,
    /// The connection was reset, or closed before the answer was complete.
    Reset,
    /// No answer within [`TIME_OUT`].
    TimedOut,
    /// An answer, but not to what was asked.
    Wrong(String),
    /// The right answer after [`DEADLINE`].
    Late,
    /// What only the client's side can be blamed for, such as no free port.
    Other(String),
}

/// One client: at most one connection, and one request at a time.
#[derive(Debug)]
pub(crate) struct Client {
    port: u16,
    reuse: Reuse,
    kept: Option<TcpStream>,
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    status: u16,
    body: String,
    pub(crate) keeps_alive: bool,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Self::Reset,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Other(error.to_string()),
        }
    }
}

impl Client {
    pub(crate) fn new(port: u16, reuse: Reuse) -> Self {
        Self { port, reuse, kept: None }
    }

    /// Asks for `path`, and returns the id of the process that answered.
    pub(crate) fn ask(&mut self, path: &str) -> Result<i32, Failure> {
        let began = Instant::now();
        let mut stream = match self.kept.take() {
            Some(stream) => stream,
            None => connect(self.port)?,
        };
        stream.write_all(request(path, self.reuse).as_bytes())?;
        let reply = read_reply(&mut stream, began)?;
        let pid = reply.who_answered(path)?;
        if self.reuse == Reuse::KeepAlive && reply.keeps_alive {
            self.kept = Some(stream);
        }
        if began.elapsed() > DEADLINE { Err(Failure::Late) } else { Ok(pid) }
    }
}

impl Reply {
    /// Reads an answer from its beginning; `None` if there is more to come. Only answers
    /// with a `Content-Length` are understood.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, Failure> {
        let text = String::from_utf8_lossy(bytes);
        let wrong = || Failure::Wrong(text.clone().into_owned());
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return if bytes.len() < LONGEST_ANSWER { Ok(None) } else { Err(wrong()) };
        };
        let mut lines = head.split("\r\n");
        let status_line = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status_line.and_then(|line| line.split(' ').next()?.parse().ok());
        let status = status.ok_or_else(wrong)?;
        let (mut length, mut keeps_alive) = (None, true);
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(wrong)?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().ok();
            } else if name.eq_ignore_ascii_case("connection") {
                keeps_alive = !value.eq_ignore_ascii_case("close");
            }
        }
        let length: usize = length.filter(|length| *length < LONGEST_ANSWER).ok_or_else(wrong)?;
        if body.len() > length {
            return Err(wrong());
        }
        let whole = body.len() == length;
        Ok(whole.then(|| Self { status, body: body.to_owned(), keeps_alive }))
    }

    /// The process that answered, if this is the answer to `path`.
    pub(crate) fn who_answered(&self, path: &str) -> Result<i32, Failure> {
        let words = self.body.strip_suffix('\n').and_then(|line| line.split_once(' '));
        match words.and_then(|(pid, asked)| Some((pid.parse().ok()?, asked))) {
            Some((pid, asked)) if asked == path && self.status == 200 => Ok(pid),
            _ => Err(Failure::Wrong(format!("{self:?} to {path}"))),
        }
    }
}

/// Connects to a port of this machine.
pub(crate) fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIME_OUT))?;
    stream.set_write_timeout(Some(TIME_OUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A request as it is sent.
pub(crate) fn request(path: &str, reuse: Reuse) -> String {
    let close = match reuse {
        Reuse::KeepAlive => "",
        Reuse::Close => "Connection: close\r\n",
    };
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{close}\r\n")
}

/// Asks for what takes long, and returns what the answer says.
pub(crate) fn ask_patiently(port: u16, path: &str, limit: Duration) -> Result<String, Failure> {
    let mut stream = connect(port)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(request(path, Reuse::Close).as_bytes())?;
    let mut bytes = Vec::new();
    // The server closes the connection behind its answer.
    stream.take(LONGEST_ANSWER as u64).read_to_end(&mut bytes)?;
    let reply = Reply::parse(&bytes)?.ok_or(Failure::Reset)?;
    Ok(reply.body)
}

fn read_reply(stream: &mut TcpStream, began: Instant) -> Result<Reply, Failure> {
    let mut bytes = [0; LONGEST_ANSWER];
    let mut filled = 0;
    loop {
        let length = stream.read(&mut bytes[filled..])?;
        if length == 0 {
            return Err(Failure::Reset);
        }
        filled += length;
        if let Some(reply) = Reply::parse(&bytes[..filled])? {
            return Ok(reply);
        }
        if began.elapsed() > TIME_OUT {
            return Err(Failure::TimedOut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddrV4, TcpListener};
    use std::os::fd::OwnedFd;

    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

    const GOOD: &str = "HTTP/1.1 200 OK\r\nDate: today\r\nConnection: keep-alive\r\n\
                        Content-Length: 7\r\n\r\n42 /a7\n";

    /// A client, and a server that sends what `answers` says, one for each connection.
    fn client_of(reuse: Reuse, answers: &'static [&'static str]) -> Client {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Client::new(port, reuse)
    }

    /// A port that is taken, and on which nobody listens.
    fn unheard() -> (OwnedFd, u16) {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = SocketAddrV4::try_from(getsockname(&socket).unwrap()).unwrap();
        (socket, address.port())
    }

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        for cut in 0..GOOD.len() {
            assert_eq!(Reply::parse(&GOOD.as_bytes()[..cut]), Ok(None), "{cut}");
        }
        let reply = Reply::parse(GOOD.as_bytes()).unwrap().unwrap();
        assert_eq!((reply.who_answered("/a7"), reply.keeps_alive), (Ok(42), true));
    }

    #[test]
    fn a_wrong_answer_is_noticed() {
        let reply = Reply::parse(GOOD.as_bytes()).unwrap().unwrap();
        assert!(matches!(reply.who_answered("/a8"), Err(Failure::Wrong(_))));
        let refusal = GOOD.replace("200 OK", "503 No");
        let reply = Reply::parse(refusal.as_bytes()).unwrap().unwrap();
        assert!(matches!(reply.who_answered("/a7"), Err(Failure::Wrong(_))));
        let long = format!("{GOOD}more");
        assert!(matches!(Reply::parse(long.as_bytes()), Err(Failure::Wrong(_))));
        assert!(matches!(Reply::parse(b"SSH-2.0\r\n\r\n"), Err(Failure::Wrong(_))));
    }

    #[test]
    fn a_connection_lost_between_two_requests_is_a_failure() {
        let mut client = client_of(Reuse::KeepAlive, &[GOOD, GOOD]);
        assert_eq!(client.ask("/a7"), Ok(42));
        assert_eq!(client.ask("/a7"), Err(Failure::Reset));
        assert_eq!(client.ask("/a7"), Ok(42));
    }

    #[test]
    fn a_connection_that_the_server_will_close_is_not_used_again() {
        const LAST: &str =
            "HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 7\r\n\r\n42 /a7\n";
        let mut client = client_of(Reuse::KeepAlive, &[LAST, GOOD]);
        assert_eq!(client.ask("/a7"), Ok(42));
        assert_eq!(client.ask("/a7"), Ok(42));
    }

    #[test]
    fn half_an_answer_and_none_at_all_are_told_apart() {
        let mut client = client_of(Reuse::Close, &["HTTP/1.1 200 OK\r\n"]);
        assert_eq!(client.ask("/a7"), Err(Failure::Reset));
        // Bound, but nobody listens: it stays that way for as long as it is bound.
        let (_bound, port) = unheard();
        assert_eq!(Client::new(port, Reuse::Close).ask("/a7"), Err(Failure::Refused));
    }
}
