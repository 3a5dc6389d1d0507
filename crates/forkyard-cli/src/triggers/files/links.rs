//! The names that a path leads by: where one of them is given to something else, the path leads
//! elsewhere from then on.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// As many symlinks as the system follows (`path_resolution(7)`).
const MOST: usize = 40;

/// The symlinks on the way of an absolute path, and where they lead in the end, whether or not
/// something is there. Each is named by way of no other symlink.
pub(super) fn links_of(path: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut here = PathBuf::from("/");
    let mut ahead = parts(path);
    while let Some(part) = ahead.pop_front() {
        let next = match part {
            Part::Root => {
                here = PathBuf::from("/");
                continue;
            }
            Part::Up => {
                here.pop();
                continue;
            }
            Part::Name(name) => here.join(name),
        };
        match fs::read_link(&next) {
            Ok(target) if names.len() < MOST => {
                names.push(next);
                let mut way = parts(&target);
                way.append(&mut ahead);
                ahead = way;
            }
            _ => here = next,
        }
    }
    names.push(here);
    names
}

enum Part {
    Root,
    Up,
    Name(OsString),
}

fn parts(path: &Path) -> VecDeque<Part> {
    let part = |component: Component<'_>| match component {
        Component::RootDir => Some(Part::Root),
        Component::ParentDir => Some(Part::Up),
        Component::Normal(name) => Some(Part::Name(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_symlink_on_the_way_is_named_and_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().canonicalize().unwrap().join(path);
        fs::create_dir_all(at("releases/2/app")).unwrap();
        symlink("releases/newest", at("current")).unwrap();
        symlink("../releases/2", at("releases/newest")).unwrap();
        symlink(at("current"), at("absolute")).unwrap();
        assert_eq!(
            links_of(&at("absolute/app")),
            [at("absolute"), at("current"), at("releases/newest"), at("releases/2/app")]
        );
        assert_eq!(links_of(&at("releases/./2/../none")), [at("releases/none")]);
    }

    #[test]
    fn a_circle_ends() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().canonicalize().unwrap().join("link");
        symlink(&link, &link).unwrap();
        assert_eq!(links_of(&link).len(), MOST + 1);
    }
}
