//! The agent's files, and how they get where Node can read them.
//!
//! The agent is JavaScript (`agent/agent.cjs`, whose head says what it does); Node preloads it
//! from a file, and it reads `agent/drain.cjs` beside that. Their texts are part of this library,
//! so that there is nothing to install beside it, and are written out on demand. They are read
//! through links in this folder, because a packaged crate holds only what lies in its own folder;
//! packaging follows the links.
//!
//! Whoever can change the files runs code in every worker. So their folder must be ours alone, and
//! an existing file is used only if it says what we would have written. The names carry a hash of
//! both texts: two versions of Forkyard do not disturb each other, and a file that a worker may
//! yet read is never changed.
//!
//! Workers that run as another user ([`Program::user`](crate::Program::user)) read files that are
//! open to everybody, in a folder of ours that everybody may enter: there is nothing secret in
//! them, and nobody but us can change them. Sealed memory under `/proc/self/fd` would need no
//! folder, but Node resolves that link to a path that leads nowhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use forkyard_sys::folder::{self, Others, Standing};
use forkyard_sys::process::Account;

/// What Node preloads.
const AGENT: &str = include_str!("agent.cjs");

/// What the agent reads: the same name with `drain` instead of `agent`.
const DRAIN: &str = include_str!("drain.cjs");

/// Who is to read the agent's files.
#[derive(Clone, Copy, Debug)]
pub enum Readers<'a> {
    /// Processes of this user, and nobody else.
    Ourselves,
    /// Processes of another one. Everybody else may, then.
    User(&'a Account),
}

impl Readers<'_> {
    fn file_mode(self) -> u32 {
        match self {
            Self::Ourselves => 0o600,
            Self::User(_) => 0o644,
        }
    }

    fn make_folder(self, dir: &Path) -> io::Result<()> {
        match self {
            Self::Ourselves => folder::make(dir),
            Self::User(_) => folder::make_visible(dir),
        }
    }
}

/// Writes the agent into the folder `dir`, which is made if it is missing, and returns the path
/// of what `node --require` takes. A file that is there already is used again.
///
/// # Errors
///
/// If the folder or a file cannot be written, or if the folder belongs to somebody else or
/// others may write to it. The message names the folder.
pub fn install(dir: &Path) -> io::Result<PathBuf> {
    install_for(dir, Readers::Ourselves)
}

/// The same, for these readers.
///
/// # Errors
///
/// As [`install`], and if the readers could not get there; for another user also if the folder
/// above is missing.
pub fn install_for(dir: &Path, readers: Readers<'_>) -> io::Result<PathBuf> {
    readers.make_folder(dir).map_err(|error| within(dir, &error))?;
    check_folder(dir)?;
    check_way(dir, readers)?;
    let hash = short_hash(&[AGENT, DRAIN]);
    write_out(&dir.join(format!("drain-{hash}.cjs")), DRAIN, readers)?;
    let agent = dir.join(format!("agent-{hash}.cjs"));
    write_out(&agent, AGENT, readers)?;
    Ok(agent)
}

fn write_out(path: &Path, text: &str, readers: Readers<'_>) -> io::Result<()> {
    if holds(path, text, readers) {
        return Ok(());
    }
    let dir = path.parent().unwrap_or(path);
    replace(path, text, readers).map_err(|error| within(dir, &error))
}

/// Whether the readers may enter each folder on the way.
fn check_way(dir: &Path, readers: Readers<'_>) -> io::Result<()> {
    let Readers::User(account) = readers else { return Ok(()) };
    let closed = closed_to(account, dir).map_err(|error| within(dir, &error))?;
    let Some(closed) = closed else { return Ok(()) };
    let message = format!(
        "cannot put the agent into {}: user {} may not enter {}; name another folder",
        dir.display(),
        account.name,
        closed.display()
    );
    Err(io::Error::new(ErrorKind::PermissionDenied, message))
}

/// The folder on the way, this one included, that the account may not enter, if there is one.
pub(crate) fn closed_to(account: &Account, dir: &Path) -> io::Result<Option<PathBuf>> {
    let way = fs::canonicalize(dir)?;
    let is_closed = |dir: &&Path| !fs::metadata(dir).is_ok_and(|dir| account.may_enter(&dir));
    Ok(way.ancestors().find(is_closed).map(Path::to_path_buf))
}

fn check_folder(dir: &Path) -> io::Result<()> {
    let standing = folder::look(dir, Others::MayLook).map_err(|error| within(dir, &error))?;
    let reason = match standing {
        Standing::Ours => return Ok(()),
        Standing::NoFolder => "is a link or a file, not a folder; name a folder of your own",
        Standing::Foreign => "belongs to another user; name a folder of your own",
        Standing::Open => "can be written to by other users; `chmod go-w` it",
    };
    let message = format!("cannot put the agent into {}: it {reason}", dir.display());
    Err(io::Error::new(ErrorKind::PermissionDenied, message))
}

/// Whether `path` is a file, not a link, with exactly this text, that its readers may read.
fn holds(path: &Path, text: &str, readers: Readers<'_>) -> bool {
    let mode = readers.file_mode();
    let fits = |file: fs::Metadata| file.is_file() && file.mode() & mode == mode;
    fs::symlink_metadata(path).is_ok_and(fits)
        && fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes())
}

/// In one step: a worker that starts meanwhile sees the whole file or none.
fn replace(path: &Path, text: &str, readers: Readers<'_>) -> io::Result<()> {
    let (scratch, mut file) = create_scratch(path)?;
    // Whatever the umask says.
    let mode = fs::Permissions::from_mode(readers.file_mode());
    let written = file
        .set_permissions(mode)
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&scratch, path));
    if written.is_err() {
        // The first error says more than a failed removal would.
        drop(fs::remove_file(&scratch));
    }
    written
}

/// A new file beside `path`. One of that name may be left from a process that was killed, or
/// belong to another thread that is at it right now; then the next name is taken.
fn create_scratch(path: &Path) -> io::Result<(PathBuf, File)> {
    const MOST_TRIES: u32 = 100;
    for attempt in 0..MOST_TRIES {
        let scratch = path.with_extension(format!("{}-{attempt}.tmp", std::process::id()));
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&scratch);
        match made {
            Ok(file) => return Ok((scratch, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

fn short_hash(texts: &[&str]) -> String {
    let mut hash = format!("{:016x}", fnv1a(texts.iter().flat_map(|text| text.bytes())));
    hash.truncate(12);
    hash
}

/// FNV-1a, 64 bits. It tells versions apart; that the text is right is checked byte by byte.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

fn within(dir: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot put the agent into {}: {error}; name a folder of your own", dir.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use forkyard_sys::process::own_user;

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_files_are_whole_and_ours_alone() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new/agent");
        let path = install(&dir).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), AGENT);
        let drain = drain_beside(&path);
        assert_eq!(fs::read_to_string(&drain).unwrap(), DRAIN);
        assert_eq!((mode_of(&dir), mode_of(&path), mode_of(&drain)), (0o700, 0o600, 0o600));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing is left over");
    }

    /// As the agent finds it.
    fn drain_beside(agent: &Path) -> PathBuf {
        let name = agent.file_name().unwrap().to_str().unwrap();
        agent.with_file_name(name.replacen("agent", "drain", 1))
    }

    #[test]
    fn the_name_tells_the_texts() {
        assert_eq!(fnv1a([].into_iter()), 0xcbf2_9ce4_8422_2325);
        assert_eq!(short_hash(&["a"]), "af63dc4c8601");
        assert_ne!(short_hash(&["a", "b"]), short_hash(&["a", "c"]));
        assert_ne!(short_hash(&["a", "b"]), short_hash(&["c", "b"]));
    }

    #[test]
    fn a_file_that_is_there_is_used_again() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("agent");
        let first = install(&dir).unwrap();
        let inode = fs::metadata(&first).unwrap().ino();
        assert_eq!(install(&dir).unwrap(), first);
        assert_eq!(fs::metadata(&first).unwrap().ino(), inode);
    }

    #[test]
    fn a_file_that_says_something_else_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("agent");
        let path = install(&dir).unwrap();
        for (path, text) in [(drain_beside(&path), DRAIN), (path, AGENT)] {
            fs::write(&path, "process.exit(1)").unwrap();
            install(&dir).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_link_in_the_files_place_is_replaced_and_its_target_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("agent");
        let path = install(&dir).unwrap();
        let elsewhere = parent.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        install(&dir).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn scratch_files_of_a_killed_process_do_not_matter() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("agent-0.cjs");
        let (left_over, _) = create_scratch(&path).unwrap();
        replace(&path, "text", Readers::Ourselves).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
        assert!(left_over.exists());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        for mode in [0o770, 0o702] {
            set_mode(parent.path(), mode);
            let error = install(parent.path()).unwrap_err().to_string();
            assert!(error.contains(parent.path().to_str().unwrap()), "{error}");
            assert!(error.contains("chmod go-w"), "{error}");
        }
    }

    fn nobody() -> Account {
        Account::find("nobody", None).unwrap()
    }

    /// Others can read it then, and nobody can write to it.
    #[test]
    fn another_user_can_read_what_is_put_there_for_it() {
        let parent = tempfile::tempdir().unwrap();
        set_mode(parent.path(), 0o755);
        let dir = parent.path().join("agent");
        let path = install_for(&dir, Readers::User(&nobody())).unwrap();
        assert_eq!((mode_of(&dir), mode_of(&path)), (0o755, 0o644));
        assert_eq!(mode_of(&drain_beside(&path)), 0o644);
        set_mode(&path, 0o600);
        install_for(&dir, Readers::User(&nobody())).unwrap();
        assert_eq!(mode_of(&path), 0o644);
    }

    #[test]
    fn a_folder_that_the_other_user_cannot_get_to_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        set_mode(parent.path(), 0o700);
        let dir = parent.path().join("agent");
        let result = install_for(&dir, Readers::User(&nobody()));
        let error = result.unwrap_err().to_string();
        let closed = parent.path().canonicalize().unwrap();
        assert!(error.contains(&format!("nobody may not enter {}", closed.display())), "{error}");
    }

    #[test]
    fn a_link_to_a_folder_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let (dir, link) = (parent.path().join("agent"), parent.path().join("link"));
        install(&dir).unwrap();
        symlink(&dir, &link).unwrap();
        assert_eq!(install(&link).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let error = check_folder(foreign_folder(parent.path())).unwrap_err().to_string();
        assert!(error.contains("another user"), "{error}");
    }

    /// Only root can give a folder away, and to everybody else root's are foreign.
    fn foreign_folder(scratch: &Path) -> &Path {
        if own_user() != 0 {
            return Path::new("/");
        }
        chown(scratch, Some(65534), None).unwrap();
        scratch
    }
}
