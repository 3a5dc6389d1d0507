//! Has Node say what a JavaScript file exports.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::program::{Said, run};
use crate::exit_code::Failure;
use crate::find::find;

/// How long the file may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is executed, as an argument of Node's.
const SCRIPT: &str = include_str!("evaluate.js");
/// No more is shown of what the file wrote to stderr.
const SHOWN_LINES: usize = 12;

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As a module, of either sort.
    Module,
    /// As an object in the language's own notation: JSON with comments.
    Text,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Text => "text",
        }
    }
}

/// What the file exports. What JSON has not, such as a function, is an object whose only key is
/// the text beside it.
pub(super) fn evaluate(file: &Path, kind: Kind) -> Result<(Value, String), Failure> {
    let node = find(Path::new("node"), Path::new("")).ok_or_else(|| {
        Failure::not_found(format!(
            "failed to find node, which reads {}; install it, or run `pm2 save` and `forkyard \
             import` without a file",
            file.display()
        ))
    })?;
    let (mark, key) = (unheard_of("mark"), unheard_of("key"));
    let mut command = Command::new(node);
    command.args(["-e", SCRIPT, "--"]).arg(file).args([kind.word(), &mark, &key]);
    let said = run(command, PATIENCE).map_err(|error| not_read(file, &reason(&error)))?;
    match between(&said.stdout, &mark).map(serde_json::from_str) {
        Some(Ok(value)) => Ok((value, key)),
        Some(Err(error)) => Err(not_read(file, &error.to_string())),
        None => Err(not_read(file, &last_words(&said))),
    }
}

/// Nobody has this in a file.
fn unheard_of(what: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    format!("forkyard:{what}:{}:{now}:", std::process::id())
}

fn between<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (_, behind) = text.split_once(mark)?;
    behind.split_once(mark).map(|(value, _)| value)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => {
            format!("it took longer than {} s and was ended", PATIENCE.as_secs())
        }
        _ => error.to_string(),
    }
}

fn last_words(said: &Said) -> String {
    let lines: Vec<_> = said.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    match lines.is_empty() {
        true => format!("node {}", said.ending),
        false => {
            let shown: Vec<_> =
                lines.iter().take(SHOWN_LINES).map(|line| format!("\n  {line}")).collect();
            format!("node says{}", shown.concat())
        }
    }
}

fn not_read(file: &Path, why: &str) -> Failure {
    Failure::usage(format!("failed to read {}: {why}", file.display()))
}
