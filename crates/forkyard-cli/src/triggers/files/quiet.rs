//! Waits until whoever changes files has finished: an editor, a build, a deployment.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::WatchRules;
use super::tree::Changes;
use crate::triggers::Cause;

/// How many files are told by name.
const NAMED: usize = 20;
/// How many are told apart. From then on each change counts as another file.
const TOLD_APART: usize = 10_000;

/// Changes that wait.
#[derive(Debug)]
pub(super) struct Quiet {
    quiet: Duration,
    latest: Duration,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    files: BTreeSet<PathBuf>,
    others: usize,
    first: Instant,
    last: Instant,
}

impl Quiet {
    pub(super) fn of(rules: &WatchRules) -> Self {
        Self { quiet: rules.quiet, latest: rules.latest, pending: None }
    }

    pub(super) fn add(&mut self, changes: Changes, now: Instant) {
        let new = || Pending { files: BTreeSet::new(), others: 0, first: now, last: now };
        let pending = self.pending.get_or_insert_with(new);
        pending.last = now;
        pending.others += changes.others;
        for file in changes.files {
            if pending.files.len() < TOLD_APART {
                pending.files.insert(file);
            } else {
                pending.others += 1;
            }
        }
    }

    /// When they have waited long enough, if there are any.
    pub(super) fn over(&self) -> Option<Instant> {
        let pending = self.pending.as_ref()?;
        Some((pending.last + self.quiet).min(pending.first + self.latest))
    }

    /// What there is, for all that it may not have waited long enough.
    pub(super) fn take(&mut self) -> Option<Cause> {
        let Pending { files, others, .. } = self.pending.take()?;
        let others = others + files.len().saturating_sub(NAMED);
        Some(Cause::Changed { files: files.into_iter().take(NAMED).collect(), others })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> WatchRules {
        let (quiet, latest) = (Duration::from_millis(300), Duration::from_secs(5));
        WatchRules { globs: Vec::new(), quiet, latest }
    }

    fn changes(files: &[&str]) -> Changes {
        Changes { files: files.iter().map(PathBuf::from).collect(), others: 0 }
    }

    #[test]
    fn it_lasts_from_the_last_change_on() {
        let start = Instant::now();
        let mut quiet = Quiet::of(&rules());
        assert_eq!((quiet.over(), quiet.take()), (None, None));
        quiet.add(changes(&["b"]), start);
        quiet.add(changes(&["a", "b"]), start + Duration::from_millis(200));
        assert_eq!(quiet.over(), Some(start + Duration::from_millis(500)));
        let expected = Cause::Changed { files: vec!["a".into(), "b".into()], others: 0 };
        assert_eq!((quiet.take(), quiet.over()), (Some(expected), None));
    }

    #[test]
    fn what_never_gets_quiet_has_its_bound() {
        let start = Instant::now();
        let mut quiet = Quiet::of(&rules());
        for step in 0..100 {
            quiet.add(changes(&["a"]), start + Duration::from_millis(100) * step);
        }
        assert_eq!(quiet.over(), Some(start + Duration::from_secs(5)));
    }

    #[test]
    fn only_so_many_are_named_and_told_apart() {
        let mut quiet = Quiet::of(&rules());
        let files = (0..TOLD_APART + 5).map(|number| PathBuf::from(number.to_string())).collect();
        quiet.add(Changes { files, others: 2 }, Instant::now());
        let Some(Cause::Changed { files, others }) = quiet.take() else { panic!("nothing") };
        assert_eq!((files.len(), others), (NAMED, TOLD_APART + 7 - NAMED));
    }
}
