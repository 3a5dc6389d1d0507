//! Ports that are free, for programs that cannot take port 0.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// A TCP port of 127.0.0.1 that nobody had a moment ago.
///
/// It comes from below the range the system gives out by itself, so that no outgoing
/// connection of another test can take it in the meantime.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn free() -> u16 {
    let start = u16::try_from(std::process::id() % 20_000).expect("invariant: below 20,000");
    (0..20_000_u16)
        .map(|step| 10_000 + (start.wrapping_mul(7).wrapping_add(step * 13)) % 20_000)
        .find(|&port| take(port))
        .expect("a free port between 10000 and 30000")
}

/// Whether the port could be bound, and was this process's first choice of it.
fn take(port: u16) -> bool {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut taken = TAKEN.lock().expect("invariant: nobody panics while choosing a port");
    TcpListener::bind(address).is_ok() && taken.insert(port)
}
