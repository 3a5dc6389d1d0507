//! The rules as they are in force, whoever has written them down.

use std::num::NonZeroU16;

use forkyard::{Account, CgroupLimits, NewPrivileges, OpenFiles, Program};

use super::ByteSize;
use crate::exit_code::Failure;

/// What workers may use and as whom they run. By default all is as it is for the primary.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitRules {
    /// The user, by name or number.
    pub(crate) user: Option<String>,
    /// The group, by name or number; by default the user's own. Only with a user.
    pub(crate) group: Option<String>,
    /// Whether what workers execute may bring privileges of its own.
    pub(crate) new_privileges: NewPrivileges,
    /// From -20 to 19.
    pub(crate) nice: Option<i32>,
    /// How many files a worker may have open.
    pub(crate) open_files: Option<OpenFiles>,
    /// The resident memory of one worker, beyond which it is replaced.
    pub(crate) max_memory: Option<ByteSize>,
    /// What all workers together may use.
    pub(crate) cgroup: CgroupLimits,
    /// The port of the first worker, for programs that bind by themselves.
    pub(crate) port_from: Option<NonZeroU16>,
    /// The name of the variable that tells a worker its slot; by default `NODE_APP_INSTANCE`.
    pub(crate) instance_variable: Option<String>,
}

impl LimitRules {
    /// The program with all of it that concerns a worker's start. Users are looked up anew each
    /// time.
    pub(crate) fn apply(&self, program: Program) -> Result<Program, Failure> {
        let program = program.new_privileges(self.new_privileges);
        let program = self.account()?.into_iter().fold(program, Program::user);
        let program = self.nice.into_iter().fold(program, Program::nice);
        let program = self.open_files.into_iter().fold(program, Program::open_files);
        let program = self.port_from.into_iter().fold(program, Program::port_from);
        Ok(self.instance_variable.iter().fold(program, Program::instance_variable))
    }

    /// The user, if it is not to be the primary's.
    pub(crate) fn account(&self) -> Result<Option<Account>, Failure> {
        let Some(user) = &self.user else { return Ok(None) };
        let failed = |error| Failure::usage(format!("failed to use --user {user}: {error}"));
        let account = Account::find(user, self.group.as_deref()).map_err(failed)?;
        account.check().map_err(failed)?;
        Ok(Some(account))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_is_not_there_is_an_error_before_anything_is_started() {
        let rules = LimitRules { user: Some("no-such-user".into()), ..LimitRules::default() };
        let error = rules.apply(Program::new("a")).unwrap_err();
        assert_eq!(error.number(), 2);
        let text = error.to_string();
        assert_eq!(text, "failed to use --user no-such-user: there is no user no-such-user");
    }

    #[test]
    fn nothing_is_asked_of_anybody_by_default() {
        assert!(LimitRules::default().account().unwrap().is_none());
        LimitRules::default().apply(Program::new("a")).unwrap();
    }
}
