//! One log of one app: the file that is written, and those rotated before it, as they are found
//! at one moment.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::logs::file::FileId;
use crate::logs::rotation::{LogKind, Packing, Rotated, Stamp, rotated};

/// Where the logs of an app are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppLogs {
    /// What the app is called.
    pub(crate) name: String,
    /// Its folder, which need not be there.
    pub(crate) folder: PathBuf,
}

/// Which of the logs of which app.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) app: AppLogs,
    pub(super) kind: LogKind,
}

/// A file of a log, in the order of time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Rotated(Stamp),
    Current,
}

/// Where in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) part: Part,
    pub(super) offset: u64,
}

/// The file that is written, opened: it stays the same one when it is rotated.
#[derive(Debug)]
pub(super) struct CurrentFile {
    pub(super) file: File,
    pub(super) id: FileId,
    pub(super) length: u64,
}

/// What there is of a log.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) current: Option<CurrentFile>,
    /// The oldest first. The current one is not among them, though it may be rotated by now.
    pub(super) rotated: Vec<Rotated>,
}

impl Source {
    /// Looks for the files.
    pub(super) fn find(&self) -> io::Result<Found> {
        // In this order: what is rotated in between is found by its inode.
        let current = self.open_current()?;
        let id = current.as_ref().map(|current| current.id);
        let mut rotated = self.rotated()?;
        rotated.retain(|rotated| id.is_none() || id_of(rotated) != id);
        Ok(Found { current, rotated })
    }

    pub(super) fn open_current(&self) -> io::Result<Option<CurrentFile>> {
        let file = match File::open(self.kind.path(&self.app.folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let metadata = file.metadata()?;
        Ok(Some(CurrentFile { file, id: FileId::of(&metadata), length: metadata.len() }))
    }

    /// The file that is written by now.
    pub(super) fn current_id(&self) -> Option<FileId> {
        id_at(&self.kind.path(&self.app.folder))
    }

    pub(super) fn rotated(&self) -> io::Result<Vec<Rotated>> {
        match rotated(&self.app.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
            Ok(found) => Ok(found.into_iter().filter(|found| found.kind == self.kind).collect()),
        }
    }
}

/// A compressed one is another file than the one that was written.
pub(super) fn id_of(rotated: &Rotated) -> Option<FileId> {
    (rotated.packing == Packing::Plain).then(|| id_at(&rotated.path)).flatten()
}

fn id_at(path: &Path) -> Option<FileId> {
    path.metadata().ok().map(|metadata| FileId::of(&metadata))
}
