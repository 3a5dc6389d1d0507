//! What runs a program that does not run by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::exit_code::Failure;
use crate::find::find;
use crate::version::version_of;

/// How long an interpreter may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// The languages that `node` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    JavaScript,
    TypeScript,
}

impl Script {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "js" | "mjs" | "cjs" => Some(Self::JavaScript),
            "ts" | "mts" | "cts" => Some(Self::TypeScript),
            _ => None,
        }
    }
}

/// What runs the program; `None` if it runs by itself. A path is taken from the directory
/// `from` on.
pub(crate) fn interpreter(
    wanted: Option<&Path>,
    named: &Path,
    from: &Path,
) -> Result<Option<PathBuf>, Failure> {
    match (wanted, Script::of(named)) {
        (Some(interpreter), _) => match find(interpreter, from) {
            Some(found) => Ok(Some(found)),
            None if from.join(interpreter).exists() => Err(Failure::cannot_execute(format!(
                "failed to use {} as the interpreter: it cannot be executed; check --interpreter",
                interpreter.display()
            ))),
            None => Err(Failure::not_found(format!(
                "failed to find the interpreter {}: no such program; check --interpreter",
                interpreter.display()
            ))),
        },
        (None, Some(_)) => find(Path::new("node"), from).map(Some).ok_or_else(|| {
            Failure::not_found(format!(
                "failed to find node, which runs {}; install it (on Debian: apt-get install \
                 nodejs), name it with --interpreter, or try `forkyard demo`, which does not \
                 need it",
                named.display()
            ))
        }),
        (None, None) => Ok(None),
    }
}

/// What a Node needs to be told to take TypeScript. Since 22.18 and 23.6 nothing, from 22.6
/// on a flag (nodejs.org, "Modules: TypeScript").
pub(crate) fn type_stripping(
    interpreter: &Path,
    named: &Path,
) -> Result<Option<&'static str>, Failure> {
    if Script::of(named) != Some(Script::TypeScript) {
        return Ok(None);
    }
    match node_version(interpreter, named)? {
        Some((major, minor)) if (major, minor) < (22, 6) => Err(Failure::cannot_execute(format!(
            "failed to run {}: node {major}.{minor} does not take TypeScript; use node 22.6 \
                 or later, or an interpreter that does",
            named.display()
        ))),
        Some((22, ..=17) | (23, ..=5)) => Ok(Some("--experimental-strip-types")),
        // A newer one, or not Node.
        _ => Ok(None),
    }
}

/// Major and minor version, if it is Node.
fn node_version(interpreter: &Path, named: &Path) -> Result<Option<(u32, u32)>, Failure> {
    match version_of(interpreter, PATIENCE) {
        Ok(text) => Ok(parse_version(&text)),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(Failure::cannot_execute(format!(
                "failed to run {}: {} --version gave no answer within {}; check it, or name \
                 another --interpreter",
                named.display(),
                interpreter.display(),
                humantime::format_duration(PATIENCE)
            )))
        }
        // What is wrong with it is said when it is to run the program.
        Err(_) => Ok(None),
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_node_s_or_none() {
        assert_eq!(parse_version("v22.6.0\n"), Some((22, 6)));
        assert_eq!(parse_version("deno 2.9.6"), None);
    }
}
