//! Which paths are meant by the globs of an app.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// What stands for other characters in a glob.
const MAGIC: &[char] = &['*', '?', '[', '{', '\\'];

/// Files by their path from the app's directory on, written as in `.gitignore`: `src/**`,
/// `*.json` for any folder, a folder for all that is in it, `!` before what is not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(String);

/// Why a text is no glob.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GlobError {
    #[error("it is empty; write a glob as in \"src/**\"")]
    Empty,
    #[error(
        "it leads out of the app's directory; globs are relative to it, so have --cwd name a \
         folder above both"
    )]
    LeadsOut,
    #[error("{0}")]
    NotUnderstood(ignore::Error),
}

impl Glob {
    fn line(&self) -> &str {
        &self.0
    }

    /// The path that it begins with, as far as there is no magic in it. `None` if it may be
    /// anywhere, or only says what is not meant.
    fn beginning(&self) -> Beginning {
        let line = self.line();
        if line.starts_with('!') {
            return Beginning::Nowhere;
        }
        let path = line.trim_end_matches('/');
        if !path.contains('/') {
            return Beginning::Anywhere;
        }
        let parts = path.split('/').filter(|part| !part.is_empty());
        let plain: PathBuf = parts.take_while(|part| !part.contains(MAGIC)).collect();
        match plain.as_os_str().is_empty() {
            true => Beginning::Anywhere,
            false => Beginning::Path(plain),
        }
    }
}

enum Beginning {
    Nowhere,
    Anywhere,
    Path(PathBuf),
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        let text = text.trim();
        let (start, path) = text.strip_prefix('!').map_or(("", text), |path| ("!", path));
        // To Git it is a folder of that name.
        let path = path.strip_prefix('.').filter(|rest| rest.starts_with('/')).unwrap_or(path);
        if path.trim_matches('/').is_empty() {
            return Err(GlobError::Empty);
        }
        if Path::new(path).components().any(|part| part == Component::ParentDir) {
            return Err(GlobError::LeadsOut);
        }
        // There it would begin a comment.
        let escaped = if path.starts_with('#') { "\\" } else { "" };
        let text = format!("{start}{escaped}{path}");
        GitignoreBuilder::new("")
            .add_line(None, &text)
            .map_err(GlobError::NotUnderstood)?
            .build()
            .map_err(GlobError::NotUnderstood)?;
        Ok(Self(text))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All the globs together. Its paths are relative to the app's directory.
#[derive(Debug)]
pub(super) struct Selection {
    globs: Gitignore,
    /// Where the globs lead that begin with a plain path.
    beginnings: Vec<PathBuf>,
    /// Whether there is one that does not.
    anywhere: bool,
}

impl Selection {
    /// # Errors
    ///
    /// If they are too much together.
    pub(super) fn of(globs: &[Glob]) -> io::Result<Self> {
        let mut builder = GitignoreBuilder::new("");
        let (mut beginnings, mut anywhere) = (Vec::new(), false);
        for glob in globs {
            builder.add_line(None, glob.line()).map_err(io::Error::other)?;
            match glob.beginning() {
                Beginning::Nowhere => {}
                Beginning::Anywhere => anywhere = true,
                Beginning::Path(path) => beginnings.push(path),
            }
        }
        Ok(Self { globs: builder.build().map_err(io::Error::other)?, beginnings, anywhere })
    }

    /// Whether this file is meant.
    pub(super) fn wants(&self, file: &Path) -> bool {
        self.globs.matched_path_or_any_parents(file, false).is_ignore()
    }

    /// Whether something in this directory may be meant.
    pub(super) fn may_hold(&self, directory: &Path) -> bool {
        let leads_there =
            |path: &PathBuf| path.starts_with(directory) || directory.starts_with(path);
        if self.names(directory) {
            return true;
        }
        let left_out = self.globs.matched_path_or_any_parents(directory, true).is_whitelist();
        !left_out && (self.anywhere || self.beginnings.iter().any(leads_there))
    }

    /// Whether a glob has this path in so many words, or leads through it.
    pub(super) fn names(&self, path: &Path) -> bool {
        self.beginnings.iter().any(|beginning| beginning.starts_with(path))
    }

    /// Whether a glob has this path in so many words, and does not only lead through it.
    pub(super) fn begins_at(&self, path: &Path) -> bool {
        self.beginnings.iter().any(|beginning| beginning == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(globs: &[&str]) -> Selection {
        let globs: Vec<_> = globs.iter().map(|glob| glob.parse().unwrap()).collect();
        Selection::of(&globs).unwrap()
    }

    #[test]
    fn globs_are_as_in_gitignore() {
        for (globs, wanted, others) in [
            (&["src/**"][..], &["src/a.js", "src/b/c.js"][..], &["a.js", "lib/src/a.js"][..]),
            (&["src"], &["src/a.js", "lib/src/b/c.js"], &["a.js"]),
            (&["./src"], &["src/a.js"], &["lib/src/a.js"]),
            (&["/src"], &["src/a.js"], &["lib/src/a.js"]),
            (&["*.js"], &["a.js", "src/b.js"], &["a.json"]),
            (&["config/app.json"], &["config/app.json"], &["config/b.json", "app.json"]),
            (&["**"], &["a", "b/c", ".env"], &[]),
            (&["src/**", "!*.test.js"], &["src/a.js"], &["src/a.test.js"]),
            (&["src/**", "!src/made/", "src/made/a.js"], &["src/made/a.js"], &[]),
            (&["{src,lib}/**/*.js"], &["src/a.js", "lib/b/c.js"], &["src/a.css"]),
            (&["#notes"], &["#notes"], &["notes"]),
        ] {
            let selection = selection(globs);
            let wants = |path: &&str| selection.wants(Path::new(path));
            let odd: Vec<_> = wanted.iter().filter(|path| !wants(path)).collect();
            assert_eq!(odd, [&""; 0], "{globs:?} wants these");
            let odd: Vec<_> = others.iter().filter(|path| wants(path)).collect();
            assert_eq!(odd, [&""; 0], "{globs:?} does not want these");
        }
    }

    #[test]
    fn only_directories_that_may_hold_something_are_looked_at() {
        for (globs, looked_at, others) in [
            (&["src/**"][..], &["src", "src/a"][..], &["lib", "lib/src"][..]),
            (&["a/b/*.js"], &["a", "a/b", "a/b/c"], &["a/c", "b"]),
            (&["*.js"], &["a", "a/b"], &[]),
            (&["**", "!made/"], &["a", "a/b"], &["made", "a/made"]),
            (&["**", "!./made"], &["a", "a/made"], &["made"]),
            (&["**", "!made/", "made/keep/**"], &["made", "made/keep"], &[]),
        ] {
            let selection = selection(globs);
            let looks = |path: &&str| selection.may_hold(Path::new(path));
            let odd: Vec<_> = looked_at.iter().filter(|path| !looks(path)).collect();
            assert_eq!(odd, [&""; 0], "{globs:?} may be in these");
            let odd: Vec<_> = others.iter().filter(|path| looks(path)).collect();
            assert_eq!(odd, [&""; 0], "{globs:?} cannot be in these");
        }
    }

    #[test]
    fn what_is_no_glob_is_said() {
        let message = |text: &str| text.parse::<Glob>().unwrap_err().to_string();
        for text in ["", " ", "!", "/", "./"] {
            assert!(message(text).contains("empty"), "{text:?}");
        }
        for text in ["../a", "a/../../b", "!../a", ".."] {
            assert!(message(text).contains("--cwd"), "{text:?}");
        }
        assert!(message("a{b").contains("a{b"), "{}", message("a{b"));
    }
}
