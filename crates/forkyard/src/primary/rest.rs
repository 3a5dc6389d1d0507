//! Has everything that works for a primary come to rest, so that what it holds can be handed
//! over, and go on again.

use tokio::sync::watch;

/// Says whether tasks are to rest.
#[derive(Debug)]
pub(crate) struct RestSwitch(watch::Sender<bool>);

/// Tells a task when to rest.
#[derive(Clone, Debug)]
pub(crate) struct RestSignal(watch::Receiver<bool>);

impl Default for RestSwitch {
    fn default() -> Self {
        Self(watch::channel(false).0)
    }
}

impl RestSwitch {
    /// Has everybody rest that listens, now or later.
    pub(crate) fn rest(&self) {
        self.0.send_replace(true);
    }

    /// Whoever starts from now on need not rest.
    pub(crate) fn go_on(&self) {
        self.0.send_replace(false);
    }

    pub(crate) fn signal(&self) -> RestSignal {
        RestSignal(self.0.subscribe())
    }
}

impl RestSignal {
    /// Waits until everybody is to rest.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(|rest| *rest).await.is_err() {
            // Whoever could have said so is gone.
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_late_rests_too_until_it_is_over() {
        let switch = RestSwitch::default();
        let mut early = switch.signal();
        switch.rest();
        early.wait().await;
        switch.signal().wait().await;
        switch.go_on();
        let mut late = switch.signal();
        drop(switch);
        tokio::select! {
            biased;
            () = late.wait() => panic!("it rests"),
            () = std::future::ready(()) => {}
        }
    }
}
