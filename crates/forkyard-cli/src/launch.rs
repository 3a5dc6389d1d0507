//! From what the user names to what is executed.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use forkyard::Program;

use crate::args::Run;
use crate::exit_code::Failure;

/// A program that can be started, as far as one can tell beforehand.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: Program,
    /// What the user calls it.
    pub(crate) shown: String,
    /// The app's name.
    pub(crate) name: String,
}

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

impl Launch {
    /// Finds the program and what runs it.
    pub(crate) fn of(run: &Run) -> Result<Self, Failure> {
        let Some((named, args)) = run.program.split_first() else {
            return Err(Failure::usage("no program was named".into()));
        };
        if named.is_empty() {
            return Err(Failure::usage("failed to run a program without a name".into()));
        }
        let cwd = directory(run.cwd.as_deref())?;
        let named = Path::new(named);
        let node_args = run.node_args.iter().flat_map(|args| args.split_whitespace());
        let program = match interpreter(run.interpreter.as_deref(), named)? {
            Some(interpreter) => {
                let script = script(named, &cwd)?;
                Program::new(&interpreter)
                    .args(type_stripping(&interpreter, named)?)
                    .args(node_args)
                    .arg(script)
            }
            None if !run.node_args.is_empty() => {
                return Err(Failure::usage(format!(
                    "failed to use --node-args: nothing interprets {}; name an --interpreter, or \
                     put the arguments behind the program",
                    named.display()
                )));
            }
            None => Program::new(executable(named, &cwd)?),
        };
        let program = program.args(args).cwd(cwd);
        let program = run.env.iter().fold(program, |program, (key, value)| program.env(key, value));
        Ok(Self { program, shown: named.display().to_string(), name: name(run, named) })
    }
}

fn name(run: &Run, named: &Path) -> String {
    let stem = || named.file_stem().unwrap_or(OsStr::new("app")).to_string_lossy().into_owned();
    run.name.clone().unwrap_or_else(stem)
}

fn directory(cwd: Option<&Path>) -> Result<PathBuf, Failure> {
    let cwd = cwd.unwrap_or(Path::new("."));
    match fs::canonicalize(cwd) {
        Ok(found) if found.is_dir() => Ok(found),
        Ok(_) => Err(Failure::usage(format!(
            "failed to use {} as the workers' directory: it is no directory",
            cwd.display()
        ))),
        Err(error) => Err(Failure::usage(format!(
            "failed to use {} as the workers' directory: {error}",
            cwd.display()
        ))),
    }
}

/// What runs the program; `None` if it runs by itself.
fn interpreter(wanted: Option<&Path>, named: &Path) -> Result<Option<PathBuf>, Failure> {
    match (wanted, Script::of(named)) {
        (Some(interpreter), _) => match find(interpreter) {
            Some(found) => Ok(Some(found)),
            None if interpreter.exists() => Err(Failure::cannot_execute(format!(
                "failed to use {} as the interpreter: it cannot be executed; check --interpreter",
                interpreter.display()
            ))),
            None => Err(Failure::not_found(format!(
                "failed to find the interpreter {}: no such program; check --interpreter",
                interpreter.display()
            ))),
        },
        (None, Some(_)) => find(Path::new("node")).map(Some).ok_or_else(|| {
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

/// Finds an executable by its path, or by its name in `PATH`.
fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        let path = std::path::absolute(program).ok()?;
        return is_executable(&path).then_some(path);
    }
    let folders = env::var_os("PATH")?;
    let candidates = env::split_paths(&folders).map(|folder| folder.join(program));
    candidates.filter(|path| is_executable(path)).find_map(|path| std::path::absolute(path).ok())
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The script's file, which need not be executable.
fn script(named: &Path, cwd: &Path) -> Result<OsString, Failure> {
    let path = cwd.join(named);
    match fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => Err(is_directory(named)),
        Ok(_) => Ok(path.into()),
        Err(error) => Err(missing(named, &error)),
    }
}

fn executable(named: &Path, cwd: &Path) -> Result<PathBuf, Failure> {
    let path = cwd.join(named);
    match fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => Err(is_directory(named)),
        Ok(_) if is_executable(&path) => Ok(path),
        Ok(_) => Err(Failure::cannot_execute(format!(
            "failed to run {0}: it is not executable; make it so (chmod +x {0}) or say what runs \
             it with --interpreter",
            named.display()
        ))),
        Err(error) if named.components().count() > 1 => Err(missing(named, &error)),
        Err(error) => find(named).ok_or_else(|| missing(named, &error)),
    }
}

fn is_directory(named: &Path) -> Failure {
    Failure::cannot_execute(format!(
        "failed to run {0}: it is a directory; name the program's file, for example {0}/index.js",
        named.display().to_string().trim_end_matches('/')
    ))
}

fn missing(named: &Path, error: &std::io::Error) -> Failure {
    Failure::not_found(format!(
        "failed to run {}: {error}; check the path, which is taken from the workers' directory \
         (--cwd)",
        named.display()
    ))
}

/// What a Node needs to be told to take TypeScript. Since 22.18 and 23.6 nothing, from 22.6
/// on a flag (nodejs.org, "Modules: TypeScript").
fn type_stripping(interpreter: &Path, named: &Path) -> Result<Option<&'static str>, Failure> {
    if Script::of(named) != Some(Script::TypeScript) {
        return Ok(None);
    }
    match node_version(interpreter) {
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
fn node_version(interpreter: &Path) -> Option<(u32, u32)> {
    let output = Command::new(interpreter).arg("--version").output().ok()?;
    parse_version(std::str::from_utf8(&output.stdout).ok()?)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Verb};
    use clap::Parser;

    fn launch(args: &[&str]) -> Result<Launch, Failure> {
        let line = ["forkyard", "run"].iter().chain(args);
        let Verb::Run(run) = Args::parse_from(line).verb else { panic!("not run") };
        Launch::of(&run)
    }

    fn failure(args: &[&str]) -> (u8, String) {
        let failure = launch(args).unwrap_err();
        (failure.number(), failure.to_string())
    }

    #[test]
    fn what_is_named_wrongly_is_named_in_the_message() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (folder, none, none_js, plain) =
            (path(""), path("none"), path("none.js"), path("plain"));
        fs::write(&plain, "").unwrap();
        for (args, code, hint) in [
            (vec!["--interpreter", "/bin/sh", &none_js], 127, "check the path"),
            (vec!["--interpreter", "/bin/sh", &folder], 126, "name the program's file"),
            (vec![&none], 127, "check the path"),
            (vec![&folder], 126, "name the program's file"),
            (vec![&plain], 126, "chmod +x"),
        ] {
            let (number, message) = failure(&args);
            assert_eq!(number, code, "{message}");
            assert!(message.contains(args[args.len() - 1]), "{message}");
            assert!(message.contains(hint), "{message}");
        }
    }

    #[test]
    fn an_unknown_interpreter_is_said_to_be_unknown() {
        let (code, message) = failure(&["--interpreter", "no-such-node", "app.js"]);
        assert_eq!(code, 127);
        assert!(message.contains("no-such-node"), "{message}");
        let (code, message) = failure(&["--interpreter", "/etc/passwd", "app.js"]);
        assert_eq!(code, 126);
        assert!(message.contains("/etc/passwd"), "{message}");
    }

    #[test]
    fn an_empty_name_is_no_directory() {
        assert_eq!(failure(&[""]).0, 2);
    }

    #[test]
    fn a_program_is_found_in_path_and_runs_in_its_directory() {
        let launch = launch(&["--cwd", "/", "sh", "-c", "true"]).unwrap();
        assert!(launch.program.path().ends_with("sh"));
        assert_eq!(launch.program.arguments().collect::<Vec<_>>(), ["-c", "true"]);
        assert_eq!(launch.name, "sh");
    }

    #[test]
    fn versions_are_node_s_or_none() {
        assert_eq!(parse_version("v22.6.0\n"), Some((22, 6)));
        assert_eq!(parse_version("deno 2.9.6"), None);
    }
}
