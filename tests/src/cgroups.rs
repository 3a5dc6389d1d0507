//! A CPU quota of its own for one command, where the system lets the test make one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A control group that may use one core's worth of time. Removed when dropped.
#[derive(Debug)]
pub struct OneCore {
    folder: PathBuf,
}

impl OneCore {
    /// Makes one, or nothing where the test may not: not root, or nothing to write to.
    #[must_use]
    pub fn new() -> Option<Self> {
        let name = format!("forkyard-test-{}", std::process::id());
        let second = |root: &str| Path::new(root).join(&name);
        Self::with_quota(second("/sys/fs/cgroup"), "cpu.max", "100000 100000").or_else(|| {
            Self::with_quota(second("/sys/fs/cgroup/cpu"), "cpu.cfs_quota_us", "100000")
        })
    }

    fn with_quota(folder: PathBuf, file: &str, quota: &str) -> Option<Self> {
        fs::create_dir(&folder).ok()?;
        let group = Self { folder };
        // A folder that is no control group has no such file in it.
        let file = fs::OpenOptions::new().write(true).open(group.folder.join(file));
        file.ok()?.write_all(quota.as_bytes()).ok()?;
        Some(group)
    }

    /// The words in front of a command that has it run in this group.
    #[must_use]
    pub fn wrapper(&self) -> Vec<String> {
        let members = self.folder.join("cgroup.procs");
        let script = format!(r#"echo $$ > {}; exec "$@""#, members.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        // The last process of the group may need a moment to be gone from it.
        for _ in 0..200 {
            if fs::remove_dir(&self.folder).is_ok() || !self.folder.exists() {
                return;
            }
            crate::waiting::nap();
        }
    }
}
