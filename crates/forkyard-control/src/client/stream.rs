//! Server-sent events, as they are read.
//!
//! Of the format (`text/event-stream` in the HTML standard) that is understood which this
//! crate's server may write, now or later: `event`, `data` on one or several lines, comments; all
//! other fields are passed over.

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::ClientError;
use super::error::nonsense;

/// The longest event that is read, in bytes.
const LONGEST_EVENT: usize = 1024 * 1024;
/// How long a primary may say nothing. It says every ten seconds that there is nothing to say.
const SILENCE: Duration = Duration::from_secs(60);

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) data: String,
}

impl Message {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_str(&self.data).map_err(nonsense)
    }
}

/// An answer that is read event by event.
#[derive(Debug)]
pub(super) struct Stream {
    /// Whose answer it is.
    pid: u32,
    body: Incoming,
    parser: Parser,
}

impl Stream {
    pub(super) fn of(answer: Response<Incoming>, pid: u32) -> Result<Self, ClientError> {
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        match kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            true => Ok(Self { pid, body: answer.into_body(), parser: Parser::default() }),
            false => Err(nonsense("it does not answer by server-sent events")),
        }
    }

    /// The next event; nothing when the connection has come to its end, or has broken off. May be
    /// dropped while it waits, and nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            if let Some(message) = self.parser.next()? {
                return Ok(Some(message));
            }
            let silent = |_| ClientError::Silent { pid: self.pid };
            let Some(Ok(frame)) = timeout(SILENCE, self.body.frame()).await.map_err(silent)? else {
                return Ok(None);
            };
            self.parser.take(frame.data_ref().map_or(&[], |data| data));
        }
    }
}

/// Makes events of bytes.
#[derive(Debug, Default)]
struct Parser {
    bytes: VecDeque<u8>,
    /// So many of the bytes hold no end of a line.
    searched: usize,
    message: Message,
    /// How much of the present event has been read.
    length: usize,
}

impl Parser {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    fn next(&mut self) -> Result<Option<Message>, ClientError> {
        while let Some(line) = self.line()? {
            self.length += line.len();
            if !line.is_empty() {
                self.field(&line);
            } else if let Some(message) = self.ended() {
                return Ok(Some(message));
            }
        }
        match self.length + self.bytes.len() > LONGEST_EVENT {
            true => Err(nonsense("an event has no end")),
            false => Ok(None),
        }
    }

    fn line(&mut self) -> Result<Option<String>, ClientError> {
        let mut rest = self.bytes.iter().skip(self.searched);
        let Some(end) = rest.position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return Ok(None);
        };
        let mut line: Vec<u8> = self.bytes.drain(..=self.searched + end).collect();
        self.searched = 0;
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).map(Some).map_err(nonsense)
    }

    fn field(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.name),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            // A comment, or a field that is of no use here.
            _ => {}
        }
    }

    /// One without data is none.
    fn ended(&mut self) -> Option<Message> {
        self.length = 0;
        let message = std::mem::take(&mut self.message);
        (!message.data.is_empty()).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a text that comes in pieces of that length.
    fn read(text: &str, piece: usize) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut messages = Vec::new();
        for bytes in text.as_bytes().chunks(piece) {
            parser.take(bytes);
            while let Some(Message { name, data }) = parser.next().unwrap() {
                messages.push((name, data));
            }
        }
        messages
    }

    #[test]
    fn events_are_read_however_they_come() {
        let text = ":\n\nevent: a\ndata: {\"b\":1}\n\n: nothing to say\n\r\nid: 7\r\nevent:c\r\n\
                    data: d\r\ndata:e: é\r\nretry\r\n\r\nevent: no data\n\ndata: f\n\nevent: open\n";
        let expected = [("a", "{\"b\":1}"), ("c", "d\ne: é"), ("", "f")];
        let expected = expected.map(|(name, data)| (name.to_owned(), data.to_owned()));
        for piece in [1, 2, 3, 7, text.len()] {
            assert_eq!(read(text, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn an_event_without_end_is_given_up() {
        for line in ["data: x", "data: x\n", ": x\n", "x"] {
            let mut parser = Parser::default();
            let piece = line.repeat(1000);
            let given_up = (0..2 * LONGEST_EVENT / piece.len()).any(|_| {
                parser.take(piece.as_bytes());
                parser.next().is_err()
            });
            assert!(given_up, "{line:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_nonsense() {
        let mut parser = Parser::default();
        parser.take(b"data: \xff\n\n");
        assert!(parser.next().is_err());
    }
}
