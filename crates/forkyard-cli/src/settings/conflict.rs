//! Settings of one app that do not go together. On the command line clap says so; a file's are
//! checked here, by the same rules.

use super::App;

/// A setting that does not go with another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The setting, with the tables it is in: `ready.check`.
    pub(crate) setting: &'static str,
    pub(crate) why: &'static str,
}

impl App {
    /// What does not go together.
    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        let ready = self.ready.conflicts(!self.listen.is_empty());
        ready.into_iter().chain(self.lonely_group()).collect()
    }

    fn lonely_group(&self) -> Option<Conflict> {
        let why = "it takes a `user`, whose own group it is in place of";
        let is_lonely = self.group.is_some() && self.user.is_none();
        is_lonely.then_some(Conflict { setting: "group", why })
    }
}
