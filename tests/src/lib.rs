//! The real command against real programs.
//!
//! The programs are the files of `tests/programs`, each with one way of its own to
//! behave or misbehave. A test starts the command on one of them by [`Launch`], watches
//! what it says through [`Forkyard`], and talks to the workers through [`client`].
//!
//! Nothing here waits for time to pass: every wait is for a condition and has a
//! [`DEADLINE`], long enough that only a condition that never comes runs into it.

#![forbid(unsafe_code)]
#![expect(clippy::panic, reason = "a test fails by a panic")]

pub mod cgroups;
pub mod client;
pub mod command;
pub mod control;
pub mod events;
mod http2;
pub mod kept;
pub mod load;
pub mod manager;
pub mod on_disk;
pub mod ports;
pub mod processes;
pub mod record;
pub mod releases;
pub mod rolls;
pub mod tally;
pub mod tls;
pub mod tools;
mod transport;
mod unread;
pub mod waiting;
pub mod watching;
pub mod websocket;
pub mod yard;

pub use command::{Ended, Forkyard, Launch};
pub use events::{Event, Stream};
pub use on_disk::OnDisk;
pub use tools::Node;
pub use yard::{Answer, Yard};

/// How long a test waits for something that has to happen.
pub const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
