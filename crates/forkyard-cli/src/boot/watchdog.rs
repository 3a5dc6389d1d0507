//! The signs of life that a service manager wants (`sd_watchdog_enabled(3)`).
//!
//! ```text
//!   resting ── half the time is over ──▶ asking ── the primary has answered ──▶ a sign of life
//!      ▲                                   │                                       │
//!      └───────── it has not in time ──────┴───────────────────────────────────────┘
//! ```
//!
//! A sign of life has gone through the primary's thread, and is given by the loop that obeys
//! signals; so if either hangs there is none, and the manager does what it is told to do then.

use std::time::Duration;

use forkyard::ClusterHandle;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

const TIME_VARIABLE: &str = "WATCHDOG_USEC";
const OWNER_VARIABLE: &str = "WATCHDOG_PID";

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Watchdog {
    ticks: Interval,
    asking: Option<JoinHandle<Pulse>>,
}

/// Whether the primary has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulse {
    Beats,
    /// Not in time.
    Missing,
}

impl Watchdog {
    /// One for this process, if the environment asks for it. To be called within a runtime.
    pub(crate) fn find() -> Option<Self> {
        let variable = |name| std::env::var(name).ok();
        every(variable(TIME_VARIABLE)?, variable(OWNER_VARIABLE), std::process::id()).map(Self::new)
    }

    fn new(every: Duration) -> Self {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, asking: None }
    }

    /// Asks the primary when it is time to, and waits for its answer. May be dropped while it
    /// waits, and nothing is lost.
    pub(crate) async fn pulse(&mut self, handle: &ClusterHandle) -> Pulse {
        self.pulse_of(|| {
            let handle = handle.clone();
            async move { handle.generation().await.is_ok() }
        })
        .await
    }

    async fn pulse_of<F>(&mut self, ask: impl FnOnce() -> F) -> Pulse
    where
        F: Future<Output = bool> + Send + 'static,
    {
        if self.asking.is_none() {
            self.ticks.tick().await;
            let answer = timeout(self.ticks.period(), ask());
            self.asking = Some(tokio::spawn(async move {
                match answer.await {
                    Ok(true) => Pulse::Beats,
                    Ok(false) | Err(_) => Pulse::Missing,
                }
            }));
        }
        let Some(asking) = &mut self.asking else { return Pulse::Missing };
        let pulse = asking.await.unwrap_or(Pulse::Missing);
        self.asking = None;
        pulse
    }
}

/// How often a sign of life is due, if this process is to give any: twice in the time after
/// which the manager takes it for dead.
fn every(time: String, owner: Option<String>, this_process: u32) -> Option<Duration> {
    let micros: u64 = time.parse().ok().filter(|micros| *micros > 1)?;
    let is_meant = owner.is_none_or(|owner| owner.parse() == Ok(this_process));
    is_meant.then(|| Duration::from_micros(micros / 2))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[test]
    fn it_is_for_the_process_that_is_named_or_for_anyone() {
        let every = |time: &str, owner: Option<&str>| every(time.into(), owner.map(Into::into), 7);
        let second = Some(Duration::from_secs(1));
        assert_eq!(every("2000000", None), second);
        assert_eq!(every("2000000", Some("7")), second);
        for (time, owner) in [("2000000", Some("8")), ("2000000", Some("")), ("0", None)] {
            assert_eq!(every(time, owner), None, "{time} {owner:?}");
        }
        for bad in ["", "soon", "-5", "1"] {
            assert_eq!(every(bad, None), None, "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_sign_of_life_needs_an_answer() {
        let mut watchdog = Watchdog::new(Duration::from_secs(10));
        assert_eq!(watchdog.pulse_of(|| async { true }).await, Pulse::Beats);
        assert_eq!(watchdog.pulse_of(|| async { false }).await, Pulse::Missing);
        assert_eq!(watchdog.pulse_of(pending).await, Pulse::Missing);
        assert_eq!(watchdog.pulse_of(|| async { true }).await, Pulse::Beats);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_looks_away_meanwhile_misses_nothing() {
        let mut watchdog = Watchdog::new(Duration::from_secs(10));
        let (answer, answered) = tokio::sync::oneshot::channel();
        let asked = timeout(
            Duration::from_secs(1),
            watchdog.pulse_of(|| async { answered.await.unwrap_or(false) }),
        );
        assert!(asked.await.is_err());
        answer.send(true).unwrap();
        assert_eq!(watchdog.pulse_of(pending).await, Pulse::Beats);
    }
}
