//! What happens in the app, for everyone who follows it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::types::AppEvent;

/// How many events a follower may be behind. One that is slower misses the oldest of them.
const EVENTS: usize = 1024;

/// Where events are told. Clones tell the same followers. Costs next to nothing while there are
/// none.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Mutex<State>>);

/// Nothing when it is closed.
type State = Option<broadcast::Sender<Arc<AppEvent>>>;

impl Default for Feed {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(broadcast::channel(EVENTS).0))))
    }
}

impl Feed {
    /// Tells everyone who follows. Never waits; the event is made only if anybody does.
    pub fn tell(&self, event: impl FnOnce() -> AppEvent) {
        let sender = self.state().clone().filter(|sender| sender.receiver_count() > 0);
        if let Some(sender) = sender {
            // Who has gone meanwhile needs no news.
            let _ = sender.send(Arc::new(event()));
        }
    }

    /// Follows what is told from now on.
    #[must_use]
    pub fn follow(&self) -> Follower {
        Follower(self.state().as_ref().map(broadcast::Sender::subscribe))
    }

    /// Nothing more is told. Followers come to their end when they have read what was.
    pub fn close(&self) {
        *self.state() = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is in it is right at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows a [`Feed`].
#[derive(Debug)]
pub struct Follower(Option<broadcast::Receiver<Arc<AppEvent>>>);

/// What a follower hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    Event(Arc<AppEvent>),
    /// So many have been missed.
    Missed(u64),
}

impl Follower {
    /// Nothing at the end.
    pub(super) async fn next(&mut self) -> Option<News> {
        match self.0.as_mut()?.recv().await {
            Ok(event) => Some(News::Event(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(News::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    fn event(number: usize) -> AppEvent {
        let (time, level, text) = (String::new(), "info".into(), number.to_string());
        AppEvent { time, level, event: "e".into(), text, fields: Map::new() }
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_how_much_was_missed() {
        let feed = Feed::default();
        let mut follower = feed.follow();
        (0..EVENTS + 5).for_each(|number| feed.tell(|| event(number)));
        feed.close();
        assert_eq!(follower.next().await, Some(News::Missed(5)));
        for number in 5..EVENTS + 5 {
            assert_eq!(follower.next().await, Some(News::Event(event(number).into())));
        }
        assert_eq!(follower.next().await, None);
        assert_eq!(feed.follow().next().await, None);
    }

    #[test]
    fn nothing_is_made_for_nobody() {
        let feed = Feed::default();
        feed.tell(|| panic!("nobody follows"));
        drop(feed.follow());
        feed.tell(|| panic!("nobody follows any more"));
    }
}
