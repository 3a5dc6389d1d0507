//! What the benchmark needs and what it runs on: wrk, Node, Forkyard, the machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::say;

/// The program that is served.
pub(crate) fn server_program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/server.js")
}

/// Installs wrk where it is missing.
pub(crate) fn install_wrk() -> Result<()> {
    if wrk_version().is_ok() {
        return Ok(());
    }
    say("wrk is missing; installing it from Debian: apt-get install wrk");
    // The package lists of a fresh machine are empty.
    let arguments: [&[&str]; 2] =
        [&["update", "-qq"], &["install", "-y", "-qq", "--no-install-recommends", "wrk"]];
    for arguments in arguments {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.status();
        if !status.is_ok_and(|status| status.success()) {
            bail!("failed to install wrk; please do so yourself, as root: apt-get install wrk");
        }
    }
    wrk_version().map(drop)
}

/// Builds the command in release mode. Returns where it is.
pub(crate) fn build_forkyard() -> Result<PathBuf> {
    say("building forkyard (cargo build --release)");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--package", "forkyard-cli"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .context("failed to run cargo")?;
    ensure!(output.status.success(), "failed to build forkyard");
    let text = String::from_utf8_lossy(&output.stdout);
    executable_of(&text, "forkyard").context("cargo did not say where it put forkyard")
}

/// Node's version, or how to get Node.
pub(crate) fn node_version(node: &Path) -> Result<String> {
    first_line(Command::new(node).arg("--version")).with_context(|| {
        format!("failed to run {}; install Node.js from https://nodejs.org", node.display())
    })
}

/// Versions and machine, in one line.
pub(crate) fn describe_machine(forkyard: &Path, node_version: &str) -> Result<String> {
    let forkyard = first_line(Command::new(forkyard).arg("--version"))?;
    let wrk = wrk_version()?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("failed to read the kernel's version")?;
    let cores = std::thread::available_parallelism().context("failed to count the cores")?;
    let kernel = kernel.trim();
    Ok(format!("{forkyard}, node {node_version}, {wrk}, Linux {kernel}, {cores} cores"))
}

/// The executable that cargo reports for a target (`--message-format=json`: one object a
/// line, those with `"reason":"compiler-artifact"` name a target and its executable).
fn executable_of(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = messages.filter(|message| message["target"]["name"] == name);
    found.filter_map(|message| Some(message["executable"].as_str()?.into())).next()
}

/// As in `wrk 4.1.0`.
fn wrk_version() -> Result<String> {
    // wrk prints its version behind a usage error, and its exit code says so.
    let output = Command::new("wrk").arg("--version").output().context("failed to run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<_> = text.split_whitespace().take(2).collect();
    ensure!(words.first() == Some(&"wrk"), "failed to read the version of wrk: {text:?}");
    // Debian puts its own revision behind it, as in `debian/4.1.0-3+b2`.
    Ok(words.join(" "))
}

fn first_line(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("failed to run {command:?}"))?;
    ensure!(output.status.success(), "failed to run {command:?}: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_the_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"name":"forkyard"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"forkyard"},"executable":"/t/forkyard"}
{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable_of(messages, "forkyard"), Some("/t/forkyard".into()));
        assert_eq!(executable_of(messages, "missing"), None);
    }
}
