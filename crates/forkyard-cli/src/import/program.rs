//! Runs another program to its end and listens to what it says.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use forkyard_sys::process::{ExitStatus, Process, Signal, Spawn, spawn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// No more is listened to, in bytes.
const MOST: usize = 16 * 1024 * 1024;
/// How long a program that was killed may take to be gone, before it is left to itself.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// What a program has said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// How it ended, to be read behind its name.
    pub(super) ending: String,
}

/// Runs it until it says no more. It is ended then, with all that it has started.
///
/// # Errors
///
/// `TimedOut` if it takes longer than this, `FileTooLarge` if it does not stop talking, and those
/// of starting a program.
pub(super) fn run(mut command: Command, limit: Duration) -> io::Result<Said> {
    let deadline = Instant::now() + limit;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = spawn(command, Spawn::default())?;
    let mut streams = [process.take_stdout(), process.take_stderr()].map(Stream::of);
    let heard = hear(&mut streams, deadline);
    // If it has closed both, it is about to end by itself.
    if heard.is_ok() {
        is_readable(&[&process.pidfd()], deadline)?;
    }
    let ending = end(process)?;
    heard?;
    let [stdout, stderr] = streams.map(|stream| String::from_utf8_lossy(&stream.said).into_owned());
    Ok(Said { stdout, stderr, ending })
}

struct Stream {
    pipe: Option<File>,
    said: Vec<u8>,
}

impl Stream {
    fn of(pipe: Option<OwnedFd>) -> Self {
        Self { pipe: pipe.map(File::from), said: Vec::new() }
    }

    /// There is something to read, or its end.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64 * 1024];
        if let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer)? {
                0 => self.pipe = None,
                length => self.said.extend_from_slice(&buffer[..length]),
            }
        }
        if self.said.len() > MOST { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
    }
}

fn hear(streams: &mut [Stream], deadline: Instant) -> io::Result<()> {
    loop {
        let mut open: Vec<_> = streams.iter_mut().filter(|stream| stream.pipe.is_some()).collect();
        let pipes: Vec<_> = open.iter().filter_map(|stream| stream.pipe.as_ref()).collect();
        if pipes.is_empty() {
            return Ok(());
        }
        let ready = is_readable(&pipes, deadline)?;
        if !ready.contains(&true) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for (stream, is_ready) in open.iter_mut().zip(ready) {
            if is_ready {
                stream.read()?;
            }
        }
    }
}

fn end(process: Process) -> io::Result<String> {
    process.signal_group(Signal::KILL)?;
    is_readable(&[&process.pidfd()], Instant::now() + LAST_BREATH)?;
    // One that is not gone even now is left to the system.
    Ok(match process.reap()? {
        Ok(ExitStatus::Code(code)) => format!("exited with code {code}"),
        Ok(ExitStatus::Signal(signal)) => format!("was ended by {signal}"),
        Err(_) => "does not end".to_owned(),
    })
}

/// Which of them have something to read, or the end of it, before that time.
fn is_readable<F: std::os::fd::AsFd>(fds: &[&F], deadline: Instant) -> io::Result<Vec<bool>> {
    let mut waits: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut waits, Some(&left)) {
            Ok(_) => return Ok(waits.iter().map(|wait| !wait.revents().is_empty()).collect()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> io::Result<Said> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, limit)
    }

    #[test]
    fn both_streams_are_heard_to_the_end() {
        let script = "head -c 300000 /dev/zero | tr '\\0' x; echo bad >&2; exit 3";
        let said = sh(script, Duration::from_secs(30)).unwrap();
        assert_eq!((said.stdout.len(), &*said.stderr), (300_000, "bad\n"));
        assert_eq!(said.ending, "exited with code 3");
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        for script in ["exec sleep 1000", "exec sleep 1000 >&- 2>&-"] {
            let said = sh(script, Duration::from_millis(300));
            let ending = said.map(|said| said.ending);
            match ending {
                Ok(ending) => assert_eq!(ending, "was ended by SIGKILL"),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            }
        }
    }

    #[test]
    fn one_that_does_not_stop_talking_is_ended() {
        let error = sh("exec cat /dev/zero", Duration::from_secs(30)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
