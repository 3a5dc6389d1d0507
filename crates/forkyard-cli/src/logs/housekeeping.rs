//! The thread that tidies a folder of logs: it compresses what was rotated, removes what has had
//! its time, and writes again to files that could not be written. Nobody waits for it.
//!
//! ```text
//!   writers ──nudge──▶ housekeeping ──▶ remove, compress, one file after the other
//!                          ▲      └──▶ files in trouble: try again
//!                          └── every second while there is trouble, else every hour
//! ```
//!
//! All that is to be done is seen in the folder. So it is done in the end, also after an upgrade
//! or a crash in the middle of it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::process::setpriority_process;

use super::compression::gzip;
use super::file::LogFile;
use super::retention::surplus;
use super::rotation::{Packing, Rotated, UNFINISHED, rotated};
use super::rules::{Compression, LogRules};
use super::trouble::{Notice, RETRY, Tell};

/// How often files are looked at that may have become too old.
const LOOK: Duration = Duration::from_secs(60 * 60);
/// Whoever serves goes first.
const NICENESS: i32 = 10;

/// A log file that two threads write: the writer, and after trouble this one.
pub(super) type SharedFile = Arc<Mutex<LogFile>>;

/// Says that there may be something to tidy. Never blocks. The thread ends with the last of these.
#[derive(Clone, Debug)]
pub(super) struct Nudge(SyncSender<()>);

impl Nudge {
    pub(super) fn nudge(&self) {
        // One that is waiting says it as well.
        let _ = self.0.try_send(());
    }
}

/// What the thread has to go by.
pub(super) struct Housekeeper {
    folder: PathBuf,
    rules: LogRules,
    tell: Tell,
    files: Vec<Weak<Mutex<LogFile>>>,
    nudges: Receiver<()>,
    /// What was told already.
    trouble: Option<String>,
}

impl Housekeeper {
    /// One that is yet to be started, and what its files nudge it by.
    pub(super) fn new(folder: &Path, rules: &LogRules, tell: Tell) -> (Self, Nudge) {
        let (nudge, nudges) = sync_channel(1);
        let (folder, rules) = (folder.to_owned(), rules.clone());
        let housekeeper = Self { folder, rules, tell, files: Vec::new(), nudges, trouble: None };
        (housekeeper, Nudge(nudge))
    }

    /// Starts the thread, which begins with what another one has left.
    pub(super) fn start(mut self, files: &[SharedFile]) -> io::Result<()> {
        self.files = files.iter().map(Arc::downgrade).collect();
        thread::Builder::new().name("forkyard-tidy".into()).spawn(move || self.run()).map(drop)
    }

    fn run(mut self) {
        // It is a wish.
        let _ = setpriority_process(None, NICENESS);
        loop {
            self.tidy();
            let patience = if self.write_again() { RETRY } else { LOOK };
            if self.nudges.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    /// Whether there still is trouble.
    fn write_again(&self) -> bool {
        let mut trouble = false;
        for file in self.files.iter().filter_map(Weak::upgrade) {
            let mut file = lock(&file);
            if file.is_in_trouble() {
                file.commit();
                trouble |= file.is_in_trouble();
            }
        }
        trouble
    }

    /// What failed is tried again at the next look, and told once.
    fn tidy(&mut self) {
        let why = match tidy(&self.folder, &self.rules) {
            Ok(()) => None,
            // There is nothing to tidy yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why.clone().filter(|_| self.trouble.is_none()) {
            (self.tell)(&Notice::NotTidied { what: self.folder.display().to_string(), why });
        }
        self.trouble = why;
    }
}

pub(super) fn lock(file: &Mutex<LogFile>) -> MutexGuard<'_, LogFile> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes and compresses what there is. What another process has just begun is left to that.
fn tidy(folder: &Path, rules: &LogRules) -> io::Result<()> {
    let claim = File::open(folder)?;
    match flock(&claim, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    remove_unfinished(folder)?;
    let mut result = Ok(());
    let mut failed = Vec::new();
    loop {
        // Anew for each, because a flood may rotate faster than this compresses.
        let files = remove_surplus(folder, rules)?;
        let is_next =
            |file: &&Rotated| file.packing == Packing::Plain && !failed.contains(&file.path);
        let next = files.iter().find(is_next).filter(|_| rules.compress == Compression::Gzip);
        let Some(next) = next else { return result };
        if let Err(error) = gzip(&next.path) {
            failed.push(next.path.clone());
            result = Err(error);
        }
    }
}

/// What a thread has left that was ended in the middle of it.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_one = entry.file_name().to_str().is_some_and(|name| name.ends_with(UNFINISHED));
        if is_one && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    // And what it had finished, but not cleared away: both forms are whole.
    for packed in rotated(folder)?.iter().filter(|rotated| rotated.packing == Packing::Gzip) {
        match fs::remove_file(packed.path.with_extension("")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Returns what is left.
fn remove_surplus(folder: &Path, rules: &LogRules) -> io::Result<Vec<Rotated>> {
    let files = rotated(folder)?;
    let surplus = surplus(&files, rules, SystemTime::now());
    for file in &surplus {
        match fs::remove_file(&file.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(files.iter().filter(|file| !surplus.contains(file)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(temp.path().join(name), "text\n").unwrap();
        }
        temp
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    const FILES: [&str; 4] = [
        "out-20250601T120000.000Z.log",
        "out-20250602T120000.000Z.log",
        "out-20250603T120000.000Z.log",
        "out.log",
    ];

    fn forever(keep: usize) -> LogRules {
        LogRules { keep, keep_for: None, ..LogRules::default() }
    }

    #[test]
    fn what_is_kept_is_compressed() {
        let temp = folder_with(&FILES);
        tidy(temp.path(), &forever(2)).unwrap();
        let expected =
            ["out-20250602T120000.000Z.log.gz", "out-20250603T120000.000Z.log.gz", "out.log"];
        assert_eq!(names(temp.path()), expected);
        let plain = LogRules { compress: Compression::None, ..forever(9) };
        let temp = folder_with(&FILES);
        tidy(temp.path(), &plain).unwrap();
        assert_eq!(names(temp.path()), FILES);
    }

    /// A thread was ended while it wrote, and another one before it had cleared away.
    #[test]
    fn what_was_begun_is_begun_anew() {
        let part = format!("{}.gz.part", FILES[1]);
        let temp = folder_with(&[FILES[0], &format!("{}.gz", FILES[0]), FILES[1], &part]);
        tidy(temp.path(), &forever(9)).unwrap();
        let expected = [format!("{}.gz", FILES[0]), format!("{}.gz", FILES[1])];
        assert_eq!(names(temp.path()), expected);
    }

    #[test]
    fn whoever_tidies_is_not_disturbed() {
        let temp = folder_with(&FILES);
        let other = File::open(temp.path()).unwrap();
        flock(&other, FlockOperation::LockExclusive).unwrap();
        tidy(temp.path(), &forever(1)).unwrap();
        assert_eq!(names(temp.path()), FILES);
        drop(other);
        tidy(temp.path(), &forever(1)).unwrap();
        assert_eq!(names(temp.path()).len(), 2);
    }

    #[test]
    fn one_that_cannot_be_compressed_keeps_no_other_from_it() {
        let temp = folder_with(&FILES[..2]);
        let in_the_way = format!("{}.log.gz.part", FILES[0].trim_end_matches(".log"));
        fs::create_dir(temp.path().join(&in_the_way)).unwrap();
        tidy(temp.path(), &forever(9)).unwrap_err();
        let expected = [FILES[0].to_owned(), in_the_way, format!("{}.gz", FILES[1])];
        assert_eq!(names(temp.path()), expected);
    }
}
