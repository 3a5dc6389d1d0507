//! A clock that ticks, for whoever has something to look at every few milliseconds.
//!
//! A tick costs the wake-up, and one system call to take note of it. tokio's own timers cost two
//! wake-ups, because setting one from the runtime's thread makes that wake up once more to see
//! it.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;

use crate::reactor::Watched;

/// Ticks while it runs (`timerfd_create(2)`). What is missed is not made up for.
#[derive(Debug)]
pub struct Ticker {
    timer: Watched,
}

impl Ticker {
    /// One that ticks from now on, the first time after `every`.
    ///
    /// # Errors
    ///
    /// Those of `timerfd_create(2)` and `epoll_ctl(2)`.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O enabled.
    pub fn start(every: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer: OwnedFd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let every = Timespec::try_from(every).map_err(|_| Errno::INVAL)?;
        let times = Itimerspec { it_interval: every, it_value: every };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        Ok(Self { timer: Watched::new(timer, Interest::READABLE)? })
    }

    /// Ready once for each tick.
    ///
    /// # Errors
    ///
    /// Those of `read(2)`; or that the runtime is going down.
    pub fn poll_tick(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.timer.poll_read_ready(cx))?;
            // Whatever comes after the read makes it readable anew.
            guard.clear_ready();
            let mut ticks = [0; 8];
            match rustix::io::read(self.timer.get_ref(), &mut ticks) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
                Ok(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
