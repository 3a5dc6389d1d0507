//! The apps of this user: those that run, and those that were started once.
//!
//! ```text
//!   records in the home folder ──┐
//!                                ├──▶ App known by its name ──▶ chosen by target
//!   control sockets, looked at ──┘
//! ```

use std::collections::BTreeMap;

use forkyard_control::client::{Client, Found, find};
use forkyard_control::folder::{file_name, runtime_dirs};

use crate::exit_code::Failure;
use crate::records::{Record, Store};

/// From how alike a name is on it may be a slip of the pen: 1 is the same, 0 has nothing in common.
const ALIKE: f64 = 0.5;
/// The target that means every app.
const ALL: &str = "all";

/// One app.
#[derive(Clone, Debug)]
pub(crate) struct KnownApp {
    pub(crate) name: String,
    /// What was started under that name in the background, or why that cannot be read.
    pub(crate) record: Option<Result<Record, String>>,
    /// Its primary, if it runs.
    pub(crate) primary: Option<Found>,
}

impl KnownApp {
    /// To ask it for things.
    pub(crate) fn client(&self) -> Option<Client> {
        self.primary.clone().map(Client::of)
    }

    /// To ask it for things, if it runs.
    pub(crate) fn running(&self) -> Result<Client, Failure> {
        self.client().ok_or_else(|| {
            Failure::no_such_app(format!(
                "{} does not run; `forkyard start {}` starts it",
                self.name, self.name
            ))
        })
    }

    /// What is kept of it, if it can be read.
    pub(crate) fn kept(&self) -> Option<&Record> {
        self.record.as_ref().and_then(|record| record.as_ref().ok())
    }

    fn is_in(&self, group: &str) -> bool {
        self.kept().is_some_and(|record| record.settings.groups.iter().any(|name| name == group))
    }
}

/// Every app, by name. Of those that run twice under one name, each.
pub(crate) async fn known() -> Result<Vec<KnownApp>, Failure> {
    let running = find(&runtime_dirs()).await;
    let running =
        running.map_err(|error| Failure::unexpected("failed to look for running apps", &error))?;
    // Who cannot have a home folder can have apps in the foreground all the same.
    let kept = match Store::open() {
        Ok(store) => kept(&store)?,
        Err(failure) if running.is_empty() => return Err(failure),
        Err(_) => BTreeMap::new(),
    };
    Ok(joined(kept, running))
}

fn kept(store: &Store) -> Result<BTreeMap<String, Result<Record, String>>, Failure> {
    let loaded = |name: String| {
        // One that was deleted in between is none.
        let record = store.load(&name).map_err(|error| error.to_string()).transpose()?;
        Some((name, record))
    };
    Ok(store.names()?.into_iter().filter_map(loaded).collect())
}

fn joined(kept: BTreeMap<String, Result<Record, String>>, running: Vec<Found>) -> Vec<KnownApp> {
    let mut apps: Vec<_> = kept
        .into_iter()
        .map(|(name, record)| KnownApp { name, record: Some(record), primary: None })
        .collect();
    for found in running {
        match apps.iter_mut().find(|app| app.name == found.app && app.primary.is_none()) {
            Some(app) => app.primary = Some(found),
            None => {
                let name = found.app.clone();
                apps.push(KnownApp { name, record: None, primary: Some(found) });
            }
        }
    }
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    apps
}

/// The apps that are meant, each once: names, groups, process ids, `all`. Without a target, the
/// only one there is.
pub(crate) fn chosen(apps: Vec<KnownApp>, targets: &[String]) -> Result<Vec<KnownApp>, Failure> {
    if targets.is_empty() {
        return match apps.len() {
            0 => Err(Failure::no_such_app("there is no app".into())),
            1 => Ok(apps),
            _ => Err(Failure::no_such_app(format!(
                "there are several apps; name one, or `all`: {}",
                listed(&apps)
            ))),
        };
    }
    let mut is_meant = vec![false; apps.len()];
    for target in targets {
        let fits = meant_by(&apps, target)?;
        is_meant.iter_mut().zip(fits).for_each(|(meant, fits)| *meant |= fits);
    }
    Ok(apps.into_iter().zip(is_meant).filter_map(|(app, meant)| meant.then_some(app)).collect())
}

/// Which of them a target means: what is nearest to it counts.
fn meant_by(apps: &[KnownApp], target: &str) -> Result<Vec<bool>, Failure> {
    // What of a name cannot stand in a file's is another sign there.
    let shortened = file_name(target);
    let is_named = |app: &KnownApp| app.name == target || app.name == shortened;
    let has_number =
        |app: &KnownApp| app.primary.as_ref().is_some_and(|found| found.pid.to_string() == target);
    let is_in = |app: &KnownApp| app.is_in(target);
    let named = apps.iter().filter(|app| is_named(app)).count();
    if named > 1 {
        let same: Vec<_> = apps.iter().filter(|app| is_named(app)).cloned().collect();
        return Err(Failure::no_such_app(format!(
            "several apps named {target:?} are running; name one by its process id: {}",
            listed(&same)
        )));
    }
    let ways: [&dyn Fn(&KnownApp) -> bool; 4] =
        [&is_named, &has_number, &is_in, &|_| target == ALL];
    let fitting = ways.iter().map(|way| apps.iter().map(way).collect::<Vec<bool>>());
    let mut fitting = fitting.filter(|fits| fits.contains(&true));
    match fitting.next() {
        Some(fits) => Ok(fits),
        // Nothing is all there is.
        None if target == ALL => Ok(vec![false; apps.len()]),
        None => Err(Failure::no_such_app(unknown(target, apps))),
    }
}

fn unknown(target: &str, apps: &[KnownApp]) -> String {
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(name, target);
    let nearest =
        apps.iter().map(|app| app.name.as_str()).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match (nearest, nearest.filter(|name| likeness(name) >= ALIKE)) {
        (None, _) => format!("there is no app {target:?}; there is none at all"),
        (_, Some(nearest)) => format!(
            "there is no app {target:?}; did you mean {nearest:?}? There are {}",
            listed(apps)
        ),
        _ => format!("there is no app {target:?}; there are {}", listed(apps)),
    }
}

fn listed(apps: &[KnownApp]) -> String {
    let shown = |app: &KnownApp| match &app.primary {
        Some(found) => format!("{} ({})", app.name, found.pid),
        None => app.name.clone(),
    };
    apps.iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::App;

    /// The number is the primary's; with none it does not run. Of those that do not, there is a
    /// record, with a group.
    fn apps(apps: &[(&str, u32)]) -> Vec<KnownApp> {
        let app = |(name, pid): &(&str, u32)| {
            let settings = App { groups: vec!["back".into()], ..App::default() };
            let name = (*name).to_owned();
            let record = (*pid == 0).then(|| Ok(Record::new(&name, settings, "/".into())));
            let path = format!("/run/{name}.{pid}.sock").into();
            let found = Found { app: name.clone(), pid: *pid, path };
            KnownApp { name, record, primary: (*pid != 0).then_some(found) }
        };
        apps.iter().map(app).collect()
    }

    fn names(targets: &[&str]) -> Result<String, String> {
        let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
        let apps = apps(&[("web", 7), ("jobs", 0), ("mail", 0), ("8", 9), ("shop", 8)]);
        let chosen = chosen(apps, &targets).map_err(|failure| failure.to_string())?;
        Ok(chosen.iter().map(|app| app.name.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_target_is_a_name_a_process_id_a_group_or_all() {
        for (targets, expected) in [
            (&["web"][..], "web"),
            (&["7"], "web"),
            (&["8"], "8"),
            (&["back"], "jobs mail"),
            (&["web", "back", "jobs"], "web jobs mail"),
            (&["all"], "web jobs mail 8 shop"),
        ] {
            assert_eq!(names(targets).as_deref(), Ok(expected), "{targets:?}");
        }
    }

    #[test]
    fn what_cannot_be_chosen_is_said_with_what_there_is() {
        let there = "web (7), jobs, mail, 8 (9), shop (8)";
        assert_eq!(
            names(&["wbe"]).unwrap_err(),
            format!("there is no app \"wbe\"; did you mean \"web\"? There are {there}")
        );
        assert_eq!(
            names(&["web", "xyzzy"]).unwrap_err(),
            format!("there is no app \"xyzzy\"; there are {there}")
        );
        let message = |found, targets: &[&str]| {
            let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
            chosen(found, &targets).unwrap_err().to_string()
        };
        assert_eq!(message(Vec::new(), &["web"]), "there is no app \"web\"; there is none at all");
        assert_eq!(message(Vec::new(), &[]), "there is no app");
        assert_eq!(
            message(apps(&[("web", 7), ("jobs", 0)]), &[]),
            "there are several apps; name one, or `all`: web (7), jobs"
        );
        assert_eq!(
            message(apps(&[("web", 7), ("web", 9)]), &["web"]),
            "several apps named \"web\" are running; name one by its process id: web (7), web (9)"
        );
    }

    #[test]
    fn one_app_needs_no_name_and_all_of_none_is_none() {
        assert_eq!(chosen(apps(&[("web", 7)]), &[]).unwrap().len(), 1);
        assert!(chosen(Vec::new(), &["all".into()]).unwrap().is_empty());
    }

    #[test]
    fn who_runs_and_who_is_kept_is_one_app() {
        let record = Record::new("web", App::default(), "/".into());
        let found = |app: &str, pid| Found { app: app.into(), pid, path: "/x".into() };
        let kept = BTreeMap::from([("web".to_owned(), Ok(record))]);
        let apps = joined(kept, vec![found("web", 7), found("web", 8), found("jobs", 9)]);
        let shown: Vec<_> = apps
            .iter()
            .map(|app| (app.name.as_str(), app.record.is_some(), app.primary.is_some()))
            .collect();
        assert_eq!(shown, [("jobs", false, true), ("web", true, true), ("web", false, true)]);
    }
}
