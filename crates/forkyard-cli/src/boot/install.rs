//! Puts the template unit where systemd finds it, and takes it away again.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::unit::{self, FILE, MARK};

/// Why a unit is not put or taken away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error(
        "{} was not written by `forkyard startup`, and is left alone; use --force if it may go",
        path.display()
    )]
    Foreign { path: PathBuf },
    #[error("failed to {what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What is done about a file that somebody else has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    LeaveAlone,
    Overwrite,
}

/// What has become of the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Written,
    /// It said something else before.
    Updated,
    /// It has been there, word for word.
    Unchanged,
}

/// What has been taken away.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Apps that systemd does not start any more.
    pub(crate) apps: Vec<String>,
    /// The template, if there was one.
    pub(crate) template: Option<PathBuf>,
}

/// Writes the template into the folder.
pub(crate) fn put(dir: &Path, text: &str, foreign: Foreign) -> Result<Put, InstallError> {
    let path = dir.join(FILE);
    let put = match content(&path)? {
        None => Put::Written,
        Some(Content::Ours(found)) if found == text => return Ok(Put::Unchanged),
        Some(Content::Ours(_)) => Put::Updated,
        Some(Content::Foreign) if foreign == Foreign::Overwrite => Put::Updated,
        Some(Content::Foreign) => return Err(InstallError::Foreign { path }),
    };
    fs::create_dir_all(dir).map_err(|source| failed("make", dir, source))?;
    // In one step: systemd never reads half of it.
    let scratch = dir.join(format!(".{FILE}.{}", std::process::id()));
    let written = fs::write(&scratch, text).and_then(|()| fs::rename(&scratch, &path));
    written.map_err(|source| {
        // The first error says more than a failed removal would.
        let _ = fs::remove_file(&scratch);
        failed("write", &path, source)
    })?;
    Ok(put)
}

/// Takes the template away, and the links by which its instances are started.
pub(crate) fn remove(dir: &Path, foreign: Foreign) -> Result<Removed, InstallError> {
    let path = dir.join(FILE);
    let found = content(&path)?;
    if matches!(found, Some(Content::Foreign)) && foreign == Foreign::LeaveAlone {
        return Err(InstallError::Foreign { path });
    }
    let mut removed = Removed::default();
    for (app, link) in enabled(dir).map_err(|source| failed("look into", dir, source))? {
        fs::remove_file(&link).map_err(|source| failed("remove", &link, source))?;
        removed.apps.push(app);
    }
    removed.apps.sort();
    removed.apps.dedup();
    if found.is_some() {
        fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
        removed.template = Some(path);
    }
    Ok(removed)
}

enum Content {
    Ours(String),
    Foreign,
}

/// What is there. A link is somebody else's, such as the one to `/dev/null` that masks a unit.
fn content(path: &Path) -> Result<Option<Content>, InstallError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(source) => return Err(failed("look at", path, source)),
    };
    if !metadata.is_file() {
        return Ok(Some(Content::Foreign));
    }
    let bytes = fs::read(path).map_err(|source| failed("read", path, source))?;
    Ok(Some(match String::from_utf8(bytes) {
        Ok(text) if text.starts_with(MARK) => Content::Ours(text),
        _ => Content::Foreign,
    }))
}

/// The apps that systemd starts, with the links that say so: those of `systemctl enable`.
fn enabled(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for folder in
        entries(dir)?.into_iter().filter(|path| path.extension() == Some("wants".as_ref()))
    {
        found.extend(entries(&folder)?.into_iter().filter_map(|link| {
            let app = unit::app_of(link.file_name().and_then(OsStr::to_str)?)?;
            link.is_symlink().then_some((app, link))
        }));
    }
    Ok(found)
}

/// What is in a folder; nothing is in what is none.
fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> InstallError {
    InstallError::Io { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn ours(text: &str) -> String {
        format!("{MARK}\n{text}\n")
    }

    #[test]
    fn what_is_there_is_put_there_once() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("systemd/user");
        let put = |text: &str| put(&dir, text, Foreign::LeaveAlone).unwrap();
        assert_eq!(put(&ours("one")), Put::Written);
        assert_eq!(put(&ours("one")), Put::Unchanged);
        assert_eq!(put(&ours("two")), Put::Updated);
        assert_eq!(fs::read_to_string(dir.join(FILE)).unwrap(), ours("two"));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no scratch file is left");
    }

    #[test]
    fn what_somebody_else_has_written_goes_only_by_force() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(FILE);
        for is_link in [false, true] {
            if is_link {
                fs::remove_file(&path).unwrap();
                // Where it leads is not for us to say, whatever is there.
                let elsewhere = temp.path().join("elsewhere");
                fs::write(&elsewhere, ours("one")).unwrap();
                symlink(elsewhere, &path).unwrap();
            } else {
                fs::write(&path, "[Service]\n").unwrap();
            }
            let error = put(temp.path(), &ours("one"), Foreign::LeaveAlone).unwrap_err();
            assert!(error.to_string().contains("--force"), "{error}");
            assert!(remove(temp.path(), Foreign::LeaveAlone).is_err());
        }
        assert_eq!(put(temp.path(), &ours("one"), Foreign::Overwrite).unwrap(), Put::Updated);
        assert_eq!(fs::read_to_string(&path).unwrap(), ours("one"));
    }

    #[test]
    fn all_that_was_put_is_taken_away_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        assert_eq!(remove(dir, Foreign::LeaveAlone).unwrap(), Removed::default());
        put(dir, &ours("one"), Foreign::LeaveAlone).unwrap();
        let wants = dir.join("default.target.wants");
        fs::create_dir(&wants).unwrap();
        for name in ["forkyard@my\\x2dapp.service", "forkyard@web.service", "nginx.service"] {
            symlink(dir.join(FILE), wants.join(name)).unwrap();
        }
        let removed = remove(dir, Foreign::LeaveAlone).unwrap();
        let template = Some(dir.join(FILE));
        assert_eq!(removed, Removed { apps: vec!["my-app".into(), "web".into()], template });
        let left: Vec<_> =
            fs::read_dir(&wants).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [wants.join("nginx.service")]);
        assert!(!dir.join(FILE).exists());
    }
}
