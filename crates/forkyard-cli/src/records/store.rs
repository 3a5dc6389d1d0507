//! The files in which records are kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::{End, FORMAT, Record};
use crate::exit_code::Failure;
use crate::home::home_dir;

/// Only the user may read what is in them.
const MODE: u32 = 0o600;
/// The most that is read of a file, in bytes.
const LONGEST: u64 = 4 * 1024 * 1024;

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The system said no.
    #[error("failed to {what} {}: {source}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is none of ours, or broken.
    #[error("failed to understand {}: {why}; `forkyard delete` removes it", path.display())]
    Nonsense { path: PathBuf, why: String },
    /// It was written by another version.
    #[error(
        "failed to use {}: it has format {format}, and this version of Forkyard knows {FORMAT}; \
         start the app anew", path.display()
    )]
    Format { path: PathBuf, format: u64 },
    /// Another command is at it.
    #[error("another command is changing {name:?} at the moment; try again")]
    Busy { name: String },
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy { .. } => Self::not_done(error.to_string()),
            StoreError::Io { .. } => {
                Self::because(format!("{error}; another folder can be named by FORKYARD_HOME"))
            }
            StoreError::Nonsense { .. } | StoreError::Format { .. } => {
                Self::because(error.to_string())
            }
        }
    }
}

/// Where records are kept.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    home: PathBuf,
}

/// An app that no other command changes meanwhile.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Store {
    /// In this user's home folder, which is made if it is missing.
    pub(crate) fn open() -> Result<Self, Failure> {
        Ok(Self { home: home_dir()? })
    }

    /// In this folder, which is there.
    pub(crate) fn at(home: &Path) -> Self {
        Self { home: home.to_owned() }
    }

    /// The folder.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The names of all apps that were started and not deleted, in order.
    pub(crate) fn names(&self) -> Result<Vec<String>, StoreError> {
        let dir = self.home.join("apps");
        let failed = |source| StoreError::Io { what: "read", path: dir.clone(), source };
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.file_name();
            names.extend(
                file.to_str().and_then(|file| file.strip_suffix(".json")).map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }

    /// What was started under that name.
    pub(crate) fn load(&self, name: &str) -> Result<Option<Record>, StoreError> {
        let path = self.record(name);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let why = |error: serde_json::Error| StoreError::Nonsense {
            path: path.clone(),
            why: error.to_string(),
        };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(why)?;
        match value["format"].as_u64() {
            Some(format) if format != u64::from(FORMAT) => Err(StoreError::Format { path, format }),
            _ => serde_json::from_value(value).map(Some).map_err(why),
        }
    }

    /// Keeps a record, in place of what was kept under its name.
    pub(crate) fn keep(&self, record: &Record) -> Result<(), StoreError> {
        write(&self.record(&record.name), record)
    }

    /// Forgets an app.
    pub(crate) fn remove(&self, name: &str) -> Result<(), StoreError> {
        [self.record(name), self.end_of(name), self.lock_of(name)]
            .iter()
            .try_for_each(|path| remove(path))
    }

    /// How the last primary ended, if it has said so.
    pub(crate) fn end(&self, name: &str) -> Option<End> {
        let bytes = read(&self.end_of(name)).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// Keeps how a primary ended.
    pub(crate) fn keep_end(&self, name: &str, end: &End) -> Result<(), StoreError> {
        write(&self.end_of(name), end)
    }

    /// Another primary is started.
    pub(crate) fn forget_end(&self, name: &str) -> Result<(), StoreError> {
        remove(&self.end_of(name))
    }

    /// Keeps other commands from changing that app. It is theirs to try again.
    pub(crate) fn lock(&self, name: &str) -> Result<Lock, StoreError> {
        let path = self.lock_of(name);
        let failed = |source| StoreError::Io { what: "lock", path: path.clone(), source };
        make_folder(&path)?;
        loop {
            let file = open_lock(&path).map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path) => return Ok(Lock { _file: file }),
                // Whoever had it has removed it since: the next one is another file.
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(StoreError::Busy { name: name.to_owned() });
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
    }

    /// Keeps the records of what runs, for [`saved`](Self::saved).
    pub(crate) fn save(&self, records: &[Record]) -> Result<(), StoreError> {
        write(&self.home.join("saved.json"), &records)
    }

    /// What was saved last, if anything was.
    pub(crate) fn saved(&self) -> Result<Option<Vec<Record>>, StoreError> {
        let path = self.home.join("saved.json");
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let why = |error: serde_json::Error| StoreError::Nonsense {
            path: path.clone(),
            why: error.to_string(),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(why)
    }

    fn record(&self, name: &str) -> PathBuf {
        self.home.join("apps").join(format!("{name}.json"))
    }

    fn end_of(&self, name: &str) -> PathBuf {
        self.home.join("ends").join(format!("{name}.json"))
    }

    fn lock_of(&self, name: &str) -> PathBuf {
        self.home.join("locks").join(format!("{name}.lock"))
    }
}

/// Whoever reads it finds what was there before, or all of what is there now.
fn write<T: Serialize + ?Sized>(path: &Path, content: &T) -> Result<(), StoreError> {
    make_folder(path)?;
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let failed = |source| StoreError::Io { what: "write", path: path.to_owned(), source };
    let written = write_new(&new, content).and_then(|()| fs::rename(&new, path));
    written.map_err(|error| {
        // What is there is in nobody's way.
        drop(fs::remove_file(&new));
        failed(error)
    })
}

fn make_folder(file: &Path) -> Result<(), StoreError> {
    let dir = file.parent().unwrap_or(file);
    let failed = |source| StoreError::Io { what: "make", path: dir.to_owned(), source };
    forkyard_sys::folder::make(dir).map_err(failed)
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(MODE).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let same = |file: &fs::Metadata, there: &fs::Metadata| {
        (file.dev(), file.ino()) == (there.dev(), there.ino())
    };
    matches!((file.metadata(), fs::metadata(path)), (Ok(file), Ok(there)) if same(&file, &there))
}

fn write_new<T: Serialize + ?Sized>(path: &Path, content: &T) -> io::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(content)?;
    bytes.push(b'\n');
    let mut options = OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(MODE).open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let failed = |source| StoreError::Io { what: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Io { what: "remove", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}
