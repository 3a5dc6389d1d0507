//! The options about what makes an app reload by itself.

use std::time::Duration;

use clap::Args;

use super::parse_duration;
use crate::triggers::{Glob, Schedule, ScheduleRules, TriggerRules, WatchRules, Zone};

/// When an app reloads without being asked.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Reloading by itself")]
pub(crate) struct TriggerOptions {
    /// Reload when one of these files changes: a glob from the workers' directory on, as in
    /// `src/**`; `!` before it for what does not count (may be repeated)
    #[arg(long, value_name = "GLOB")]
    watch: Vec<Glob>,

    /// How long nothing must have changed before `--watch` reloads
    #[arg(long, value_name = "TIME", default_value = "300ms", requires = "watch", value_parser = parse_duration)]
    watch_quiet: Duration,

    /// Reload at these times, as cron has them: `0 4 * * *` (may be repeated)
    #[arg(long, value_name = "CRON")]
    schedule: Vec<Schedule>,

    /// The time zone of `--schedule`, as in Europe/Berlin [default: the system's]
    #[arg(long, value_name = "TZ", requires = "schedule")]
    time_zone: Option<Zone>,
}

impl TriggerOptions {
    /// What follows from them.
    pub(crate) fn rules(&self) -> TriggerRules {
        let (globs, quiet) = (self.watch.clone(), self.watch_quiet);
        let (times, zone) = (self.schedule.clone(), self.time_zone.clone());
        TriggerRules {
            watch: WatchRules { globs, quiet, ..WatchRules::default() },
            schedule: ScheduleRules { times, zone },
        }
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
        Ok(run.triggers.rules())
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
}
