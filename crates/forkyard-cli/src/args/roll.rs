//! The options about replacing workers without anybody noticing.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Args, ValueEnum};
use forkyard::{CheckSettings, MAX_SLOTS, ReadyRule, Surge, WhenBusy};

use super::parse_duration;

/// How a roll goes, and when a worker may take over.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Replacing workers")]
pub(crate) struct RollOptions {
    /// How many workers beyond `--workers` there may be during a roll: a number, or a
    /// percentage of them
    #[arg(long, value_name = "N|P%", default_value = "1", value_parser = parse_surge)]
    pub(crate) surge: Surge,

    /// What a second reload does while one is under way
    #[arg(long, value_enum, value_name = "RULE", default_value_t = SecondReload::Wait)]
    reload: SecondReload,

    /// What makes a worker ready to take over; with `listening` READY=1 on NOTIFY_SOCKET
    /// counts too [default: listening; with --listen started]
    #[arg(long, value_enum, value_name = "RULE")]
    ready: Option<ReadyWord>,

    /// The same as `--ready message`, as PM2 has it
    #[arg(long, conflicts_with = "ready")]
    wait_ready: bool,

    /// How long a worker may take to be ready; one that is not by then has failed
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) ready_timeout: Duration,

    /// Ask each new worker for this path, as in /healthz; 200 to 399 is healthy
    #[arg(long, value_name = "PATH", conflicts_with = "listen", value_parser = parse_check)]
    check: Option<CheckSettings>,

    /// How long the answer to `--check` may take
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "check", value_parser = parse_duration)]
    check_timeout: Duration,

    /// How long a worker that is ready must stay up before it takes over
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = parse_duration)]
    pub(crate) settle: Duration,

    /// How long idle connections of a worker that leaves are still served, told to close
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub(crate) drain_grace: Duration,

    /// Send a worker that is to leave the message `shutdown`, as PM2 does
    #[arg(long)]
    pub(crate) shutdown_message: bool,

    /// Load nothing into Node workers; they leave by Node's own `disconnect`
    #[arg(long)]
    pub(crate) no_agent: bool,

    /// How many workers wait booted up to take the seat of one that dies
    #[arg(long, value_name = "N", default_value = "0", value_parser = parse_spares)]
    pub(crate) spares: usize,
}

impl RollOptions {
    /// What makes a worker ready, if anybody has said so.
    pub(crate) fn ready_rule(&self) -> Option<ReadyRule> {
        if self.wait_ready {
            return Some(ReadyRule::Message);
        }
        self.ready.map(|word| match word {
            ReadyWord::Listening => ReadyRule::Listening,
            ReadyWord::Message => ReadyRule::Message,
            ReadyWord::Notify => ReadyRule::Notify,
            ReadyWord::Started => ReadyRule::Started,
        })
    }

    /// What becomes of a reload while another one is under way.
    pub(crate) fn second_reload(&self) -> WhenBusy {
        match self.reload {
            SecondReload::Wait => WhenBusy::Wait,
            SecondReload::Refuse => WhenBusy::Refuse,
        }
    }

    /// What each new worker is asked, if anything.
    pub(crate) fn check(&self) -> Option<CheckSettings> {
        self.check.clone().map(|check| check.timeout(self.check_timeout))
    }
}

/// When a worker is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReadyWord {
    /// It listens on a port or socket
    Listening,
    /// It has called process.send('ready')
    Message,
    /// It has sent READY=1 to NOTIFY_SOCKET
    Notify,
    /// It has been started
    Started,
}

/// What becomes of a reload while another one is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SecondReload {
    /// It begins when that one is over
    Wait,
    /// It is refused
    Refuse,
}

fn parse_surge(text: &str) -> Result<Surge, String> {
    const HINT: &str = "write a number of workers, as in 2, or a percentage, as in 25%";
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
        return percent.map(Surge::Percent).ok_or(format!("it is none from 1% to 100%; {HINT}"));
    }
    let count: NonZeroUsize = text.parse().map_err(|_| HINT.to_owned())?;
    match count.get() <= MAX_SLOTS {
        true => Ok(Surge::Workers(count.get())),
        false => Err(format!("there can be at most {MAX_SLOTS} workers; {HINT}")),
    }
}

fn parse_spares(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count <= MAX_SLOTS);
    count.ok_or_else(|| format!("write a number of workers from 0 to {MAX_SLOTS}"))
}

fn parse_check(text: &str) -> Result<CheckSettings, String> {
    CheckSettings::get(text).map_err(|_| "write a path from its slash on, as in /healthz".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Verb};

    fn options(line: &[&str]) -> Result<RollOptions, clap::Error> {
        let line = ["forkyard", "run"].iter().chain(line).chain(&["app.js"]);
        let Verb::Run(run) = Args::try_parse_from(line)?.verb else { panic!("not run") };
        Ok(run.roll)
    }

    #[test]
    fn what_nobody_says_is_as_documented() {
        let options = options(&[]).unwrap();
        assert_eq!(options.surge, Surge::Workers(1));
        assert_eq!(options.second_reload(), WhenBusy::Wait);
        assert_eq!(options.ready_rule(), None);
        assert_eq!(options.ready_timeout, Duration::from_secs(30));
        assert_eq!(options.check(), None);
        assert_eq!(options.settle, Duration::from_millis(20));
        assert_eq!(options.drain_grace, Duration::from_secs(2));
        assert!(!options.shutdown_message && !options.no_agent);
        assert_eq!(options.spares, 0);
    }

    #[test]
    fn a_surge_is_a_number_or_a_share_rounded_up() {
        let surge = |text: &str, workers| parse_surge(text).unwrap().of(workers);
        for (text, workers, expected) in [
            ("1", 8, 1),
            ("3", 2, 3),
            ("25%", 8, 2),
            ("25%", 9, 3),
            ("1%", 1, 1),
            ("100%", 20, 20),
            ("100%", MAX_SLOTS, MAX_SLOTS),
        ] {
            assert_eq!(surge(text, workers), expected, "{text} of {workers}");
        }
        for bad in ["0", "0%", "101%", "-1", "all", "%", "1.5", "", "99999999", "256%", "10 %"] {
            assert!(parse_surge(bad).unwrap_err().contains("25%"), "{bad}");
        }
    }

    #[test]
    fn ready_has_four_rules_and_a_second_name_for_one() {
        let rule = |line: &[&str]| options(line).map(|options| options.ready_rule());
        for (name, expected) in [
            ("listening", ReadyRule::Listening),
            ("message", ReadyRule::Message),
            ("notify", ReadyRule::Notify),
            ("started", ReadyRule::Started),
        ] {
            assert_eq!(rule(&["--ready", name]).unwrap(), Some(expected));
        }
        assert_eq!(rule(&["--wait-ready"]).unwrap(), Some(ReadyRule::Message));
        assert!(rule(&["--wait-ready", "--ready", "listening"]).is_err());
        assert!(rule(&["--ready", "soon"]).is_err());
    }

    #[test]
    fn a_check_has_its_time_out() {
        let path = || CheckSettings::get("/healthz?deep").unwrap();
        let with = |line: &[&str]| options(line).map(|options| options.check());
        let five_seconds = path().timeout(Duration::from_secs(5));
        assert_eq!(with(&["--check", "/healthz?deep"]).unwrap(), Some(five_seconds));
        let line = ["--check", "/healthz?deep", "--check-timeout", "300ms"];
        assert_eq!(with(&line).unwrap(), Some(path().timeout(Duration::from_millis(300))));
        let error = with(&["--check", "healthz"]).unwrap_err();
        assert!(error.to_string().contains("/healthz"), "{error}");
        assert!(with(&["--check-timeout", "1s"]).is_err());
    }

    #[test]
    fn a_second_reload_waits_or_is_refused() {
        assert_eq!(options(&["--reload", "refuse"]).unwrap().second_reload(), WhenBusy::Refuse);
        assert!(options(&["--reload", "never"]).is_err());
    }

    #[test]
    fn spares_have_a_bound() {
        assert_eq!(options(&["--spares", "2"]).unwrap().spares, 2);
        for bad in ["-1", "some", "99999999"] {
            assert!(parse_spares(bad).unwrap_err().contains("from 0 to"), "{bad}");
        }
    }
}
