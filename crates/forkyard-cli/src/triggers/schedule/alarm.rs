//! Waits for a time of the day, through everything that may happen to the clock.
//!
//! A timer of the kernel (`timerfd_create(2)`) counts the wall clock: unlike a delay it goes on
//! while the machine is suspended, and it says so when somebody has set the clock.

use std::io;

use forkyard_sys::reactor::Watched;
use jiff::Timestamp;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;

const NEVER_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

#[derive(Debug)]
pub(super) struct Alarm {
    timer: Watched,
}

impl Alarm {
    /// Needs a runtime at hand.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        Ok(Self { timer: Watched::new(timer, Interest::READABLE)? })
    }

    /// Waits until that time has come or somebody has set the clock.
    pub(super) async fn rings(&self, at: Timestamp) {
        if self.set(at).is_err() {
            // The clock has been set between two looks at it.
            return;
        }
        while let Ok(mut ready) = self.timer.readable().await {
            match rustix::io::read(self.timer.get_ref(), &mut [0; 8]) {
                Err(Errno::AGAIN) => ready.clear_ready(),
                // An error tells that the clock has been set.
                Ok(_) | Err(_) => return,
            }
        }
        // The runtime is ending.
        std::future::pending().await
    }

    fn set(&self, at: Timestamp) -> rustix::io::Result<()> {
        let value = Timespec { tv_sec: at.as_second(), tv_nsec: at.subsec_nanosecond().into() };
        let once = Itimerspec { it_interval: NEVER_AGAIN, it_value: value };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(self.timer.get_ref(), flags, &once).map(drop)
    }
}
