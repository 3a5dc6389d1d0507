//! Where files are kept that are needed while an app runs.

use std::env;
use std::path::{Path, PathBuf};

/// A folder of this user's own. It need not be there yet; whoever makes it sees to it that it is
/// nobody else's.
pub(crate) fn runtime_dir() -> PathBuf {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = forkyard_sys::process::own_user();
    let of_session = PathBuf::from(format!("/run/user/{user}"));
    if let Some(dir) = named("FORKYARD_RUNTIME_DIR") {
        dir
    } else if let Some(dir) = named("XDG_RUNTIME_DIR") {
        dir.join("forkyard")
    } else if user == 0 {
        Path::new("/run/forkyard").to_owned()
    } else if of_session.is_dir() {
        of_session.join("forkyard")
    } else {
        env::temp_dir().join(format!("forkyard-{user}"))
    }
}
