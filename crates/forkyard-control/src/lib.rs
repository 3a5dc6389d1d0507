//! The control socket of a primary: HTTP/1 and JSON over a Unix socket that only its user can
//! open.
//!
//! ```text
//!   Client ──POST /v1/reload──▶ Server ──Wish──▶ whoever drives the primary
//!          ◀─ server-sent events ─┘    ◀─ Update ─┘
//! ```
//!
//! | module | is |
//! |---|---|
//! | [`types`] | what is said |
//! | [`folder`] | where the sockets are, and that nobody else can get at them |
//! | [`server`] | the primary's side |
//! | [`client`] | the other side, and how running primaries are found |
//!
//! An answer that takes its time comes as server-sent events (`text/event-stream`), which `curl -N`
//! shows as they come and every HTTP client has a reader for; the last one is the outcome. Paths
//! begin with a version. What a client of another version asks for is answered with a clear
//! error.
//!
//! An upgrade of the primary ends all connections, because the process executes another program;
//! the socket is there again a moment later, and `GET /v1/status` tells how the upgrade went.
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod client;
pub mod folder;
mod impatient;
pub mod server;
mod socket;
pub mod types;
