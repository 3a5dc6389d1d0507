//! Messages for `/dev/log`, as `syslog(3)` sends them (RFC 3164), but without a time: whoever
//! reads there takes the time at which it comes.

use std::io::Write;

use super::mailbox::{Mailbox, Posted};
use super::system::Record;

/// Services, in `syslog(3)`.
const DAEMON: u8 = 3 << 3;
/// What everybody takes. rsyslog cuts longer ones, unless it is told otherwise.
const LONGEST_TEXT: usize = 7 * 1024;

/// Sends a line, in parts if it is long.
pub(super) fn send(mailbox: &mut Mailbox, record: Record<'_>) {
    if record.text.is_empty() {
        post(mailbox, record);
    }
    for text in record.text.chunks(LONGEST_TEXT) {
        post(mailbox, Record { text, ..record });
    }
}

fn post(mailbox: &mut Mailbox, record: Record<'_>) -> Posted {
    let mut out = Vec::with_capacity(record.text.len() + 64);
    let priority = DAEMON | record.priority.number();
    let (app, pid) = (tag(record.app), record.pid());
    // Memory takes all that is written.
    let _ = match record.worker {
        Some((info, _)) => write!(out, "<{priority}>{app}/{}[{pid}]: ", info.slot),
        None => write!(out, "<{priority}>{app}[{pid}]: "),
    };
    out.extend_from_slice(record.text);
    mailbox.post(&out)
}

/// What can stand before the process id: the end of it has to be found.
fn tag(app: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    app.chars().take(32).map(|c| if fits(c) { c } else { '_' }).collect()
}
