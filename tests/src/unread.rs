//! An output of the command that nobody reads, as behind a pager or a reader that hangs.

use std::io::{PipeReader, PipeWriter};
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::events::Stream;
use crate::waiting;

/// A pipe in place of one of the command's streams.
#[derive(Debug)]
pub(crate) struct Unread {
    stream: Stream,
    reader: PipeReader,
    /// A copy of what the command has, to see whether more fits.
    writer: PipeWriter,
}

impl Unread {
    pub(crate) fn new(stream: Stream) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        Self { stream, reader, writer }
    }

    pub(crate) fn stream(&self) -> Stream {
        self.stream
    }

    pub(crate) fn give_to(&self, command: &mut Command) {
        let writer = self.writer.try_clone().expect("a copy of the pipe");
        match self.stream {
            Stream::Stdout => command.stdout(writer),
            Stream::Stderr => command.stderr(writer),
        };
    }

    /// Waits until no more fits: from then on whoever writes to it waits.
    pub(crate) fn wait_full(&self) {
        let full = || {
            let mut waits = [PollFd::new(&self.writer, PollFlags::OUT)];
            poll(&mut waits, Some(&Timespec::default())).expect("poll") == 0
        };
        waiting::until("a full pipe", || full().then_some(()));
    }

    /// What to read it by from now on.
    pub(crate) fn into_reader(self) -> PipeReader {
        self.reader
    }
}
