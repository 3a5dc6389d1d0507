//! How often workers' streams are looked at.
//!
//! A line that comes alone is passed on at once. Where lines follow closely on each other, the
//! thread sleeps for a moment before it waits for more, and finds them together. It really sleeps:
//! in its reactor every single write would wake it, whether anybody waits for that or not.
//!
//! A stream that would fill its pipe meanwhile keeps the thread awake, because its writer would
//! have to wait for the end of the nap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// How long the thread sleeps.
const NAP: Duration = Duration::from_millis(4);
/// How much may come of one stream meanwhile. A pipe holds four times as much, but only half of
/// that where lines fill pages badly.
const NAP_BYTES: u128 = 16 * 1024;
/// Whatever comes within this time follows closely.
const CLOSELY: Duration = Duration::from_millis(20);
/// Over how long a stream's rate is measured.
const WINDOW: Duration = Duration::from_millis(50);

/// What is best for a stream after a look at it, the least urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Wish {
    /// There is no saying.
    None,
    Nap,
    StayAwake,
}

/// What the streams wish that the thread has looked at since it last waited.
#[derive(Clone, Debug, Default)]
pub(super) struct Naps(Arc<AtomicU8>);

impl Naps {
    fn wish(&self, wish: Wish) {
        self.0.fetch_max(wish as u8, Ordering::Relaxed);
    }

    /// To be called by the thread before it waits.
    pub(super) fn take(&self) {
        if self.is_due() {
            #[expect(clippy::disallowed_methods, reason = "nothing but time is waited for")]
            std::thread::sleep(NAP);
        }
    }

    fn is_due(&self) -> bool {
        self.0.swap(Wish::None as u8, Ordering::Relaxed) == Wish::Nap as u8
    }
}

/// How fast a stream is written.
pub(super) struct Pace {
    naps: Naps,
    /// When it was last looked at.
    looked: Option<Instant>,
    /// What has come since then.
    since: Instant,
    bytes: u128,
}

impl Pace {
    pub(super) fn new(naps: Naps) -> Self {
        Self { naps, looked: None, since: Instant::now(), bytes: 0 }
    }

    /// A look has given so many bytes.
    pub(super) fn looked(&mut self, length: usize) {
        let wish = self.wish(length, Instant::now());
        self.naps.wish(wish);
    }

    fn wish(&mut self, length: usize, now: Instant) -> Wish {
        let last = self.looked.replace(now);
        if last.is_none_or(|last| now.duration_since(last) > CLOSELY) {
            (self.since, self.bytes) = (now, length as u128);
            return Wish::None;
        }
        self.bytes += length as u128;
        let elapsed = now.duration_since(self.since);
        let rate_in_nap = self.bytes * NAP.as_micros() / elapsed.max(NAP).as_micros();
        if elapsed >= WINDOW {
            // What was is half as important as what will be.
            (self.since, self.bytes) = (now - elapsed / 2, self.bytes / 2);
        }
        if rate_in_nap > NAP_BYTES { Wish::StayAwake } else { Wish::Nap }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_closely_is_read_together_unless_it_is_a_flood() {
        let (mut pace, mut now) = (Pace::new(Naps::default()), Instant::now());
        let us = Duration::from_micros;
        let mut after = |time, length| {
            now += time;
            pace.wish(length, now)
        };
        assert_eq!(after(us(0), 80), Wish::None, "the first line");
        assert_eq!(after(us(50), 80), Wish::Nap, "the next one");
        assert!((0..100).all(|_| after(us(4_000), 8_000) == Wish::Nap), "lines together");
        assert_eq!(after(us(15_000), 30_000), Wish::Nap, "the same, looked at late");
        assert_eq!(after(us(100_000), 80), Wish::None, "one that comes alone");
        assert_eq!(after(us(10), 64_000), Wish::StayAwake, "a full pipe");
        let mut awake = (0..1_000_000).map(|_| after(us(4), 80) == Wish::StayAwake);
        assert!(awake.all(|awake| awake), "line by line, but as fast as can be");
        assert_eq!(after(us(10_000), 80), Wish::StayAwake, "its writer had no turn");
        assert!((0..20).any(|_| after(us(4_000), 8_000) == Wish::Nap), "it has become slower");
    }

    #[test]
    fn one_that_is_in_a_hurry_keeps_the_thread_awake() {
        let naps = Naps::default();
        assert!(!naps.is_due());
        naps.wish(Wish::Nap);
        naps.wish(Wish::None);
        assert!(naps.is_due());
        assert!(!naps.is_due(), "once");
        naps.wish(Wish::StayAwake);
        naps.wish(Wish::Nap);
        assert!(!naps.is_due());
    }
}
