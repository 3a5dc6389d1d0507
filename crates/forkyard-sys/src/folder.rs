//! Folders of this user's own, in which nobody else can put anything.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use crate::process::own_user;

/// Nobody but its owner may look into it.
const PRIVATE: u32 = 0o700;

/// Everybody may look into it.
const VISIBLE: u32 = 0o755;

/// What others may do with a folder at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nothing.
    KeepOut,
    /// See what is in it.
    MayLook,
}

impl Others {
    /// The bits of the mode that must not be set.
    fn forbidden(self) -> u32 {
        match self {
            Self::KeepOut => 0o077,
            Self::MayLook => 0o022,
        }
    }
}

/// How a folder stands to this user and to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is this user's, and others can do no more than they may.
    Ours,
    /// It is a link or a file. Who owns a link could put it elsewhere after we have looked.
    NoFolder,
    /// It is another user's.
    Foreign,
    /// Others can do more than they may.
    Open,
}

/// Makes the folder and those above it, if they are missing; for this user alone.
///
/// # Errors
///
/// Those of `mkdir(2)`.
pub fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE).create(dir)
}

/// Makes the folder, if it is missing, so that everybody may look into it, whatever the umask
/// says. One that is there stays as it is, and those above it have to be there.
///
/// # Errors
///
/// Those of `mkdir(2)` and `chmod(2)`.
pub fn make_visible(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(PRIVATE).create(dir) {
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(VISIBLE)),
        // One that is no folder is noticed by whoever looks at it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Looks whose the folder is, not through a link.
///
/// # Errors
///
/// Those of `lstat(2)`, `NotFound` if there is none.
pub fn look(dir: &Path, others: Others) -> io::Result<Standing> {
    let metadata = fs::symlink_metadata(dir)?;
    Ok(if !metadata.is_dir() {
        Standing::NoFolder
    } else if metadata.uid() != own_user() {
        Standing::Foreign
    } else if metadata.mode() & others.forbidden() != 0 {
        Standing::Open
    } else {
        Standing::Ours
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    /// What either rule makes of it.
    fn standings(dir: &Path) -> [Standing; 2] {
        [Others::KeepOut, Others::MayLook].map(|others| look(dir, others).unwrap())
    }

    #[test]
    fn a_new_folder_is_ours_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b");
        assert_eq!(look(&dir, Others::KeepOut).unwrap_err().kind(), io::ErrorKind::NotFound);
        for _ in 0..2 {
            make(&dir).unwrap();
            assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        }
        assert_eq!(standings(&dir), [Standing::Ours; 2]);
    }

    #[test]
    fn a_folder_for_others_to_look_into_can_be_looked_into() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a");
        make_visible(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o755);
        assert_eq!(standings(&dir), [Standing::Open, Standing::Ours]);
        fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
        make_visible(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700, "it is somebody else's");
    }

    #[test]
    fn what_others_can_do_is_held_against_what_they_may() {
        let temp = tempfile::tempdir().unwrap();
        for (mode, standings_of_it) in [
            (0o755, [Standing::Open, Standing::Ours]),
            (0o711, [Standing::Open, Standing::Ours]),
            (0o770, [Standing::Open; 2]),
            (0o702, [Standing::Open; 2]),
        ] {
            fs::set_permissions(temp.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(standings(temp.path()), standings_of_it, "{mode:o}");
        }
    }

    #[test]
    fn a_link_or_a_file_is_no_folder() {
        let temp = tempfile::tempdir().unwrap();
        let (link, file) = (temp.path().join("link"), temp.path().join("file"));
        symlink(temp.path(), &link).unwrap();
        fs::write(&file, "").unwrap();
        assert_eq!(standings(&link), [Standing::NoFolder; 2]);
        assert_eq!(standings(&file), [Standing::NoFolder; 2]);
    }

    /// Only root can give a folder away, and to everybody else root's are foreign.
    #[test]
    fn a_folder_of_another_user_is_foreign() {
        let temp = tempfile::tempdir().unwrap();
        let foreign = if own_user() == 0 {
            chown(temp.path(), Some(65534), None).unwrap();
            temp.path()
        } else {
            Path::new("/")
        };
        assert_eq!(standings(foreign), [Standing::Foreign; 2]);
    }
}
