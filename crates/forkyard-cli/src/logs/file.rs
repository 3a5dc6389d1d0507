//! One log file, written by whole lines, whatever happens to it or to its disk.
//!
//! ```text
//!   lines ──▶ pending ──one write(2)──▶ out.log ──full or old──▶ rotated, and a new out.log
//!               │                         └── gone or another's: noticed within a second, made anew
//!               └── the disk is full: kept up to a bound, counted from there on, tried again
//! ```
//!
//! What was not written is kept, so a line that a full disk has cut goes on where it was cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use forkyard_sys::folder::{self, Others, Standing};
use forkyard_sys::process::own_user;
use rustix::fs::OFlags;

use crate::args::LogFormat;

use super::housekeeping::Nudge;
use super::line::write_gap;
use super::rotation::{LogKind, rotate};
use super::rules::LogRules;
use super::stored;
use super::trouble::{Notice, Tell, Trouble};
use crate::limits::ByteSize;

/// From how many bytes on lines are written though more may come.
const BATCH_BYTES: usize = 64 * 1024;
/// How much is kept for a file that cannot be written.
const KEPT_BYTES: usize = 256 * 1024;
/// How often it is looked whether the file is still where it was. Only while lines are written.
const LOOK: Duration = Duration::from_secs(1);
/// How long after a rotation that failed it is tried again.
const ROTATE_AGAIN: Duration = Duration::from_secs(10);
/// Nobody but its owner may read a log.
const MODE: u32 = 0o600;

/// A log file.
pub(super) struct LogFile {
    kind: LogKind,
    folder: PathBuf,
    max_size: ByteSize,
    max_age: Option<Duration>,
    file: Option<OpenFile>,
    /// Whole lines; but the first may be the rest of one that was cut.
    pending: Vec<u8>,
    is_cut: bool,
    trouble: Trouble,
    /// Since when it could not be rotated.
    not_rotated: Option<Instant>,
    format: LogFormat,
    tell: Tell,
    nudge: Nudge,
}

/// The file as it was found.
struct OpenFile {
    file: File,
    id: FileId,
    size: u64,
    /// When its first line was written.
    since: SystemTime,
    looked: Instant,
}

/// What makes a file the same one, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl LogFile {
    /// Nothing is opened before there is something to write.
    pub(super) fn new(
        kind: LogKind,
        folder: &Path,
        rules: &LogRules,
        (tell, nudge): (Tell, Nudge),
    ) -> Self {
        Self {
            kind,
            folder: folder.to_owned(),
            max_size: rules.max_size,
            max_age: rules.max_age,
            file: None,
            pending: Vec::new(),
            is_cut: false,
            trouble: Trouble::default(),
            not_rotated: None,
            format: rules.format,
            tell,
            nudge,
        }
    }

    /// Takes a line, which `write` adds to what is pending.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        // After a loss nothing until that has been told, so that the gap is where it is.
        if self.trouble.lost() > 0 || self.pending.len() >= KEPT_BYTES {
            return self.trouble.lose(1);
        }
        write(&mut self.pending);
        if self.pending.len() >= BATCH_BYTES && !self.trouble.is_there() {
            self.commit();
        }
    }

    /// Writes what is pending.
    pub(super) fn commit(&mut self) {
        if !self.pending.is_empty() && self.trouble.may_try() {
            self.attempt();
        }
    }

    pub(super) fn is_in_trouble(&self) -> bool {
        self.trouble.is_there()
    }

    fn attempt(&mut self) {
        let mut result = self.write_pending();
        if result.is_ok() && self.trouble.lost() > 0 {
            write_gap(&mut self.pending, self.format, self.trouble.lost());
            result = self.write_pending();
        }
        match result {
            Ok(()) => {
                if let Some(lost) = self.trouble.over() {
                    (self.tell)(&Notice::Works { what: self.shown(), lost });
                }
            }
            Err(error) => self.failed(&error),
        }
        self.pending.shrink_to(BATCH_BYTES);
    }

    fn failed(&mut self, error: &io::Error) {
        // Where there is no room the file is still the one to go on with.
        if !is_no_room(error) {
            self.file = None;
        }
        if self.trouble.failed() {
            (self.tell)(&Notice::Failed { what: self.shown(), why: error.to_string() });
            self.nudge.nudge();
        }
    }

    fn shown(&self) -> String {
        self.kind.path(&self.folder).display().to_string()
    }

    fn write_pending(&mut self) -> io::Result<()> {
        let now = SystemTime::now();
        self.look_after()?;
        self.rotate_if_due(now)?;
        let open = match &mut self.file {
            Some(open) => open,
            None => self.file.insert(OpenFile::open(self.kind, &self.folder)?),
        };
        let (written, result) = open.write(&self.pending, now);
        let cut = written > 0 && self.pending[written - 1] != b'\n';
        self.is_cut = cut || (written == 0 && self.is_cut);
        self.pending.drain(..written);
        result
    }

    /// Lets go of a file that is no longer where it was.
    fn look_after(&mut self) -> io::Result<()> {
        let Some(open) = self.file.as_mut().filter(|open| open.looked.elapsed() >= LOOK) else {
            return Ok(());
        };
        open.looked = Instant::now();
        match fs::symlink_metadata(self.kind.path(&self.folder)) {
            Ok(found) if FileId::of(&found) == open.id => open.size = found.len(),
            Ok(_) => self.file = None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.file = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A rotation that fails keeps nothing from being written.
    fn rotate_if_due(&mut self, now: SystemTime) -> io::Result<()> {
        // The rest of a line belongs to its beginning.
        if self.is_cut || self.not_rotated.is_some_and(|since| since.elapsed() < ROTATE_AGAIN) {
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(OpenFile::open(self.kind, &self.folder)?);
        }
        let is_due = |open: &OpenFile| {
            let size = open.size + self.pending.len() as u64;
            let age = now.duration_since(open.since).unwrap_or_default();
            open.size > 0
                && (size > self.max_size.0 || self.max_age.is_some_and(|limit| age >= limit))
        };
        if !self.file.as_ref().is_some_and(is_due) {
            return Ok(());
        }
        // Another one that has come in its place meanwhile has just begun.
        if self.is_in_place() {
            if let Err(error) = rotate(self.kind, &self.folder, now) {
                self.rotation_failed(&error);
                return Ok(());
            }
            self.nudge.nudge();
        }
        self.not_rotated = None;
        self.file = None;
        Ok(())
    }

    fn rotation_failed(&mut self, error: &io::Error) {
        if self.not_rotated.replace(Instant::now()).is_none() {
            (self.tell)(&Notice::NotTidied { what: self.shown(), why: error.to_string() });
        }
    }

    fn is_in_place(&self) -> bool {
        let found = fs::symlink_metadata(self.kind.path(&self.folder));
        let found = found.ok().map(|found| FileId::of(&found));
        found == self.file.as_ref().map(|open| open.id)
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        if !self.pending.is_empty() {
            self.attempt();
        }
    }
}

impl OpenFile {
    fn open(kind: LogKind, folder: &Path) -> io::Result<Self> {
        prepare(folder)?;
        let file = open_own(&kind.path(folder), OpenOptions::new().create(true))?;
        let metadata = file.metadata()?;
        let since = first_time(&file).or(metadata.modified().ok());
        let mut open = Self {
            file,
            id: FileId::of(&metadata),
            size: metadata.len(),
            since: since.unwrap_or_else(SystemTime::now),
            looked: Instant::now(),
        };
        if !open.ends_with_newline() {
            // Somebody else was cut short. What comes now is no part of it.
            let (_, result) = open.write(b"\n", open.since);
            result?;
        }
        Ok(open)
    }

    fn ends_with_newline(&self) -> bool {
        let mut last = [b'\n'];
        // What cannot be read is taken as whole.
        let read = self.size.checked_sub(1).map(|at| self.file.read_at(&mut last, at));
        !matches!(read, Some(Ok(1))) || last == *b"\n"
    }

    /// Returns how much was written, also if that was not all.
    fn write(&mut self, bytes: &[u8], now: SystemTime) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(length) => {
                    if self.size == 0 {
                        self.since = now;
                    }
                    self.size += length as u64;
                    written += length;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }
}

/// Makes the folder if it is missing. In one where somebody else could put a link in the place of
/// a file nothing is written.
pub(super) fn prepare(folder: &Path) -> io::Result<()> {
    folder::make(folder)?;
    match folder::look(folder, Others::MayLook)? {
        Standing::Ours => Ok(()),
        Standing::NoFolder => Err(io::ErrorKind::NotADirectory.into()),
        Standing::Foreign | Standing::Open => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("others can write to {}", folder.display()),
        )),
    }
}

/// Opens a log to read and append, through no link, and nothing but a file of this user.
fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // A pipe would block until somebody reads it.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = options.read(true).append(true).mode(MODE).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() && metadata.uid() == own_user() {
        true => Ok(file),
        false => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is no file of this user", path.display()),
        )),
    }
}

/// Empties a log. Returns how much was in it.
pub(super) fn truncate(path: &Path) -> io::Result<u64> {
    let file = open_own(path, &mut OpenOptions::new())?;
    let length = file.metadata()?.len();
    file.set_len(0).map(|()| length)
}

/// When the first line was written.
fn first_time(file: &File) -> Option<SystemTime> {
    let mut beginning = [0; 64];
    let length = file.read_at(&mut beginning, 0).ok()?;
    stored::time_of(&beginning[..length])
}

fn is_no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
mod tests;
