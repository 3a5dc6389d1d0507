//! When an ended worker's seat is taken again, and when the primary gives up.
//!
//! The first crash of a worker that had served costs no delay. Every further crash
//! doubles the delay up to a cap, until a worker has stayed up for the stable time.
//! More than `limit` restarts of one slot within `window` mean that restarting does
//! not help. A worker that leaves of its own accord is not counted there, but one that
//! does so before the stable time is replaced with the same delays.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::jitter::Jitter;

/// Whether ended workers are replaced at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartMode {
    /// Replace every worker that ends, unless its exit code says not to.
    Always,
    /// Never replace one; whoever drives the primary forks anew.
    Never,
}

/// How ended workers are replaced.
#[derive(Clone, Debug)]
pub struct RestartSettings {
    /// Whether they are replaced at all.
    pub mode: RestartMode,
    /// The delay before the second restart in a row; it doubles from there.
    pub delay: Duration,
    /// The longest delay.
    pub max_delay: Duration,
    /// How many restarts of one slot within `window` are put up with.
    pub limit: u32,
    /// The time in which `limit` is counted.
    pub window: Duration,
    /// A worker that stays up this long has made good for the crashes before it.
    pub reset_after: Duration,
    /// Exit codes that mean "done": the seat stays empty.
    pub done_codes: Vec<i32>,
}

impl Default for RestartSettings {
    fn default() -> Self {
        Self {
            mode: RestartMode::Always,
            delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(5),
            limit: 10,
            window: Duration::from_secs(60),
            reset_after: Duration::from_secs(10),
            done_codes: Vec::new(),
        }
    }
}

/// How the life of a worker went, as far as its successor's delay depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It ended before it served anything.
    Stillborn,
    /// It served, but not for the stable time.
    Short,
    /// It stayed up for the stable time.
    Stable,
    /// It stayed up for the stable time and left of its own accord.
    Retired,
    /// It served, but not for the stable time, and left of its own accord.
    LeftEarly,
}

impl Life {
    /// Whether it ended without having wanted to.
    pub(crate) fn is_crash(self) -> bool {
        match self {
            Self::Stillborn | Self::Short | Self::Stable => true,
            Self::Retired | Self::LeftEarly => false,
        }
    }
}

/// What to do about an empty seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    RestartAfter { delay: Duration, restarts: u32 },
    GiveUp,
}

/// One slot's crashes, as far as they still matter.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Restarts since a worker was last stable.
    pub(crate) streak: u32,
    /// When the restarts within the window happened, the oldest first.
    pub(crate) recent: VecDeque<Instant>,
}

impl History {
    pub(crate) fn decide(
        &mut self,
        now: Instant,
        life: Life,
        settings: &RestartSettings,
        jitter: &mut Jitter,
    ) -> Decision {
        match life {
            Life::Retired => {
                self.streak = 0;
                Decision::RestartAfter { delay: Duration::ZERO, restarts: 0 }
            }
            Life::LeftEarly => {
                Decision::RestartAfter { delay: self.next_delay(settings, jitter), restarts: 0 }
            }
            Life::Stillborn | Life::Short | Life::Stable => {
                self.after_crash(now, life, settings, jitter)
            }
        }
    }

    fn after_crash(
        &mut self,
        now: Instant,
        life: Life,
        settings: &RestartSettings,
        jitter: &mut Jitter,
    ) -> Decision {
        self.forget_before(now, settings.window);
        if self.recent.len() >= settings.limit as usize {
            return Decision::GiveUp;
        }
        match life {
            Life::Stable => self.streak = 0,
            Life::Stillborn => self.streak = self.streak.max(1),
            Life::Short | Life::Retired | Life::LeftEarly => {}
        }
        self.recent.push_back(now);
        let restarts = self.recent.len() as u32;
        Decision::RestartAfter { delay: self.next_delay(settings, jitter), restarts }
    }

    fn next_delay(&mut self, settings: &RestartSettings, jitter: &mut Jitter) -> Duration {
        let delay = jitter.shorten(backoff(self.streak, settings));
        self.streak = self.streak.saturating_add(1);
        delay
    }

    fn forget_before(&mut self, now: Instant, window: Duration) {
        while self.recent.front().is_some_and(|at| now.duration_since(*at) > window) {
            self.recent.pop_front();
        }
    }
}

fn backoff(streak: u32, settings: &RestartSettings) -> Duration {
    let Some(doublings) = streak.checked_sub(1) else { return Duration::ZERO };
    let factor = 1u32.checked_shl(doublings).filter(|f| *f > 0).unwrap_or(u32::MAX);
    settings.delay.saturating_mul(factor).min(settings.max_delay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> RestartSettings {
        RestartSettings {
            delay: Duration::from_millis(100),
            max_delay: Duration::from_millis(1000),
            limit: 1000,
            ..RestartSettings::default()
        }
    }

    fn delays(lives: &[Life]) -> Vec<u128> {
        let (mut history, mut jitter) = (History::default(), Jitter::from_seed(1));
        let mut now = Instant::now();
        lives
            .iter()
            .map(|life| {
                now += Duration::from_secs(1);
                match history.decide(now, *life, &settings(), &mut jitter) {
                    Decision::RestartAfter { delay, .. } => delay.as_millis(),
                    Decision::GiveUp => panic!("gave up"),
                }
            })
            .collect()
    }

    #[test]
    fn the_first_crash_of_a_worker_that_served_costs_nothing() {
        assert_eq!(delays(&[Life::Short])[0], 0);
        assert_eq!(delays(&[Life::Stable])[0], 0);
    }

    #[test]
    fn a_crash_at_boot_waits_from_the_first_time() {
        assert!((75..=100).contains(&delays(&[Life::Stillborn])[0]));
    }

    #[test]
    fn delays_double_up_to_the_cap_and_are_jittered_downwards() {
        let seen = delays(&[Life::Short; 20]);
        for (delay, full) in seen.iter().zip([0, 100, 200, 400, 800, 1000, 1000]) {
            assert!((full * 3 / 4..=full).contains(delay), "{delay} for {full}");
        }
        assert!(seen[19] <= 1000);
    }

    #[test]
    fn a_stable_life_and_a_retirement_reset_the_delay() {
        let crashes = [Life::Short, Life::Short, Life::Short];
        assert_eq!(delays(&[&crashes[..], &[Life::Stable]].concat())[3], 0);
        assert_eq!(delays(&[&crashes[..], &[Life::Retired, Life::Short]].concat())[4], 0);
    }

    #[test]
    fn leaving_early_is_delayed_like_a_crash() {
        let seen = delays(&[Life::LeftEarly, Life::LeftEarly, Life::Short, Life::LeftEarly]);
        for (delay, full) in seen.iter().zip([0, 100, 200, 400]) {
            assert!((full * 3 / 4..=full).contains(delay), "{delay} for {full}");
        }
    }

    #[test]
    fn gives_up_after_the_limit_within_the_window_only() {
        let mut settings = settings();
        (settings.limit, settings.window) = (3, Duration::from_secs(10));
        let (mut history, mut jitter) = (History::default(), Jitter::from_seed(1));
        let start = Instant::now();
        let mut at = |secs| {
            history.decide(start + Duration::from_secs(secs), Life::Short, &settings, &mut jitter)
        };
        assert!((0..3).all(|secs| at(secs) != Decision::GiveUp));
        assert_eq!(at(3), Decision::GiveUp);
        assert_ne!(at(20), Decision::GiveUp);
    }

    #[test]
    fn retirements_do_not_count_against_the_limit() {
        let mut settings = settings();
        settings.limit = 1;
        let (mut history, mut jitter) = (History::default(), Jitter::from_seed(1));
        let now = Instant::now();
        for life in [Life::Retired, Life::LeftEarly].repeat(10) {
            let decision = history.decide(now, life, &settings, &mut jitter);
            assert_ne!(decision, Decision::GiveUp);
        }
    }

    fn any_life() -> impl Strategy<Value = Life> {
        let crashed = [Life::Stillborn, Life::Short, Life::Stable];
        prop::sample::select([&crashed[..], &[Life::Retired, Life::LeftEarly]].concat())
    }

    proptest! {
        /// The model keeps every restart there ever was and counts those in the window.
        #[test]
        fn the_limit_and_the_cap_hold_for_every_history(
            ends in prop::collection::vec((0..4000u64, any_life()), 1..80),
            limit in 0..6u32,
            seed: u64,
        ) {
            let settings = RestartSettings { limit, window: Duration::from_secs(5), ..settings() };
            let (mut history, mut jitter) = (History::default(), Jitter::from_seed(seed));
            let (mut now, mut restarts) = (Instant::now(), Vec::new());
            for (gap_ms, life) in ends {
                now += Duration::from_millis(gap_ms);
                let counted = !matches!(life, Life::Retired | Life::LeftEarly);
                let recent = restarts.iter().filter(|at| now - **at <= settings.window).count();
                match history.decide(now, life, &settings, &mut jitter) {
                    Decision::GiveUp => prop_assert!(counted && recent >= limit as usize),
                    Decision::RestartAfter { delay, .. } => {
                        prop_assert!(!counted || recent < limit as usize);
                        prop_assert!(delay <= settings.max_delay);
                        prop_assert!(life != Life::Stillborn || !delay.is_zero());
                        restarts.extend(counted.then_some(now));
                    }
                }
            }
        }
    }

    #[test]
    fn an_endless_streak_does_not_overflow() {
        let mut settings = settings();
        settings.limit = u32::MAX;
        assert_eq!(backoff(u32::MAX, &settings), settings.max_delay);
        assert_eq!(backoff(33, &settings), settings.max_delay);
    }
}
