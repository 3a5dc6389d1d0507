//! Tells people and machines what happens: the same events as text or as JSON.

mod describe;
mod limits;
mod roll;
mod triggers;

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use forkyard::{Event, Outcome, Policy, RollStep, Stage, WorkerInfo};
use forkyard_control::server::Feed;
use forkyard_control::types::{AppEvent, Update};
use jiff::Zoned;
use serde_json::{Map, Value, json};

use crate::args::LogFormat;
use crate::console::{self, Console};
use crate::exit_code::Failure;
use crate::limits::ByteSize;
use crate::logs::{Diary, Notice, Priority};
use crate::triggers::{Cause, Schedule, Watched};
pub(crate) use describe::given_up;
use describe::{counted, describe};
pub(crate) use roll::{describe_failure, shown, with_tail};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Info,
    Warn,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    fn priority(self) -> Priority {
        match self {
            Self::Info => Priority::Info,
            Self::Warn => Priority::Warning,
            Self::Error => Priority::Error,
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Info => Style::new().dimmed(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Error => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// One thing to tell.
#[derive(Clone, Debug)]
struct Entry {
    level: Level,
    event: &'static str,
    text: String,
    fields: Map<String, Value>,
}

impl Entry {
    /// `fields` is a JSON object.
    fn new(level: Level, event: &'static str, text: String, fields: Value) -> Self {
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { level, event, text, fields }
    }

    fn about(level: Level, event: &'static str, info: WorkerInfo, text: String) -> Self {
        let fields = json!({ "slot": info.slot.0, "worker": info.worker.0, "pid": info.pid });
        Self::new(level, event, text, fields)
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(key.into(), value.into());
        self
    }
}

/// What is told at the start.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) app: String,
    pub(crate) program: String,
    pub(crate) policy: Policy,
}

/// Prints on stderr, where programs put what is not their output, and to the app's logs if there
/// are any, and tells everyone who follows the app by its control socket. Never blocks. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    format: LogFormat,
    console: Console,
    diary: Arc<OnceLock<Diary>>,
    feed: Feed,
}

impl Reporter {
    /// Starts the thread that prints.
    pub(crate) fn start(format: LogFormat) -> io::Result<Self> {
        let tell_lost = move |lost| formatted(&lines_lost(lost), &now(), format);
        let console = Console::start(console::to_stderr, tell_lost)?;
        Ok(Self { format, console, diary: Arc::default(), feed: Feed::default() })
    }

    /// From now on what is told is kept there, too. The first one counts.
    pub(crate) fn keep(&self, diary: Diary) {
        // There is one log for an app.
        let _ = self.diary.set(diary);
    }

    /// Where everyone is told who follows the app.
    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Nothing more is told: waits until all that was is printed.
    pub(crate) async fn finish(&self) {
        self.console.finish().await;
        if let Some(diary) = self.diary.get() {
            diary.finish().await;
        }
    }

    /// Waits until all that was told by now is printed.
    pub(crate) async fn flush(&self) {
        // What is kept is not to wait for whoever reads stderr.
        if let Some(diary) = self.diary.get() {
            diary.flush().await;
        }
        self.console.flush().await;
    }

    /// An upgrade was not even begun.
    pub(crate) fn upgrade_failed(&self, reason: &str) {
        self.print(&describe::upgrade_failed(reason, &[]));
    }

    pub(crate) fn opening(&self, opening: &Opening, workers: NonZeroUsize) {
        let pid = std::process::id();
        let Opening { app, program, policy } = opening;
        let text = format!(
            "primary {pid} runs {app} ({program}) with {}, {}",
            counted(workers.get(), "worker"),
            policy.name()
        );
        let fields = json!({
            "pid": pid, "app": app, "program": program, "workers": workers, "policy": policy.name(),
        });
        self.print(&Entry::new(Level::Info, "primary_started", text, fields));
    }

    pub(crate) fn signal(&self, signal: &str, stage: Stage) {
        let text = match stage {
            Stage::Disconnect => format!("got {signal}: stopping; once more to hurry"),
            Stage::Terminate => format!("got {signal} again: ending the workers"),
            Stage::Kill => format!("got {signal} again: killing the workers"),
        };
        let fields = json!({ "signal": signal });
        self.print(&Entry::new(Level::Info, "signal_received", text, fields));
    }

    /// It serves on for so long before it stops.
    pub(crate) fn stop_put_off(&self, signal: &str, delay: Duration) {
        let text = format!(
            "got {signal}: serving on for {} before stopping; once more to stop now",
            humantime::format_duration(delay)
        );
        let fields = json!({ "signal": signal, "delay_ms": delay.as_millis() as u64 });
        self.print(&Entry::new(Level::Info, "stop_put_off", text, fields));
    }

    /// Somebody has asked for a stop by the control socket.
    pub(crate) fn stop_wanted(&self, stage: Stage) {
        let stage = describe::stage_name(stage);
        let text = format!("asked to stop ({stage})");
        self.print(&Entry::new(Level::Info, "stop_wanted", text, json!({ "stage": stage })));
    }

    pub(crate) fn event(&self, event: &Event) {
        if let Some(entry) = describe(event) {
            self.print(&entry);
        }
    }

    pub(crate) fn closing(&self, outcome: &Outcome, code: u8) {
        let (level, event, text) = match outcome {
            Outcome::Stopped => (Level::Info, "stopped", "stopped".to_owned()),
            Outcome::Finished { code } => {
                (Level::Info, "app_finished", format!("every worker is done (code {code})"))
            }
            Outcome::Failed(_) => {
                (Level::Error, "stopped", "stopped, because the app failed".to_owned())
            }
        };
        self.print(&Entry::new(level, event, text, json!({ "code": code })));
    }

    /// A roll has not come further for a while.
    pub(crate) fn still(&self, info: WorkerInfo, step: RollStep, waited: Duration) {
        self.print(&roll::still(info, step, waited));
    }

    /// A reload was asked for and is not begun, or not yet.
    pub(crate) fn reload_put_off(&self, text: &str) {
        let fields = json!({ "message": text });
        self.print(&Entry::new(Level::Warn, "reload_put_off", text.to_owned(), fields));
    }

    /// A reload was not begun. The workers serve on.
    pub(crate) fn reload_failed(&self, why: &str) {
        let text = format!("reload failed, and the workers serve on: {why}");
        self.print(&Entry::new(Level::Error, "reload_failed", text, json!({ "reason": why })));
    }

    /// A worker is replaced, because it uses more memory than it may.
    pub(crate) fn memory_limit_exceeded(
        &self,
        info: WorkerInfo,
        used_and_limit: (ByteSize, ByteSize),
        pause: Duration,
    ) {
        self.print(&limits::memory_limit_exceeded(info, used_and_limit, pause));
    }

    /// A worker was killed, because all workers together use more memory than they may.
    pub(crate) fn memory_exhausted(&self, info: WorkerInfo) {
        self.print(&limits::memory_exhausted(info));
    }

    /// The app reloads by itself.
    pub(crate) fn reload_wanted(&self, cause: &Cause) {
        self.print(&triggers::wanted(cause));
    }

    /// When the app reloads next by the clock.
    pub(crate) fn reload_scheduled(&self, at: &Zoned, schedule: &Schedule) {
        self.print(&triggers::scheduled(at, schedule));
    }

    /// It was time for a reload, too long ago.
    pub(crate) fn reload_missed(&self, at: &Zoned, schedule: &Schedule) {
        self.print(&triggers::missed(at, schedule));
    }

    /// So much is watched.
    pub(crate) fn watching(&self, watched: Watched) {
        self.print(&triggers::watching(watched));
    }

    /// Something went wrong that does not keep the app from running.
    pub(crate) fn warning(&self, message: String) {
        let fields = json!({ "message": message });
        self.print(&Entry::new(Level::Warn, "warning", message, fields));
    }

    /// Something has become of the logs.
    pub(crate) fn log_notice(&self, notice: &Notice) {
        let (level, event, fields) = match notice {
            Notice::Failed { what, why } => {
                (Level::Error, "log_failed", json!({ "log": what, "reason": why }))
            }
            Notice::Works { what, lost } => {
                (Level::Warn, "log_works_again", json!({ "log": what, "lines_lost": lost }))
            }
            Notice::NotTidied { what, why } => {
                (Level::Warn, "log_not_tidied", json!({ "log": what, "reason": why }))
            }
        };
        self.print(&Entry::new(level, event, notice.to_string(), fields));
    }

    fn print(&self, entry: &Entry) {
        let time = now();
        self.console.say(formatted(entry, &time, self.format).as_bytes());
        if let Some(diary) = self.diary.get() {
            diary.note(entry.level.priority(), &entry.text, || as_json(entry, &time));
        }
        self.feed.tell(|| as_event(entry, time));
    }
}

/// For the program's own log, which writes a line at once.
impl Write for Reporter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.console.say(line);
        if let Some(diary) = self.diary.get() {
            diary.log(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines_lost(lost: u64) -> Entry {
    let text = format!("{lost} lines were left out here, because nobody read them");
    Entry::new(Level::Warn, "lines_lost", text, json!({ "lines": lost }))
}

fn formatted(entry: &Entry, time: &str, format: LogFormat) -> String {
    match format {
        LogFormat::Text => as_text(entry),
        LogFormat::Json => as_json(entry, time),
    }
}

/// The same as by [`as_json`], and in words besides.
fn as_event(entry: &Entry, time: String) -> AppEvent {
    let (level, event) = (entry.level.name().to_owned(), entry.event.to_owned());
    AppEvent { time, level, event, text: entry.text.clone(), fields: entry.fields.clone() }
}

/// An event in one line, for people.
pub(crate) fn line(event: &Event) -> String {
    let text = describe(event).map(|entry| entry.text).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// So many workers, in words.
pub(crate) fn workers(count: usize) -> String {
    counted(count, "worker")
}

/// An event, for whoever follows a reload from elsewhere.
pub(crate) fn progress(event: &Event) -> Option<Update> {
    describe(event).map(as_progress)
}

/// A roll has not come further for a while, for whoever follows it from elsewhere.
pub(crate) fn still(info: WorkerInfo, step: RollStep, waited: Duration) -> Update {
    as_progress(roll::still(info, step, waited))
}

/// What a worker wrote to stderr is told at the end, once.
fn as_progress(entry: Entry) -> Update {
    let level = entry.level.name();
    let text = entry.text.lines().next().unwrap_or_default().to_owned();
    let entry = entry.with("level", level);
    Update::Progress { event: entry.event.to_owned(), text, fields: entry.fields }
}

/// What is said when the command cannot do what it was asked to.
pub(crate) fn failure(format: LogFormat, failure: &Failure) -> String {
    match format {
        LogFormat::Text => format!("forkyard: {failure}\n"),
        LogFormat::Json => {
            let message = failure.to_string();
            let fields = json!({ "message": message, "code": failure.number() });
            as_json(&Entry::new(Level::Error, "failed", message, fields), &now())
        }
    }
}

fn as_text(entry: &Entry) -> String {
    let style = entry.level.style();
    entry.text.lines().map(|line| format!("{style}forkyard │{style:#} {line}\n")).collect()
}

fn as_json(entry: &Entry, time: &str) -> String {
    timed_line(time, entry.level.name(), entry.event, entry.fields.clone())
}

/// An event as machines read it.
pub(crate) fn json_line(level: &str, event: &str, fields: Map<String, Value>) -> String {
    timed_line(&now(), level, event, fields)
}

fn timed_line(time: &str, level: &str, event: &str, fields: Map<String, Value>) -> String {
    let mut object = Map::new();
    object.insert("time".into(), time.into());
    object.insert("level".into(), level.into());
    object.insert("event".into(), event.into());
    object.extend(fields);
    format!("{}\n", Value::Object(object))
}

/// The time, as machines read it.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests;
