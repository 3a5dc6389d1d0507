//! An app's logs in files, as the command has written them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::waiting;

/// The lines of one log, those of rotated files first, compressed or not.
///
/// # Panics
///
/// When a file cannot be read.
#[must_use]
pub fn lines(folder: &Path, stem: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut rotated: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    rotated.retain(|path| is_rotated(path, stem));
    // A file that is just compressed is there in both forms.
    rotated.sort();
    rotated.dedup_by(|later, kept| later.with_extension("") == *kept);
    rotated.push(folder.join(format!("{stem}.log")));
    rotated.iter().flat_map(text_lines).collect()
}

fn is_rotated(path: &Path, stem: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with(&format!("{stem}-")) && !name.ends_with(".part")
}

fn text_lines(path: impl AsRef<Path>) -> Vec<String> {
    // `zcat -f` passes on what is not compressed.
    let read = Command::new("zcat").arg("-f").arg(path.as_ref()).output().expect("zcat");
    String::from_utf8_lossy(&read.stdout).lines().map(str::to_owned).collect()
}

/// The lines of one log that was written in JSON, as objects.
///
/// # Panics
///
/// When one is none.
#[must_use]
pub fn objects(folder: &Path, stem: &str) -> Vec<Value> {
    let object = |line: &String| serde_json::from_str(line).expect("an object");
    lines(folder, stem).iter().map(object).collect()
}

/// Waits until a line is there for which `wanted` holds.
pub fn wait_line(folder: &Path, stem: &str, wanted: impl Fn(&str) -> bool) {
    waiting::until(&format!("a line of {stem}.log in {}", folder.display()), || {
        lines(folder, stem).iter().any(|line| wanted(line)).then_some(())
    });
}
