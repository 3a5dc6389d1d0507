//! From what a worker asks for to what the core knows, and to what a person reads.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use forkyard_core::{Endpoint, Host, ListenerSpec, Refusal, Transport};
use forkyard_ipc::{AddressType, ServerQuery};

/// `UV_TCP_IPV6ONLY` and `UV_UDP_IPV6ONLY`, libuv's uv.h.
const FLAG_ONLY_V6: u32 = 1;
/// `UV_UDP_REUSEADDR`, libuv's uv.h.
const FLAG_UDP_REUSE_ADDRESS: u32 = 4;

/// Linux error numbers that are answered without asking the system.
pub(super) const EINVAL: i32 = 22;
const EMFILE: i32 = 24;
const EADDRINUSE: i32 = 98;

/// The listener that a worker asks for; `EINVAL` for an address that is none.
pub(super) fn spec_of(query: &ServerQuery) -> Result<ListenerSpec, i32> {
    let index = u32::try_from(query.index).map_err(|_| EINVAL)?;
    Ok(ListenerSpec::new(endpoint_of(query).ok_or(EINVAL)?, index))
}

fn endpoint_of(query: &ServerQuery) -> Option<Endpoint> {
    let datagram = query.address_type.is_udp();
    if let Some(number) = query.fd.filter(|number| *number >= 0) {
        let transport = if datagram { Transport::Datagram } else { Transport::Stream };
        return Some(Endpoint::Descriptor { number: i32::try_from(number).ok()?, transport });
    }
    if query.address_type == AddressType::Unix {
        return unix_endpoint(query);
    }
    let host = host_of(query)?;
    // A UDP socket that is bound without a port may leave it out.
    let port = query.port.or(datagram.then_some(0))?;
    let port = u16::try_from(port).ok()?;
    let only_v6 = query.flags & FLAG_ONLY_V6 != 0;
    let reuse_address = query.flags & FLAG_UDP_REUSE_ADDRESS != 0;
    Some(match datagram {
        true => Endpoint::Udp { host, port, only_v6, reuse_address },
        false => Endpoint::Tcp { host, port, only_v6 },
    })
}

/// Without a path, which is what Node 18 asks for when it is sent a `net.Server`, there is
/// nothing to bind.
fn unix_endpoint(query: &ServerQuery) -> Option<Endpoint> {
    let path = query.address.clone().filter(|path| !path.is_empty())?;
    // An abstract name arrives resolved against the worker's directory: "<cwd>/\0name".
    Some(match path.split_once('\0') {
        Some((_, name)) => Endpoint::Abstract { name: name.into() },
        None => Endpoint::Unix {
            path,
            readable_all: query.readable_all,
            writable_all: query.writable_all,
        },
    })
}

fn host_of(query: &ServerQuery) -> Option<Host> {
    let Some(address) = query.address.as_deref() else {
        return Some(match query.address_type {
            AddressType::Udp4 => Host::V4(Ipv4Addr::UNSPECIFIED),
            AddressType::Udp6 => Host::V6(Ipv6Addr::UNSPECIFIED, 0),
            _ => Host::Any,
        });
    };
    let (bare, scope) = address.split_once('%').unwrap_or((address, ""));
    Some(match bare.parse().ok()? {
        IpAddr::V4(ip) => Host::V4(ip),
        IpAddr::V6(ip) => Host::V6(ip, scope_id(scope)?),
    })
}

/// A scope is a number or the name of an interface; none is 0.
fn scope_id(scope: &str) -> Option<u32> {
    if scope.is_empty() {
        return Some(0);
    }
    let known_by_name = || {
        let plain = !scope.contains('/') && scope != "..";
        let index = plain.then(|| format!("/sys/class/net/{scope}/ifindex"))?;
        std::fs::read_to_string(index).ok()?.trim().parse().ok()
    };
    scope.parse().ok().or_else(known_by_name)
}

/// An endpoint as people write it.
pub(crate) struct Shown<'a>(pub(crate) &'a Endpoint);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Endpoint::Tcp { host, port, .. } => write!(f, "{}:{port}", ShownHost(*host)),
            Endpoint::Udp { host, port, .. } => write!(f, "udp:{}:{port}", ShownHost(*host)),
            Endpoint::Unix { path, .. } => write!(f, "unix:{path}"),
            Endpoint::Abstract { name } => write!(f, "unix:@{name}"),
            Endpoint::Descriptor { number, .. } => write!(f, "fd:{number}"),
        }
    }
}

struct ShownHost(Host);

impl fmt::Display for ShownHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Host::Any => write!(f, "[{}]", Ipv6Addr::UNSPECIFIED),
            Host::V4(ip) => write!(f, "{ip}"),
            Host::V6(ip, _) => write!(f, "[{ip}]"),
        }
    }
}

/// A question's address as people write it, also if it makes no sense.
pub(super) fn describe(query: &ServerQuery) -> String {
    match endpoint_of(query) {
        Some(endpoint) => Shown(&endpoint).to_string(),
        None => "an address that makes no sense".to_owned(),
    }
}

/// What to answer for a refusal: libuv's error number, which is Linux' made negative.
pub(super) fn errno_of(refusal: Refusal) -> i32 {
    -match refusal {
        Refusal::AlreadyHeld => EADDRINUSE,
        Refusal::TooMany => EMFILE,
        Refusal::Stopping => EINVAL,
        Refusal::System(errno) => errno,
    }
}

/// The symbol of an error number, and what it means with the way out.
pub(super) fn explain(address: &str, refusal: Refusal) -> (String, String) {
    let errno = -errno_of(refusal);
    let (code, text) = match errno {
        98 => ("EADDRINUSE", already_in_use(refusal)),
        13 => (
            "EACCES",
            "permission denied; use a port from 1024 up, or give the primary the capability \
             CAP_NET_BIND_SERVICE",
        ),
        99 => ("EADDRNOTAVAIL", "this machine has no such address"),
        22 => ("EINVAL", "the address makes no sense"),
        24 => ("EMFILE", "too many listeners or open files; raise the limit (ulimit -n)"),
        9 => ("EBADF", "the primary was not started with such a descriptor"),
        88 => ("ENOTSOCK", "that descriptor is no socket"),
        2 => ("ENOENT", "the socket's folder does not exist"),
        36 => ("ENAMETOOLONG", "the socket's path is longer than the system takes"),
        97 => ("EAFNOSUPPORT", "this machine does not speak that kind of address"),
        _ => {
            let text = std::io::Error::from_raw_os_error(errno).to_string();
            return (format!("errno {errno}"), format!("failed to listen on {address}: {text}"));
        }
    };
    (code.into(), format!("failed to listen on {address}: {text}"))
}

fn already_in_use(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::AlreadyHeld => "this worker listens there already",
        _ => "address already in use; stop the program that has it or choose another address",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(address: Option<&str>, port: i64, address_type: AddressType) -> ServerQuery {
        ServerQuery {
            index: 3,
            address: address.map(String::from),
            port: Some(port),
            address_type,
            fd: None,
            flags: 0,
            backlog: None,
            readable_all: false,
            writable_all: false,
            data: None,
        }
    }

    fn shown(query: &ServerQuery) -> String {
        Shown(&spec_of(query).unwrap().endpoint).to_string()
    }

    #[test]
    fn addresses_read_as_people_write_them() {
        assert_eq!(shown(&query(Some("127.0.0.1"), 80, AddressType::Tcp4)), "127.0.0.1:80");
        assert_eq!(shown(&query(Some("::1"), 80, AddressType::Tcp6)), "[::1]:80");
        assert_eq!(shown(&query(Some("fe80::1%7"), 80, AddressType::Tcp6)), "[fe80::1]:80");
        assert_eq!(shown(&query(None, 80, AddressType::Tcp4)), "[::]:80");
        assert_eq!(shown(&query(Some("/x/y"), -1, AddressType::Unix)), "unix:/x/y");
        assert_eq!(shown(&query(Some("/x/\0y"), -1, AddressType::Unix)), "unix:@y");
        assert_eq!(shown(&query(Some("0.0.0.0"), 53, AddressType::Udp4)), "udp:0.0.0.0:53");
        assert_eq!(shown(&query(None, 53, AddressType::Udp4)), "udp:0.0.0.0:53");
    }

    #[test]
    fn an_index_counts_for_any_port_and_for_udp_only() {
        let index = |q| spec_of(&q).unwrap().index;
        assert_eq!(index(query(None, 0, AddressType::Tcp4)), 3);
        assert_eq!(index(query(None, 80, AddressType::Tcp4)), 0);
        assert_eq!(index(query(None, 80, AddressType::Udp4)), 3);
    }

    #[test]
    fn nonsense_is_refused_and_not_guessed() {
        for bad in [
            query(Some("example"), 80, AddressType::Tcp4),
            query(Some("1.2.3.4"), 70_000, AddressType::Tcp4),
            query(Some("1.2.3.4"), -5, AddressType::Tcp4),
            query(None, -1, AddressType::Unix),
            query(Some(""), -1, AddressType::Unix),
            query(Some("fe80::1%../../x"), 80, AddressType::Tcp6),
        ] {
            assert_eq!(spec_of(&bad), Err(EINVAL), "{bad:?}");
        }
    }

    #[test]
    fn a_scope_may_be_an_interface() {
        let spec = spec_of(&query(Some("fe80::1%lo"), 80, AddressType::Tcp6)).unwrap();
        assert!(matches!(spec.endpoint, Endpoint::Tcp { host: Host::V6(_, 1..), .. }));
    }
}
