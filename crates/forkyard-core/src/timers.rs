//! Deadlines by name: one per key, the earliest first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Longer than any primary runs; later instants could not be represented.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// A set of deadlines. Setting a key again moves its deadline.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    order: BTreeSet<(Instant, K)>,
    due: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { order: BTreeSet::new(), due: BTreeMap::new() }
    }

    /// Sets a deadline, however far away; what is beyond [`LONGEST`] never comes.
    pub(crate) fn set_after(&mut self, key: K, now: Instant, after: Duration) {
        self.set(key, now + after.min(LONGEST));
    }

    /// Sets a deadline unless there is an earlier one.
    pub(crate) fn set_sooner(&mut self, key: K, now: Instant, after: Duration) {
        let at = now + after.min(LONGEST);
        if self.due.get(&key).is_none_or(|earlier| *earlier > at) {
            self.set(key, at);
        }
    }

    /// Sets a deadline unless there is a later one.
    pub(crate) fn set_later(&mut self, key: K, now: Instant, after: Duration) {
        let at = now + after.min(LONGEST);
        if self.due.get(&key).is_none_or(|later| *later < at) {
            self.set(key, at);
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (K, Instant)> {
        self.due.iter().map(|(key, at)| (*key, *at))
    }

    /// Sets a deadline.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        self.cancel(key);
        self.order.insert((at, key));
        self.due.insert(key, at);
    }

    pub(crate) fn cancel(&mut self, key: K) {
        if let Some(at) = self.due.remove(&key) {
            self.order.remove(&(at, key));
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the earliest key whose time has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.cancel(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn the_earliest_comes_first_and_a_key_has_one_deadline() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut timers = Timers::new();
        timers.set('a', at(3));
        timers.set('b', at(2));
        timers.set('a', at(1));
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.pop_due(at(0)), None);
        assert_eq!(timers.pop_due(at(5)), Some('a'));
        timers.cancel('b');
        assert_eq!(timers.pop_due(at(5)), None);
        assert_eq!(timers.next(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u8, u64),
        Cancel(u8),
        Pop(u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..6u8, 0..20u64).prop_map(|(key, at)| Step::Set(key, at)),
            (0..6u8).prop_map(Step::Cancel),
            (0..20u64).prop_map(Step::Pop),
        ]
    }

    proptest! {
        /// The model is a list that is searched from end to end.
        #[test]
        fn behaves_like_a_list(steps in prop::collection::vec(any_step(), 0..60)) {
            let start = Instant::now();
            let after = |secs| start + Duration::from_secs(secs);
            let (mut timers, mut model) = (Timers::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Set(key, at) => {
                        timers.set(key, after(at));
                        model.retain(|(_, other)| *other != key);
                        model.push((at, key));
                    }
                    Step::Cancel(key) => {
                        timers.cancel(key);
                        model.retain(|(_, other)| *other != key);
                    }
                    Step::Pop(now) => {
                        let due = model.iter().copied().filter(|(at, _)| *at <= now).min();
                        model.retain(|entry| Some(*entry) != due);
                        prop_assert_eq!(timers.pop_due(after(now)), due.map(|(_, key)| key));
                    }
                }
                let earliest = model.iter().map(|(at, _)| after(*at)).min();
                prop_assert_eq!(timers.next(), earliest);
            }
        }
    }
}
