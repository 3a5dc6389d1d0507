//! What each event is called and how it reads.

use std::time::Duration;

use forkyard::{
    Event, ExitStatus, FailReason, LeaveReason, ListenerInfo, Signal, SlotId, Stage, WorkerInfo,
};
use serde_json::{Value, json};

use super::{Entry, Level, roll};

/// `None` for the end, which the reporter tells by itself, and for what concerns nobody else.
pub(super) fn describe(event: &Event) -> Option<Entry> {
    of_worker(event)
        .or_else(|| of_listener(event))
        .or_else(|| of_supervision(event))
        .or_else(|| roll::of_roll(event))
        .or_else(|| of_stop(event))
        .or_else(|| of_upgrade(event))
}

/// A worker's life, from start to end.
fn of_worker(event: &Event) -> Option<Entry> {
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
        // A person reads that it serves.
        Event::Ready(info) => Entry::about(Level::Info, "worker_ready", *info, String::new()),
        Event::StartTimedOut { info, after } => start_timed_out(*info, *after),
        Event::ChannelTrouble { info, message } => {
            let text = format!("worker {}: {message}", info.worker);
            Entry::about(Level::Warn, "channel_trouble", *info, text)
                .with("message", message.clone())
        }
        Event::Disconnected(info) => {
            Entry::about(Level::Info, "worker_disconnected", *info, String::new())
        }
        Event::Exited { info, status, leaving, stderr_tail } => {
            exited(*info, *status, *leaving, stderr_tail)
        }
        _ => return None,
    })
}

fn of_listener(event: &Event) -> Option<Entry> {
    Some(match event {
        Event::Bound(ListenerInfo { address, policy, reason }) => {
            let because = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let text = format!("listening on {address} ({}{because})", policy.name());
            let fields = json!({ "address": address, "policy": policy.name(), "reason": reason });
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
        Event::AcceptFailed { address, message } => {
            let text = format!(
                "failed to accept connections on {address}: {message}; they wait, trying again"
            );
            let fields = json!({ "address": address, "message": message });
            Entry::new(Level::Warn, "accept_failed", text, fields)
        }
        _ => return None,
    })
}

/// What becomes of the app, and of a seat whose worker has ended.
fn of_supervision(event: &Event) -> Option<Entry> {
    Some(match event {
        Event::AppReady => {
            Entry::new(Level::Info, "app_ready", "the app is ready".into(), json!({}))
        }
        Event::RestartScheduled { slot, delay, restarts } => {
            restart_scheduled(*slot, *delay, *restarts)
        }
        Event::SlotDone { slot } => {
            let text = format!("slot {slot} is done");
            Entry::new(Level::Info, "slot_done", text, json!({ "slot": slot.0 }))
        }
        Event::Failed { reason, stderr_tail } => failed(reason, stderr_tail),
        _ => return None,
    })
}

fn of_stop(event: &Event) -> Option<Entry> {
    Some(match event {
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
        _ => return None,
    })
}

fn of_upgrade(event: &Event) -> Option<Entry> {
    Some(match event {
        Event::Upgraded { pid, version, pause } => {
            let pause_ms = pause.as_millis() as u64;
            let text =
                format!("primary {pid} runs forkyard {version} now, after {pause_ms} ms of pause");
            let fields = json!({ "pid": pid, "version": version, "pause_ms": pause_ms });
            Entry::new(Level::Info, "primary_upgraded", text, fields)
        }
        Event::UpgradeFailed { reason, stderr_tail } => upgrade_failed(reason, stderr_tail),
        _ => return None,
    })
}

pub(super) fn upgrade_failed(reason: &str, stderr_tail: &[String]) -> Entry {
    let mut text = format!("failed to upgrade, all goes on as before: {reason}");
    if !stderr_tail.is_empty() {
        text.push_str("\nthe last that the new program wrote to stderr:");
        for line in stderr_tail {
            text.push_str(&format!("\n  {line}"));
        }
    }
    let fields = json!({ "reason": reason, "stderr_tail": stderr_tail });
    Entry::new(Level::Warn, "upgrade_failed", text, fields)
}

fn restart_scheduled(slot: SlotId, delay: Duration, restarts: u32) -> Entry {
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

/// Why an app was given up.
pub(crate) fn given_up(reason: &FailReason) -> String {
    let FailReason::RestartLimit { slot, limit, window, .. } = reason;
    format!(
        "the app failed: slot {slot} needed more than {} within {} (see --restart-limit)",
        counted(*limit as usize, "restart"),
        humantime::format_duration(*window),
    )
}

fn failed(reason: &FailReason, stderr_tail: &[String]) -> Entry {
    let FailReason::RestartLimit { slot, worker, .. } = reason;
    let reason = given_up(reason);
    let mut text = reason.clone();
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

pub(super) fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Disconnect => "disconnect",
        Stage::Terminate => "terminate",
        Stage::Kill => "kill",
    }
}

pub(super) fn signal_name(number: i32) -> String {
    let name = Signal::from_number(number).and_then(Signal::name);
    name.map_or_else(|| format!("signal {number}"), str::to_owned)
}

pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
