//! The command line.

mod roll;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use forkyard::{Dialect, MAX_SLOTS, Policy, PolicyRule};

pub(crate) use roll::RollOptions;

use crate::boot::{BootRule, ListenOption};
use crate::commands::{Startup, Unstartup};
use crate::control::ControlRule;

/// Run a server on all cores of a machine: many workers behind one port, restarted when
/// they crash.
#[derive(Debug, Parser)]
#[command(
    name = "forkyard",
    version,
    after_help = "Exit codes: 0 stopped as asked, 1 unexpected error, 2 usage, \
    3 the app failed (its workers crashed too often), 4 a reload or an upgrade failed and all \
    goes on as before, 5 no such app is running, 126 the program cannot be executed, \
    127 the program or its interpreter was not found."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a program in the foreground, with many workers behind one port
    Run(Box<Run>),
    /// Replace all workers of a running app by new ones, and wait for the end
    Reload(Ask),
    /// Have a running app's primary execute this command as it is on disk now, and wait for
    /// the end; the workers stay
    Upgrade(Ask),
    /// Have systemd start apps when the machine boots: writes a unit, and says what to run
    Startup(Startup),
    /// Take back what `startup` has done; apps that run go on
    Unstartup(Unstartup),
    /// Serve a page from Rust workers inside this binary, to see it work without Node
    Demo(Demo),
}

impl Verb {
    /// How to print what goes wrong.
    pub(crate) fn log_format(&self) -> LogFormat {
        match self {
            Self::Run(run) => run.log_format,
            Self::Reload(ask) | Self::Upgrade(ask) => ask.log_format(),
            Self::Startup(_) | Self::Unstartup(_) => LogFormat::Text,
            Self::Demo(demo) => demo.log_format,
        }
    }
}

/// What `forkyard run` can be told.
#[derive(Clone, Debug, Parser)]
#[command(override_usage = "forkyard run [OPTIONS] PROGRAM [ARGS]...")]
pub(crate) struct Run {
    /// How many workers: a number, or `max` for one a core (less what CPU affinity and
    /// control group quotas take away); by default what WEB_CONCURRENCY says, else `max`
    #[arg(short, long, value_name = "N|max", value_parser = parse_workers, allow_negative_numbers = true)]
    pub(crate) workers: Option<Workers>,

    /// How connections reach the workers: `auto`, `kernel`, `round-robin`,
    /// `least-connections`, `ip-hash` or `shared`; with a port or a socket's path before it
    /// for one listener only, as in `8443=shared` [default: auto; for Deno round-robin]
    #[arg(long, value_name = "[LISTENER=]POLICY", value_parser = parse_policy)]
    policy: Vec<PolicyRule>,

    /// An address that workers inherit, as from systemd (LISTEN_FDS); for programs that do not
    /// ask for addresses as Node's do. 8000, IP:8000, unix:/PATH, udp:IP:53, or a socket that
    /// this command was started with: systemd:NAME, fd:3 (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<ListenOption>,

    /// Give each worker one core, the slot's number picking it among those that may be used
    #[arg(long)]
    pub(crate) pin: bool,

    /// The workers' directory; PROGRAM is looked for there
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,

    /// A variable for the workers' environment (may be repeated)
    #[arg(long, value_name = "K=V", value_parser = parse_env)]
    pub(crate) env: Vec<(String, String)>,

    /// A file of variables for the workers' environment (may be repeated; later ones and
    /// `--env` outrank it)
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,

    /// What runs PROGRAM; by default `node` for .js .mjs .cjs .ts .mts .cts
    #[arg(long, value_name = "PATH")]
    pub(crate) interpreter: Option<PathBuf>,

    /// Arguments for the interpreter, separated by spaces (may be repeated)
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub(crate) node_args: Vec<String>,

    /// The app's name; by default PROGRAM's without its ending
    #[arg(long)]
    pub(crate) name: Option<String>,

    /// How to print what happens and what workers write
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    /// How messages between primary and workers are written: `json` or `advanced`, as in
    /// Node's `serialization`
    #[arg(long, default_value = "json", value_parser = parse_dialect)]
    pub(crate) serialization: Dialect,

    /// End a worker that is not listening by then, and count it as crashed
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) start_timeout: Option<Duration>,

    /// The delay before the second restart in a row; it doubles from there
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    pub(crate) restart_delay: Duration,

    /// The longest delay before a restart
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(crate) restart_max_delay: Duration,

    /// Give the app up when one slot needs more restarts than this within the window
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) restart_limit: u32,

    /// The window for `--restart-limit`
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub(crate) restart_window: Duration,

    /// A worker that stays up this long starts afresh with its delays
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) restart_reset_after: Duration,

    /// Exit codes that mean "done, do not restart", separated by commas
    #[arg(long, value_name = "CODES", value_delimiter = ',', value_parser = parse_code)]
    pub(crate) no_restart_codes: Vec<i32>,

    /// How long a worker may take to finish what it serves before it gets SIGTERM
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) drain_timeout: Duration,

    /// How long a worker may take after SIGTERM before it is killed
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(crate) term_timeout: Duration,

    /// Serve on for so long after SIGTERM, new connections too, before stopping; for whoever goes
    /// on sending for a while. Any second signal to stop ends it
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    pub(crate) shutdown_delay: Duration,

    /// How long a new version of this command may take to get ready when it takes over
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) upgrade_timeout: Duration,

    /// Do without the control socket, by which `forkyard reload` and `upgrade` find the app
    #[arg(long)]
    no_control: bool,

    #[command(flatten)]
    pub(crate) roll: RollOptions,

    /// The program's file, or its name in PATH, and its arguments
    // One list, because only the last positional may be followed by what looks like options.
    #[arg(required = true, num_args = 1.., trailing_var_arg = true)]
    pub(crate) program: Vec<OsString>,
}

impl Run {
    /// The policies asked for, the later ones outranking the earlier.
    ///
    /// By default, and by `auto`, workers of Deno get a policy by which they only ever are handed connections:
    /// what Deno 2.9 is handed beside a socket of its own it drops.
    pub(crate) fn policies(&self) -> Vec<PolicyRule> {
        let runner = self.interpreter.as_deref().map(Path::as_os_str);
        let runner = runner.or(self.program.first().map(OsString::as_os_str));
        let is_deno = runner.and_then(|path| Path::new(path).file_name()) == Some("deno".as_ref());
        if !is_deno {
            return self.policy.clone();
        }
        let by_default = PolicyRule { listener: None, policy: Policy::RoundRobin };
        let handed = |rule: PolicyRule| match rule.policy {
            Policy::Auto => PolicyRule { policy: Policy::RoundRobin, ..rule },
            _ => rule,
        };
        [by_default].into_iter().chain(self.policy.iter().cloned().map(handed)).collect()
    }

    /// The policy for every listener that no rule names.
    pub(crate) fn general_policy(&self) -> Policy {
        let rules = self.policies();
        let rule = rules.iter().rev().find(|rule| rule.listener.is_none());
        rule.map_or(Policy::default(), |rule| rule.policy)
    }

    pub(crate) fn boot_rule(&self) -> BootRule {
        let stop_limit = self.drain_timeout + self.term_timeout;
        BootRule { shutdown_delay: self.shutdown_delay, stop_limit }
    }

    pub(crate) fn control_rule(&self) -> ControlRule {
        if self.no_control { ControlRule::LeaveOut } else { ControlRule::Serve }
    }
}

/// What a command that asks a running app for something can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Ask {
    /// The app's name, or its primary's process id; not needed if only one is running
    pub(crate) app: Option<String>,

    /// Print what the app answers as it is, one JSON object a line
    #[arg(long)]
    json: bool,
}

impl Ask {
    pub(crate) fn log_format(&self) -> LogFormat {
        if self.json { LogFormat::Json } else { LogFormat::Text }
    }
}

/// What `forkyard demo` can be told.
#[derive(Debug, Parser)]
pub(crate) struct Demo {
    /// How many workers: a number, or `max` for one a core
    #[arg(short, long, value_name = "N|max", default_value = "max", value_parser = parse_workers, allow_negative_numbers = true)]
    pub(crate) workers: Workers,

    /// The port to serve on, on this machine only
    #[arg(short, long, default_value_t = 8000)]
    pub(crate) port: u16,

    /// How connections reach the workers, as for `forkyard run`
    #[arg(long, value_name = "POLICY", default_value = "auto", value_parser = parse_policy)]
    pub(crate) policy: PolicyRule,

    /// How to print what happens
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// How many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    /// As many as the machine has room for at the time.
    Max,
    /// So many.
    Count(NonZeroUsize),
}

impl Workers {
    /// How many that is now.
    pub(crate) fn count(self) -> NonZeroUsize {
        match self {
            Self::Max => forkyard::available_workers(),
            Self::Count(count) => count,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Reads a number, or `max` for one a core.
pub(crate) fn parse_workers(text: &str) -> Result<Workers, String> {
    if text == "max" {
        return Ok(Workers::Max);
    }
    let hint = format!("use `max` for one a core, which is {} here", forkyard::available_workers());
    let count: i128 = text.parse().map_err(|_| format!("it is no number; {hint}"))?;
    if count < 1 {
        return Err(format!("at least one worker is needed; {hint}"));
    }
    let count = usize::try_from(count).ok().and_then(NonZeroUsize::new);
    let count = count.filter(|count| count.get() <= MAX_SLOTS);
    count.map(Workers::Count).ok_or_else(|| format!("there can be at most {MAX_SLOTS}; {hint}"))
}

fn parse_policy(text: &str) -> Result<PolicyRule, String> {
    let (listener, name) = match text.rsplit_once('=') {
        Some((listener, name)) => (Some(listener.trim_start_matches(':').to_owned()), name),
        None => (None, text),
    };
    let policy = Policy::ALL.into_iter().find(|policy| policy.name() == name);
    let policy = policy.ok_or_else(|| {
        let names: Vec<_> =
            Policy::ALL.iter().map(|policy| format!("`{}`", policy.name())).collect();
        format!("there are {}", names.join(", "))
    })?;
    Ok(PolicyRule { listener, policy })
}

fn parse_env(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !text.contains('\0') => {
            Ok((key.into(), value.into()))
        }
        _ => Err("write it as NAME=VALUE".into()),
    }
}

fn parse_dialect(text: &str) -> Result<Dialect, String> {
    text.parse().map_err(|_| "there are `json` and `advanced`".into())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a time as in 500ms, 5s or 2m"))?;
    if time > LONGEST { Err("a year is the longest".into()) } else { Ok(time) }
}

fn parse_code(text: &str) -> Result<i32, String> {
    let code: u8 = text.parse().map_err(|_| "exit codes are numbers from 0 to 255".to_owned())?;
    Ok(code.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn worker_counts_have_bounds() {
        assert_eq!(parse_workers("max").unwrap().count(), forkyard::available_workers());
        assert_eq!(parse_workers("3").unwrap().count().get(), 3);
        for bad in ["0", "100000", "many", "-1"] {
            assert!(parse_workers(bad).unwrap_err().contains("max"), "{bad}");
        }
    }

    #[test]
    fn deno_is_handed_its_connections_unless_it_is_told_otherwise() {
        let policy = |words: &[&str]| Run::parse_from([&["run"], words].concat()).general_policy();
        assert_eq!(policy(&["app.js"]), Policy::Auto);
        assert_eq!(policy(&["--interpreter", "/usr/bin/deno", "app.ts"]), Policy::RoundRobin);
        assert_eq!(policy(&["deno", "run", "app.ts"]), Policy::RoundRobin);
        assert_eq!(policy(&["--policy", "auto", "deno", "run", "app.ts"]), Policy::RoundRobin);
        assert_eq!(policy(&["--policy", "shared", "deno", "run", "app.ts"]), Policy::Shared);
    }

    #[test]
    fn a_policy_may_name_its_listener() {
        let rule = |text| parse_policy(text).unwrap();
        assert_eq!(rule("shared"), PolicyRule { listener: None, policy: Policy::Shared });
        let listener = Some("8443".to_owned());
        let expected = PolicyRule { listener, policy: Policy::RoundRobin };
        assert_eq!(rule("8443=round-robin"), expected);
        assert_eq!(rule(":8443=round-robin"), expected);
        assert!(parse_policy("fair").is_err());
    }

    #[test]
    fn times_have_units_and_an_end() {
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["5", "soon", "-1s", "500000000000y", "2y"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_need_a_name() {
        assert_eq!(parse_env("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(parse_env("A").is_err());
        assert!(parse_env("=b").is_err());
    }

    #[test]
    fn arguments_after_the_program_are_the_programs() {
        let args = Args::parse_from(["forkyard", "run", "-w", "2", "app.js", "-w", "9", "--x"]);
        let Verb::Run(run) = args.verb else { panic!("not run") };
        assert_eq!(run.workers, Some(parse_workers("2").unwrap()));
        assert_eq!(run.program, ["app.js", "-w", "9", "--x"]);
    }

    #[test]
    fn an_unknown_option_is_no_program() {
        let line = ["forkyard", "run", "--no-such-option", "app.js"];
        let error = Args::try_parse_from(line).unwrap_err();
        assert!(error.to_string().contains("--no-such-option"), "{error}");
    }
}
