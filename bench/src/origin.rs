//! Where clients come from. All of 127.0.0.0/8 is this machine, so clients can come from as
//! many addresses as they do in earnest: a policy that goes by the address needs that, and the
//! ports of closed connections are in nobody's way.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// How many addresses clients come from.
const ADDRESSES: u32 = 1000;

/// The address of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin(Ipv4Addr);

impl Origin {
    /// The address of client `number`. There are 1000 of them, taken in turn.
    pub(crate) fn of(number: u32) -> Self {
        let [_, _, high, low] = (number % ADDRESSES).to_be_bytes();
        Self(Ipv4Addr::new(127, 20, high, low))
    }

    /// Connects from here to a port of this machine, without waiting. The connection may not
    /// be complete yet: it can be written to when it is.
    pub(crate) fn start_to_connect(self, port: u16) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        bind(&socket, &SocketAddrV4::new(self.0, 0))?;
        match connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::net::{IpAddr, TcpListener};

    #[test]
    fn there_are_as_many_addresses_as_it_says() {
        let addresses: BTreeSet<_> = (0..ADDRESSES).map(|number| Origin::of(number).0).collect();
        assert_eq!(addresses.len(), ADDRESSES as usize);
        assert!(addresses.iter().all(Ipv4Addr::is_loopback));
        assert_eq!(Origin::of(ADDRESSES + 7), Origin::of(7));
    }

    #[test]
    fn a_server_sees_where_a_client_comes_from() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let origin = Origin::of(300);
        let _client = origin.start_to_connect(listener.local_addr().unwrap().port()).unwrap();
        let (_, address) = listener.accept().unwrap();
        assert_eq!(address.ip(), IpAddr::V4(origin.0));
    }
}
