//! The system calls with real descriptors and processes.
#![expect(clippy::unwrap_used, reason = "a test's own steps may fail it")]

mod channel;
mod held;
mod image;
mod inherited;
mod notify;
mod orphans;
mod own_process;
mod privileges;
mod process;
mod reuseport;
mod signals;
mod sockets;
mod ticker;
mod waiting;
