//! Holds `ARCHITECTURE.md`'s table of who may use whom, and where unsafe code may stand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What each crate may use, of ours and of others' that matter for the layering.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("forkyard-core", &["serde"]),
    ("forkyard-ipc", &["memchr", "serde", "serde_json", "thiserror"]),
    ("forkyard-sys", &["libc", "rustix", "tokio"]),
    (
        "forkyard",
        &[
            "axum",
            "forkyard-core",
            "forkyard-ipc",
            "forkyard-sys",
            "futures-core",
            "hyper",
            "hyper-util",
            "memchr",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "tokio-rustls",
            "tracing",
        ],
    ),
    (
        "forkyard-control",
        &[
            "axum",
            "forkyard-sys",
            "futures-util",
            "http-body-util",
            "hyper",
            "hyper-util",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "tracing",
            "utoipa",
            "utoipa-axum",
        ],
    ),
    (
        "forkyard-cli",
        &[
            "annotate-snippets",
            "anstream",
            "anstyle",
            "axum",
            "clap",
            "clap_complete",
            "clap_mangen",
            "comfy-table",
            "flate2",
            "croner",
            "forkyard",
            "forkyard-control",
            "forkyard-sys",
            "humantime",
            "memchr",
            "regex",
            "ignore",
            "jiff",
            "rustix",
            "saphyr-parser",
            "schemars",
            "serde",
            "serde-saphyr",
            "serde_json",
            "strsim",
            "thiserror",
            "tokio",
            "toml",
            "tracing",
            "tracing-subscriber",
        ],
    ),
];

#[test]
fn crates_use_only_what_they_may() {
    let used = dependencies();
    for (name, allowed) in MAY_USE {
        let allowed: BTreeSet<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(used[name], allowed, "{name}");
    }
}

#[test]
fn every_crate_of_ours_is_in_the_table() {
    let named: BTreeSet<_> = MAY_USE.iter().map(|(name, _)| *name).collect();
    let used = dependencies();
    let ours = used.keys().map(String::as_str).filter(|name| name.starts_with("forkyard"));
    assert_eq!(ours.filter(|name| *name != "forkyard-tests").collect::<BTreeSet<_>>(), named);
}

#[test]
fn unsafe_code_stands_in_sys_only() {
    for (name, _) in MAY_USE {
        let folder = root().join("crates").join(name).join("src");
        let entry = ["lib.rs", "main.rs"].map(|file| folder.join(file));
        let entry = entry.iter().find(|path| path.exists()).expect("a crate has a root file");
        let text = std::fs::read_to_string(entry).expect("a root file can be read");
        let forbidden = text.contains("#![forbid(unsafe_code)]");
        assert_eq!(forbidden, name != "forkyard-sys", "{name}");
    }
}

/// The normal dependencies of every package of the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    packages.iter().map(|package| (text(&package["name"]), normal(package))).collect()
}

fn normal(package: &Value) -> BTreeSet<String> {
    let dependencies = package["dependencies"].as_array().expect("a package has dependencies");
    let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
    normal.map(|dependency| text(&dependency["name"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is a string").to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stands in the workspace").into()
}
