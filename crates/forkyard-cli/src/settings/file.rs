//! A settings file: several apps in TOML, YAML or JSON, and what may be wrong with it.
//!
//! ```text
//!   forkyard.toml ─┐                      serde, again and again without
//!   forkyard.yaml ─┼──▶ tree with places ──▶ what does not fit ──▶ apps
//!   forkyard.json ─┘      │                        │
//!                         └── secrets hidden ──▶ findings, each with its line and a mark
//! ```

mod apps;
mod finding;
mod json;
mod mask;
mod mistake;
mod reading;
mod rules;
mod suggest;
mod toml;
mod tree;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::App;
use crate::directory;
use crate::exit_code::Failure;
pub(crate) use finding::Finding;
use mask::Secrets;
pub(crate) use mistake::Gravity;
use mistake::Mistake;
use tree::Node;

/// What a settings file is called, if nobody names one.
const NAMES: [&str; 4] = ["forkyard.toml", "forkyard.yaml", "forkyard.yml", "forkyard.json"];
/// The longest file that is read, in bytes: whoever names a disk by mistake shall be told.
const LONGEST: usize = 1024 * 1024;

/// The apps of a settings file.
#[derive(Clone, Debug)]
pub(crate) struct SettingsFile {
    /// The file, absolute, symlinks unresolved: what is read again follows one that has been changed.
    pub(crate) path: PathBuf,
    /// The apps by their names.
    pub(crate) apps: BTreeMap<String, App>,
    /// What is not wrong, but perhaps not meant.
    pub(crate) warnings: Vec<Finding>,
}

impl SettingsFile {
    /// Where relative paths lead from.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The apps' names, each after those that its app depends on.
    pub(crate) fn in_order(&self) -> Vec<&str> {
        rules::in_order(&self.apps)
    }

    /// Makes sure that some app has variables for the environment of that name, if one is chosen:
    /// otherwise it is misspelt.
    pub(crate) fn knows_environment(&self, name: Option<&str>) -> Result<(), Failure> {
        let Some(name) = name else { return Ok(()) };
        let all = self.apps.values().flat_map(|app| app.env.environments.keys());
        let all: BTreeSet<_> = all.map(String::as_str).collect();
        if all.contains(name) {
            return Ok(());
        }
        let hint = match (suggest::nearest(name, all.iter().copied()), all.is_empty()) {
            (Some(nearest), _) => format!("did you mean {nearest:?}?"),
            (None, true) => "no app has any, as in [app.web.env.production]".to_owned(),
            (None, false) => {
                format!("there are {}", all.into_iter().collect::<Vec<_>>().join(", "))
            }
        };
        let file = self.path.display();
        Err(Failure::usage(format!("there is no environment {name:?} in {file}; {hint}")))
    }
}

/// Why there are no settings.
#[derive(Debug)]
pub(crate) enum FileError {
    /// None was named, and none is there.
    NoFile { folder: PathBuf },
    /// None was named, and several are there.
    Several { folder: PathBuf, names: Vec<&'static str> },
    /// It cannot be read.
    Unreadable { file: PathBuf, why: String },
    /// It makes no sense.
    Wrong { file: PathBuf, findings: Vec<Finding> },
}

impl FileError {
    /// What is wrong with the file, in the order of its lines.
    pub(crate) fn findings(&self) -> &[Finding] {
        match self {
            Self::Wrong { findings, .. } => findings,
            _ => &[],
        }
    }

    /// As people read it, in colour.
    pub(crate) fn as_text(&self) -> String {
        let Self::Wrong { file, findings } = self else { return format!("{self}\n") };
        let heading = format!("forkyard: failed to use the settings in {}\n", file.display());
        let findings = findings.iter().map(|finding| format!("\n{}", finding.as_text(file)));
        heading + &findings.collect::<String>()
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile { folder } => write!(
                f,
                "no settings file in {}: name one, or make a {}",
                folder.display(),
                NAMES[0]
            ),
            Self::Several { folder, names } => write!(
                f,
                "{} has several settings files; name one of {}",
                folder.display(),
                names.join(", ")
            ),
            Self::Unreadable { file, why } => {
                write!(f, "failed to read the settings in {}: {why}", file.display())
            }
            Self::Wrong { file, findings } => {
                writeln!(f, "failed to use the settings in {}", file.display())?;
                findings.iter().try_for_each(|finding| {
                    let text = finding.as_text(file);
                    write!(f, "\n{}", anstream::adapter::strip_str(&text))
                })
            }
        }
    }
}

impl std::error::Error for FileError {}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::usage(error.to_string().trim_end().to_owned())
    }
}

/// The settings file of a folder, by its name.
pub(crate) fn find(folder: &Path) -> Result<PathBuf, FileError> {
    let names: Vec<_> = NAMES.into_iter().filter(|name| folder.join(name).exists()).collect();
    let folder = folder.to_owned();
    match names.as_slice() {
        [] => Err(FileError::NoFile { folder }),
        [name] => Ok(folder.join(name)),
        _ => Err(FileError::Several { folder, names }),
    }
}

/// Whether something that was named is a settings file, and not an app or a program.
pub(crate) fn is_settings_file(named: &Path) -> bool {
    Format::of(named).is_some()
}

/// Reads a settings file.
pub(crate) fn read(file: &Path) -> Result<SettingsFile, FileError> {
    let unreadable = |why: String| FileError::Unreadable { file: file.to_owned(), why };
    let format = Format::of(file).ok_or_else(|| {
        unreadable("its name ends in none of .toml, .yaml, .yml and .json, which are known".into())
    })?;
    let start = directory::start().map_err(|failure| unreadable(failure.to_string()))?;
    let path = start.join(file);
    let bytes = bytes(&path).map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() > LONGEST {
        return Err(unreadable("it is longer than 1 MiB".into()));
    }
    let text = text(&bytes).map_err(unreadable)?;
    let (apps, findings) = understood(text, format);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.gravity() == Gravity::Error);
    match errors.is_empty() {
        true => Ok(SettingsFile { path, apps, warnings }),
        false => Err(FileError::Wrong { file: file.to_owned(), findings: errors }),
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Toml,
    Yaml,
    Json,
}

impl Format {
    fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()? {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn parse(self, text: &str) -> Result<Node, Vec<Mistake>> {
        match self {
            // serde_json takes this for the beginning of a value that has not come.
            Self::Json if text.trim().is_empty() => yaml::parse(""),
            Self::Toml => toml::parse(text),
            Self::Yaml => yaml::parse(text),
            Self::Json => json::parse(text),
        }
    }
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("line {line} is not UTF-8; save it as such")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn understood(text: &str, format: Format) -> (BTreeMap<String, App>, Vec<Finding>) {
    let (apps, mut mistakes, secrets) = match format.parse(text) {
        Ok(root) => {
            let (apps, mut mistakes) = apps::apps(&root);
            mistakes.extend(rules::broken(apps::entries(&root), &apps));
            (apps, mistakes, Secrets::of(&root))
        }
        Err(mistakes) => (BTreeMap::new(), mistakes, Secrets::Unknown),
    };
    mistakes.sort_by_key(|mistake| mistake.span.as_ref().map(|span| span.start));
    let findings = mistakes.into_iter().map(|mistake| Finding::new(mistake, text, &secrets));
    (apps, findings.collect())
}

#[cfg(test)]
mod tests;
