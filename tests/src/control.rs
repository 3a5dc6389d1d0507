//! What stands on the other side of an app's control socket: requests as `curl` makes them.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::DEADLINE;

/// An app's control socket.
#[derive(Clone, Debug)]
pub struct Socket(PathBuf);

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The code of its first line.
    pub code: u16,
    /// Its body.
    pub json: Value,
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Its name.
    pub name: String,
    /// Its data.
    pub json: Value,
}

/// An answer that is read event by event.
#[derive(Debug)]
pub struct Following(BufReader<UnixStream>);

impl Socket {
    /// The socket of the only app that has one in this folder.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn only_one(dir: &Path) -> Self {
        let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("one").path());
        let mut sockets = entries.filter(|path| path.extension().is_some_and(|end| end == "sock"));
        Self(sockets.next().expect("a socket"))
    }

    /// Asks for something that is answered at once.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[must_use]
    pub fn ask(&self, line: &str, body: &str) -> Answer {
        let mut text = String::new();
        self.send(line, body).read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let code = head.split_whitespace().nth(1).and_then(|code| code.parse().ok());
        let json = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"));
        Answer { code: code.expect("a code"), json }
    }

    /// How the app is.
    #[must_use]
    pub fn status(&self) -> Value {
        self.ask("GET /v1/status", "").json
    }

    /// Asks for something that takes its time.
    ///
    /// # Panics
    ///
    /// When it is refused.
    #[must_use]
    pub fn follow(&self, line: &str, body: &str) -> Following {
        let mut reader = BufReader::new(self.send(line, body));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).expect("a head"), 0, "no head: {head}");
        }
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        Following(reader)
    }

    /// In the older version of HTTP an answer ends with its connection, and is not cut in pieces.
    fn send(&self, line: &str, body: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.0).expect("a socket that is listened on");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let length = body.len();
        write!(stream, "{line} HTTP/1.0\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
            .expect("it takes requests");
        stream
    }
}

impl Answer {
    /// What an error says.
    #[must_use]
    pub fn error(&self) -> &str {
        self.json["error"].as_str().unwrap_or_default()
    }
}

impl Iterator for Following {
    type Item = Told;

    /// What is told next; nothing when the connection ends.
    ///
    /// # Panics
    ///
    /// When neither comes within the [`DEADLINE`].
    fn next(&mut self) -> Option<Told> {
        let (mut name, mut json) = (String::new(), None);
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("event", value)) => name = value.to_owned(),
                Some(("data", value)) => json = serde_json::from_str(value).ok(),
                _ if line.is_empty() && json.is_some() => {
                    return json.map(|json| Told { name, json });
                }
                _ => {}
            }
        }
    }
}

impl Following {
    /// A connection that broke off has come to its end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("waited in vain for something to be told")
            }
            Err(_) => None,
        }
    }

    /// What is told until there is something for which `wanted` holds, that included.
    ///
    /// # Panics
    ///
    /// When the connection ends first.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Told) -> bool) -> Vec<Told> {
        let mut told = Vec::new();
        while !told.last().is_some_and(&wanted) {
            match self.next() {
                Some(next) => told.push(next),
                None => panic!("the connection ended before {what}; it told {told:#?}"),
            }
        }
        told
    }

    /// What is told until an event of that name.
    pub fn until_event(&mut self, name: &str) -> Vec<Told> {
        self.until(name, |told| told.name == name)
    }

    /// All that is yet told.
    #[must_use]
    pub fn rest(self) -> Vec<Told> {
        self.collect()
    }
}
