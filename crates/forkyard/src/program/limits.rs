//! As whom workers run, how much they may use, and how they are told apart.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::Command;

use forkyard_sys::cgroup::Cgroup;
use forkyard_sys::process::{Account, NewPrivileges, OpenFiles};

use super::Program;
use crate::primary::LiveIndex;
use crate::primary::upgrade::Text;
use crate::primary::upgrade::state::{AccountState, LimitsState, OpenFilesState};

/// Tells a worker its seat, under the name that PM2 gave it.
const INSTANCE_VARIABLE: &str = "NODE_APP_INSTANCE";
/// Tells a worker its port.
const PORT_VARIABLE: &str = "PORT";

/// All that workers of a program get beyond the program itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) account: Option<Account>,
    pub(crate) new_privileges: NewPrivileges,
    pub(crate) nice: Option<i32>,
    pub(crate) open_files: Option<OpenFiles>,
    /// The folder of their control group.
    pub(crate) cgroup: Option<PathBuf>,
    /// The port of the first worker.
    port_from: Option<NonZeroU16>,
    /// The name under which a worker is told its seat.
    instance_variable: Option<OsString>,
}

impl Program {
    /// Has every worker run as another user, with its groups and none of this process's
    /// privileges, and without a way back. `HOME`, `USER` and `LOGNAME` are the user's unless
    /// they are [set](Self::env).
    ///
    /// The working directory is entered before that; what the program opens has to be open to
    /// the user. Channel and sockets are inherited. The agent's file must be in a folder that
    /// the user may enter, and is made for everybody to read.
    ///
    /// Whether this process may do it can be asked beforehand: [`Account::check`].
    #[must_use]
    pub fn user(mut self, account: Account) -> Self {
        self.limits.account = Some(account);
        self
    }

    /// Whether what workers execute may bring privileges of its own, as `sudo` and many
    /// `sendmail`s do. Allowed by default.
    #[must_use]
    pub fn new_privileges(mut self, rule: NewPrivileges) -> Self {
        self.limits.new_privileges = rule;
        self
    }

    /// How nice workers are to other processes: from -20, which takes privileges, to 19. The
    /// system cuts what is beyond. By default as nice as the primary.
    #[must_use]
    pub fn nice(mut self, level: i32) -> Self {
        self.limits.nice = Some(level);
        self
    }

    /// How many files a worker may have open. To raise the hard limit takes privileges. By
    /// default the primary's limits, or what
    /// [`nofile_soft`](crate::ClusterBuilder::nofile_soft) says.
    #[must_use]
    pub fn open_files(mut self, limits: OpenFiles) -> Self {
        self.limits.open_files = Some(limits);
        self
    }

    /// Has workers start in this control group. Whoever has made it removes it after the end.
    #[must_use]
    pub fn cgroup(mut self, group: &Cgroup) -> Self {
        self.limits.cgroup = Some(group.folder().to_owned());
        self
    }

    /// Gives each worker a port of its own, as `PORT`, for programs that bind by themselves:
    /// this one, or the first after it that no other worker of the app has as long as it lives.
    /// A successor, which lives beside its predecessor, has another one than that.
    #[must_use]
    pub fn port_from(mut self, first: NonZeroU16) -> Self {
        self.limits.port_from = Some(first);
        self
    }

    /// The variable that tells a worker its slot, in place of `NODE_APP_INSTANCE`.
    #[must_use]
    pub fn instance_variable(mut self, name: impl Into<OsString>) -> Self {
        self.limits.instance_variable = Some(name.into());
        self
    }
}

/// There are no more ports.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "there is no port for it: the app's ports begin at {first}, and {index} workers have those \
     up to 65535; begin with a lower one"
)]
pub(crate) struct NoPort {
    first: NonZeroU16,
    index: LiveIndex,
}

impl Limits {
    /// Whether workers run as somebody else than this process.
    pub(crate) fn changes_user(&self) -> bool {
        self.account.as_ref().is_some_and(|account| !account.is_own())
    }

    /// What a login would set.
    pub(super) fn set_home(&self, command: &mut Command) {
        let Some(account) = &self.account else { return };
        command.env("USER", &account.name).env("LOGNAME", &account.name);
        match &account.home {
            Some(home) => command.env("HOME", home),
            // Not the primary's.
            None => command.env("HOME", "/"),
        };
    }

    /// What tells this worker from the others.
    pub(crate) fn tell_apart(
        &self,
        command: &mut Command,
        slot: crate::SlotId,
        index: LiveIndex,
    ) -> Result<(), NoPort> {
        let named = self.instance_variable.as_deref();
        // The primary's own, if it runs under PM2, says nothing about its workers.
        command.env_remove(INSTANCE_VARIABLE);
        command.env(named.unwrap_or(OsStr::new(INSTANCE_VARIABLE)), slot.to_string());
        if let Some(first) = self.port_from {
            let port = u16::try_from(index.0).ok().and_then(|index| first.checked_add(index));
            command.env(PORT_VARIABLE, port.ok_or(NoPort { first, index })?.to_string());
        }
        Ok(())
    }

    /// As they are left to another image of the primary.
    pub(super) fn state(&self) -> LimitsState {
        let Self { account, new_privileges, nice, open_files, cgroup, .. } = self;
        let account = account.as_ref().map(|account| AccountState {
            name: account.name.clone(),
            uid: account.uid,
            gid: account.gid,
            groups: account.groups.clone(),
            home: account.home.as_ref().map(Text::of),
        });
        LimitsState {
            user: account,
            refuse_new_privileges: *new_privileges == NewPrivileges::Refused,
            nice: *nice,
            open_files: open_files.map(|OpenFiles { soft, hard }| OpenFilesState { soft, hard }),
            cgroup: cgroup.as_ref().map(Text::of),
            port_from: self.port_from,
            instance_variable: self.instance_variable.as_ref().map(Text::of),
        }
    }
}

impl From<LimitsState> for Limits {
    fn from(state: LimitsState) -> Self {
        let account = |AccountState { name, uid, gid, groups, home }| Account {
            name,
            uid,
            gid,
            groups,
            home: home.map(PathBuf::from),
        };
        let open_files = |OpenFilesState { soft, hard }| OpenFiles { soft, hard };
        Self {
            account: state.user.map(account),
            new_privileges: match state.refuse_new_privileges {
                true => NewPrivileges::Refused,
                false => NewPrivileges::Allowed,
            },
            nice: state.nice,
            open_files: state.open_files.map(open_files),
            cgroup: state.cgroup.map(PathBuf::from),
            port_from: state.port_from,
            instance_variable: state.instance_variable.map(OsString::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use forkyard_core::SlotId;

    use super::*;

    fn told(limits: &Limits, name: &str, slot: u32, index: u32) -> Option<String> {
        let mut command = Command::new("/bin/true");
        limits.tell_apart(&mut command, SlotId(slot), LiveIndex(index)).unwrap();
        let value = command.get_envs().find(|(key, _)| *key == name)?.1?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_worker_is_told_its_slot_and_its_port() {
        let program = Program::new("a").port_from(NonZeroU16::new(3000).unwrap());
        assert_eq!(told(&program.limits, "NODE_APP_INSTANCE", 4, 0).unwrap(), "4");
        assert_eq!(told(&program.limits, "PORT", 4, 0).unwrap(), "3000");
        assert_eq!(told(&program.limits, "PORT", 4, 7).unwrap(), "3007");
        assert_eq!(told(&Limits::default(), "PORT", 4, 7), None);
    }

    #[test]
    fn the_variable_for_the_slot_may_have_another_name() {
        let program = Program::new("a").instance_variable("INSTANCE");
        assert_eq!(told(&program.limits, "INSTANCE", 1, 0).unwrap(), "1");
        assert_eq!(told(&program.limits, "NODE_APP_INSTANCE", 1, 0), None);
    }

    #[test]
    fn ports_have_an_end() {
        let program = Program::new("a").port_from(NonZeroU16::new(65535).unwrap());
        assert_eq!(told(&program.limits, "PORT", 0, 0).unwrap(), "65535");
        let mut command = Command::new("/bin/true");
        for index in [1, 70_000] {
            let index = LiveIndex(index);
            let error = program.limits.tell_apart(&mut command, SlotId(0), index).unwrap_err();
            assert!(error.to_string().contains("begin with a lower one"), "{error}");
        }
    }

    #[test]
    fn another_image_finds_all_of_it() {
        let limits = Limits {
            account: Some(Account::find("root", None).unwrap()),
            new_privileges: NewPrivileges::Refused,
            nice: Some(-3),
            open_files: Some(OpenFiles { soft: 1, hard: 2 }),
            cgroup: Some("/sys/fs/cgroup/shop".into()),
            port_from: NonZeroU16::new(3000),
            instance_variable: Some("INSTANCE".into()),
        };
        assert_eq!(Limits::from(limits.state()), limits);
        assert_eq!(Limits::from(Limits::default().state()), Limits::default());
    }
}
