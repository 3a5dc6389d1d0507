//! Where the sockets are: a folder of this user's own, one socket for each primary.
//!
//! ```text
//!   FORKYARD_RUNTIME_DIR │ XDG_RUNTIME_DIR/forkyard │ /run/forkyard (root)
//!   │ /run/user/UID/forkyard │ /tmp/forkyard-UID
//!       └── APP.PID.sock
//! ```
//!
//! A new socket is put into the first of them. It is looked for in all, because an app that a
//! service started has another environment than the shell from which it is asked.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forkyard_sys::folder::{self, Others, Standing};
use forkyard_sys::process::own_user;

/// The system's user, who has no session folder as a service.
const ROOT: u32 = 0;
/// The longest part of a name that goes into a socket's path, which has to fit into 107 bytes.
const LONGEST_NAME: usize = 40;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It could not be made or looked at.
    #[error("failed to use {}: {source}; name another folder by FORKYARD_RUNTIME_DIR", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else could get at what is in it.
    #[error(
        "failed to use {}: it is not this user's alone; make it so (chmod 700), or name another \
         folder by FORKYARD_RUNTIME_DIR",
        dir.display()
    )]
    NotOurs {
        /// The folder.
        dir: PathBuf,
    },
}

/// The folder where this user's sockets are put. It need not be there yet.
#[must_use]
pub fn runtime_dir() -> PathBuf {
    runtime_dirs().swap_remove(0)
}

/// The folder where files of this user are put that everybody may read. It need not be there yet.
#[must_use]
pub fn visible_dir() -> PathBuf {
    match own_user() {
        ROOT if Path::new("/run").is_dir() => "/run/forkyard-agent".into(),
        user => format!("/tmp/forkyard-agent-{user}").into(),
    }
}

/// The folders where sockets of this user may be, the one for new ones first. They need not be
/// there.
#[must_use]
pub fn runtime_dirs() -> Vec<PathBuf> {
    candidates(own_user(), |name| env::var_os(name), is_of)
}

/// `is_of` tells whether a folder is there and belongs to a user. In a session folder of
/// somebody else, which `su` and `sudo` may leave in the environment, nothing is put.
fn candidates(
    user: u32,
    variable: impl Fn(&str) -> Option<OsString>,
    is_of: impl Fn(&Path, u32) -> bool,
) -> Vec<PathBuf> {
    let named = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(dir) = named("FORKYARD_RUNTIME_DIR") {
        // Workers in another directory are to find what is in it.
        return vec![std::path::absolute(&dir).unwrap_or(dir)];
    }
    let session = |dir: PathBuf| is_of(&dir, user).then(|| dir.join("forkyard"));
    let mut dirs: Vec<_> = named("XDG_RUNTIME_DIR").and_then(&session).into_iter().collect();
    dirs.extend((user == ROOT).then(|| PathBuf::from("/run/forkyard")));
    dirs.extend(session(format!("/run/user/{user}").into()));
    dirs.push(format!("/tmp/forkyard-{user}").into());
    let mut seen = BTreeSet::new();
    dirs.retain(|dir| seen.insert(dir.clone()));
    dirs
}

fn is_of(dir: &Path, user: u32) -> bool {
    fs::metadata(dir).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == user)
}

/// Makes the folder if it is missing.
///
/// # Errors
///
/// If it cannot be made, or is not this user's alone.
pub fn prepare(dir: &Path) -> Result<(), FolderError> {
    let failed = |source| FolderError::Io { dir: dir.to_owned(), source };
    folder::make(dir).map_err(failed)?;
    check(dir)
}

/// Makes sure that nobody else can put a socket there, or reach one.
///
/// # Errors
///
/// If it is not there, or is not this user's alone.
pub fn check(dir: &Path) -> Result<(), FolderError> {
    let failed = |source| FolderError::Io { dir: dir.to_owned(), source };
    match folder::look(dir, Others::KeepOut).map_err(failed)? {
        Standing::Ours => Ok(()),
        Standing::NoFolder | Standing::Foreign | Standing::Open => {
            Err(FolderError::NotOurs { dir: dir.to_owned() })
        }
    }
}

/// The file of a primary's socket.
#[must_use]
pub fn socket_path(dir: &Path, app: &str, pid: u32) -> PathBuf {
    dir.join(format!("{}.{pid}.sock", file_name(app)))
}

/// The name and the process id that a socket's file tells.
#[must_use]
pub fn parse_socket_name(path: &Path) -> Option<(String, u32)> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".sock")?;
    let (app, pid) = stem.rsplit_once('.')?;
    Some((app.to_owned(), pid.parse().ok()?))
}

/// What of an app's name can stand in a file's name.
#[must_use]
pub fn file_name(app: &str) -> String {
    let fits = |c: char| if c.is_alphanumeric() || "-_.@+".contains(c) { c } else { '_' };
    let mut name: String = app.chars().map(fits).collect();
    while name.len() > LONGEST_NAME {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// For a user with these variables, whose session folders are these.
    fn dirs(user: u32, variables: &[(&str, &str)], sessions: &[&str]) -> Vec<String> {
        let variable = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        let is_of = |dir: &Path, _: u32| sessions.iter().any(|session| Path::new(session) == dir);
        let dirs = candidates(user, variable, is_of);
        dirs.iter().map(|dir| dir.display().to_string()).collect()
    }

    #[test]
    fn a_service_and_a_shell_find_each_other() {
        let session = ["/run/user/7", "/xdg"];
        assert_eq!(dirs(7, &[], &[]), ["/tmp/forkyard-7"]);
        assert_eq!(dirs(7, &[], &session), ["/run/user/7/forkyard", "/tmp/forkyard-7"]);
        let variables = [("XDG_RUNTIME_DIR", "/xdg")];
        let expected = ["/xdg/forkyard", "/run/user/7/forkyard", "/tmp/forkyard-7"];
        assert_eq!(dirs(7, &variables, &session), expected);
        let variables = [("XDG_RUNTIME_DIR", "/run/user/7")];
        let expected = ["/run/user/7/forkyard", "/tmp/forkyard-7"];
        assert_eq!(dirs(7, &variables, &session), expected);
        assert_eq!(dirs(0, &[], &[]), ["/run/forkyard", "/tmp/forkyard-0"]);
        let variables = [("XDG_RUNTIME_DIR", "/xdg"), ("FORKYARD_RUNTIME_DIR", "/here")];
        assert_eq!(dirs(7, &variables, &session), ["/here"]);
        assert_eq!(dirs(7, &[("FORKYARD_RUNTIME_DIR", "")], &[]), ["/tmp/forkyard-7"]);
    }

    /// As after `sudo -E`: root would leave a folder there that the other cannot use.
    #[test]
    fn nothing_is_put_into_the_session_of_somebody_else() {
        let variables = [("XDG_RUNTIME_DIR", "/run/user/7")];
        assert_eq!(dirs(0, &variables, &[]), ["/run/forkyard", "/tmp/forkyard-0"]);
    }

    #[test]
    fn a_new_folder_is_the_user_s_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b");
        prepare(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        prepare(&dir).unwrap();
    }

    #[test]
    fn a_folder_that_others_can_get_at_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("open");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let error = prepare(&dir).unwrap_err().to_string();
        assert!(error.contains("open") && error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn a_link_or_a_file_is_no_folder() {
        let temp = tempfile::tempdir().unwrap();
        let (real, link, file) =
            (temp.path().join("real"), temp.path().join("link"), temp.path().join("file"));
        prepare(&real).unwrap();
        symlink(&real, &link).unwrap();
        fs::write(&file, "").unwrap();
        assert!(matches!(check(&link), Err(FolderError::NotOurs { .. })));
        assert!(check(&file).is_err());
    }

    #[test]
    fn names_survive_the_way_through_a_file_name() {
        let dir = Path::new("/run/forkyard");
        assert_eq!(
            parse_socket_name(&socket_path(dir, "shop.web", 7)),
            Some(("shop.web".into(), 7))
        );
        assert_eq!(file_name("../../etc/passwd"), ".._.._etc_passwd");
        assert!(file_name(&"é".repeat(500)).len() <= LONGEST_NAME);
        for other in ["web.sock", "web.x.sock", "web.7", ".sock"] {
            assert_eq!(parse_socket_name(Path::new(other)), None, "{other}");
        }
    }
}
