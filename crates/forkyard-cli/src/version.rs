//! What a program says when it is asked for its version.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use forkyard_sys::process::{Process, Signal, Spawn, spawn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// No version is longer, in bytes.
const LONGEST: usize = 256;
/// How long a program that was killed may take to be gone, before it is left to itself.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// The first line that `PROGRAM --version` prints. The program is ended then, with all that it
/// has started.
///
/// # Errors
///
/// `TimedOut` if it takes longer than this, and those of starting a program.
pub(crate) fn version_of(program: &Path, limit: Duration) -> io::Result<String> {
    let deadline = Instant::now() + limit;
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = spawn(command, Spawn::default())?;
    let said = process.take_stdout().map_or(Ok(Vec::new()), |pipe| first_line(pipe, deadline));
    end(process)?;
    Ok(String::from_utf8_lossy(&said?).into_owned())
}

fn first_line(pipe: OwnedFd, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut pipe = File::from(pipe);
    let mut said = Vec::new();
    let mut buffer = [0; LONGEST];
    while !said.contains(&b'\n') && said.len() < LONGEST {
        if !is_readable(&pipe, deadline)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match pipe.read(&mut buffer)? {
            0 => break,
            length => said.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(said)
}

fn end(process: Process) -> io::Result<()> {
    process.signal_group(Signal::KILL)?;
    is_readable(process.pidfd(), Instant::now() + LAST_BREATH)?;
    // One that is not gone even now is left to the system.
    process.reap().map(drop)
}

/// Whether there is something to read, or the end of it, before that time.
fn is_readable(fd: impl AsFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use forkyard_sys::process::is_running;
    use tempfile::TempDir;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn script(dir: &TempDir, text: &str) -> PathBuf {
        let path = dir.path().join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_first_line_is_the_version_whatever_comes_after_it() {
        let dir = tempfile::tempdir().unwrap();
        for (text, version) in [
            ("echo \"$1\" v1.2", "--version v1.2\n"),
            ("printf v1.2", "v1.2"),
            ("echo v1.2; exec sleep 1000", "v1.2\n"),
            ("sleep 1000 & echo v1.2", "v1.2\n"),
            ("exit 3", ""),
        ] {
            assert_eq!(version_of(&script(&dir, text), LONG).unwrap(), version, "{text}");
        }
        let flood = version_of(&script(&dir, "exec tr '\\0' x < /dev/zero"), LONG).unwrap();
        assert!(flood.len() < 2 * LONGEST);
    }

    #[test]
    fn one_that_does_not_answer_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let text = format!("echo $$ > {}; trap '' TERM; exec sleep 1000", pid.display());
        let limit = Duration::from_secs(1);
        let error = version_of(&script(&dir, &text), limit).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // On a machine that is very busy it may not have come to its first line.
        if let Ok(pid) = std::fs::read_to_string(pid)
            && let Ok(pid) = pid.trim().parse()
        {
            assert!(!is_running(pid), "{pid} goes on");
        }
    }
}
