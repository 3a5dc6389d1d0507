//! What comes from Debian: installed, or only unpacked where installing it would start a
//! service.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::say;

/// Installs a package. That needs root.
pub(crate) fn install(package: &str) -> Result<()> {
    say(&format!("{package} is missing; installing it from Debian: apt-get install {package}"));
    let install = ["install", "-y", "-qq", "--no-install-recommends", package];
    // The package lists of a fresh machine are empty.
    if apt_get(&["update", "-qq"]).and_then(|()| apt_get(&install)).is_err() {
        bail!(
            "failed to install {package}; please do so yourself, as root: apt-get install {package}"
        );
    }
    Ok(())
}

/// Gets a package without installing it, and unpacks it into `folder`.
pub(crate) fn unpack(package: &str, folder: &Path) -> Result<()> {
    say(&format!("{package} is missing; getting it from Debian: apt-get download {package}"));
    let scratch = tempfile::tempdir().context("failed to make a folder")?;
    let download = |folder: &Path| {
        let mut command = Command::new("apt-get");
        // As whoever this is: Debian's user for downloads has no access to the folder.
        command.args(["download", "-qq", "-o", "APT::Sandbox::User=root", package]);
        run(command.current_dir(folder))
    };
    if download(scratch.path()).is_err() {
        // The package lists of a fresh machine are empty.
        apt_get(&["update", "-qq"])?;
        download(scratch.path())?;
    }
    let archive = only_file_in(scratch.path())?;
    std::fs::create_dir_all(folder).with_context(|| format!("failed to make {folder:?}"))?;
    run(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(folder))
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("failed to run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}

fn only_file_in(folder: &Path) -> Result<PathBuf> {
    let mut files = std::fs::read_dir(folder).context("failed to list what was downloaded")?;
    let file = files.next().context("apt-get downloaded nothing")??;
    Ok(file.path())
}
