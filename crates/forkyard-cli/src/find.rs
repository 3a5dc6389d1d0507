//! Finds the files that are executed.
//!
//! What was found keeps meaning the same file after a symlink on the way to it has been
//! changed (`current -> releases/42`): a worker of an old generation that is started again
//! must not run the new release.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::exit_code::Failure;

/// The script's file, which need not be executable, with every symlink resolved.
pub(crate) fn script(named: &Path, cwd: &Path) -> Result<PathBuf, Failure> {
    match fs::canonicalize(cwd.join(named)) {
        Ok(path) if path.is_dir() => Err(is_directory(named)),
        Ok(path) => Ok(path),
        Err(error) => Err(missing(named, &error)),
    }
}

/// A program that runs by itself: a file from this directory on, or a name in `PATH`.
pub(crate) fn executable(named: &Path, cwd: &Path) -> Result<PathBuf, Failure> {
    let path = cwd.join(named);
    match fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => Err(is_directory(named)),
        Ok(_) if is_executable(&path) => Ok(pinned(&path)),
        Ok(_) => Err(Failure::cannot_execute(format!(
            "failed to run {0}: it is not executable; make it so (chmod +x {0}) or say what runs \
             it with --interpreter",
            named.display()
        ))),
        Err(error) if is_path(named) => Err(missing(named, &error)),
        Err(error) => in_path(named, cwd).ok_or_else(|| missing(named, &error)),
    }
}

/// An executable by its path from this directory on, or by its name in `PATH`.
pub(crate) fn find(program: &Path, from: &Path) -> Option<PathBuf> {
    if is_path(program) {
        let path = from.join(program);
        return is_executable(&path).then(|| pinned(&path));
    }
    in_path(program, from)
}

fn in_path(name: &Path, from: &Path) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    // An empty one is the present directory, by tradition.
    let candidates = env::split_paths(&folders).map(|folder| from.join(folder).join(name));
    candidates.into_iter().find(|path| is_executable(path))
}

fn is_path(program: &Path) -> bool {
    program.components().count() > 1
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The same file with its folder resolved. Its own name stays: a program may find by it
/// what belongs to it, as the Python of a virtual environment does, or what it is to do.
fn pinned(path: &Path) -> PathBuf {
    match (path.parent().map(fs::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

fn is_directory(named: &Path) -> Failure {
    Failure::cannot_execute(format!(
        "failed to run {0}: it is a directory; name the program's file, for example {0}/index.js",
        named.display().to_string().trim_end_matches('/')
    ))
}

fn missing(named: &Path, error: &io::Error) -> Failure {
    Failure::not_found(format!(
        "failed to run {}: {error}; check the path, which is taken from the workers' directory \
         (--cwd)",
        named.display()
    ))
}
