//! Ports for the programs that are measured.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use anyhow::{Context, Result};

/// Where ports are taken from: below those that the system gives to clients.
const FIRST_PORT: u16 = 18_000;
const LAST_PORT: u16 = 28_000;

/// Gives every run a port of its own, so that closed connections of one run are not in
/// the way of the next.
#[derive(Debug)]
pub(crate) struct Ports {
    left: std::ops::Range<u16>,
}

impl Ports {
    pub(crate) fn new() -> Self {
        Self { left: FIRST_PORT..LAST_PORT }
    }

    pub(crate) fn next(&mut self) -> Result<u16> {
        let is_free = |port: &u16| {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()
                && TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).is_ok()
        };
        self.left.find(is_free).context("found no free port")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let mut ports = Ports::new();
        let first = ports.next().unwrap();
        assert!(ports.next().unwrap() > first);
    }
}
