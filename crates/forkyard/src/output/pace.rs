//! How often a worker's stream is looked at.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// How long a stream is left alone that is written all the time.
const PAUSE: Duration = Duration::from_millis(4);
/// Whatever comes within this time follows closely.
const CLOSELY: Duration = Duration::from_millis(20);
/// Who writes that within a pause would soon have to wait. A pipe holds four times as much, but
/// only half of that where lines fill pages badly.
const FLOOD_BYTES: usize = 16 * 1024;
/// How long a flood is read without a pause.
const HURRY: Duration = Duration::from_millis(250);

/// When a stream is looked at next. The first of several lines is passed on at once, and those
/// that follow closely are read together; but a flood is read as fast as it comes, because its
/// writer would have to wait for the end of a pause.
pub(super) struct Pace {
    /// When the last look ended.
    looked: Option<Instant>,
    hurry_until: Option<Instant>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { looked: None, hurry_until: None }
    }

    /// Waits if that is of use, after a look that gave so many bytes.
    pub(super) async fn after(&mut self, length: usize) {
        if self.pauses(length, Instant::now()) {
            sleep(PAUSE).await;
        }
    }

    fn pauses(&mut self, length: usize, now: Instant) -> bool {
        if length >= FLOOD_BYTES {
            self.hurry_until = Some(now + HURRY);
        }
        let last = self.looked.replace(now);
        let closely = last.is_some_and(|last| now.duration_since(last) < CLOSELY);
        closely && self.hurry_until.is_none_or(|end| now >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_closely_is_read_together_unless_it_is_a_flood() {
        let (mut pace, start) = (Pace::new(), Instant::now());
        let mut pauses = |length, ms| pace.pauses(length, start + Duration::from_millis(ms));
        assert!(!pauses(80, 0), "the first line");
        assert!(pauses(80, 1), "the next one");
        assert!(!pauses(80, 100), "one that comes alone");
        assert!(!pauses(FLOOD_BYTES, 101), "a flood");
        assert!(!pauses(80, 102), "what may still be one");
        assert!((103..351).all(|ms| !pauses(80, ms)));
        assert!(pauses(80, 352), "it is over");
    }
}
