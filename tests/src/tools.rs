//! The runtimes that `scripts/setup-tests` installs, and the command under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A major version of Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// Node 18.
    V18,
    /// Node 20.
    V20,
    /// Node 22.
    V22,
    /// Node 24.
    V24,
}

impl Node {
    /// All versions the tests run on.
    pub const ALL: [Self; 4] = [Self::V18, Self::V20, Self::V22, Self::V24];

    /// The number in front of the first dot.
    #[must_use]
    pub fn major(self) -> u32 {
        match self {
            Self::V18 => 18,
            Self::V20 => 20,
            Self::V22 => 22,
            Self::V24 => 24,
        }
    }

    /// The `node` binary.
    ///
    /// # Panics
    ///
    /// When it is not installed.
    #[must_use]
    pub fn binary(self) -> PathBuf {
        tool(&format!("node-{}/bin/node", self.major()))
    }
}

/// Makes one test of each function for each version of [`Node`], in a module for each.
#[macro_export]
macro_rules! on_every_node {
    ($($test:ident),* $(,)?) => {
        $crate::on_every_node!(@ node18 V18 $($test)*);
        $crate::on_every_node!(@ node20 V20 $($test)*);
        $crate::on_every_node!(@ node22 V22 $($test)*);
        $crate::on_every_node!(@ node24 V24 $($test)*);
    };
    (@ $module:ident $node:ident $($test:ident)*) => {
        mod $module {
            $(#[test] fn $test() { super::$test($crate::Node::$node); })*
        }
    };
}

/// The `deno` binary.
///
/// # Panics
///
/// When it is not installed.
#[must_use]
pub fn deno() -> PathBuf {
    tool("deno/bin/deno")
}

fn tool(path: &str) -> PathBuf {
    let found = target_dir().join("test-tools").join(path);
    assert!(found.exists(), "{} is missing: run scripts/setup-tests", found.display());
    found
}

/// A file of `tests/programs`.
///
/// # Panics
///
/// When there is no such file.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name);
    assert!(path.exists(), "there is no {}", path.display());
    path
}

/// Node's own cluster primary, which takes a few of Forkyard's options.
#[must_use]
pub fn node_primary() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/primary.js")
}

/// The command under test: `FORKYARD_BIN`, or else what cargo builds in the profile of
/// the tests.
///
/// # Panics
///
/// When it does not build.
#[must_use]
pub fn forkyard() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let built = |_| cargo_build(&["-p", "forkyard-cli", "--bin", "forkyard"], "forkyard");
        std::env::var_os("FORKYARD_BIN").map(PathBuf::from).unwrap_or_else(|| built(()))
    })
}

/// The example `name` of the library.
///
/// # Panics
///
/// When it does not build.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    cargo_build(
        &["-p", "forkyard", "--features", "axum", "--example", name],
        &format!("examples/{name}"),
    )
}

/// Has cargo build something in the profile of the tests and says where it is.
fn cargo_build(what: &[&str], product: &str) -> PathBuf {
    let profile = profile_dir();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet"]).args(what);
    cargo.arg("--target-dir").arg(target_dir());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo starts");
    assert!(status.success(), "cargo build {} failed", what.join(" "));
    profile.join(product)
}

/// `<target>`, two above the profile's folder.
fn target_dir() -> PathBuf {
    profile_dir().parent().expect("invariant: the profile is inside the target").to_path_buf()
}

/// `<target>/<profile>`, from where this test binary lies: `<profile>/deps/<test>`.
fn profile_dir() -> PathBuf {
    let mut path = std::env::current_exe().expect("the path of this test");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path
}
