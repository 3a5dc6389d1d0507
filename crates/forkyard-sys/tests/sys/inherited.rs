//! Descriptors a process was started with, in a process started with some.

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Stdio;

use forkyard_sys::channel::{channel_pair, receive, send};
use forkyard_sys::inherited::{InheritedFds, take_channel};
use forkyard_sys::process::{CHANNEL, ExitStatus, Spawn, spawn};
use forkyard_sys::sockets::{OnlyV6, bind_tcp, is_listening, listen};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};

use crate::{own_process, waiting};

/// A number of the environment.
fn number(name: &str) -> i32 {
    std::env::var(name).unwrap().parse().unwrap()
}

fn assert_close_on_exec(fd: impl AsFd) {
    assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
}

/// The child's part of [`a_child_finds_what_it_was_given`].
fn take_what_was_given() {
    let (channel_number, listener_number) = (number("CHANNEL"), number("LISTENER"));
    let not_a_channel = take_channel(listener_number).unwrap_err();
    assert_eq!(not_a_channel.kind(), ErrorKind::InvalidInput);

    let channel = take_channel(channel_number).unwrap();
    assert_close_on_exec(&channel);
    assert!(fcntl_getfl(&channel).unwrap().contains(OFlags::NONBLOCK));
    let again = take_channel(channel_number).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);

    let inherited = InheritedFds::take().unwrap();
    assert!(inherited.numbers().any(|number| number == listener_number));
    assert!(inherited.get(channel_number).is_none());
    let listener = inherited.get(listener_number).unwrap();
    assert_close_on_exec(listener);
    assert!(is_listening(listener).unwrap());
    let again = InheritedFds::take().unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);

    send(channel.as_fd(), b"found all", None).unwrap();
}

#[test]
fn a_child_finds_what_it_was_given() {
    const NAME: &str = "inherited::a_child_finds_what_it_was_given";
    if own_process::is_this(NAME) {
        return take_what_was_given();
    }
    let (ours, theirs) = channel_pair().unwrap();
    let listener = bind_tcp("127.0.0.1:0".parse().unwrap(), OnlyV6::No).unwrap();
    listen(listener.as_fd(), 1).unwrap();
    let mut command = own_process::command(NAME);
    command.env("CHANNEL", "4").env("LISTENER", "3").stdout(Stdio::null());
    let extra = Spawn { channel: Some(theirs), sockets: vec![listener], ..Spawn::default() };
    let status = waiting::until_reaped(spawn(command, extra).unwrap());
    assert_eq!(status, ExitStatus::Code(0));

    let mut buffer = [0; 64];
    let received = receive(ours.as_fd(), &mut buffer, &mut Vec::new()).unwrap();
    assert_eq!(&buffer[..received.bytes], b"found all");
}

#[test]
fn a_descriptor_taken_with_the_rest_is_no_channel_any_more() {
    const NAME: &str = "inherited::a_descriptor_taken_with_the_rest_is_no_channel_any_more";
    if own_process::is_this(NAME) {
        let inherited = InheritedFds::take().unwrap();
        assert!(inherited.get(number("CHANNEL")).is_some());
        let error = take_channel(number("CHANNEL")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        return;
    }
    let (_ours, theirs) = channel_pair().unwrap();
    let mut command = own_process::command(NAME);
    command.env("CHANNEL", CHANNEL.to_string()).stdout(Stdio::null());
    let extra = Spawn { channel: Some(theirs), ..Spawn::default() };
    let status = waiting::until_reaped(spawn(command, extra).unwrap());
    assert_eq!(status, ExitStatus::Code(0));
}

#[test]
fn what_this_process_opened_is_not_inherited() {
    own_process::run("inherited::what_this_process_opened_is_not_inherited", || {
        let (ours, theirs) = channel_pair().unwrap();
        let error = take_channel(ours.as_raw_fd()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let inherited = InheritedFds::take().unwrap();
        assert!(inherited.get(ours.as_raw_fd()).is_none());
        assert!(inherited.get(theirs.as_raw_fd()).is_none());
    });
}

#[test]
fn a_number_that_is_not_open_is_an_error() {
    let error = take_channel(1 << 20).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    for number in [-1, 0, 2] {
        let error = take_channel(number).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{number}");
    }
}

#[test]
fn none_has_none() {
    let none = InheritedFds::none();
    assert_eq!(none.numbers().count(), 0);
    assert!(none.get(3).is_none());
}
