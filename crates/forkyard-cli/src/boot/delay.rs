//! The time for which an app that is told to stop serves on (`--shutdown-delay`).
//!
//! ```text
//!   running ── SIGTERM ──▶ put off ── the time is over, or any signal to stop ──▶ stopping
//!      └───────── any other signal to stop, or SIGTERM where there is no delay ──────▲
//! ```
//!
//! Whoever sends connections here (a service of Kubernetes, a load balancer) learns of the end
//! of a container when the container itself does, and goes on sending for a while.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The signal by which systems end services and containers. People who press a key or close a
/// terminal do not wait for anybody.
const SYSTEMS_SIGNAL: &str = "SIGTERM";

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct StopDelay {
    delay: Duration,
    until: Option<Instant>,
}

impl StopDelay {
    pub(crate) fn new(delay: Duration) -> Self {
        Self { delay, until: None }
    }

    /// Whether a first signal to stop is put off, from now on. Returns for how long.
    pub(crate) fn put_off(&mut self, signal: &str) -> Option<Duration> {
        if self.until.is_some() || self.delay.is_zero() || signal != SYSTEMS_SIGNAL {
            return None;
        }
        self.until = Some(Instant::now() + self.delay);
        Some(self.delay)
    }

    /// Whether a stop is put off now.
    pub(crate) fn is_on(&self) -> bool {
        self.until.is_some()
    }

    /// How much of the time is left, for the next image.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Goes on with what the image before has left.
    pub(crate) fn resume(&mut self, left: Duration) {
        self.until = Some(Instant::now() + left);
    }

    /// Waits until the time is over; for ever if nothing is put off.
    pub(crate) async fn over(&self) {
        match self.until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// The stop has begun.
    pub(crate) fn end(&mut self) {
        self.until = None;
        self.delay = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn only_the_first_signal_of_a_system_is_put_off() {
        let mut delay = StopDelay::new(DELAY);
        assert_eq!(delay.put_off("SIGINT"), None);
        assert_eq!(delay.put_off("SIGTERM"), Some(DELAY));
        assert!(delay.is_on());
        assert_eq!(delay.put_off("SIGTERM"), None);
        delay.end();
        assert_eq!((delay.is_on(), delay.put_off("SIGTERM")), (false, None));
        assert_eq!(StopDelay::new(Duration::ZERO).put_off("SIGTERM"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_image_waits_for_the_rest_of_it() {
        let start = Instant::now();
        let mut delay = StopDelay::new(DELAY);
        delay.put_off("SIGTERM");
        tokio::time::advance(Duration::from_secs(4)).await;
        let left = delay.left();
        assert_eq!(left, Some(Duration::from_secs(6)));
        let mut next = StopDelay::new(DELAY);
        next.resume(left.unwrap());
        assert_eq!(next.put_off("SIGTERM"), None);
        next.over().await;
        assert_eq!(start.elapsed(), DELAY);
    }
}
