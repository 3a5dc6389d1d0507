//! What each thing that PM2 was told becomes, or why it becomes nothing.

mod environment;
mod leaving;
mod left_out;
mod logging;
mod names;
mod program;
mod readiness;
mod restarts;
mod watching;

use super::attributes::Attributes;
use super::source::Source;
use super::{Draft, Drafts};

/// The settings of all apps.
pub(super) fn drafts(source: Source) -> Drafts {
    let mut drafts = Drafts { apps: Vec::new(), notes: source.notes };
    for app in source.apps {
        let taken: Vec<_> = drafts.apps.iter().map(|draft| draft.name.as_str()).collect();
        let draft = draft(app, &taken);
        drafts.apps.push(draft);
    }
    drafts
}

fn draft(mut app: Attributes, taken: &[&str]) -> Draft {
    let mut draft = Draft::default();
    names::name(&mut app, &mut draft, taken);
    program::program(&mut app, &mut draft);
    program::workers(&mut app, &mut draft);
    watching::watch(&mut app, &mut draft);
    watching::schedule(&mut app, &mut draft);
    environment::counters(&mut app, &mut draft);
    environment::variables(&mut app, &mut draft);
    environment::user(&mut app, &mut draft);
    restarts::restarts(&mut app, &mut draft);
    restarts::memory(&mut app, &mut draft);
    readiness::ready(&mut app, &mut draft);
    leaving::drain(&mut app, &mut draft);
    logging::logs(&mut app, &mut draft);
    left_out::rest(app, &mut draft);
    draft
}

/// As settings write a time.
fn time(milliseconds: u64) -> String {
    match milliseconds {
        whole if whole > 0 && whole.is_multiple_of(60_000) => format!("{}m", whole / 60_000),
        whole if whole > 0 && whole.is_multiple_of(1000) => format!("{}s", whole / 1000),
        other => format!("{other}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_as_people_write_them() {
        for (milliseconds, text) in
            [(0, "0ms"), (1600, "1600ms"), (5000, "5s"), (90_000, "90s"), (120_000, "2m")]
        {
            assert_eq!(time(milliseconds), text);
        }
    }
}
