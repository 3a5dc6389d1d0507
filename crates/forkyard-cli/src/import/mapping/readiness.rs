//! When a new worker may take over.

use super::time;
use crate::import::Draft;
use crate::import::attributes::Attributes;

/// How long Forkyard waits by itself.
const TIMEOUT_MS: u64 = 30_000;

/// PM2 goes on when the time is over; to Forkyard the worker has failed then.
pub(super) fn ready(app: &mut Attributes, draft: &mut Draft) {
    if app.flag("wait_ready") == Some(true) {
        draft.set_in("ready", "rule", "message");
    }
    let Some(timeout) = app.milliseconds("listen_timeout") else { return };
    if timeout > TIMEOUT_MS {
        draft.set_in("ready", "timeout", time(timeout));
    } else {
        let why = "a worker that is not ready by then fails the reload here and is not let \
                   through, so it stays at 30 s; see `ready.timeout`";
        draft.note("listen_timeout", why);
    }
}
