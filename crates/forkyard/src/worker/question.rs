//! What a worker asks for, as Node's workers put it.

use std::net::SocketAddr;
use std::path::Path;

use forkyard_ipc::{AddressType, ServerQuery};

/// An address that the worker wants to listen on.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) query: ServerQuery,
    /// For messages.
    pub(super) shown: String,
}

impl Question {
    pub(super) fn tcp(address: SocketAddr) -> Self {
        let address_type = if address.is_ipv4() { AddressType::Tcp4 } else { AddressType::Tcp6 };
        Self::inet(address, address_type, address.to_string())
    }

    pub(super) fn udp(address: SocketAddr) -> Self {
        let address_type = if address.is_ipv4() { AddressType::Udp4 } else { AddressType::Udp6 };
        Self::inet(address, address_type, format!("udp:{address}"))
    }

    pub(super) fn unix(path: &Path) -> Self {
        let shown = format!("unix:{}", path.display());
        let query = query(path.to_string_lossy().into_owned(), -1, AddressType::Unix);
        Self { query, shown }
    }

    fn inet(address: SocketAddr, address_type: AddressType, shown: String) -> Self {
        let query = query(address.ip().to_string(), i64::from(address.port()), address_type);
        Self { query, shown }
    }

    /// What Node counts questions for the same address by.
    pub(super) fn index_key(&self) -> String {
        format!("{:?}:{:?}:{:?}", self.query.address, self.query.port, self.query.address_type)
    }
}

fn query(address: String, port: i64, address_type: AddressType) -> ServerQuery {
    ServerQuery {
        index: 0,
        address: Some(address),
        port: Some(port),
        address_type,
        // Node's UDP sockets say -1 for none.
        fd: address_type.is_udp().then_some(-1),
        flags: 0,
        backlog: None,
        readable_all: false,
        writable_all: false,
        data: None,
    }
}
