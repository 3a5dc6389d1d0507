//! The command's file on disk, of a test's own, to be exchanged while it runs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::tools;

/// A folder with a copy of the command, and whatever else a test puts there.
#[derive(Debug)]
pub struct OnDisk {
    folder: TempDir,
}

impl Default for OnDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl OnDisk {
    /// A fresh copy.
    ///
    /// # Panics
    ///
    /// When it cannot be made, as with all here.
    #[must_use]
    pub fn new() -> Self {
        let on_disk = Self { folder: tempfile::tempdir().expect("a folder") };
        on_disk.renew();
        on_disk
    }

    /// Where the command is.
    #[must_use]
    pub fn binary(&self) -> PathBuf {
        self.path("forkyard")
    }

    /// Another file of the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts another copy in its place.
    pub fn renew(&self) {
        self.exchange(|new| {
            fs::copy(tools::forkyard(), new).expect("a copy");
        });
    }

    /// Puts a shell script in its place. In it `$real` is the command, and `$what` what it is
    /// executed for: `rehearse`, `take-over`, or nothing.
    pub fn script(&self, body: &str) {
        let real = self.path("real");
        if !real.exists() {
            fs::copy(tools::forkyard(), &real).expect("a copy");
        }
        let head =
            format!("#!/bin/sh\nreal='{}'\nwhat=${{FORKYARD_UPGRADE%%:*}}\n", real.display());
        self.put(&format!("{head}{body}\n"), 0o755);
    }

    /// Puts a text with this mode in its place.
    pub fn put(&self, text: &str, mode: u32) {
        self.exchange(|new| {
            fs::write(new, text).expect("a file");
            fs::set_permissions(new, fs::Permissions::from_mode(mode)).expect("its mode");
        });
    }

    /// Whether this is the program of the process, and nothing of another one is left in it.
    pub fn assert_is_all_of(&self, pid: i32) {
        let file = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
        let of_process = file(Path::new(&format!("/proc/{pid}/exe")));
        assert_eq!(of_process, file(&self.binary()), "the program of the process");
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a live process");
        let stale = maps.lines().find(|line| line.contains("forkyard") && line.contains("deleted"));
        assert_eq!(stale, None, "code of a former program");
    }

    /// In one step, as whoever installs a program does.
    fn exchange(&self, write: impl FnOnce(&Path)) {
        let new = self.path("new");
        write(&new);
        fs::rename(&new, self.binary()).expect("one file in place of the other");
    }
}
