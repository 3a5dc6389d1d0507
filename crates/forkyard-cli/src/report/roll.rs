//! How a roll reads, from its start to its end.

use std::time::Duration;

use forkyard::{
    Event, ExitStatus, Generation, ReadyRule, RollExtent, RollFailure, RollReason, RollStep,
    SlotId, WorkerInfo,
};
use serde_json::json;

use super::describe::{counted, signal_name};
use super::{Entry, Level};

pub(super) fn of_roll(event: &Event) -> Option<Entry> {
    Some(match event {
        Event::RollStarted { generation, reason, extent } => started(*generation, *reason, *extent),
        Event::RollStep { info, step } => {
            // The news of its process says as much to people.
            let text = match step {
                RollStep::Starting => String::new(),
                step => format!("slot {}: {}", info.slot, describe_step(*info, *step)),
            };
            stepped(Level::Info, *info, *step, text)
        }
        Event::RollFinished { generation, took } => {
            let text = format!("reload finished after {}", shown(*took));
            ended("roll_finished", *generation, *took, text)
        }
        Event::RollFailed { generation, info, reason, stderr_tail } => {
            failed(*generation, *info, reason, stderr_tail)
        }
        Event::RollBackFailed { info, reason, stderr_tail } => {
            let text = format!(
                "slot {} keeps the worker it has: its successor, worker {}, {}",
                info.slot,
                info.worker,
                describe_failure(reason)
            );
            Entry::about(Level::Error, "roll_back_failed", *info, with_tail(text, stderr_tail))
                .with("reason", describe_failure(reason))
                .with("stderr_tail", stderr_tail.clone())
        }
        Event::RolledBack { generation, took, pending } => rolled_back(*generation, *took, pending),
        Event::RollAborted { generation } => {
            let fields = json!({ "generation": generation.0 });
            Entry::new(Level::Warn, "roll_aborted", "reload given up to stop".into(), fields)
        }
        Event::StandsBy(info) => {
            let text = format!("worker {} in slot {} stands by as a spare", info.worker, info.slot);
            Entry::about(Level::Info, "spare_ready", *info, text)
        }
        Event::SpareDoesNotAsk { info, after } => does_not_ask(*info, *after),
        Event::Promoted(info) => {
            let text =
                format!("worker {} in slot {} takes over; it was a spare", info.worker, info.slot);
            Entry::about(Level::Info, "spare_promoted", *info, text)
        }
        _ => return None,
    })
}

/// What spares are for takes a program that can be held back.
fn does_not_ask(info: WorkerInfo, after: Duration) -> Entry {
    let text = format!(
        "worker {} in slot {} is to be a spare, but has not asked for an address for {}: a program \
         that does not listen through the primary cannot be held back, and its spares serve like \
         all its workers; leave out --spares",
        info.worker,
        info.slot,
        humantime::format_duration(Duration::from_secs(after.as_secs()))
    );
    Entry::about(Level::Warn, "spare_does_not_ask", info, text)
        .with("after_ms", after.as_millis() as u64)
}

/// It has not come further for a while.
pub(super) fn still(info: WorkerInfo, step: RollStep, waited: Duration) -> Entry {
    let what = describe_step(info, step);
    let text = format!("slot {}: {what}, for {} s so far", info.slot, waited.as_secs());
    stepped(Level::Info, info, step, text).with("waited_ms", waited.as_millis() as u64)
}

fn started(generation: Generation, reason: RollReason, extent: RollExtent) -> Entry {
    let (text, name) = match reason {
        RollReason::Reload => (format!("reload: {}", describe_extent(extent)), "reload"),
        RollReason::Replace => ("restart: one worker to replace".to_owned(), "replace"),
    };
    let RollExtent { replaced, added, removed, surge } = extent;
    let fields = json!({
        "generation": generation.0, "reason": name, "slots": replaced + added,
        "replaced": replaced, "added": added, "removed": removed, "surge": surge,
    });
    Entry::new(Level::Info, "roll_started", text, fields)
}

fn describe_extent(extent: RollExtent) -> String {
    let RollExtent { replaced, added, removed, surge: _ } = extent;
    let mut text = format!("{} to replace", counted(replaced, "worker"));
    if added > 0 {
        text.push_str(&format!(", {added} to add"));
    }
    if removed > 0 {
        text.push_str(&format!(", {removed} to take away in the end"));
    }
    text
}

/// A seat whose worker crashed meanwhile may still be empty.
fn rolled_back(generation: Generation, took: Duration, pending: &[SlotId]) -> Entry {
    let mut text = format!("the reload is undone, after {}", shown(took));
    let slots: Vec<_> = pending.iter().map(ToString::to_string).collect();
    match slots.as_slice() {
        [] => {}
        [slot] => text.push_str(&format!("; slot {slot} still waits for its worker")),
        slots => {
            text.push_str(&format!("; slots {} still wait for their workers", slots.join(", ")));
        }
    }
    let pending: Vec<_> = pending.iter().map(|slot| slot.0).collect();
    ended("roll_rolled_back", generation, took, text).with("pending", pending)
}

fn stepped(level: Level, info: WorkerInfo, step: RollStep, text: String) -> Entry {
    let phase = match step {
        RollStep::Starting => "starting",
        RollStep::Waiting(_) => "waiting",
        RollStep::Checking => "checking",
        RollStep::Settling => "settling",
        RollStep::Seated => "seated",
    };
    Entry::about(level, "roll_step", info, text).with("phase", phase)
}

fn describe_step(info: WorkerInfo, step: RollStep) -> String {
    let worker = info.worker;
    match step {
        RollStep::Starting => format!("starting worker {worker}"),
        RollStep::Waiting(rule) => {
            format!("waiting for worker {worker} (pid {}) to {}", info.pid, wanted(rule))
        }
        RollStep::Checking => format!("checking worker {worker}"),
        RollStep::Settling => format!("worker {worker} is ready, settling"),
        RollStep::Seated => format!("worker {worker} has taken the seat"),
    }
}

/// What a successor is to do.
fn wanted(rule: ReadyRule) -> &'static str {
    match rule {
        ReadyRule::Listening => "listen",
        ReadyRule::Message => "send 'ready'",
        ReadyRule::Notify => "say READY=1",
        ReadyRule::Started => "start",
    }
}

fn failed(
    generation: Generation,
    info: WorkerInfo,
    reason: &RollFailure,
    stderr_tail: &[String],
) -> Entry {
    let why = describe_failure(reason);
    let text = format!("reload failed: worker {} in slot {} {why}", info.worker, info.slot);
    Entry::about(Level::Error, "roll_failed", info, with_tail(text, stderr_tail))
        .with("generation", generation.0)
        .with("reason", why)
        .with("stderr_tail", stderr_tail.to_vec())
}

pub(crate) fn describe_failure(reason: &RollFailure) -> String {
    match reason {
        RollFailure::NotStarted { message } => format!("could not be started: {message}"),
        RollFailure::Ended { status: ExitStatus::Code(code) } => {
            format!("exited with code {code}")
        }
        RollFailure::Ended { status: ExitStatus::Signal(signal) } => {
            format!("was ended by {}", signal_name(*signal))
        }
        RollFailure::NotReady { after, rule } => format!(
            "did not {} within {} ({})",
            wanted(*rule),
            humantime::format_duration(*after),
            way_out(*rule)
        ),
        RollFailure::Unhealthy { message } => format!("failed its check: {message}"),
        RollFailure::Left => "left of its own accord, or broke its channel".to_owned(),
    }
}

fn way_out(rule: ReadyRule) -> &'static str {
    match rule {
        ReadyRule::Listening => {
            "see --ready-timeout; a program that does not listen through the primary says \
             READY=1, or is run with --ready started"
        }
        ReadyRule::Message | ReadyRule::Notify | ReadyRule::Started => {
            "see --ready and --ready-timeout"
        }
    }
}

pub(crate) fn with_tail(mut text: String, tail: &[String]) -> String {
    if !tail.is_empty() {
        text.push_str("\nthe last that it wrote to stderr:");
        tail.iter().for_each(|line| text.push_str(&format!("\n  {line}")));
    }
    text
}

fn ended(event: &'static str, generation: Generation, took: Duration, text: String) -> Entry {
    let fields = json!({ "generation": generation.0, "took_ms": took.as_millis() as u64 });
    Entry::new(Level::Info, event, text, fields)
}

pub(crate) fn shown(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}
