//! Turns a listener's spec into a socket.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use forkyard_core::{Endpoint, Host, Transport};
use forkyard_ipc::{Family, SockName};
use forkyard_sys::inherited::InheritedFds;
use forkyard_sys::reuseport::{Dealing, Group, Heir, Kind, Options};
use forkyard_sys::sockets::{LocalAddress, OnlyV6, ReuseAddress, SocketKind};

/// The accept queue's length when the program names none. Node takes 511; a longer one
/// costs nothing and holds more clients while no worker is up. The kernel cuts it to
/// `net.core.somaxconn`.
const DEFAULT_BACKLOG: u32 = 4096;

/// A bound address.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) socket: OwnedFd,
    pub(super) kind: SocketKind,
    /// Removed together with this.
    pub(super) file: Option<SocketFile>,
}

impl Bound {
    /// Where it ended up, for people.
    pub(super) fn describe(&self, endpoint: &Endpoint) -> String {
        let was_bound_here = !matches!(endpoint, Endpoint::Descriptor { .. });
        match forkyard_sys::sockets::local_address(self.socket.as_fd()) {
            Ok(LocalAddress::Inet(address)) if self.kind == SocketKind::Udp => {
                format!("udp:{address}")
            }
            Ok(LocalAddress::Inet(address)) => address.to_string(),
            Ok(LocalAddress::Unix(Some(path))) if !was_bound_here => {
                format!("unix:{}", path.display())
            }
            _ => super::address::Shown(endpoint).to_string(),
        }
    }

    /// Where it ended up, for a worker; only TCP has such a name.
    pub(super) fn sockname(&self) -> Option<SockName> {
        let address = match forkyard_sys::sockets::local_address(self.socket.as_fd()) {
            Ok(LocalAddress::Inet(address)) if self.kind == SocketKind::Tcp => address,
            _ => return None,
        };
        let family = if address.is_ipv4() { Family::IPv4 } else { Family::IPv6 };
        Some(SockName { address: address.ip().to_string(), family, port: address.port() })
    }
}

/// Binds an address, and listens on it if it is for connections. Also for `shared`, where
/// the workers will listen too: so a taken port is noticed here, and clients wait instead
/// of being refused while no worker is up.
pub(super) fn bind(
    endpoint: &Endpoint,
    backlog: Option<u32>,
    inherited: &InheritedFds,
) -> io::Result<Bound> {
    let bound = match endpoint {
        Endpoint::Tcp { host, port, only_v6 } => {
            let only_v6 = if *only_v6 { OnlyV6::Yes } else { OnlyV6::No };
            let socket =
                on_host(*host, *port, |address| forkyard_sys::sockets::bind_tcp(address, only_v6))?;
            Bound { socket, kind: SocketKind::Tcp, file: None }
        }
        Endpoint::Udp { host, port, only_v6, reuse_address } => {
            let only_v6 = if *only_v6 { OnlyV6::Yes } else { OnlyV6::No };
            let reuse = if *reuse_address { ReuseAddress::Yes } else { ReuseAddress::No };
            let socket = on_host(*host, *port, |address| {
                forkyard_sys::sockets::bind_udp(address, only_v6, reuse)
            })?;
            Bound { socket, kind: SocketKind::Udp, file: None }
        }
        Endpoint::Unix { path, readable_all, writable_all } => {
            bind_file(path, *readable_all, *writable_all)?
        }
        Endpoint::Abstract { name } => {
            let socket = forkyard_sys::sockets::bind_unix_abstract(name.as_bytes())?;
            Bound { socket, kind: SocketKind::UnixStream, file: None }
        }
        Endpoint::Descriptor { number, transport } => adopt(*number, *transport, inherited)?,
    };
    // The queue of one that listens already is as long as whoever has made it wants it.
    if !endpoint.is_datagram() && !forkyard_sys::sockets::is_listening(bound.socket.as_fd())? {
        forkyard_sys::sockets::listen(bound.socket.as_fd(), room_for(backlog))?;
    }
    Ok(bound)
}

/// Binds an address for the kernel to deal out, without any lane yet. What is bound is the
/// waiting room.
pub(super) fn bind_group(
    endpoint: &Endpoint,
    backlog: Option<u32>,
    (dealing, heir): (Dealing, Heir),
) -> io::Result<(Bound, Group)> {
    let (host, port, only_v6, kind) = match endpoint {
        Endpoint::Tcp { host, port, only_v6 } => {
            (*host, *port, *only_v6, Kind::Stream { backlog: room_for(backlog) })
        }
        Endpoint::Udp { host, port, only_v6, .. } => (*host, *port, *only_v6, Kind::Datagram),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let only_v6 = if only_v6 { OnlyV6::Yes } else { OnlyV6::No };
    let options = Options { kind, only_v6, seats: 0, dealing, heir };
    let group = on_host(host, port, |address| Group::bind(address, options))?;
    let socket = group.waiting_room().try_clone_to_owned()?;
    let kind = if endpoint.is_datagram() { SocketKind::Udp } else { SocketKind::Tcp };
    Ok((Bound { socket, kind, file: None }, group))
}

fn room_for(backlog: Option<u32>) -> u32 {
    backlog.filter(|length| *length > 0).unwrap_or(DEFAULT_BACKLOG)
}

/// Without a host: every IPv6 and IPv4 address, or every IPv4 one where there is no IPv6.
fn on_host<T>(host: Host, port: u16, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match host {
        Host::V4(ip) => bind((ip, port).into()),
        Host::V6(ip, scope) => bind(SocketAddrV6::new(ip, port, 0, scope).into()),
        Host::Any => {
            bind((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
                _ => bind((Ipv4Addr::UNSPECIFIED, port).into()),
            })
        }
    }
}

fn bind_file(path: &str, readable_all: bool, writable_all: bool) -> io::Result<Bound> {
    let short = shortest(Path::new(path), std::env::current_dir().ok().as_deref());
    let socket = forkyard_sys::sockets::bind_unix(&short)?;
    let file = SocketFile::remember(path.into())?;
    open_up(Path::new(path), readable_all, writable_all)?;
    Ok(Bound { socket, kind: SocketKind::UnixStream, file: Some(file) })
}

/// A socket's path must fit into 107 bytes. Node binds the relative path if it is shorter
/// than the absolute one, and so do we.
fn shortest(path: &Path, cwd: Option<&Path>) -> PathBuf {
    match cwd.map(|cwd| relative(path, cwd)) {
        Some(relative) if relative.as_os_str().len() < path.as_os_str().len() => relative,
        _ => path.to_path_buf(),
    }
}

fn relative(path: &Path, cwd: &Path) -> PathBuf {
    let shared = path.components().zip(cwd.components()).take_while(|(a, b)| a == b).count();
    let up = cwd.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(path.components().skip(shared)).collect()
}

/// Adds the permissions that the program asked for, as libuv's `uv_pipe_chmod` does.
fn open_up(path: &Path, readable_all: bool, writable_all: bool) -> io::Result<()> {
    let wanted = if readable_all { 0o444 } else { 0 } | if writable_all { 0o222 } else { 0 };
    if wanted == 0 {
        return Ok(());
    }
    let mode = fs::metadata(path)?.permissions().mode() | wanted;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn adopt(number: i32, transport: Transport, inherited: &InheritedFds) -> io::Result<Bound> {
    let bad = |errno| io::Error::from_raw_os_error(errno);
    let socket = inherited.get(number).ok_or_else(|| bad(9))?;
    let kind = forkyard_sys::sockets::socket_kind(socket)?.ok_or_else(|| bad(88))?;
    match (transport, kind) {
        (Transport::Stream, SocketKind::Tcp | SocketKind::UnixStream)
        | (Transport::Datagram, SocketKind::Udp) => {}
        _ => return Err(bad(super::address::EINVAL)),
    }
    let socket = socket.try_clone_to_owned()?;
    forkyard_sys::sockets::set_nonblocking(&socket)?;
    Ok(Bound { socket, kind, file: None })
}

/// A socket's file, removed when this is dropped. By its identity: if somebody has put
/// another in its place, that one stays.
#[derive(Debug)]
pub(super) struct SocketFile {
    pub(super) path: PathBuf,
    /// Device and inode.
    pub(super) identity: (u64, u64),
}

impl SocketFile {
    fn remember(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "failed to remove a socket's file");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &Path, readable_all: bool, writable_all: bool) -> Endpoint {
        Endpoint::Unix { path: path.to_str().unwrap().into(), readable_all, writable_all }
    }

    #[test]
    fn the_shorter_of_absolute_and_relative_path_is_bound() {
        let cwd = Some(Path::new("/a/b"));
        assert_eq!(shortest(Path::new("/a/b/c.sock"), cwd), Path::new("c.sock"));
        let aside = Path::new("/a/long/c.sock");
        assert_eq!(shortest(aside, Some(Path::new("/a/long/b"))), Path::new("../c.sock"));
        assert_eq!(shortest(Path::new("/x/c.sock"), cwd), Path::new("/x/c.sock"));
        assert_eq!(shortest(Path::new("/a/b/c.sock"), None), Path::new("/a/b/c.sock"));
    }

    #[test]
    fn a_socket_file_gets_its_mode_and_is_removed_unless_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let bound = bind(&unix(&path, true, true), None, &InheritedFds::none()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o666, 0o666);
        drop(bound);
        assert!(!path.exists());

        let bound = bind(&unix(&path, false, false), None, &InheritedFds::none()).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        drop(bound);
        assert!(path.exists());
    }

    #[test]
    fn a_taken_port_is_noticed_at_once() {
        let endpoint = |port| Endpoint::Tcp { host: Host::Any, port, only_v6: false };
        let first = bind(&endpoint(0), None, &InheritedFds::none()).unwrap();
        let port = first.sockname().unwrap().port;
        let error = bind(&endpoint(port), None, &InheritedFds::none()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn an_unknown_descriptor_is_a_bad_one() {
        let endpoint = Endpoint::Descriptor { number: 77, transport: Transport::Stream };
        let error = bind(&endpoint, None, &InheritedFds::none()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(9));
    }
}
