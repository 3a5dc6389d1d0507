//! Where relative paths lead, and where workers run: as the user sees it, so that what is
//! looked up again later follows a symlink that has been changed since.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::exit_code::Failure;

/// The directory the command was started in, by the name that the user came in by.
///
/// # Errors
///
/// If it has been deleted.
pub(crate) fn start() -> Result<PathBuf, Failure> {
    let here = env::current_dir().map_err(|error| {
        Failure::usage(format!(
            "failed to find the present directory: {error}; change to one that exists"
        ))
    })?;
    Ok(as_named(here, env::var_os("PWD")))
}

/// The name in `PWD` if it leads to the same place: a shell keeps there how it went, where
/// the system knows only where that led.
fn as_named(here: PathBuf, name: Option<OsString>) -> PathBuf {
    match name.map(PathBuf::from) {
        Some(named) if named.is_absolute() && is_same(&named, &here) => named,
        _ => here,
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

/// Where the workers' directory is now.
pub(crate) fn resolve(named: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: io::Error| {
        Failure::usage(format!(
            "failed to use {} as the workers' directory: {error}; check --cwd",
            named.display()
        ))
    };
    let found = fs::canonicalize(named).map_err(failed)?;
    match found.is_dir() {
        true => Ok(found),
        false => Err(failed(io::ErrorKind::NotADirectory.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_present_directory_has_the_name_one_came_in_by() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("release"), dir.path().join("current"));
        fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        let named = |name: &str| as_named(real.clone(), Some(name.into()));
        assert_eq!(named(link.to_str().unwrap()), link);
        for elsewhere in ["", ".", "current", "/", "/no/such/place"] {
            assert_eq!(named(elsewhere), real, "{elsewhere:?}");
        }
        assert_eq!(as_named(real.clone(), None), real);
    }

    #[test]
    fn a_file_is_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for wrong in [file, dir.path().join("none")] {
            let message = resolve(&wrong).unwrap_err().to_string();
            assert!(message.contains(wrong.to_str().unwrap()), "{message}");
            assert!(message.contains("--cwd"), "{message}");
        }
    }
}
