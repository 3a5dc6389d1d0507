//! A control group of version 2 for the workers of one app (`cgroups(7)`), where the system lets
//! this process make one: below the group that it is in itself.
//!
//! ```text
//!   where this process was started (delegated to it, or the root)
//!     ├── forkyard.PID         it itself, if it had to make room
//!     └── forkyard-NAME.PID    the workers
//! ```
//!
//! A group that hands controllers on to groups below it may have no processes of its own, but for
//! the root. So this process moves into a group beside the workers' first; that is only possible
//! where nobody else is.
//!
//! The names have the process's number in them, so an image that has been executed by an upgrade
//! finds them again, and what a killed one has left behind can be told from what is in use.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::process::is_running;

/// The period of a CPU quota.
const CPU_PERIOD_US: u64 = 100_000;

/// The longest part of an app's name that becomes part of a group's.
const LONGEST_NAME: usize = 64;

/// How much all processes of a group may use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupLimits {
    /// Bytes of memory; beyond that a process of the group is killed (`memory.max`).
    pub memory_max_bytes: Option<u64>,
    /// Bytes of memory from which on the group is slowed down (`memory.high`).
    pub memory_high_bytes: Option<u64>,
    /// Time on the processors, in thousandths of one (`cpu.max`); 10 at least.
    pub cpu_thousandths: Option<u32>,
}

/// Why there is no group.
#[derive(Debug)]
#[non_exhaustive]
pub enum CgroupError {
    /// The system has no control groups of version 2, or not where this process is.
    NoHierarchy {
        /// What is missing.
        reason: &'static str,
    },
    /// A controller is not to be had in this process's group.
    NoController {
        /// `memory` or `cpu`.
        controller: &'static str,
        /// The group.
        folder: PathBuf,
    },
    /// Others are in this process's group, so it cannot be divided.
    NotAlone {
        /// The group.
        folder: PathBuf,
    },
    /// The system does not let this process.
    Io {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl fmt::Display for CgroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHierarchy { reason } => f.write_str(reason),
            Self::NoController { controller, folder } => write!(
                f,
                "{} has no controller `{controller}`: it is not delegated to it, or is in use by \
                 control groups of version 1",
                folder.display()
            ),
            Self::NotAlone { folder } => write!(
                f,
                "other processes are in {}; start it in a control group of its own (systemd-run \
                 --scope -p Delegate=yes, or a unit with Delegate=yes)",
                folder.display()
            ),
            Self::Io { path, cause } => write!(f, "{}: {cause}", path.display()),
        }
    }
}

impl Error for CgroupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl CgroupLimits {
    /// Whether there is any.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn controllers(&self) -> impl Iterator<Item = &'static str> {
        let memory = self.memory_max_bytes.or(self.memory_high_bytes).map(|_| "memory");
        memory.into_iter().chain(self.cpu_thousandths.map(|_| "cpu"))
    }

    /// What is written into which file.
    fn lines(&self) -> impl Iterator<Item = (&'static str, String)> {
        let cpu = |thousandths: u32| {
            format!("{} {CPU_PERIOD_US}", u64::from(thousandths) * CPU_PERIOD_US / 1000)
        };
        let lines = [
            ("memory.high", self.memory_high_bytes.map(|bytes| bytes.to_string())),
            ("memory.max", self.memory_max_bytes.map(|bytes| bytes.to_string())),
            ("cpu.max", self.cpu_thousandths.map(cpu)),
        ];
        lines.into_iter().filter_map(|(file, line)| Some((file, line?)))
    }
}

/// The group of an app's workers. Dropping this leaves it as it is; [`Cgroup::remove`] takes it
/// away.
#[derive(Debug)]
pub struct Cgroup {
    home: Home,
    folder: PathBuf,
}

impl Cgroup {
    /// Makes the group of the app `name`, or takes the one that a former image of this process
    /// has made, and sets its limits. What killed processes have left of this app is removed.
    ///
    /// # Errors
    ///
    /// If the system does not permit it. Then all is as it was.
    pub fn make(name: &str, limits: &CgroupLimits) -> Result<Self, CgroupError> {
        Self::make_in(Home::find()?, name, limits)
    }

    /// The group that a former image of this process has made, if it is there.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let home = Home::find().ok()?;
        let folder = home.folder.join(own_name(name));
        folder.is_dir().then_some(Self { home, folder })
    }

    fn make_in(home: Home, name: &str, limits: &CgroupLimits) -> Result<Self, CgroupError> {
        home.sweep(name);
        home.hand_on(&limits.controllers().collect::<Vec<_>>())?;
        let group = Self { folder: home.folder.join(own_name(name)), home };
        match group.set_up(limits) {
            Ok(()) => Ok(group),
            Err(error) => {
                // The first error says more than a failed removal would.
                let _ = group.remove();
                Err(error)
            }
        }
    }

    fn set_up(&self, limits: &CgroupLimits) -> Result<(), CgroupError> {
        make_folder(&self.folder)?;
        limits.lines().try_for_each(|(file, line)| write(&self.folder.join(file), &line))
    }

    /// Its folder, for [`Spawn::cgroup`](crate::process::Spawn::cgroup).
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many processes of the group the system has killed for want of memory so far; 0 where
    /// nobody counts that.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Takes the group away, and has this process go back to where it was.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` while a process is in it.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.home.go_back(),
        }
    }
}

/// The group in which this process was started.
#[derive(Debug)]
struct Home {
    folder: PathBuf,
}

impl Home {
    fn find() -> Result<Self, CgroupError> {
        let read = |path: &str| fs::read_to_string(path).map_err(failed(Path::new(path)));
        let (mounts, groups) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
        let own = own_folder(&mounts, &groups)?;
        let moved = own.file_name().is_some_and(|name| name == primary_name().as_str());
        let folder = match own.parent() {
            Some(parent) if moved => parent.to_owned(),
            _ => own,
        };
        Ok(Self { folder })
    }

    /// Sees to it that groups below this one have these controllers.
    fn hand_on(&self, controllers: &[&'static str]) -> Result<(), CgroupError> {
        let there = self.words("cgroup.controllers")?;
        let missing = controllers.iter().find(|wanted| !there.iter().any(|have| have == *wanted));
        if let Some(controller) = missing {
            return Err(CgroupError::NoController { controller, folder: self.folder.clone() });
        }
        let handed_on = self.words("cgroup.subtree_control")?;
        let wanted = controllers.iter().filter(|wanted| !handed_on.iter().any(|on| on == **wanted));
        let wanted: Vec<_> = wanted.map(|controller| format!("+{controller}")).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let (control, wanted) = (self.folder.join("cgroup.subtree_control"), wanted.join(" "));
        match fs::write(&control, &wanted) {
            // Somebody is in the group, and be it this process.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                self.make_room()?;
                write(&control, &wanted).inspect_err(|_| drop(self.go_back()))
            }
            written => written.map_err(failed(&control)),
        }
    }

    fn words(&self, file: &str) -> Result<Vec<String>, CgroupError> {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path).map_err(failed(&path))?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    /// Moves this process into a group of its own, if it is alone here.
    fn make_room(&self) -> Result<(), CgroupError> {
        let own = std::process::id().to_string();
        if self.words("cgroup.procs")?.iter().any(|pid| *pid != own) {
            return Err(CgroupError::NotAlone { folder: self.folder.clone() });
        }
        let room = self.folder.join(primary_name());
        make_folder(&room)?;
        write(&room.join("cgroup.procs"), &own)
    }

    /// The way back of [`make_room`](Self::make_room), if it was gone.
    fn go_back(&self) -> io::Result<()> {
        let room = self.folder.join(primary_name());
        if !room.is_dir() {
            return Ok(());
        }
        // Processes can be here only if nothing is handed on.
        let control = self.folder.join("cgroup.subtree_control");
        let handed_on = fs::read_to_string(&control)?;
        let back: Vec<_> = handed_on.split_whitespace().map(|name| format!("-{name}")).collect();
        fs::write(&control, back.join(" "))?;
        fs::write(self.folder.join("cgroup.procs"), std::process::id().to_string())?;
        fs::remove_dir(room)
    }

    /// Removes what killed primaries of this app have left.
    fn sweep(&self, name: &str) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let prefixes = [format!("{}.", group_name(name)), "forkyard.".to_owned()];
        for entry in entries.flatten() {
            let file_name = entry.file_name();
            let pid =
                |prefix: &String| file_name.to_str()?.strip_prefix(prefix.as_str())?.parse().ok();
            let pid: Option<u32> = prefixes.iter().find_map(pid);
            if pid.is_some_and(|pid| !is_running(pid)) {
                // One that is not empty stays.
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

/// The folder of this process's group, by its `mountinfo` and `cgroup` in `proc(5)`.
fn own_folder(mounts: &str, groups: &str) -> Result<PathBuf, CgroupError> {
    let nowhere = |reason| CgroupError::NoHierarchy { reason };
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let group = group.ok_or(nowhere("this system has no control groups of version 2"))?;
    let (root, mount) = mounts
        .lines()
        .find_map(mount_of_version_2)
        .ok_or(nowhere("control groups of version 2 are not mounted"))?;
    let outside = nowhere("this process's control group is outside of what is mounted");
    let Ok(below) = Path::new(group).strip_prefix(&root) else { return Err(outside) };
    match below.components().any(|part| part == Component::ParentDir) {
        true => Err(outside),
        // Not by `join`, which would put a slash behind it.
        false => Ok(mount.components().chain(below.components()).collect()),
    }
}

/// What is mounted there, and where.
fn mount_of_version_2(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (place, kind) = line.split_once(" - ")?;
    kind.starts_with("cgroup2 ").then_some(())?;
    let mut fields = place.split(' ').skip(3);
    let (root, mount) = (fields.next()?, fields.next()?);
    // A space in a path is written in octal; nobody has one there.
    Some((root.into(), mount.into()))
}

fn primary_name() -> String {
    format!("forkyard.{}", std::process::id())
}

fn own_name(name: &str) -> String {
    format!("{}.{}", group_name(name), std::process::id())
}

/// An app may be called as it likes.
fn group_name(name: &str) -> String {
    let tame = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() || "-_".contains(letter) => letter,
        _ => '_',
    };
    let name: String = name.chars().take(LONGEST_NAME).map(tame).collect();
    format!("forkyard-{name}")
}

fn make_folder(folder: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(folder)(error)),
        _ => Ok(()),
    }
}

fn write(path: &Path, line: &str) -> Result<(), CgroupError> {
    fs::write(path, line).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CgroupError + use<> {
    let path = path.to_owned();
    move |cause| CgroupError::Io { path: path.clone(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
24 1 0:22 / /proc rw - proc proc rw
29 24 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";

    #[test]
    fn the_own_group_is_found_below_its_mount() {
        let found = |mounts: &str, groups: &str| {
            own_folder(mounts, groups).map_err(|error| error.to_string())
        };
        let shop = "0::/system.slice/shop.service\n";
        let folder = Path::new("/sys/fs/cgroup/system.slice/shop.service");
        assert_eq!(found(MOUNTS, shop).unwrap(), folder);
        assert_eq!(found(MOUNTS, "1:cpu:/\n0::/\n").unwrap(), Path::new("/sys/fs/cgroup"));
        let container = MOUNTS.replace(":25 / ", ":25 /system.slice ");
        assert_eq!(found(&container, shop).unwrap(), Path::new("/sys/fs/cgroup/shop.service"));
        assert!(found(&container, "0::/user.slice").unwrap_err().contains("outside"));
        assert!(found(MOUNTS, "0::/../other").unwrap_err().contains("outside"));
        assert!(found(MOUNTS, "4:memory:/").unwrap_err().contains("no control groups"));
        assert!(found("", shop).unwrap_err().contains("not mounted"));
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let limits = CgroupLimits {
            memory_max_bytes: Some(512 << 20),
            memory_high_bytes: Some(400 << 20),
            cpu_thousandths: Some(1500),
        };
        assert_eq!(limits.controllers().collect::<Vec<_>>(), ["memory", "cpu"]);
        let lines: Vec<_> = limits.lines().collect();
        let expected = [
            ("memory.high", "419430400"),
            ("memory.max", "536870912"),
            ("cpu.max", "150000 100000"),
        ];
        assert_eq!(lines, expected.map(|(file, line)| (file, line.to_owned())));
        assert!(CgroupLimits::default().is_none() && !limits.is_none());
        assert_eq!(CgroupLimits::default().controllers().count(), 0);
    }

    #[test]
    fn an_app_may_be_called_as_it_likes() {
        assert_eq!(group_name("shop-1"), "forkyard-shop-1");
        assert_eq!(group_name("../../etc/a b.c"), "forkyard-______etc_a_b_c");
        assert_eq!(group_name(&"n".repeat(300)).len(), 9 + LONGEST_NAME);
    }

    /// A folder that looks like a group, for what the kernel does not do by itself.
    fn fake(controllers: &str) -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.controllers"), controllers).unwrap();
        fs::write(dir.path().join("cgroup.subtree_control"), "").unwrap();
        let home = Home { folder: dir.path().to_owned() };
        (dir, home)
    }

    #[test]
    fn a_controller_that_is_missing_is_named_and_nothing_made() {
        let (dir, home) = fake("cpu pids");
        let limits = CgroupLimits { memory_max_bytes: Some(1), ..Default::default() };
        let error = Cgroup::make_in(home, "shop", &limits).unwrap_err().to_string();
        assert!(error.contains("`memory`") && error.contains("version 1"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_group_has_its_limits_and_its_controllers() {
        let (dir, home) = fake("memory cpu");
        let limits = CgroupLimits { cpu_thousandths: Some(500), ..Default::default() };
        let group = Cgroup::make_in(home, "shop", &limits).unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&dir.path().join("cgroup.subtree_control")), "+cpu");
        assert_eq!(read(&group.folder().join("cpu.max")), "50000 100000");
        assert_eq!(group.oom_kills(), 0);
        fs::write(group.folder().join("memory.events"), "oom 3\noom_kill 2\n").unwrap();
        assert_eq!(group.oom_kills(), 2);
    }

    #[test]
    fn only_what_the_dead_have_left_is_swept() {
        let (dir, home) = fake("cpu");
        let gone = u32::MAX / 2;
        let names = [
            format!("forkyard-shop.{gone}"),
            format!("forkyard.{gone}"),
            format!("forkyard-shop.{}", std::process::id()),
            format!("forkyard-other.{gone}"),
            "forkyard-shop.x".to_owned(),
        ];
        for name in &names {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        home.sweep("shop");
        let left: Vec<_> = names.iter().map(|name| dir.path().join(name).is_dir()).collect();
        assert_eq!(left, [false, false, true, true, true]);
    }
}
