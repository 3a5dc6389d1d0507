//! When a worker that has ended is started again.

use super::time;
use crate::import::Draft;
use crate::import::attributes::{Attributes, as_text};

/// PM2 waits no longer (`God.js`).
const LONGEST_BACKOFF_MS: u64 = 15_000;
/// After that a worker is none that crashes at its start, if nobody says otherwise.
const MIN_UPTIME_MS: u64 = 1000;
/// Forkyard's own window for restarts.
const WINDOW_MS: u64 = 60_000;

pub(super) fn restarts(app: &mut Attributes, draft: &mut Draft) {
    delays(app, draft);
    let min_uptime = app.milliseconds("min_uptime");
    if let Some(uptime) = min_uptime {
        draft.set_in("restart", "reset_after", time(uptime));
    }
    if let Some(limit) = app.number("max_restarts") {
        let limit = limit.max(0.0) as u32;
        draft.set_in("restart", "limit", limit);
        let window = min_uptime.unwrap_or(MIN_UPTIME_MS).saturating_mul(limit.into());
        if window > WINDOW_MS {
            draft.set_in("restart", "window", time(window));
        }
    }
    codes(app, draft);
}

/// PM2's delay stays as it is; its backoff grows.
fn delays(app: &mut Attributes, draft: &mut Draft) {
    let delay = app.milliseconds("restart_delay").filter(|delay| *delay > 0);
    let backoff = app.milliseconds("exp_backoff_restart_delay").filter(|delay| *delay > 0);
    let (first, longest) = match (backoff, delay) {
        (Some(backoff), _) => (backoff, LONGEST_BACKOFF_MS.max(backoff)),
        (None, Some(delay)) => (delay, delay),
        (None, None) => return,
    };
    draft.set_in("restart", "delay", time(first));
    draft.set_in("restart", "max_delay", time(longest));
}

fn codes(app: &mut Attributes, draft: &mut Draft) {
    let mut codes: Vec<u64> = Vec::new();
    for code in app.list("stop_exit_codes").unwrap_or_default() {
        match code.trim().parse() {
            Ok(code @ 0..=255) => codes.push(code),
            _ => draft.note("stop_exit_codes", format!("{code} is no exit code")),
        }
    }
    if app.flag("autorestart") == Some(false) {
        let why = "an app that ends well is done (`done_codes = [0]`); one that crashes is \
                   started again, `restart.limit` times";
        draft.note("autorestart", why);
        if !codes.contains(&0) {
            codes.push(0);
        }
    }
    if app.flag("autostart") == Some(false) {
        draft.note("autostart", "it does not run now; `forkyard start` starts what it is told to");
    }
    if !codes.is_empty() {
        draft.set_in("restart", "done_codes", codes);
    }
}

/// The size as it was written, if it has a unit.
pub(super) fn memory(app: &mut Attributes, draft: &mut Draft) {
    let written = app.peek("max_memory_restart").and_then(as_text);
    let bytes = app.bytes("max_memory_restart").filter(|bytes| *bytes > 0);
    if let (Some(bytes), Some(written)) = (bytes, written) {
        let mib = bytes.is_multiple_of(1 << 20).then(|| format!("{}M", bytes >> 20));
        let has_unit = written.ends_with(['K', 'M', 'G']);
        let size = if has_unit { written } else { mib.unwrap_or_else(|| bytes.to_string()) };
        draft.set_in("limits", "memory", size);
    }
}
