//! What the benchmarks need and what they run on: Forkyard, Node, wrk, PM2, NGINX, the machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{debian, say};

/// The PM2 that is measured.
pub(crate) const PM2_VERSION: &str = "7.0.4";

/// Which Forkyard and which Node are measured.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The Node to run everything with; by default the one on the path
    #[arg(long, value_name = "PATH", default_value = "node")]
    node: PathBuf,

    /// A `forkyard` to measure instead of the one that is built from here
    #[arg(long, value_name = "PATH")]
    forkyard: Option<PathBuf>,
}

/// Where Forkyard and Node are.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    pub(crate) node: PathBuf,
    pub(crate) forkyard: PathBuf,
    node_version: String,
}

impl Peers {
    /// Builds Forkyard in release mode unless one is given.
    pub(crate) fn find(args: &Args) -> Result<Self> {
        let node = args.node.clone();
        let node_version = first_line(Command::new(&node).arg("--version")).with_context(|| {
            format!("failed to run {}; install Node.js from https://nodejs.org", node.display())
        })?;
        let forkyard = match &args.forkyard {
            Some(path) => path.clone(),
            None => build_forkyard()?,
        };
        Ok(Self { node, forkyard, node_version })
    }

    /// Whether this Node's `listen` knows `reusePort`, which came with 22.12 and 23.1.
    pub(crate) fn has_reuse_port(&self) -> bool {
        knows_reuse_port(&self.node_version)
    }

    /// Versions and machine, in one line.
    pub(crate) fn describe(&self) -> Result<String> {
        let forkyard = first_line(Command::new(&self.forkyard).arg("--version"))?;
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .context("failed to read the kernel's version")?;
        let cores = std::thread::available_parallelism().context("failed to count the cores")?;
        let (node, kernel) = (&self.node_version, kernel.trim());
        Ok(format!("{forkyard}, node {node}, Linux {kernel}, {cores} cores"))
    }
}

/// One of the programs that are served.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name)
}

/// Installs wrk where it is missing.
pub(crate) fn install_wrk() -> Result<()> {
    if wrk_version().is_ok() {
        return Ok(());
    }
    debian::install("wrk")?;
    wrk_version().map(drop)
}

/// As in `wrk 4.1.0`.
pub(crate) fn wrk_version() -> Result<String> {
    // wrk prints its version behind a usage error, and its exit code says so.
    let output = Command::new("wrk").arg("--version").output().context("failed to run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<_> = text.split_whitespace().take(2).collect();
    ensure!(words.first() == Some(&"wrk"), "failed to read the version of wrk: {text:?}");
    // Debian puts its own revision behind it, as in `debian/4.1.0-3+b2`.
    Ok(words.join(" "))
}

/// Installs PM2 from the npm registry where it is missing, below cargo's target folder.
/// Returns the script to run.
pub(crate) fn install_pm2() -> Result<PathBuf> {
    let folder = tools_folder()?.join(format!("pm2-{PM2_VERSION}"));
    let package = folder.join("node_modules/pm2");
    if pm2_version(&package).is_ok_and(|version| version == PM2_VERSION) {
        return Ok(package.join("bin/pm2"));
    }
    say(&format!("installing from npm: pm2@{PM2_VERSION}"));
    std::fs::create_dir_all(&folder).context("failed to make a folder for PM2")?;
    let status = Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"])
        .arg("--prefix")
        .arg(&folder)
        .arg(format!("pm2@{PM2_VERSION}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("failed to run npm, which comes with Node.js")?;
    ensure!(status.success(), "failed to install pm2@{PM2_VERSION} from the npm registry");
    let version = pm2_version(&package)?;
    ensure!(version == PM2_VERSION, "npm installed pm2 {version} instead of {PM2_VERSION}");
    Ok(package.join("bin/pm2"))
}

fn pm2_version(package: &Path) -> Result<String> {
    let text = std::fs::read_to_string(package.join("package.json"));
    let json: Value = serde_json::from_str(&text.context("failed to read PM2's package.json")?)?;
    Ok(json["version"].as_str().context("PM2's package.json has no version")?.to_owned())
}

/// Finds NGINX, or gets it from Debian where it is missing. It is not installed, because that
/// would start it as a service. Returns what to run.
pub(crate) fn find_nginx() -> Result<PathBuf> {
    let installed = PathBuf::from("nginx");
    if nginx_version(&installed).is_ok() {
        return Ok(installed);
    }
    let folder = tools_folder()?.join("nginx");
    let unpacked = folder.join("usr/sbin/nginx");
    if nginx_version(&unpacked).is_err() {
        debian::unpack("nginx", &folder)?;
        nginx_version(&unpacked).context("failed to run NGINX; please install it yourself")?;
    }
    Ok(unpacked)
}

/// As in `nginx/1.22.1`.
pub(crate) fn nginx_version(nginx: &Path) -> Result<String> {
    let output = Command::new(nginx).arg("-v").output();
    let output = output.with_context(|| format!("failed to run {}", nginx.display()))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let version = text.trim().strip_prefix("nginx version: ");
    Ok(version.with_context(|| format!("failed to read the version of NGINX: {text:?}"))?.into())
}

/// `bench-tools` beside the folder of the profile that this program was built in.
fn tools_folder() -> Result<PathBuf> {
    let this = std::env::current_exe().context("failed to find this program")?;
    let target = this.ancestors().nth(2).context("this program is not below a target folder")?;
    Ok(target.join("bench-tools"))
}

/// Builds the command in release mode. Returns where it is.
fn build_forkyard() -> Result<PathBuf> {
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

/// The executable that cargo reports for a target (`--message-format=json`: one object a
/// line, those with `"reason":"compiler-artifact"` name a target and its executable).
fn executable_of(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = messages.filter(|message| message["target"]["name"] == name);
    found.filter_map(|message| Some(message["executable"].as_str()?.into())).next()
}

fn knows_reuse_port(node_version: &str) -> bool {
    let numbers = node_version.trim_start_matches('v').split('.');
    let numbers: Vec<u32> = numbers.map_while(|number| number.parse().ok()).collect();
    match numbers[..] {
        [22, minor, ..] => minor >= 12,
        [23, minor, ..] => minor >= 1,
        [major, ..] => major > 23,
        [] => false,
    }
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
    fn reuse_port_came_with_two_releases() {
        for version in ["v22.12.0", "v22.23.3", "v23.1.0", "v24.0.0", "v25.1.0-nightly"] {
            assert!(knows_reuse_port(version), "{version}");
        }
        for version in ["v18.20.8", "v20.20.2", "v22.11.0", "v23.0.0", "odd"] {
            assert!(!knows_reuse_port(version), "{version}");
        }
    }

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
