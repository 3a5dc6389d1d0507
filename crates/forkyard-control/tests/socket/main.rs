//! Server and client over a real socket.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

mod bounds;
mod description;
mod events;
mod finding;
mod place;
mod reloads;
mod requests;
mod versions;
