//! A line as it stands in a log file, read again.

use std::time::SystemTime;

use serde::Deserialize;

/// How long a time is that a line begins with.
const TIME_LENGTH: usize = "2025-01-02T03:04:05.678Z".len();
/// What precedes it in a line of JSON, which may also be an event's: fields are in no order there.
const TIME_FIELD: &[u8] = b"\"time\":\"";

/// What a worker's line of JSON tells; an event's tells other things.
#[derive(Debug, Deserialize)]
struct OutputObject {
    slot: u32,
    pid: u32,
    line: String,
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// The worker of a slot.
    Worker { slot: u32, pid: u32 },
    /// The primary.
    Primary { pid: u32 },
}

/// What a line tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    /// As it stands there; nothing if it is no time.
    pub(crate) time: &'a str,
    pub(crate) author: Option<Author>,
    /// What was written. The whole line, if it is none of ours.
    pub(crate) text: std::borrow::Cow<'a, [u8]>,
}

/// When the first of these lines was written, if it says so.
pub(crate) fn time_of(line: &[u8]) -> Option<SystemTime> {
    humantime::parse_rfc3339(time_text(line)?).ok()
}

fn time_text(line: &[u8]) -> Option<&str> {
    let start = match line.first()? {
        b'{' => {
            let line = &line[..line.iter().position(|byte| *byte == b'\n').unwrap_or(line.len())];
            memchr::memmem::find(line, TIME_FIELD)? + TIME_FIELD.len()
        }
        _ => 0,
    };
    str::from_utf8(line.get(start..start + TIME_LENGTH)?).ok()
}

impl<'a> Stored<'a> {
    /// Takes a line apart, without its newline.
    pub(crate) fn parse(line: &'a [u8]) -> Self {
        let time = time_text(line).filter(|time| humantime::parse_rfc3339(time).is_ok());
        let Some(time) = time else {
            return Self { time: "", author: None, text: line.into() };
        };
        if line.starts_with(b"{") {
            return Self::of_json(time, line);
        }
        let rest = line[TIME_LENGTH..].strip_prefix(b" ").unwrap_or_default();
        match author(rest) {
            Some((author, text)) => Self { time, author: Some(author), text: text.into() },
            None => Self { time, author: None, text: rest.into() },
        }
    }

    fn of_json(time: &'a str, line: &'a [u8]) -> Self {
        match serde_json::from_slice::<OutputObject>(line) {
            Ok(OutputObject { slot, pid, line }) => {
                let author = Some(Author::Worker { slot, pid });
                Self { time, author, text: line.into_bytes().into() }
            }
            Err(_) => Self { time, author: None, text: line.into() },
        }
    }
}

/// `SLOT/PID TEXT` or `forkyard/PID TEXT`.
fn author(line: &[u8]) -> Option<(Author, &[u8])> {
    let space = memchr::memchr(b' ', line)?;
    let (who, pid) = str::from_utf8(&line[..space]).ok()?.split_once('/')?;
    let pid = pid.parse().ok()?;
    let author = match who {
        "forkyard" => Author::Primary { pid },
        slot => Author::Worker { slot: slot.parse().ok()?, pid },
    };
    Some((author, &line[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2025-01-02T03:04:05.678Z";

    fn parsed(line: &str) -> (String, Option<Author>, String) {
        let Stored { time, author, text } = Stored::parse(line.as_bytes());
        (time.to_owned(), author, String::from_utf8(text.into_owned()).unwrap())
    }

    #[test]
    fn both_formats_tell_the_same() {
        let author = Some(Author::Worker { slot: 3, pid: 77 });
        let expected = (TIME.to_owned(), author, "two words".to_owned());
        assert_eq!(parsed(&format!("{TIME} 3/77 two words")), expected);
        let json = format!(
            "{{\"time\":\"{TIME}\",\"level\":\"info\",\"event\":\"output\",\"slot\":3,\"pid\":77,\
             \"stream\":\"stdout\",\"line\":\"two words\"}}"
        );
        assert_eq!(parsed(&json), expected);
        let time = humantime::parse_rfc3339(TIME).unwrap();
        assert_eq!(time_of(json.as_bytes()), Some(time));
        assert_eq!(time_of(format!("{TIME} 3/77 two").as_bytes()), Some(time));
    }

    #[test]
    fn the_primary_s_lines_are_its_own() {
        let (time, author, text) = parsed(&format!("{TIME} forkyard/9 stopped"));
        assert_eq!((time.as_str(), text.as_str()), (TIME, "stopped"));
        assert_eq!(author, Some(Author::Primary { pid: 9 }));
    }

    #[test]
    fn what_is_not_ours_is_shown_as_it_is() {
        for line in
            ["", "{", "hello", "{\"time\":\"soon\"}", "2025", "2025-99-99T03:04:05.678Z 1/2 x"]
        {
            assert_eq!(parsed(line), (String::new(), None, line.to_owned()));
            assert_eq!(time_of(line.as_bytes()), None);
        }
        let odd = format!("{TIME} no author");
        assert_eq!(parsed(&odd), (TIME.to_owned(), None, "no author".to_owned()));
        let event = format!("{{\"event\":\"stopped\",\"time\":\"{TIME}\"}}");
        assert_eq!(parsed(&event), (TIME.to_owned(), None, event));
        assert_eq!(Stored::parse(b"\xff\xfe").text.as_ref(), b"\xff\xfe");
    }
}
