//! Bytes and descriptors over a channel, and its end.
//!
//! An end is waited for even if the other side was dropped just before: tests run
//! in parallel, and a child that one of them is starting holds a copy of every
//! descriptor from its fork to its exec.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use forkyard_sys::channel::{Received, channel_pair, receive, send};
use forkyard_sys::inherited::take_channel;
use forkyard_sys::process::{CHANNEL, ExitStatus, Signal, Spawn, spawn};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{own_process, waiting};

/// A pipe with one byte in it, by which it is recognized.
fn marked_pipe(mark: u8) -> OwnedFd {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[mark]).unwrap();
    reader.into()
}

fn read_mark(pipe: OwnedFd) -> u8 {
    let mut mark = [0];
    File::from(pipe).read_exact(&mut mark).unwrap();
    mark[0]
}

fn close_on_exec(fd: impl AsFd) -> bool {
    fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC)
}

#[test]
fn only_our_end_is_nonblocking_and_both_are_close_on_exec() {
    let (ours, theirs) = channel_pair().unwrap();
    assert!(fcntl_getfl(&ours).unwrap().contains(OFlags::NONBLOCK));
    assert!(!fcntl_getfl(&theirs).unwrap().contains(OFlags::NONBLOCK));
    assert!(close_on_exec(&ours) && close_on_exec(&theirs));
}

#[test]
fn handles_arrive_with_their_messages_in_order() {
    let (ours, theirs) = channel_pair().unwrap();
    for mark in [b'1', b'2', b'3'] {
        let pipe = marked_pipe(mark);
        assert_eq!(send(ours.as_fd(), &[mark; 4], Some(pipe.as_fd())).unwrap(), 4);
    }
    let mut handles = VecDeque::new();
    for mark in [b'1', b'2', b'3'] {
        let mut buffer = [0; 64];
        let received = receive(theirs.as_fd(), &mut buffer, &mut handles).unwrap();
        assert_eq!(received, Received { bytes: 4, handles: 1, truncated: false });
        assert_eq!(buffer[..4], [mark; 4]);
        let handle = handles.pop_back().unwrap();
        assert!(close_on_exec(&handle));
        assert_eq!(read_mark(handle), mark);
    }
}

#[test]
fn a_handle_arrives_with_the_first_byte_of_its_message() {
    let (ours, theirs) = channel_pair().unwrap();
    send(ours.as_fd(), b"plain", None).unwrap();
    send(ours.as_fd(), b"with", Some(marked_pipe(b'h').as_fd())).unwrap();
    let mut handles = Vec::new();
    let mut seen = Vec::new();
    for _ in b"plainwith" {
        let mut byte = [0];
        let received = receive(theirs.as_fd(), &mut byte, &mut handles).unwrap();
        seen.push((byte[0], received.handles));
    }
    let expected = b"plainwith".map(|byte| (byte, usize::from(byte == b'w')));
    assert_eq!(seen, expected);
    assert_eq!(read_mark(handles.remove(0)), b'h');
}

#[test]
fn nothing_there_would_block_on_either_end() {
    let (ours, theirs) = channel_pair().unwrap();
    for end in [&ours, &theirs] {
        let error = receive(end.as_fd(), &mut [0; 8], &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_full_channel_would_block_and_keeps_what_it_took() {
    let (ours, theirs) = channel_pair().unwrap();
    let mut sent = 0;
    let error = loop {
        match send(theirs.as_fd(), &[7; 4096], None) {
            Ok(bytes) => sent += bytes,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drop(theirs);
    let mut received = 0;
    loop {
        waiting::until_readable(&ours);
        match receive(ours.as_fd(), &mut [0; 65536], &mut Vec::new()).unwrap().bytes {
            0 => break,
            bytes => received += bytes,
        }
    }
    assert!(sent > 0);
    assert_eq!(received, sent);
}

#[test]
fn the_end_is_zero_bytes_after_the_last_of_them() {
    let (ours, theirs) = channel_pair().unwrap();
    send(theirs.as_fd(), b"last", Some(marked_pipe(b'l').as_fd())).unwrap();
    drop(theirs);
    let mut handles = Vec::new();
    let last = receive(ours.as_fd(), &mut [0; 64], &mut handles).unwrap();
    assert_eq!(last, Received { bytes: 4, handles: 1, truncated: false });
    waiting::until_readable(&ours);
    let end = receive(ours.as_fd(), &mut [0; 64], &mut handles).unwrap();
    assert_eq!(end, Received { bytes: 0, handles: 0, truncated: false });
}

#[test]
fn sending_to_a_closed_end_is_an_error_and_no_signal() {
    let (ours, theirs) = channel_pair().unwrap();
    drop(theirs);
    waiting::until_readable(&ours);
    let error = send(ours.as_fd(), b"x", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn what_cannot_be_told_apart_is_refused() {
    let (ours, theirs) = channel_pair().unwrap();
    let handle = send(ours.as_fd(), b"", Some(theirs.as_fd())).unwrap_err();
    assert_eq!(handle.kind(), ErrorKind::InvalidInput);
    let buffer = receive(ours.as_fd(), &mut [], &mut Vec::new()).unwrap_err();
    assert_eq!(buffer.kind(), ErrorKind::InvalidInput);
}

/// The worker's part: say something and be killed, without reading.
fn speak_and_die() {
    let number = std::env::var("NODE_CHANNEL_FD").unwrap().parse().unwrap();
    let channel = take_channel(number).unwrap();
    send(channel.as_fd(), b"last words", None).unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .unwrap();
}

#[test]
fn a_peer_killed_with_unread_data_is_the_end_after_its_last_words() {
    const NAME: &str = "channel::a_peer_killed_with_unread_data_is_the_end_after_its_last_words";
    if own_process::is_this(NAME) {
        return speak_and_die();
    }
    let (ours, theirs) = channel_pair().unwrap();
    send(ours.as_fd(), b"never read", Some(marked_pipe(b'u').as_fd())).unwrap();
    let mut command = own_process::command(NAME);
    command.env("NODE_CHANNEL_FD", CHANNEL.to_string()).stdout(Stdio::null());
    let worker = spawn(command, Spawn { channel: Some(theirs), ..Spawn::default() }).unwrap();
    assert_eq!(waiting::until_reaped(worker), ExitStatus::Signal(Signal::KILL));

    let mut buffer = [0; 64];
    let words = receive(ours.as_fd(), &mut buffer, &mut Vec::new()).unwrap();
    assert_eq!(&buffer[..words.bytes], b"last words");
    waiting::until_readable(&ours);
    let end = receive(ours.as_fd(), &mut buffer, &mut Vec::new()).unwrap();
    assert_eq!(end, Received { bytes: 0, handles: 0, truncated: false });
}

#[test]
fn a_descriptor_over_the_limit_is_reported_and_its_bytes_are_not_lost() {
    own_process::run(
        "channel::a_descriptor_over_the_limit_is_reported_and_its_bytes_are_not_lost",
        || {
            let (ours, theirs) = channel_pair().unwrap();
            send(ours.as_fd(), b"bytes", Some(ours.as_fd())).unwrap();
            // The limit is on numbers: none over the ones in use can be given out.
            let current = Some(3);
            let limit = Rlimit { current, ..getrlimit(Resource::Nofile) };
            setrlimit(Resource::Nofile, limit).unwrap();
            let mut handles = Vec::new();
            let received = receive(theirs.as_fd(), &mut [0; 64], &mut handles).unwrap();
            assert_eq!(received, Received { bytes: 5, handles: 0, truncated: true });
            assert!(handles.is_empty());
        },
    );
}
