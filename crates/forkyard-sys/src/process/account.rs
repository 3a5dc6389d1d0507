//! The user as whom a process is to run: who that is, and becoming it.
//!
//! ```text
//!   here, before the fork:  Account::find ── check ──▶ numbers only
//!   in the child:           groups ▶ group ▶ user ▶ no capabilities ▶ no way back?
//! ```
//!
//! The system's databases are asked here and not in the child, because whoever answers may
//! allocate, lock or open connections (`nsswitch.conf(5)`).

use std::error::Error;
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::ptr;

use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid, set_thread_uid,
};

/// What it takes to become somebody else, and to end a process that is somebody else's.
const NEEDED: CapabilitySet =
    CapabilitySet::SETUID.union(CapabilitySet::SETGID).union(CapabilitySet::KILL);

/// No privilege at all.
const NONE: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// For `setresuid(2)` and its like this is no number but "as it is".
const UNCHANGED: u32 = u32::MAX;

/// How much room an entry of a database may take.
const LARGEST_ENTRY: usize = 1 << 20;

/// A user with the groups that are its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, or its number if it has no entry in the user database.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// All groups: that one and the supplementary ones.
    pub groups: Vec<u32>,
    /// Its home directory, if it has an entry.
    pub home: Option<PathBuf>,
}

/// Why a process cannot run as that user.
#[derive(Debug)]
#[non_exhaustive]
pub enum AccountError {
    /// There is no such user.
    NoUser {
        /// As it was named.
        user: String,
    },
    /// There is no such group.
    NoGroup {
        /// As it was named.
        group: String,
    },
    /// The number of a user without an entry, for which a group has to be named.
    GroupUnknown {
        /// The number.
        uid: u32,
    },
    /// This process may not change users.
    NotPermitted {
        /// The user's name.
        user: String,
    },
    /// A database could not be asked.
    Database {
        /// Which user or group was looked for.
        name: String,
        /// Why.
        cause: io::Error,
    },
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser { user } => write!(f, "there is no user {user}"),
            Self::NoGroup { group } => write!(f, "there is no group {group}"),
            Self::GroupUnknown { uid } => write!(
                f,
                "user {uid} has no entry in the user database, so its group is not known; name \
                 the group too"
            ),
            Self::NotPermitted { user } => write!(
                f,
                "this process may not become user {user}: that takes root, or CAP_SETUID, \
                 CAP_SETGID and CAP_KILL"
            ),
            Self::Database { name, cause } => write!(f, "failed to look {name} up: {cause}"),
        }
    }
}

impl Error for AccountError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Database { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl Account {
    /// Looks a user up by name or number, and a group if another one than the user's own is
    /// wanted. Its supplementary groups are the user's (`initgroups(3)`).
    ///
    /// # Errors
    ///
    /// If there is no such user or group, or a database cannot be asked.
    pub fn find(user: &str, group: Option<&str>) -> Result<Self, AccountError> {
        let entry = match find_user(user)? {
            Found::Entry(entry) => entry,
            Found::Number(uid) => Entry { name: uid.to_string(), uid, gid: None, home: None },
            Found::Nothing => return Err(AccountError::NoUser { user: user.to_owned() }),
        };
        let gid = group.map(find_group).transpose()?.or(entry.gid);
        let gid = gid.ok_or(AccountError::GroupUnknown { uid: entry.uid })?;
        // A user without an entry is in no other group.
        let groups = match entry.gid {
            Some(_) => groups_of(&entry.name, gid)?,
            None => vec![gid],
        };
        Ok(Self { name: entry.name, uid: entry.uid, gid, groups, home: entry.home })
    }

    /// Whether this process runs as this user already, so that there is nothing to change.
    #[must_use]
    pub fn is_own(&self) -> bool {
        geteuid().as_raw() == self.uid && getegid().as_raw() == self.gid
    }

    /// Whether children of this process can run as this user. It also takes the right to
    /// signal them, for which they are strangers then: without it they could not be ended,
    /// and would outlive their parent.
    ///
    /// # Errors
    ///
    /// [`AccountError::NotPermitted`].
    pub fn check(&self) -> Result<(), AccountError> {
        let permitted = || capabilities(None).is_ok_and(|own| own.effective.contains(NEEDED));
        match self.is_own() || permitted() {
            true => Ok(()),
            false => Err(AccountError::NotPermitted { user: self.name.clone() }),
        }
    }

    /// Whether the bits of a folder's mode let this user enter it. Access control lists are not
    /// looked at.
    #[must_use]
    pub fn may_enter(&self, folder: &Metadata) -> bool {
        let enters = match () {
            () if self.uid == Uid::ROOT.as_raw() => return true,
            () if folder.uid() == self.uid => 0o100,
            () if self.gid == folder.gid() || self.groups.contains(&folder.gid()) => 0o010,
            () => 0o001,
        };
        folder.mode() & enters != 0
    }

    /// What a child has to do, if anything.
    pub(super) fn change(&self) -> Option<Change> {
        let number = |gid: &u32| Gid::from_raw(*gid);
        let groups = self.groups.iter().map(number).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        (!self.is_own()).then_some(Change { uid, gid, groups })
    }
}

/// From this process's user to another one.
#[derive(Debug)]
pub(super) struct Change {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Change {
    /// In this order, because each step takes away what the ones before it need. Plain system
    /// calls of the calling thread, so async-signal-safe; in a child there is no other thread.
    ///
    /// The kernel forgets the signal at the parent's death over it (`PR_SET_PDEATHSIG` in
    /// `prctl(2)`).
    pub(super) fn make(&self) -> io::Result<()> {
        set_thread_groups(&self.groups)?;
        set_thread_res_gid(self.gid, self.gid, self.gid)?;
        set_thread_res_uid(self.uid, self.uid, self.uid)?;
        if self.uid.is_root() {
            return Ok(());
        }
        // Root's are gone by now, unless its securebits say otherwise; what another user was
        // given is not.
        set_capabilities(None, NONE)?;
        match set_thread_uid(Uid::ROOT) {
            Ok(()) => Err(Errno::PERM.into()),
            Err(_) => Ok(()),
        }
    }
}

/// What the databases say of a name or a number.
enum Found<T> {
    Entry(T),
    Number(u32),
    Nothing,
}

struct Entry {
    name: String,
    uid: u32,
    gid: Option<u32>,
    home: Option<PathBuf>,
}

/// A name outranks a number, as in `chown(1)`.
fn find_user(user: &str) -> Result<Found<Entry>, AccountError> {
    let failed = |cause| AccountError::Database { name: format!("user {user}"), cause };
    let name = CString::new(user).map_err(|error| failed(error.into()))?;
    // SAFETY: the name is a string, and `look_up` hands in an entry and a buffer with its length.
    let by_name = look_up(|entry, buffer, length, found| unsafe {
        libc::getpwnam_r(name.as_ptr(), entry, buffer, length, found)
    });
    if let Some(entry) = by_name.map_err(failed)? {
        return Ok(Found::Entry(entry));
    }
    let Some(uid) = number(user) else { return Ok(Found::Nothing) };
    // SAFETY: as above.
    let by_number = look_up(|entry, buffer, length, found| unsafe {
        libc::getpwuid_r(uid, entry, buffer, length, found)
    });
    Ok(by_number.map_err(failed)?.map_or(Found::Number(uid), Found::Entry))
}

fn find_group(group: &str) -> Result<u32, AccountError> {
    let failed = |cause| AccountError::Database { name: format!("group {group}"), cause };
    let name = CString::new(group).map_err(|error| failed(error.into()))?;
    // SAFETY: the name is a string, and `look_up` hands in an entry and a buffer with its length.
    let by_name = look_up(|entry, buffer, length, found| unsafe {
        libc::getgrnam_r(name.as_ptr(), entry, buffer, length, found)
    });
    let gid = by_name.map_err(failed)?.or_else(|| number(group));
    gid.ok_or_else(|| AccountError::NoGroup { group: group.to_owned() })
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number != UNCHANGED)
}

/// An entry as libc has it, whose texts are in a buffer of the caller's.
trait Raw {
    type Owned;

    /// # Safety
    ///
    /// What it points to must be as libc has put it there.
    unsafe fn to_owned(&self) -> Self::Owned;
}

impl Raw for libc::passwd {
    type Owned = Entry;

    unsafe fn to_owned(&self) -> Entry {
        // SAFETY: both are strings, says the caller.
        let (name, home) = unsafe { (CStr::from_ptr(self.pw_name), CStr::from_ptr(self.pw_dir)) };
        Entry {
            name: name.to_string_lossy().into_owned(),
            uid: self.pw_uid,
            gid: Some(self.pw_gid),
            home: Some(PathBuf::from(OsStr::from_bytes(home.to_bytes()))),
        }
    }
}

impl Raw for libc::group {
    type Owned = u32;

    unsafe fn to_owned(&self) -> u32 {
        self.gr_gid
    }
}

/// Asks with more and more room (`getpwnam(3)`).
fn look_up<R: Raw>(
    ask: impl Fn(*mut R, *mut libc::c_char, libc::size_t, *mut *mut R) -> libc::c_int,
) -> io::Result<Option<R::Owned>> {
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        let mut entry = MaybeUninit::<R>::uninit();
        let mut found: *mut R = ptr::null_mut();
        match ask(entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found) {
            0 if found.is_null() => return Ok(None),
            // SAFETY: it is `entry`, which has been filled in, and its texts are in `buffer`.
            0 => return Ok(Some(unsafe { (*found).to_owned() })),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < LARGEST_ENTRY => buffer.resize(buffer.len() * 2, 0),
            // Some databases say so of a name that they do not have.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// All groups of a user, with `gid` as the first.
fn groups_of(name: &str, gid: u32) -> Result<Vec<u32>, AccountError> {
    let failed = |cause| AccountError::Database { name: format!("the groups of {name}"), cause };
    let user = CString::new(name).map_err(|error| failed(error.into()))?;
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the name is a string, and there is room for `count` groups.
        let found =
            unsafe { libc::getgrouplist(user.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let count = usize::try_from(count).unwrap_or(0);
        match found {
            -1 if groups.len() < LARGEST_ENTRY => groups.resize(groups.len() * 2, 0),
            -1 => return Err(failed(io::Error::from_raw_os_error(libc::ERANGE))),
            _ => {
                groups.truncate(count);
                return Ok(groups);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let root = Account::find("root", None).unwrap();
        assert_eq!((root.uid, root.gid, root.name.as_str()), (0, 0, "root"));
        assert_eq!(root.home, Some(PathBuf::from("/root")));
        assert!(root.groups.contains(&0));
        assert_eq!(Account::find("0", None).unwrap(), root);
    }

    #[test]
    fn another_group_takes_the_place_of_the_user_s_own() {
        let account = Account::find("root", Some("daemon")).unwrap();
        assert_eq!((account.uid, account.gid), (0, 1));
        assert_eq!(Account::find("root", Some("1")).unwrap(), account);
        assert!(account.groups.contains(&1));
    }

    #[test]
    fn a_number_without_an_entry_needs_a_group() {
        let error = Account::find("3999999999", None).unwrap_err();
        assert!(error.to_string().contains("name the group too"), "{error}");
        let account = Account::find("3999999999", Some("3999999998")).unwrap();
        assert_eq!((account.uid, account.gid), (3_999_999_999, 3_999_999_998));
        assert_eq!(account.groups, [3_999_999_998]);
        assert_eq!((account.name.as_str(), account.home), ("3999999999", None));
    }

    /// The last number would leave the process the user that it was.
    #[test]
    fn who_is_not_there_is_an_error() {
        for user in ["no-such-user", "", "-1", "4294967295", "4294967296", "a\0b"] {
            assert!(Account::find(user, Some("0")).is_err(), "{user:?}");
        }
        for group in ["no-such-group", "4294967295"] {
            let error = Account::find("root", Some(group)).unwrap_err();
            assert!(error.to_string().contains(group), "{error}");
        }
    }

    #[test]
    fn the_first_set_of_bits_that_fits_counts() {
        let dir = tempfile::tempdir().unwrap();
        let metadata = || std::fs::metadata(dir.path()).unwrap();
        let (uid, gid) = (metadata().uid() + 1, metadata().gid() + 1);
        let stranger = Account { name: "a".into(), uid, gid, groups: vec![], home: None };
        let owner = Account { uid: metadata().uid(), ..stranger.clone() };
        let member = Account { groups: vec![metadata().gid()], ..stranger.clone() };
        for (mode, who, may) in [
            (0o701, &stranger, true),
            (0o770, &stranger, false),
            (0o711, &member, true),
            (0o701, &member, false),
            (0o700, &owner, true),
            (0o011, &owner, owner.uid == 0),
        ] {
            std::fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(who.may_enter(&metadata()), may, "{mode:o} {who:?}");
        }
    }

    #[test]
    fn nothing_is_needed_to_stay_who_one_is() {
        let (uid, gid) = (geteuid().as_raw().to_string(), getegid().as_raw().to_string());
        let own = Account::find(&uid, Some(&gid)).unwrap();
        own.check().unwrap();
        assert!(own.change().is_none());
    }
}
