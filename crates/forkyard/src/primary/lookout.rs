//! Notices when connections wait on lanes that workers accept from, without waking up for each.
//!
//! ```text
//!            something comes
//!   Dozing ──────────────────▶ Looking, every 5 ms
//!     ▲      nothing for 100 ms     │
//!     └─────────────────────────────┘
//! ```
//!
//! A worker that takes what comes needs nobody to look. So long as connections keep coming a
//! few looks a second cost next to nothing, while having the reactor watch the lanes would wake
//! the primary for every single one. Once they stop, it is the other way round.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use forkyard_core::LaneView;
use forkyard_sys::reactor::Watched;
use forkyard_sys::ticker::Ticker;
use tokio::io::Interest;

/// How often it is looked. A look wakes the primary up, which is most of what it costs.
const EVERY: Duration = Duration::from_millis(5);
/// How long nothing has to come until it is not looked any more.
const QUIET: Duration = Duration::from_millis(100);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Lookout {
    state: State,
}

#[derive(Debug)]
enum State {
    /// There is nothing to look at.
    Off,
    /// It is to be looked at once.
    Due,
    /// The reactor watches all lanes.
    Dozing(Vec<Watched>),
    /// It is looked at every tick.
    Looking { ticker: Ticker, quiet_since: Instant, dealt: u64 },
}

/// What one look has seen of all lanes together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Glance {
    lanes: usize,
    waiting: u64,
    dealt: u64,
}

impl Glance {
    pub(super) fn add(&mut self, LaneView { waiting, dealt }: LaneView) {
        self.lanes += 1;
        self.waiting += u64::from(waiting);
        self.dealt += dealt;
    }

    /// Whether nothing waits anywhere.
    pub(super) fn is_empty(self) -> bool {
        self.waiting == 0
    }
}

impl Lookout {
    /// Looks at nothing.
    pub(super) fn new() -> Self {
        Self { state: State::Off }
    }

    /// Other lanes are dealt to than before: it is looked at once.
    pub(super) fn lanes_changed(&mut self) {
        self.state = State::Due;
    }

    /// Ready when it is time to look.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.state {
            State::Off => Poll::Pending,
            State::Due => Poll::Ready(()),
            // A ticker that fails ticks no more; it is looked when something changes.
            State::Looking { ticker, .. } => match ticker.poll_tick(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(()),
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
            },
            State::Dozing(lanes) => {
                let mut came = false;
                for lane in lanes {
                    // All of them are asked, so that each can wake the primary.
                    came |= lane.poll_read_ready(cx).is_ready();
                }
                if came { Poll::Ready(()) } else { Poll::Pending }
            }
        }
    }

    /// It has been looked, at all of `lanes`.
    pub(super) fn looked<'a>(
        &mut self,
        glance: Glance,
        lanes: impl Iterator<Item = BorrowedFd<'a>>,
    ) {
        if glance.lanes == 0 {
            self.state = State::Off;
            return;
        }
        let now = Instant::now();
        if let State::Looking { quiet_since, dealt, .. } = &mut self.state {
            if glance.waiting > 0 || glance.dealt != *dealt {
                (*quiet_since, *dealt) = (now, glance.dealt);
            }
            if now.duration_since(*quiet_since) < QUIET {
                return;
            }
            // For want of descriptors it goes on looking.
            if let Ok(watched) = lanes.map(watch).collect() {
                self.state = State::Dozing(watched);
            }
            return;
        }
        self.state = match Ticker::start(EVERY) {
            Ok(ticker) => State::Looking { ticker, quiet_since: now, dealt: glance.dealt },
            Err(error) => {
                tracing::warn!(%error, "failed to watch for workers that take no connections");
                State::Off
            }
        };
    }
}

/// What has come before is noticed at once.
fn watch(lane: BorrowedFd<'_>) -> io::Result<Watched> {
    Watched::new(lane.try_clone_to_owned()?, Interest::READABLE)
}
