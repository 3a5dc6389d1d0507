//! Tells people and machines what happens: the same events as text or as JSON.

use std::io::Write;
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use forkyard::{
    Event, ExitStatus, FailReason, LeaveReason, Outcome, Policy, Signal, Stage, WorkerInfo,
};
use serde_json::{Map, Value, json};

use crate::args::LogFormat;

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
    pub(crate) workers: usize,
    pub(crate) policy: Policy,
}

/// Prints on stderr, where programs put what is not their output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reporter {
    format: LogFormat,
}

impl Reporter {
    pub(crate) fn new(format: LogFormat) -> Self {
        Self { format }
    }

    pub(crate) fn opening(&self, opening: &Opening) {
        let pid = std::process::id();
        let Opening { app, program, workers, policy } = opening;
        let text = format!(
            "primary {pid} runs {app} ({program}) with {}, {}",
            counted(*workers, "worker"),
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

    fn print(&self, entry: &Entry) {
        let mut stderr = anstream::stderr().lock();
        // Nobody may be reading any more.
        let _ = match self.format {
            LogFormat::Text => stderr.write_all(as_text(entry).as_bytes()),
            LogFormat::Json => stderr.write_all(as_json(entry).as_bytes()),
        };
    }
}

fn as_text(entry: &Entry) -> String {
    let style = entry.level.style();
    entry.text.lines().map(|line| format!("{style}forkyard │{style:#} {line}\n")).collect()
}

fn as_json(entry: &Entry) -> String {
    let mut object = Map::new();
    let now = humantime::format_rfc3339_millis(SystemTime::now());
    object.insert("time".into(), now.to_string().into());
    object.insert("level".into(), entry.level.name().into());
    object.insert("event".into(), entry.event.into());
    object.extend(entry.fields.clone());
    format!("{}\n", Value::Object(object))
}

fn describe(event: &Event) -> Option<Entry> {
    Some(match event {
        Event::Started(info) => {
            let text =
                format!("worker {} started in slot {} (pid {})", info.worker, info.slot, info.pid);
            Entry::about(Level::Info, "worker_started", *info, text)
        }
        Event::StartFailed { info, message } => {
            Entry::about(Level::Error, "worker_start_failed", *info, message.clone())
                .with("message", message.clone())
        }
        // Of interest to machines only: whoever is online will soon listen.
        Event::Online(info) => Entry::about(Level::Info, "worker_online", *info, String::new()),
        Event::Bound { address, policy } => {
            let text = format!("listening on {address} ({})", policy.name());
            let fields = json!({ "address": address, "policy": policy.name() });
            Entry::new(Level::Info, "listener_bound", text, fields)
        }
        Event::Listening { info, address } => {
            let text = format!("worker {} serves {address}", info.worker);
            Entry::about(Level::Info, "worker_listening", *info, text)
                .with("address", address.clone())
        }
        Event::ListenRefused { info, address, code, message } => {
            let text = format!("worker {}: {message} ({code})", info.worker);
            Entry::about(Level::Warn, "listen_failed", *info, text)
                .with("address", address.clone())
                .with("code", code.clone())
                .with("message", message.clone())
        }
        Event::StartTimedOut { info, after } => start_timed_out(*info, *after),
        Event::Disconnected(info) => {
            Entry::about(Level::Info, "worker_disconnected", *info, String::new())
        }
        Event::Exited { info, status, leaving, stderr_tail } => {
            exited(*info, *status, *leaving, stderr_tail)
        }
        Event::RestartScheduled { slot, delay, restarts } => {
            let when = match delay.is_zero() {
                true => "at once".to_owned(),
                false => format!("in {} ms", delay.as_millis()),
            };
            let text = format!("slot {slot} gets a new worker {when}");
            let fields = json!({
                "slot": slot.0, "delay_ms": delay.as_millis() as u64, "restarts": restarts,
            });
            Entry::new(Level::Info, "restart_scheduled", text, fields)
        }
        Event::SlotDone { slot } => {
            let text = format!("slot {slot} is done");
            Entry::new(Level::Info, "slot_done", text, json!({ "slot": slot.0 }))
        }
        Event::Failed { reason, stderr_tail } => failed(reason, stderr_tail),
        Event::Stopping { stage, workers } => {
            let how = match stage {
                Stage::Disconnect => "asking to disconnect:",
                Stage::Terminate => "ending:",
                Stage::Kill => "killing:",
            };
            let text = format!("{how} {}", counted(*workers, "worker"));
            let fields = json!({ "stage": stage_name(*stage), "workers": workers });
            Entry::new(Level::Info, "stopping", text, fields)
        }
        Event::Escalated { info, stage } => escalated(*info, *stage),
        Event::AcceptFailed { address, message } => {
            let text = format!(
                "failed to accept connections on {address}: {message}; they wait, trying again"
            );
            let fields = json!({ "address": address, "message": message });
            Entry::new(Level::Warn, "accept_failed", text, fields)
        }
        Event::ChannelTrouble { info, message } => {
            let text = format!("worker {}: {message}", info.worker);
            Entry::about(Level::Warn, "channel_trouble", *info, text)
                .with("message", message.clone())
        }
        _ => return None,
    })
}

fn start_timed_out(info: WorkerInfo, after: Duration) -> Entry {
    let text = format!(
        "worker {} was not listening after {}; ending it (see --start-timeout)",
        info.worker,
        humantime::format_duration(after)
    );
    Entry::about(Level::Warn, "start_timeout", info, text)
        .with("after_ms", after.as_millis() as u64)
}

fn exited(
    info: WorkerInfo,
    status: ExitStatus,
    leaving: Option<LeaveReason>,
    stderr_tail: &[String],
) -> Entry {
    let how = match status {
        ExitStatus::Code(code) => format!("exited with code {code}"),
        ExitStatus::Signal(signal) => format!("was ended by {}", signal_name(signal)),
    };
    let text = format!("worker {} in slot {} (pid {}) {how}", info.worker, info.slot, info.pid);
    let expected = leaving.is_some_and(|reason| reason != LeaveReason::StartTimeout);
    let level = if expected { Level::Info } else { Level::Warn };
    let (code, signal) = match status {
        ExitStatus::Code(code) => (json!(code), Value::Null),
        ExitStatus::Signal(signal) => (Value::Null, json!(signal_name(signal))),
    };
    Entry::about(level, "worker_exited", info, text)
        .with("code", code)
        .with("signal", signal)
        .with("expected", expected)
        .with("stderr_tail", stderr_tail.to_vec())
}

fn failed(reason: &FailReason, stderr_tail: &[String]) -> Entry {
    let FailReason::RestartLimit { slot, worker, limit, window } = reason;
    let mut text = format!(
        "the app failed: slot {slot} needed more than {} within {} (see --restart-limit)",
        counted(*limit as usize, "restart"),
        humantime::format_duration(*window),
    );
    let reason = text.clone();
    if !stderr_tail.is_empty() {
        text.push_str(&format!("\nthe last that worker {worker} wrote to stderr:"));
        for line in stderr_tail {
            text.push_str(&format!("\n  {line}"));
        }
    }
    let fields = json!({
        "reason": reason, "slot": slot.0, "worker": worker.0, "stderr_tail": stderr_tail,
    });
    Entry::new(Level::Error, "app_failed", text, fields)
}

fn escalated(info: WorkerInfo, stage: Stage) -> Entry {
    let how = match stage {
        Stage::Disconnect => "asking it to disconnect",
        Stage::Terminate => "sending it the stop signal",
        Stage::Kill => "killing it",
    };
    let text = format!("worker {} (pid {}) did not leave in time; {how}", info.worker, info.pid);
    Entry::about(Level::Warn, "stop_escalated", info, text).with("stage", stage_name(stage))
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Disconnect => "disconnect",
        Stage::Terminate => "terminate",
        Stage::Kill => "kill",
    }
}

fn signal_name(number: i32) -> String {
    let name = Signal::from_number(number).and_then(Signal::name);
    name.map_or_else(|| format!("signal {number}"), str::to_owned)
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests;
