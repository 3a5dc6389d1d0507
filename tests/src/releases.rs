//! Versions of a program in folders side by side, as they are deployed: `current` is a
//! symlink to the one that counts.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tools;

/// A folder with `releases/VERSION/app.js` and `current`.
#[derive(Debug)]
pub struct Releases {
    folder: TempDir,
}

/// What a version does: a file of `tests/programs`, with settings of the version's own.
#[derive(Clone, Debug)]
pub struct Release {
    program: &'static str,
    env: Value,
    args: Vec<&'static str>,
}

impl Release {
    /// Does what this file of `tests/programs` does.
    #[must_use]
    pub fn of(program: &'static str) -> Self {
        Self { program, env: json!({}), args: Vec::new() }
    }

    /// The server that works.
    #[must_use]
    pub fn good() -> Self {
        Self::of("release.js")
    }

    /// A variable that this version sets for itself.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        let value = value.into().into_string().expect("a value in UTF-8");
        self.env[name] = value.into();
        self
    }

    /// An argument that this version gives itself.
    #[must_use]
    pub fn arg(mut self, arg: &'static str) -> Self {
        self.args.push(arg);
        self
    }

    /// The text of a program that is this version.
    fn source(&self, version: &str) -> String {
        let program = tools::program(self.program);
        let mut env = self.env.clone();
        env["VERSION"] = version.into();
        format!(
            "Object.assign(process.env, {env});\nprocess.argv.push(...{});\nrequire({});\n",
            json!(self.args),
            json!(program.to_str()),
        )
    }
}

impl Releases {
    /// Version 1, which is good, and counts.
    ///
    /// # Panics
    ///
    /// When there is no place for temporary files.
    #[must_use]
    pub fn new() -> Self {
        let releases = Self { folder: TempDir::new().expect("a temporary folder") };
        releases.deploy("1", &Release::good());
        releases
    }

    /// Adds a version.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn publish(&self, version: &str, release: &Release) {
        let folder = self.folder.path().join("releases").join(version);
        fs::create_dir_all(&folder).expect("the folder of a release");
        fs::write(folder.join("app.js"), release.source(version)).expect("the program");
    }

    /// Makes this version the one that counts, at once.
    ///
    /// # Panics
    ///
    /// When the symlink cannot be replaced.
    pub fn switch(&self, version: &str) {
        let next = self.file("next");
        let target = PathBuf::from("releases").join(version);
        std::os::unix::fs::symlink(target, &next).expect("a symlink");
        fs::rename(&next, self.file("current")).expect("the symlink in place of the old one");
    }

    /// Adds a version and makes it the one that counts.
    pub fn deploy(&self, version: &str, release: &Release) {
        self.publish(version, release);
        self.switch(version);
    }

    /// The program's file by way of the symlink.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.file("current").join("app.js")
    }

    /// A path in the folder of it all.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Default for Releases {
    fn default() -> Self {
        Self::new()
    }
}
