//! What does not count: what Git ignores, and what nobody means.

use std::path::Path;
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// What nobody means unless he names it: others' code, and what editors keep beside a file
/// (`4913` is Vim's, which tries out whether it may write).
const BY_DEFAULT: [&str; 8] =
    [".git", "node_modules/", "*.swp", "*.swx", "*~", ".#*", "4913", ".DS_Store"];

/// The rules that hold in a directory, its own and those of all around it. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Ignores(Arc<Layer>);

#[derive(Debug)]
struct Layer {
    rules: Gitignore,
    outer: Option<Ignores>,
}

impl Ignores {
    /// What holds in this directory by default.
    pub(super) fn by_default(directory: &Path) -> Self {
        Self::of_lines(directory, &BY_DEFAULT)
    }

    /// Nothing in this directory counts.
    pub(super) fn of_all(directory: &Path) -> Self {
        Self::of_lines(directory, &["*"])
    }

    /// The lines are sound, as the tests show.
    fn of_lines(directory: &Path, lines: &[&str]) -> Self {
        let mut builder = GitignoreBuilder::new(directory);
        for line in lines {
            let _ = builder.add_line(None, line);
        }
        let rules = builder.build().unwrap_or_else(|_| Gitignore::empty());
        Self(Arc::new(Layer { rules, outer: None }))
    }

    /// What holds in this directory by default and by what the Git repository around it says, if
    /// it is in one.
    pub(super) fn around(directory: &Path) -> Self {
        let above: Vec<_> = directory.ancestors().skip(1).collect();
        let is_repository = |folder: &&Path| folder.join(".git").exists();
        let itself = directory.join(".git").exists();
        let repository = above.iter().position(is_repository);
        let above = match repository {
            Some(index) if !itself => &above[..=index],
            _ => &[],
        };
        // The default's patterns have no slash, so they hold for whatever is asked about.
        let ignores = Self::by_default(directory);
        above.iter().rev().fold(ignores, |ignores, folder| ignores.and_of(folder))
    }

    /// What holds in this directory, in the one around which this holds.
    pub(super) fn and_of(&self, directory: &Path) -> Self {
        let file = directory.join(".gitignore");
        if !file.exists() {
            return self.clone();
        }
        // As Git does, it takes the lines that it understands.
        let (rules, _) = Gitignore::new(file);
        Self(Arc::new(Layer { rules, outer: Some(self.clone()) }))
    }

    /// Whether a path is ignored, if the directory that it is in is not. The innermost rules
    /// count.
    pub(super) fn file(&self, path: &Path) -> bool {
        self.say(path, false)
    }

    /// The same for a directory.
    pub(super) fn directory(&self, path: &Path) -> bool {
        self.say(path, true)
    }

    fn say(&self, path: &Path, is_dir: bool) -> bool {
        let mut layer = Some(self);
        while let Some(Self(here)) = layer {
            let verdict = here.rules.matched(path, is_dir);
            if !verdict.is_none() {
                return verdict.is_ignore();
            }
            layer = here.outer.as_ref();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_nobody_means_is_ignored() {
        let root = Path::new("/app");
        let ignores = Ignores::by_default(root);
        for file in [".git", "a.js.swp", "a.js~", "src/.#a.js", "4913", "src/.DS_Store"] {
            assert!(ignores.file(&root.join(file)), "{file}");
        }
        for directory in [".git", "node_modules", "src/node_modules"] {
            assert!(ignores.directory(&root.join(directory)), "{directory}");
        }
        for file in ["a.js", ".env", ".gitignore", "src/4913.js"] {
            assert!(!ignores.file(&root.join(file)), "{file}");
        }
    }

    #[test]
    fn inner_rules_outrank_outer_ones() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at(".git")).unwrap();
        fs::create_dir_all(at("app/src")).unwrap();
        fs::write(at(".gitignore"), "*.log\n/app/made\n").unwrap();
        fs::write(at("app/.gitignore"), "!kept.log\nnode_modules.js\n").unwrap();
        let ignores = Ignores::around(&at("app")).and_of(&at("app"));
        for file in ["app/a.log", "app/made", "app/src/node_modules.js"] {
            assert!(ignores.file(&at(file)), "{file}");
        }
        for file in ["app/kept.log", "app/src/kept.log", "app/src/made"] {
            assert!(!ignores.file(&at(file)), "{file}");
        }
    }

    #[test]
    fn what_is_above_counts_only_in_a_repository() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("app")).unwrap();
        fs::write(at(".gitignore"), "*.log\n").unwrap();
        assert!(!Ignores::around(&at("app")).file(&at("app/a.log")));
        fs::create_dir_all(at("app/.git")).unwrap();
        fs::create_dir_all(at(".git")).unwrap();
        assert!(!Ignores::around(&at("app")).file(&at("app/a.log")), "its own repository");
    }
}
