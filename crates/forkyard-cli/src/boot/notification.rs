//! What a service manager is told: `sd_notify(3)`.

use std::fmt::Write;
use std::time::Duration;

/// The longest status line that is told, in bytes.
const LONGEST_STATUS: usize = 500;

/// Where an app is in its life, as service managers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Ready,
    /// Since then, on the clock that counts from the system's start.
    Reloading(Duration),
    Stopping,
}

/// Something to be told; what is not set is as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notification {
    pub(crate) lifecycle: Option<Lifecycle>,
    /// How the app is, in one line.
    pub(crate) status: Option<String>,
    /// It is alive.
    pub(crate) alive: bool,
    /// How much longer a stop may take, from now on.
    pub(crate) more_time: Option<Duration>,
    /// The code with which the process is about to end.
    pub(crate) exit_code: Option<u8>,
}

impl Notification {
    /// What is left to be told when this could not be told in time, and that is to be told now.
    pub(crate) fn then(self, newer: Self) -> Self {
        Self {
            lifecycle: newer.lifecycle.or(self.lifecycle),
            status: newer.status.or(self.status),
            alive: newer.alive || self.alive,
            more_time: newer.more_time.or(self.more_time),
            exit_code: newer.exit_code.or(self.exit_code),
        }
    }

    /// As it is sent, in one datagram; nothing if there is nothing to tell.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |line: &dyn std::fmt::Display| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        };
        match self.lifecycle {
            Some(Lifecycle::Ready) => line(&"READY=1"),
            Some(Lifecycle::Reloading(since)) => {
                line(&format_args!("RELOADING=1\nMONOTONIC_USEC={}", since.as_micros()));
            }
            Some(Lifecycle::Stopping) => line(&"STOPPING=1"),
            None => {}
        }
        if let Some(status) = &self.status {
            line(&format_args!("STATUS={}", one_line(status)));
        }
        if self.alive {
            line(&"WATCHDOG=1");
        }
        if let Some(time) = self.more_time {
            line(&format_args!("EXTEND_TIMEOUT_USEC={}", time.as_micros()));
        }
        if let Some(code) = self.exit_code {
            line(&format_args!("EXIT_STATUS={code}"));
        }
        text
    }
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    let mut line = text.replace(char::is_control, " ");
    while line.len() > LONGEST_STATUS {
        line.pop();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifecycle(lifecycle: Lifecycle) -> Notification {
        Notification { lifecycle: Some(lifecycle), ..Notification::default() }
    }

    #[test]
    fn each_thing_has_its_line() {
        assert_eq!(Notification::default().text(), "");
        assert_eq!(lifecycle(Lifecycle::Ready).text(), "READY=1\n");
        let since = Duration::new(5, 7_000);
        assert_eq!(
            lifecycle(Lifecycle::Reloading(since)).text(),
            "RELOADING=1\nMONOTONIC_USEC=5000007\n"
        );
        let all = Notification {
            lifecycle: Some(Lifecycle::Stopping),
            status: Some("one\nREADY=1".into()),
            alive: true,
            more_time: Some(Duration::from_secs(2)),
            exit_code: Some(3),
        };
        let expected = "STOPPING=1\nSTATUS=one READY=1\nWATCHDOG=1\n\
                        EXTEND_TIMEOUT_USEC=2000000\nEXIT_STATUS=3\n";
        assert_eq!(all.text(), expected);
    }

    /// A reload that is over before anybody has heard of it needs no word.
    #[test]
    fn the_newest_of_each_kind_counts() {
        let status = |text: &str| Some(text.to_owned());
        let before = lifecycle(Lifecycle::Reloading(Duration::ZERO));
        let before = Notification { status: status("reloading"), alive: true, ..before };
        let after = before.clone().then(lifecycle(Lifecycle::Ready));
        assert_eq!(after.text(), "READY=1\nSTATUS=reloading\nWATCHDOG=1\n");
        let after = Notification { status: status("all is well"), ..Notification::default() };
        assert_eq!(before.then(after).status, status("all is well"));
    }

    #[test]
    fn a_status_is_short() {
        let status = Some("é".repeat(10_000));
        let text = Notification { status, ..Notification::default() }.text();
        assert!(text.len() < LONGEST_STATUS + 10, "{}", text.len());
    }
}
