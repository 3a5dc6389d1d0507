//! The native protocol of journald: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. One datagram
//! a line, with fields that `journalctl FORKYARD_SLOT=3` finds.

use forkyard::StreamKind;

use super::mailbox::{Mailbox, Posted};
use super::system::Record;

/// Not cut any further: if that is too large, everything is.
const SMALLEST_PART: usize = 1024;

/// Sends a line, in parts where the system does not take it in one piece.
pub(super) fn send(mailbox: &mut Mailbox, record: Record<'_>) {
    let posted = mailbox.post(&datagram(record));
    if posted == Posted::TooLarge && record.text.len() > SMALLEST_PART {
        let (first, second) = record.text.split_at(record.text.len() / 2);
        for text in [first, second] {
            send(mailbox, Record { text, ..record });
        }
    }
}

fn datagram(record: Record<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.text.len() + 256);
    bytes(&mut out, "MESSAGE", record.text);
    field(&mut out, "PRIORITY", &record.priority.number());
    bytes(&mut out, "SYSLOG_IDENTIFIER", record.app.as_bytes());
    field(&mut out, "SYSLOG_PID", &record.pid());
    bytes(&mut out, "FORKYARD_APP", record.app.as_bytes());
    if let Some((info, stream)) = record.worker {
        let stream = match stream {
            StreamKind::Stdout => "stdout",
            StreamKind::Stderr => "stderr",
        };
        field(&mut out, "FORKYARD_SLOT", &info.slot);
        field(&mut out, "FORKYARD_WORKER", &info.worker);
        field(&mut out, "FORKYARD_STREAM", &stream);
    }
    out
}

/// A value with a new line in it has its length before it.
fn bytes(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn field(out: &mut Vec<u8>, name: &str, value: &dyn std::fmt::Display) {
    bytes(out, name, value.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_line_ends_no_value() {
        let mut out = Vec::new();
        bytes(&mut out, "NAME", b"two\nlines");
        field(&mut out, "SLOT", &3);
        assert_eq!(out, b"NAME\n\x09\0\0\0\0\0\0\0two\nlines\nSLOT=3\n");
    }
}
