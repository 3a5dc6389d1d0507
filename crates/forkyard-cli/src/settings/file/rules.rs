//! What has to hold between the apps of a file.

use std::collections::{BTreeMap, BTreeSet};

use super::apps::setting_of;
use super::mistake::Mistake;
use super::suggest::nearest;
use super::tree::{Entry, Span};
use crate::names;
use crate::settings::App;

/// What does not hold. `entries` has also the apps that could not be read.
pub(super) fn broken(entries: &[Entry], apps: &BTreeMap<String, App>) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for entry in entries {
        let Some(app) = apps.get(&entry.key) else { continue };
        mistakes.extend(strangers(entry, app, entries));
        mistakes.extend(group_names(entry, app, entries));
    }
    mistakes.extend(circle(entries, apps));
    mistakes.extend(shared_addresses(entries, apps));
    mistakes
}

/// The apps' names, each after those that its app depends on. What is in a circle is left out.
pub(super) fn in_order(apps: &BTreeMap<String, App>) -> Vec<&str> {
    let mut order: Vec<&str> = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    loop {
        let is_next = |name: &str, app: &App| {
            let comes_before =
                |other: &String| done.contains(other.as_str()) || !apps.contains_key(other);
            !done.contains(name) && app.depends_on.iter().all(comes_before)
        };
        let next: Vec<_> =
            apps.iter().filter(|(name, app)| is_next(name, app)).map(|(name, _)| &**name).collect();
        if next.is_empty() {
            return order;
        }
        done.extend(&next);
        order.extend(next);
    }
}

fn strangers(entry: &Entry, app: &App, entries: &[Entry]) -> Vec<Mistake> {
    let is_there = |name: &str| entries.iter().any(|other| other.key == name);
    let strangers = app.depends_on.iter().filter(|name| !is_there(name));
    let told = strangers.map(|name| {
        let others = entries.iter().map(|entry| entry.key.as_str());
        let why = match nearest(name, others.filter(|other| *other != entry.key)) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => "only apps of this file can be waited for".to_owned(),
        };
        Mistake::at(&span_of(entry, "depends_on", name), format!("there is no app `{name}`"))
            .because(why)
            .of(setting_of(entry, &["depends_on"]))
    });
    told.collect()
}

fn group_names(entry: &Entry, app: &App, entries: &[Entry]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for group in &app.groups {
        let wrong = if entries.iter().any(|other| other.key == *group) {
            format!("`{group}` is an app's name already")
        } else if let Err(wrong) = names::check(group) {
            wrong.replace("an app's name", "a group's name")
        } else {
            continue;
        };
        let mistake = Mistake::at(&span_of(entry, "groups", group), wrong);
        mistakes
            .push(mistake.because("name the group otherwise").of(setting_of(entry, &["groups"])));
    }
    mistakes
}

/// What is left when all that can be started is, is in a circle or waits for one.
fn circle(entries: &[Entry], apps: &BTreeMap<String, App>) -> Option<Mistake> {
    let startable: BTreeSet<_> = in_order(apps).into_iter().collect();
    let left = |name: &str| apps.contains_key(name) && !startable.contains(name);
    let first = entries.iter().find(|entry| left(&entry.key))?;
    let mut way: Vec<&str> = vec![&first.key];
    loop {
        let app = &apps[*way.last()?];
        let next = app.depends_on.iter().map(String::as_str).find(|name| left(name))?;
        let begins = way.iter().position(|name| *name == next);
        way.push(next);
        if let Some(begins) = begins {
            return told(entries, &way[begins..]);
        }
    }
}

fn told(entries: &[Entry], circle: &[&str]) -> Option<Mistake> {
    let entry = entries.iter().find(|entry| entry.key == circle[0])?;
    let shown: Vec<_> = circle.iter().map(|name| format!("`{name}`")).collect();
    let mistake = Mistake::at(
        &span_of(entry, "depends_on", circle.get(1)?),
        "apps wait for each other, and none could be started",
    );
    Some(mistake.because(shown.join(" waits for ")).of(setting_of(entry, &["depends_on"])))
}

/// Only a warning: they may be meant for different machines, or times.
fn shared_addresses(entries: &[Entry], apps: &BTreeMap<String, App>) -> Vec<Mistake> {
    let mut warnings = Vec::new();
    let all: Vec<_> = entries
        .iter()
        .filter_map(|entry| Some((entry, apps.get(&entry.key)?)))
        .flat_map(|(entry, app)| app.listen.iter().map(move |address| (entry, address)))
        .collect();
    for (at, (entry, address)) in all.iter().enumerate() {
        let clash = all[..at].iter().find(|(_, before)| before.value.clashes_with(&address.value));
        let Some((other, before)) = clash else { continue };
        let what = format!("`{}` and `{}` cannot both have {address}", other.key, entry.key);
        let why = format!("`{}` has {before}", other.key);
        let span = span_of(entry, "listen", &address.to_string());
        warnings.push(
            Mistake::at(&span, what).because(why).of(setting_of(entry, &["listen"])).warning(),
        );
    }
    warnings
}

/// Where one of a setting's values stands.
fn span_of(entry: &Entry, setting: &str, value: &str) -> Span {
    let Some(setting) = entry.node.entry(setting) else { return entry.key_span.clone() };
    setting.node.saying(value).unwrap_or(&setting.node).span.clone()
}
