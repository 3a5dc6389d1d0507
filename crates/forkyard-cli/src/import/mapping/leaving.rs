//! How a worker is asked to leave.

use super::time;
use crate::import::Draft;
use crate::import::attributes::Attributes;

/// Programs that were written for PM2 listen for it, and for no other.
const STOP_SIGNAL: &str = "SIGINT";

pub(super) fn drain(app: &mut Attributes, draft: &mut Draft) {
    draft.set_in("drain", "stop_signal", STOP_SIGNAL);
    if let Some(timeout) = app.milliseconds("kill_timeout") {
        draft.set_in("drain", "term_timeout", time(timeout));
    }
    if app.flag("shutdown_with_message") == Some(true) {
        draft.set_in("drain", "shutdown_message", true);
    }
    if app.flag("treekill") == Some(false) {
        let why = "what a worker has started ends with it, unless it has left its process group \
                   (`detached: true`)";
        draft.note("treekill", why);
    }
}
