//! The home folder: what outlives the apps' processes, for this user alone.
//!
//! ```text
//!   FORKYARD_HOME │ /var/lib/forkyard (root) │ XDG_STATE_HOME/forkyard │ ~/.local/state/forkyard
//!       └── logs/APP/    out.log, err.log, forkyard.log and those rotated
//! ```

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use forkyard_control::folder::file_name;
use forkyard_sys::folder::{self, Others, Standing};
use forkyard_sys::process::own_user;

use crate::exit_code::Failure;

/// The system's user, whose services have no home of their own.
const ROOT: u32 = 0;

/// The home folder, made if it is missing.
pub(crate) fn home_dir() -> Result<PathBuf, Failure> {
    let dir = candidate(own_user(), |name| env::var_os(name), env::home_dir);
    let dir = dir.ok_or_else(|| {
        Failure::usage(
            "failed to find a folder for what apps leave behind: HOME is not set; name one by \
             FORKYARD_HOME"
                .into(),
        )
    })?;
    prepare(&dir)?;
    Ok(dir)
}

/// The home folder, if it is there. Whoever only looks makes none.
pub(crate) fn present() -> Option<PathBuf> {
    let dir = candidate(own_user(), |name| env::var_os(name), env::home_dir);
    dir.filter(|dir| matches!(folder::look(dir, Others::KeepOut), Ok(Standing::Ours)))
}

/// Where an app's log files are.
pub(crate) fn log_dir(home: &Path, app: &str) -> PathBuf {
    let name = file_name(app);
    // Those that are names of other folders already.
    let name = if matches!(name.as_str(), "" | "." | "..") { "_" } else { &name };
    home.join("logs").join(name)
}

/// `user_home` tells where the user is at home.
fn candidate(
    user: u32,
    variable: impl Fn(&str) -> Option<OsString>,
    user_home: impl Fn() -> Option<PathBuf>,
) -> Option<PathBuf> {
    let named = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(dir) = named("FORKYARD_HOME") {
        return Some(std::path::absolute(&dir).unwrap_or(dir));
    }
    if user == ROOT {
        return Some("/var/lib/forkyard".into());
    }
    // One that is not absolute counts as unset, as the XDG Base Directory Specification says.
    let state = named("XDG_STATE_HOME").filter(|dir| dir.is_absolute());
    let state = state.or_else(|| {
        let home = user_home().filter(|home| home.is_absolute());
        home.map(|home| home.join(".local/state"))
    })?;
    Some(state.join("forkyard"))
}

fn prepare(dir: &Path) -> Result<(), Failure> {
    let look = || -> io::Result<Standing> {
        folder::make(dir)?;
        folder::look(dir, Others::KeepOut)
    };
    match look() {
        Ok(Standing::Ours) => Ok(()),
        Ok(Standing::NoFolder | Standing::Foreign | Standing::Open) => {
            Err(Failure::usage(format!(
                "failed to use {}: it is not this user's alone; make it so (chmod 700), or name \
                 another folder by FORKYARD_HOME",
                dir.display()
            )))
        }
        Err(error) => Err(Failure::usage(format!(
            "failed to use {}: {error}; name another folder by FORKYARD_HOME",
            dir.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn dir(user: u32, variables: &[(&str, &str)], user_home: Option<&str>) -> Option<String> {
        let variable = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        let found = candidate(user, variable, || user_home.map(PathBuf::from));
        found.map(|dir| dir.display().to_string())
    }

    #[test]
    fn home_is_where_the_user_s_state_is() {
        let home = Some("/home/ann");
        let expected = |path: &str| Some(path.to_owned());
        assert_eq!(dir(7, &[], home), expected("/home/ann/.local/state/forkyard"));
        assert_eq!(dir(7, &[], None), None);
        let state = [("XDG_STATE_HOME", "/state")];
        assert_eq!(dir(7, &state, home), expected("/state/forkyard"));
        assert_eq!(dir(0, &state, home), expected("/var/lib/forkyard"));
        let odd = [("XDG_STATE_HOME", "state"), ("FORKYARD_HOME", "")];
        assert_eq!(dir(7, &odd, home), expected("/home/ann/.local/state/forkyard"));
        let named = [("XDG_STATE_HOME", "/state"), ("FORKYARD_HOME", "/here")];
        assert_eq!(dir(7, &named, home), expected("/here"));
        assert_eq!(dir(0, &named, home), expected("/here"));
    }

    #[test]
    fn it_is_made_for_this_user_alone_and_no_other_is_used() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/forkyard");
        for _ in 0..2 {
            prepare(&dir).unwrap();
            assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        }
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        let error = prepare(&dir).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn no_name_leads_out_of_the_logs() {
        assert_eq!(log_dir(Path::new("/h"), "shop"), Path::new("/h/logs/shop"));
        assert_eq!(log_dir(Path::new("/h"), "../x"), Path::new("/h/logs/.._x"));
        for odd in ["", ".", ".."] {
            assert_eq!(log_dir(Path::new("/h"), odd), Path::new("/h/logs/_"), "{odd:?}");
        }
    }
}
