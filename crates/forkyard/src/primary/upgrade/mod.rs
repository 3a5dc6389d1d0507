//! Replacing the program of a running primary by the one that is on disk now.
//!
//! ```text
//!            the old image                                        the new image
//!   Idle ──request──▶ Rehearsing ──ready──▶ Pausing ──at rest──▶ exec ──▶ takes over ──▶ Idle
//!    ▲                   │ no good             │ not at rest       │         │ cannot
//!    └───────────────────┴─────────────────────┴───────────────────┘         ▼
//!                                                                   exec of the old image
//! ```
//!
//! - *Rehearsing*: the new program is started as a child, is given the state as it is now, and
//!   has a grace period to say that it can go on with it. All is served meanwhile.
//! - *Pausing*: nothing is accepted, everybody who reads comes to rest between two reads, and
//!   whoever watches the events has handled them all. That takes milliseconds; if it takes
//!   seconds, everything goes on as before.
//! - *exec*: by the first thread, which has started all workers ([`crate::host`]). What is
//!   known travels in sealed memory ([`state`]), every descriptor under its number.
//! - The new image *takes over* in [`ClusterBuilder::start`](crate::ClusterBuilder::start).
//!   All that can fail is done first, on duplicates of the descriptors, and has no effect; then
//!   nothing can. If it does not come so far, it executes the old program, which it has been
//!   left, and that goes on with the same state.
//!
//! The parts: [`arrival`] is how an image finds out what it is there for, [`rehearsal`] how the
//! old one tries out the new one. What the driver does is in `driver/upgrading.rs`,
//! `driver/departing.rs` and `driver/arriving.rs`.

mod arrival;
mod encoding;
mod rehearsal;
pub(crate) mod state;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use forkyard_core::Core;
use forkyard_sys::image::Image;

pub(crate) use arrival::{Arrival, Descriptors, Rehearsed, TakeOver, Waiting};
pub(crate) use encoding::{Bytes, Text};
pub(crate) use rehearsal::Rehearsal;

/// Tells an image what it is there for.
const ORDER_VARIABLE: &str = "FORKYARD_UPGRADE";
/// Tells an image that is gone back to what was wrong with the one after it.
const FAILURE_VARIABLE: &str = "FORKYARD_UPGRADE_FAILURE";

/// Variables that are for one image only, and not for anybody it starts.
pub(crate) const VARIABLES: [&str; 2] = [ORDER_VARIABLE, FAILURE_VARIABLE];

/// The version of this program, to be shown.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why an upgrade came to nothing. All is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeFailure {
    /// Why.
    pub reason: String,
    /// The last lines that the new program wrote to stderr.
    pub stderr_tail: Vec<String>,
}

impl fmt::Display for UpgradeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl<T: Into<String>> From<T> for UpgradeFailure {
    fn from(reason: T) -> Self {
        Self { reason: reason.into(), stderr_tail: Vec::new() }
    }
}

/// What an image is there for, in the environment: `WHAT:DESCRIPTOR[:DESCRIPTOR]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Say on `answer` whether you could go on with `state`, and end.
    Rehearse { state: i32, answer: i32 },
    /// Go on with `state`, or go back to `executable`.
    TakeOver { state: i32, executable: i32 },
    /// Go on with `state`; the image after you could not.
    Return { state: i32 },
}

impl Order {
    fn read() -> Option<Self> {
        Self::parse(&std::env::var(ORDER_VARIABLE).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(':');
        let what = words.next()?;
        let numbers: Vec<i32> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
        match (what, &numbers[..]) {
            ("rehearse", &[state, answer]) => Some(Self::Rehearse { state, answer }),
            ("take-over", &[state, executable]) => Some(Self::TakeOver { state, executable }),
            ("return", &[state]) => Some(Self::Return { state }),
            _ => None,
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rehearse { state, answer } => write!(f, "rehearse:{state}:{answer}"),
            Self::TakeOver { state, executable } => write!(f, "take-over:{state}:{executable}"),
            Self::Return { state } => write!(f, "return:{state}"),
        }
    }
}

/// An image of the program at `path` that is told what this one was told, and an order.
fn image(path: PathBuf, order: Order, failure: Option<&str>) -> Image {
    let is_ours = |name: &OsString| VARIABLES.iter().any(|variable| name == variable);
    let mut env: Vec<_> = std::env::vars_os().filter(|(name, _)| !is_ours(name)).collect();
    env.push((ORDER_VARIABLE.into(), order.to_string().into()));
    env.extend(failure.map(|text| (FAILURE_VARIABLE.into(), text.replace('\0', " ").into())));
    Image { path, args: std::env::args_os().collect(), env }
}

/// The next image: it is to go on with `state`, or to go back to `executable`.
pub(crate) fn next_image(path: PathBuf, state: i32, executable: i32) -> Image {
    image(path, Order::TakeOver { state, executable }, None)
}

/// Builds what could be built without descriptors, says that this program could go on, and
/// ends.
pub(crate) fn rehearse(settings: &forkyard_core::Settings, rehearsed: Rehearsed) -> ! {
    let Rehearsed { state, answer } = rehearsed;
    drop(Core::resume(settings.clone(), state.core, Instant::now()));
    arrival::pass_rehearsal(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_reads_as_it_was_written() {
        for order in [
            Order::Rehearse { state: 7, answer: 9 },
            Order::TakeOver { state: 3, executable: 4 },
            Order::Return { state: 12 },
        ] {
            assert_eq!(Order::parse(&order.to_string()), Some(order));
        }
        for nonsense in ["", "rehearse", "rehearse:1", "return:x", "return:1:2", "run:1"] {
            assert_eq!(Order::parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_image_gets_one_order() {
        let image = image("/bin/true".into(), Order::Return { state: 5 }, Some("it\0failed"));
        let orders: Vec<_> = image.env.iter().filter(|(name, _)| name == ORDER_VARIABLE).collect();
        assert_eq!(orders.len(), 1);
        assert_eq!(orders[0].1, "return:5");
        assert!(image.env.contains(&(FAILURE_VARIABLE.into(), "it failed".into())));
        assert_eq!(image.args, std::env::args_os().collect::<Vec<_>>());
    }
}
