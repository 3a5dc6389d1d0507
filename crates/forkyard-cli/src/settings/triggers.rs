//! What makes an app reload by itself.

use super::App;
use super::text::FromText;
use crate::triggers::{Glob, Schedule, ScheduleRules, TriggerRules, WatchRules, Zone};

impl App {
    /// When the app reloads without being asked.
    pub(crate) fn trigger_rules(&self) -> TriggerRules {
        let by_default = WatchRules::default();
        let watch = WatchRules {
            globs: self.watch.iter().map(|glob| glob.value.clone()).collect(),
            quiet: super::time_or(self.watch_quiet.as_ref(), by_default.quiet),
            ..by_default
        };
        let schedule = ScheduleRules {
            times: self.schedule.iter().map(|time| time.value.clone()).collect(),
            zone: self.time_zone.as_ref().map(|zone| zone.value.clone()),
        };
        TriggerRules { watch, schedule }
    }
}

impl FromText for Glob {
    const HINT: &'static str = "a glob, from the app's directory on";
    const EXAMPLE: &'static str = "src/**";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: crate::triggers::GlobError| error.to_string())
    }
}

impl FromText for Schedule {
    const HINT: &'static str = "a time, as cron writes it";
    const EXAMPLE: &'static str = "0 4 * * *";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: crate::triggers::ScheduleError| error.to_string())
    }
}

impl FromText for Zone {
    const HINT: &'static str = "a time zone";
    const EXAMPLE: &'static str = "Europe/Berlin";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: crate::triggers::UnknownZone| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Verb};

    fn rules(line: &[&str]) -> Result<TriggerRules, clap::Error> {
        let line = ["forkyard", "run"].iter().chain(line).chain(&["app.js"]);
        let Verb::Run(run) = Args::try_parse_from(line)?.verb else { panic!("not run") };
        Ok(run.settings().trigger_rules())
    }

    #[test]
    fn nothing_is_watched_by_default() {
        let rules = rules(&[]).unwrap();
        assert!(rules.watch.globs.is_empty() && rules.schedule.times.is_empty());
        assert_eq!(rules.watch.quiet, WatchRules::default().quiet);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            &["--watch", ""][..],
            &["--watch", "../src"],
            &["--schedule", "at four"],
            &["--time-zone", "UTC"],
            &["--schedule", "0 4 * * *", "--time-zone", "Here"],
            &["--watch-quiet", "1s"],
        ] {
            assert!(rules(line).is_err(), "{line:?}");
        }
        let line = ["--watch", "src/**", "--watch", "!*.log", "--schedule", "@daily"];
        assert_eq!(rules(&line).unwrap().watch.globs.len(), 2);
    }

    #[test]
    fn a_file_may_have_one_or_many() {
        let text = r#"{"watch": "src", "schedule": ["@daily", "0 4 * * *"], "time_zone": "UTC"}"#;
        let rules = serde_json::from_str::<App>(text).unwrap().trigger_rules();
        assert_eq!((rules.watch.globs.len(), rules.schedule.times.len()), (1, 2));
        let error = serde_json::from_str::<App>(r#"{"schedule": "soon"}"#).unwrap_err();
        assert!(error.to_string().contains("0 4 * * *"), "{error}");
    }
}
