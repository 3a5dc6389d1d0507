//! The watches on the directories of an app, and what they tell.
//!
//! ```text
//!   links on the way ─┐                        ┌─ a wanted file: changed
//!   the directory ────┼─ a place each (inotify)┼─ a new directory: a place, and what is in it
//!   directories in it ┘                        ├─ one that is gone: its places go
//!                                              └─ a link, .gitignore, a loss: all anew
//! ```
//!
//! Only directories that may hold something wanted have a place: the kernel has room for so many.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::ignoring::Ignores;
use super::links::links_of;
use super::selection::Selection;

/// How much is read from the kernel in one go, and how much of it is looked at in one go.
const BUFFER: usize = 32 * 1024;
const AT_ONCE: usize = 4096;

/// How many files are named in one go.
const NAMED: usize = 1000;

/// What a file that is opened for writing and closed again does not do.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO);

/// Files that have changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Those that are named, from the app's directory on.
    pub(super) files: Vec<PathBuf>,
    /// How many more there are.
    pub(super) others: usize,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.others == 0
    }
}

/// How much is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watched {
    /// How many directories have a watch.
    pub(crate) directories: usize,
    /// How many files are in them that count.
    pub(crate) files: usize,
}

/// What is not seen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The kernel has no room for so many watches.
    #[error(
        "the system has no room to watch {directories} more directories, {} among them, and \
         changes there are not seen; raise fs.inotify.max_user_watches (sysctl), or have --watch \
         name fewer directories",
        first.display()
    )]
    NoRoom { directories: usize, first: PathBuf },
    /// The kernel does not tell any more.
    #[error("failed to hear of files that change, and they are not watched any more: {0}")]
    Deaf(io::Error),
}

/// See the module's documentation.
pub(super) struct Tree {
    /// The app's directory as it was named.
    named: PathBuf,
    /// Where that leads now.
    root: PathBuf,
    selection: Selection,
    inotify: OwnedFd,
    places: BTreeMap<i32, Place>,
    /// Something that was looked at cannot be relied on.
    is_stale: bool,
}

/// A directory that the kernel watches for us.
#[derive(Debug, Default)]
struct Place {
    /// If it is one of the app's.
    directory: Option<Directory>,
    /// Names in it by which the app's directory is found.
    links: BTreeSet<OsString>,
}

#[derive(Debug)]
struct Directory {
    /// From the app's directory on.
    path: PathBuf,
    ignores: Ignores,
}

/// What is in directories that were not watched before.
#[derive(Debug, Default)]
struct Found {
    changes: Changes,
    no_room: Option<(usize, PathBuf)>,
}

/// What the kernel has told.
struct Told {
    watch: i32,
    flags: ReadFlags,
    name: OsString,
}

impl Tree {
    /// Watches nothing yet.
    pub(super) fn new(named: &Path, selection: Selection) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let inotify = inotify.map_err(|error| match error {
            Errno::MFILE => io::Error::other(
                "this user watches files in too many places; raise fs.inotify.max_user_instances \
                 (sysctl)",
            ),
            other => other.into(),
        })?;
        let (root, places) = (named.to_path_buf(), BTreeMap::new());
        Ok(Self { named: named.to_path_buf(), root, selection, inotify, places, is_stale: true })
    }

    /// Whether all has to be looked at anew.
    pub(super) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Looks at all anew.
    pub(super) fn renew(&mut self) -> (Watched, Option<Trouble>) {
        self.is_stale = false;
        let old = std::mem::take(&mut self.places);
        self.root = fs::canonicalize(&self.named).unwrap_or_else(|_| self.named.clone());
        links_of(&self.named).iter().for_each(|link| self.watch_link(link));
        let ignores = Ignores::around(&self.root).and_of(&self.root);
        let found = self.enter(PathBuf::new(), ignores);
        for watch in old.keys().filter(|watch| !self.places.contains_key(watch)) {
            // The directory may be gone, and its watch with it.
            let _ = inotify::remove_watch(&self.inotify, *watch);
        }
        let directories = self.places.values().filter(|place| place.directory.is_some()).count();
        let files = found.changes.files.len() + found.changes.others;
        (Watched { directories, files }, found.trouble())
    }

    /// What has happened by now.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell.
    pub(super) fn look(&mut self) -> io::Result<(Changes, Option<Trouble>)> {
        let mut found = Found::default();
        for told in self.told()? {
            self.happened(&told, &mut found);
        }
        let trouble = found.trouble();
        Ok((found.changes, trouble))
    }

    fn told(&self) -> io::Result<Vec<Told>> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut all = Vec::new();
        while all.len() < AT_ONCE {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    let name = name.unwrap_or_default().to_owned();
                    all.push(Told { watch: event.wd(), flags: event.events(), name });
                }
                Err(Errno::WOULDBLOCK) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    fn happened(&mut self, told: &Told, found: &mut Found) {
        if told.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.is_stale = true;
            found.changes.others += 1;
        }
        let Some(place) = self.places.get(&told.watch) else { return };
        let is_renaming = told.flags.intersects(arriving() | leaving());
        if is_renaming && place.links.contains(&told.name) {
            self.is_stale = true;
            found.file(told.name.clone().into());
        }
        if told.flags.contains(ReadFlags::IGNORED) {
            self.is_stale |= !place.links.is_empty();
            self.places.remove(&told.watch);
        } else if let Some(Directory { path, ignores }) = &place.directory
            && !told.name.is_empty()
        {
            let (path, ignores) = (path.join(&told.name), ignores.clone());
            self.is_stale |= told.name == ".gitignore";
            self.happened_to(path, &ignores, told.flags, found);
        }
    }

    fn happened_to(&mut self, path: PathBuf, ignores: &Ignores, how: ReadFlags, found: &mut Found) {
        // Also if it arrives: then it has taken another one's place.
        let has_left = how.intersects(arriving() | leaving()) && self.leave(&path);
        if has_left {
            found.file(path.clone());
        }
        if how.intersects(arriving()) && self.root.join(&path).is_dir() {
            if let Some(ignores) = self.ignores_in(&path, ignores) {
                found.add(self.enter(path, ignores));
            }
        } else if !has_left && !how.contains(ReadFlags::ISDIR) && self.counts(&path, ignores) {
            found.file(path);
        }
    }

    /// Watches a directory and those in it. Gives the files that are there, and count.
    fn enter(&mut self, path: PathBuf, ignores: Ignores) -> Found {
        let mut found = Found::default();
        // The outer ones first: if there is not room for all, they are likely to matter more.
        let mut ahead = VecDeque::from([Directory { path, ignores }]);
        while let Some(directory) = ahead.pop_front() {
            match self.watch(&self.root.join(&directory.path)) {
                // It is known by another name.
                Ok(watch) if self.places[&watch].directory.is_some() => {}
                Ok(watch) => {
                    // Once it is watched, so that nothing that comes later is missed.
                    self.read(&directory, &mut ahead, &mut found);
                    self.places.entry(watch).or_default().directory = Some(directory);
                }
                Err(Errno::NOSPC) => found.no_room(directory.path),
                // It is gone again, or not for us to read.
                Err(_) => {}
            }
        }
        found
    }

    fn read(&self, directory: &Directory, ahead: &mut VecDeque<Directory>, found: &mut Found) {
        let entries = fs::read_dir(self.root.join(&directory.path));
        for entry in entries.into_iter().flatten().flatten() {
            let path = directory.path.join(entry.file_name());
            if !is_directory(&entry) {
                if self.counts(&path, &directory.ignores) {
                    found.file(path);
                }
            } else if let Some(ignores) = self.ignores_in(&path, &directory.ignores) {
                ahead.push_back(Directory { path, ignores });
            }
        }
    }

    /// Has the kernel watch a directory, once for all its names.
    fn watch(&mut self, absolute: &Path) -> rustix::io::Result<i32> {
        let watch = inotify::add_watch(&self.inotify, absolute, CHANGES | WatchFlags::ONLYDIR)?;
        self.places.entry(watch).or_default();
        Ok(watch)
    }

    fn watch_link(&mut self, link: &Path) {
        if let (Some(folder), Some(name)) = (link.parent(), link.file_name())
            && let Ok(watch) = self.watch(folder)
        {
            self.places.entry(watch).or_default().links.insert(name.to_owned());
        }
    }

    /// Watches a directory and those in it no more. Tells whether they were watched.
    fn leave(&mut self, path: &Path) -> bool {
        let is_in_it = |place: &Place| {
            place.directory.as_ref().is_some_and(|directory| directory.path.starts_with(path))
        };
        let gone: Vec<_> = self
            .places
            .iter()
            .filter(|(_, place)| is_in_it(place))
            .map(|(watch, _)| *watch)
            .collect();
        for watch in &gone {
            self.places.remove(watch);
            // If it was deleted, so was the watch.
            let _ = inotify::remove_watch(&self.inotify, *watch);
        }
        !gone.is_empty()
    }

    /// What is ignored in a directory that is in one where this is ignored; `None` if nothing in
    /// it counts.
    fn ignores_in(&self, path: &Path, outer: &Ignores) -> Option<Ignores> {
        if !self.selection.may_hold(path) {
            return None;
        }
        let absolute = self.root.join(path);
        let is_ignored = outer.directory(&absolute);
        // Whoever names `dist/**` means it, though Git ignores it, or all that is in it.
        if self.selection.names(path) && (is_ignored || outer.file(&absolute.join("any"))) {
            return Some(match self.selection.begins_at(path) {
                true => Ignores::by_default(&absolute).and_of(&absolute),
                false => Ignores::of_all(&absolute),
            });
        }
        (!is_ignored).then(|| outer.and_of(&absolute))
    }

    fn counts(&self, path: &Path, ignores: &Ignores) -> bool {
        self.selection.wants(path)
            && (self.selection.names(path) || !ignores.file(&self.root.join(path)))
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl Found {
    fn file(&mut self, path: PathBuf) {
        if self.changes.files.len() < NAMED {
            self.changes.files.push(path);
        } else {
            self.changes.others += 1;
        }
    }

    fn no_room(&mut self, path: PathBuf) {
        self.no_room.get_or_insert((0, path)).0 += 1;
    }

    fn add(&mut self, other: Self) {
        other.changes.files.into_iter().for_each(|path| self.file(path));
        self.changes.others += other.changes.others;
        if let Some((directories, first)) = other.no_room {
            self.no_room.get_or_insert((0, first)).0 += directories;
        }
    }

    fn trouble(&self) -> Option<Trouble> {
        let (directories, first) = self.no_room.clone()?;
        Some(Trouble::NoRoom { directories, first })
    }
}

fn arriving() -> ReadFlags {
    ReadFlags::CREATE | ReadFlags::MOVED_TO
}

fn leaving() -> ReadFlags {
    ReadFlags::DELETE | ReadFlags::MOVED_FROM
}

/// A symlink to a directory is one.
fn is_directory(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if kind.is_symlink() => entry.path().is_dir(),
        Ok(kind) => kind.is_dir(),
        Err(_) => false,
    }
}
