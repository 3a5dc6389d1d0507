//! Addresses that an app has from its settings, as people write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use forkyard_core::{Denied, Endpoint, Host};
use forkyard_sys::inherited::InheritedFds;
use forkyard_sys::sockets::{LocalAddress, local_address};

use crate::activation::transport_of;
use crate::primary::address::Shown;

/// Where to listen: `8000` (every address), `127.0.0.1:8000`, `[::1]:8000`, `localhost:8000`,
/// `unix:/run/app.sock` or the path alone; with `udp:` before it for datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    pub(crate) endpoint: Endpoint,
    /// What it is called in rules: its port and its address, or its path.
    pub(crate) names: [Option<String>; 2],
}

/// Why something is no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no address to listen on; write a port, IP:PORT, [IPv6]:PORT, localhost:PORT or \
     unix:/PATH, with udp: before it for datagrams"
)]
pub struct ParseListenAddressError {
    text: String,
}

/// Why a descriptor is none that can be listened on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "descriptor {number} is no TCP, UDP or Unix stream socket that this process was started with"
)]
pub struct NotASocketError {
    number: i32,
}

/// Why an address is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The primary said no.
    #[error("{0}")]
    Denied(Denied),
    /// The app has it already.
    #[error("the app listens on {address} already; name it once")]
    Already {
        /// Where.
        address: String,
    },
    /// The system said no.
    #[error("{message}")]
    System {
        /// The system's name for the reason, such as `EADDRINUSE`.
        code: String,
        /// What happened, with the way out.
        message: String,
    },
}

impl FromStr for ListenAddress {
    type Err = ParseListenAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let endpoint = match text.strip_prefix("udp:") {
            Some(rest) => host_and_port(rest).map(|(host, port)| datagrams(host, port)),
            None => socket_file(text)
                .or_else(|| host_and_port(text).map(|(host, port)| connections(host, port))),
        };
        let unknown = || ParseListenAddressError { text: text.to_owned() };
        endpoint.map(Self::of).ok_or_else(unknown)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.endpoint).fmt(f)
    }
}

impl ListenAddress {
    /// The address of a socket that this process was started with, under that number.
    ///
    /// # Errors
    ///
    /// If it was started with no such socket.
    pub fn inherited(number: i32, inherited: &InheritedFds) -> Result<Self, NotASocketError> {
        let fd = inherited.get(number);
        let found = fd.and_then(|fd| Some((transport_of(fd)?, local_address(fd).ok()?)));
        let (transport, address) = found.ok_or(NotASocketError { number })?;
        let endpoint = Endpoint::Descriptor { number, transport };
        Ok(Self { endpoint, names: names_of_bound(&address) })
    }

    /// Whether two programs could not both listen, one here and one there.
    #[must_use]
    pub fn clashes_with(&self, other: &Self) -> bool {
        match (&self.endpoint, &other.endpoint) {
            (Endpoint::Tcp { host, port, .. }, Endpoint::Tcp { host: other, port: same, .. })
            | (Endpoint::Udp { host, port, .. }, Endpoint::Udp { host: other, port: same, .. }) => {
                // Port 0 is another one for each.
                port == same && *port != 0 && overlap(host, other)
            }
            (Endpoint::Unix { path, .. }, Endpoint::Unix { path: other, .. }) => path == other,
            _ => false,
        }
    }

    fn of(endpoint: Endpoint) -> Self {
        let names = names_of(&endpoint);
        Self { endpoint, names }
    }
}

fn names_of(endpoint: &Endpoint) -> [Option<String>; 2] {
    match endpoint {
        Endpoint::Tcp { host, port, .. } | Endpoint::Udp { host, port, .. } => {
            let host = match host {
                Host::Any => None,
                Host::V4(ip) => Some(ip.to_string()),
                Host::V6(ip, _) => Some(ip.to_string()),
            };
            [Some(port.to_string()), host]
        }
        Endpoint::Unix { path, .. } => [Some(path.clone()), None],
        Endpoint::Abstract { .. } | Endpoint::Descriptor { .. } => [None, None],
    }
}

fn names_of_bound(address: &LocalAddress) -> [Option<String>; 2] {
    match address {
        LocalAddress::Inet(address) => {
            [Some(address.port().to_string()), Some(address.ip().to_string())]
        }
        LocalAddress::Unix(path) => {
            [path.as_deref().and_then(Path::to_str).map(str::to_owned), None]
        }
        LocalAddress::Abstract(_) => [None, None],
    }
}

fn socket_file(text: &str) -> Option<Endpoint> {
    let path = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text))?;
    // Whoever removes it later may do so from another directory.
    let path = std::path::absolute(Path::new(path)).ok()?.into_os_string().into_string().ok()?;
    Some(Endpoint::Unix { path, readable_all: false, writable_all: false })
}

fn host_and_port(text: &str) -> Option<(Host, u16)> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Some((Host::Any, port));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some((Host::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?));
    }
    let address: SocketAddr = text.parse().ok()?;
    let host = match (address.ip(), address) {
        (IpAddr::V4(ip), _) => Host::V4(ip),
        (IpAddr::V6(ip), SocketAddr::V6(address)) => Host::V6(ip, address.scope_id()),
        (IpAddr::V6(ip), SocketAddr::V4(_)) => Host::V6(ip, 0),
    };
    Some((host, address.port()))
}

fn connections(host: Host, port: u16) -> Endpoint {
    Endpoint::Tcp { host, port, only_v6: false }
}

fn datagrams(host: Host, port: u16) -> Endpoint {
    Endpoint::Udp { host, port, only_v6: false, reuse_address: false }
}

/// `[::]` takes IPv4 connections too, unless it is told otherwise.
fn overlap(one: &Host, other: &Host) -> bool {
    let is_any = |host: &Host| match host {
        Host::Any => true,
        Host::V4(ip) => ip.is_unspecified(),
        Host::V6(ip, _) => ip.is_unspecified(),
    };
    match (one, other) {
        (Host::V4(any), Host::V6(ip, _)) | (Host::V6(ip, _), Host::V4(any))
            if any.is_unspecified() =>
        {
            ip.is_unspecified()
        }
        _ => is_any(one) || is_any(other) || one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, shown) in [
            ("8000", "[::]:8000"),
            (":8000", "[::]:8000"),
            ("0", "[::]:0"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
            ("/run/x.sock", "unix:/run/x.sock"),
            ("udp:53", "udp:[::]:53"),
            ("udp:127.0.0.1:53", "udp:127.0.0.1:53"),
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn addresses_clash_where_both_want_the_same() {
        for (one, other, clash) in [
            ("8000", "8000", true),
            ("8000", "8001", false),
            ("0", "0", false),
            ("8000", "127.0.0.1:8000", true),
            ("127.0.0.1:8000", "127.0.0.2:8000", false),
            ("0.0.0.0:8000", "127.0.0.1:8000", true),
            ("0.0.0.0:8000", "[::1]:8000", false),
            ("0.0.0.0:8000", "[::]:8000", true),
            ("udp:8000", "8000", false),
            ("udp:53", "udp:53", true),
            ("/run/x", "unix:/run/x", true),
            ("/run/x", "/run/y", false),
        ] {
            let address = |text: &str| text.parse::<ListenAddress>().unwrap();
            let (one, other) = (address(one), address(other));
            assert_eq!(one.clashes_with(&other), clash, "{one} {other}");
            assert_eq!(other.clashes_with(&one), clash, "{other} {one}");
        }
    }

    #[test]
    fn what_is_no_address_is_said_with_the_way_out() {
        for text in ["", "x", "70000", "example.org:80", "1.2.3.4", "udp:", "udp:/x", "unix:"] {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{text}` is no address")), "{text}");
        }
    }
}
