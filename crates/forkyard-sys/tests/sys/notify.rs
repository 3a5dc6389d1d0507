//! Notifications: who sent them, and what comes along.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use forkyard_sys::notify::{NotifySocket, Received, Sender, receive, sweep};
use forkyard_sys::process::own_user;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
};

use crate::waiting;

fn name_of(socket: &NotifySocket) -> String {
    socket.address().unwrap().strip_prefix('@').unwrap().to_owned()
}

fn send(socket: &NotifySocket, bytes: &[u8]) {
    let to = SocketAddr::from_abstract_name(name_of(socket)).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    assert_eq!(sender.send_to_addr(bytes, &to).unwrap(), bytes.len());
}

fn send_with(socket: &NotifySocket, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let to = SocketAddrUnix::new_abstract_name(name_of(socket).as_bytes()).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    let bytes = [std::io::IoSlice::new(bytes)];
    sendmsg_addr(&sender, &to, &bytes, &mut control, SendFlags::empty()).unwrap();
}

fn this_process() -> Sender {
    Sender { pid: std::process::id(), uid: own_user() }
}

fn notification(bytes: usize) -> Received {
    Received::Notification { bytes, sender: this_process() }
}

#[test]
fn each_socket_has_a_name_of_its_own_and_stays_here() {
    let (one, other) =
        (NotifySocket::bind_abstract().unwrap(), NotifySocket::bind_abstract().unwrap());
    assert_ne!(one.address().unwrap(), other.address().unwrap());
    assert!(fcntl_getfl(&one).unwrap().contains(OFlags::NONBLOCK));
    assert!(fcntl_getfd(&one).unwrap().contains(FdFlags::CLOEXEC));
}

#[test]
fn a_notification_tells_who_sent_it() {
    let socket = NotifySocket::bind_abstract().unwrap();
    let mut buffer = [0; 64];
    let none = receive(socket.as_fd(), &mut buffer).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::WouldBlock);
    send(&socket, b"READY=1\n");
    assert_eq!(receive(socket.as_fd(), &mut buffer).unwrap(), notification(8));
    assert_eq!(&buffer[..8], b"READY=1\n");
}

#[test]
fn each_is_received_by_itself() {
    let socket = NotifySocket::bind_abstract().unwrap();
    let mut buffer = [0; 64];
    for text in [&b"one"[..], b"", b"three"] {
        send(&socket, text);
    }
    for text in [&b"one"[..], b"", b"three"] {
        assert_eq!(receive(socket.as_fd(), &mut buffer).unwrap(), notification(text.len()));
        assert_eq!(&buffer[..text.len()], text);
    }
}

#[test]
fn one_that_does_not_fit_is_dropped_and_the_next_is_not() {
    let socket = NotifySocket::bind_abstract().unwrap();
    send(&socket, &[b'x'; 9]);
    send(&socket, b"READY=1\n");
    let mut buffer = [0; 8];
    assert_eq!(receive(socket.as_fd(), &mut buffer).unwrap(), Received::Unusable);
    assert_eq!(receive(socket.as_fd(), &mut buffer).unwrap(), notification(8));
}

/// As `sd_notify_barrier(3)` needs it: the end of the pipe is its answer.
#[test]
fn descriptors_that_come_along_are_closed() {
    let socket = NotifySocket::bind_abstract().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let sent = vec![writer.as_fd(); 253];
    send_with(&socket, b"BARRIER=1", &sent);
    drop(writer);
    let mut buffer = [0; 64];
    assert_eq!(receive(socket.as_fd(), &mut buffer).unwrap(), notification(9));
    waiting::until_readable(&reader);
    assert_eq!(std::io::read_to_string(reader).unwrap(), "");
}

#[test]
fn the_descriptor_alone_goes_on_receiving() {
    let socket = NotifySocket::bind_abstract().unwrap();
    send(&socket, b"READY=1");
    let (fd, _) = socket.into_parts();
    assert_eq!(receive(fd.as_fd(), &mut [0; 64]).unwrap(), notification(7));
}

#[test]
fn a_file_leads_to_the_socket_as_long_as_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.1");
    let socket = NotifySocket::bind(&path).unwrap();
    assert_eq!(socket.address().unwrap(), path.to_str().unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    UnixDatagram::unbound().unwrap().send_to(b"READY=1", &path).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(receive(socket.as_fd(), &mut buffer).unwrap(), notification(7));
    drop(socket);
    assert!(!path.exists());
}

#[test]
fn only_what_a_socket_that_is_gone_has_left_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // Nobody removes the file of such a socket.
    drop(UnixDatagram::bind(path("notify.gone")).unwrap());
    drop(UnixDatagram::bind(path("notify.again")).unwrap());
    drop(UnixDatagram::bind(path("other.gone")).unwrap());
    fs::write(path("notify.text"), "").unwrap();
    let _stream = UnixListener::bind(path("notify.stream")).unwrap();
    let _again = NotifySocket::bind(&path("notify.again")).unwrap();
    sweep(dir.path(), "notify.").unwrap();
    let mut left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["notify.again", "notify.stream", "notify.text", "other.gone"]);
    for taken in ["notify.again", "notify.text", "notify.stream"] {
        let error = NotifySocket::bind(&path(taken)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "{taken}");
        assert!(path(taken).exists(), "{taken}");
    }
}
