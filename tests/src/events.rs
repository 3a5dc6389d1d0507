//! What the command says: one JSON object a line, its own on stderr, what a worker
//! wrote as `output` objects on the stream the worker wrote it to.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;

use crate::DEADLINE;

/// Where a line came out of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of the command.
#[derive(Clone)]
pub struct Event {
    /// Where it came out.
    pub stream: Stream,
    /// As it was, without the newline.
    pub raw: String,
    /// The object on the line, or `Null` if there is none.
    pub json: Value,
}

impl Event {
    fn read(stream: Stream, line: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(line).into_owned();
        let json = serde_json::from_str(&raw).unwrap_or(Value::Null);
        Self { stream, raw, json }
    }

    /// The name of the event, or nothing for a line that is none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text("event")
    }

    /// Whether this is the event of that name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name() == name
    }

    /// A field that is a string; empty if it is not there.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.json.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// A field that is a number, if it is there.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<i64> {
        self.json.get(field).and_then(Value::as_i64)
    }

    /// The process it is about.
    ///
    /// # Panics
    ///
    /// When it names none.
    #[must_use]
    pub fn pid(&self) -> i32 {
        let pid = self.number("pid").and_then(|pid| i32::try_from(pid).ok());
        pid.unwrap_or_else(|| panic!("an event without a pid: {self:?}"))
    }

    /// The slot it is about.
    ///
    /// # Panics
    ///
    /// When it names none.
    #[must_use]
    pub fn slot(&self) -> i64 {
        self.number("slot").unwrap_or_else(|| panic!("an event without a slot: {self:?}"))
    }

    /// What a worker wrote, if this is an `output` event.
    #[must_use]
    pub fn line(&self) -> Option<&str> {
        self.is("output").then(|| self.text("line"))
    }

    /// What a worker wrote, as JSON, if this is an `output` event with JSON in it.
    #[must_use]
    pub fn output_json(&self) -> Option<Value> {
        serde_json::from_str(self.line()?).ok().filter(Value::is_object)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = if self.stream == Stream::Stdout { "out" } else { "err" };
        let shown: String = self.raw.chars().take(400).collect();
        write!(f, "{stream}| {shown}")
    }
}

/// Everything the command has said so far, by all its streams.
#[derive(Debug, Default)]
pub struct Log {
    seen: Mutex<Seen>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Seen {
    events: Vec<Event>,
    open_streams: usize,
}

impl Log {
    /// Reads `source` to its end on a thread of its own.
    pub fn follow(
        self: &Arc<Self>,
        stream: Stream,
        source: impl Read + Send + 'static,
    ) -> JoinHandle<()> {
        self.lock().open_streams += 1;
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(source).split(b'\n');
            while let Some(Ok(line)) = lines.next() {
                log.lock().events.push(Event::read(stream, &line));
                log.news.notify_all();
            }
            log.lock().open_streams -= 1;
            log.news.notify_all();
        })
    }

    /// Waits until `find` gives something for all that was said so far.
    ///
    /// # Panics
    ///
    /// When the [`DEADLINE`] passes or all streams end first; shows all that was said.
    pub fn until<T>(&self, what: &str, mut find: impl FnMut(&[Event]) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut seen = self.lock();
        loop {
            if let Some(found) = find(&seen.events) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || seen.open_streams == 0 {
                let why = if left.is_zero() { "in vain" } else { "until the command ended" };
                let story = story(&seen.events);
                drop(seen);
                panic!("waited {why} for {what}; the command said:\n{story}");
            }
            seen = self.news.wait_timeout(seen, left).expect("invariant: readers do not panic").0;
        }
    }

    /// Waits until all streams have ended.
    ///
    /// # Panics
    ///
    /// When the [`DEADLINE`] passes first: somebody keeps a stream open.
    pub fn until_closed(&self) {
        let end = Instant::now() + DEADLINE;
        let mut seen = self.lock();
        while seen.open_streams > 0 {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the command ended but its output is still open");
            seen = self.news.wait_timeout(seen, left).expect("invariant: readers do not panic").0;
        }
    }

    /// A copy of all that was said so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // A test that panics in its condition is about to fail anyway.
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The events as text, the middle left out when they are many.
#[must_use]
pub fn story(events: &[Event]) -> String {
    let line = |event: &Event| format!("  {event:?}\n");
    if events.len() <= 200 {
        return events.iter().map(line).collect();
    }
    let (head, tail) = (&events[..100], &events[events.len() - 100..]);
    let left_out = events.len() - 200;
    let head: String = head.iter().map(line).collect();
    let tail: String = tail.iter().map(line).collect();
    format!("{head}  … {left_out} more …\n{tail}")
}
