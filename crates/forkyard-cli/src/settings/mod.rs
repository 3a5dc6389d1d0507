//! An app's settings: the same types are the flags of `forkyard run` and `start`, the keys of a
//! settings file, and the JSON Schema by which editors complete it.
//!
//! ```text
//!   command line ──clap──▶ ┐
//!   forkyard.toml ─serde─▶ ├─ App ──▶ Launch, ClusterBuilder, and what else has rules of its own
//!   record ────────serde─▶ ┘   │
//!                              └─schemars──▶ JSON Schema
//! ```
//!
//! What nobody has said is absent (`None`, or an empty list); what holds then is decided where the
//! setting is used, once.
//!
//! # A new table of settings
//!
//! For a part of the program with rules of its own (`watch/rules.rs`: a plain type with `Default`,
//! which knows nothing of flags and files):
//!
//! 1. `settings/watch.rs` with one type, as `restart.rs` has it: `Args`, `Serialize`,
//!    `Deserialize`, `JsonSchema`, `Default`, `PartialEq`, and `#[serde(default,
//!    deny_unknown_fields)]`. Every field is `Option` or `Vec` (or `bool`, if it is false by default)
//!    and private. What is written as text (times, sizes, addresses) is `Text<T>`, with `FromText`
//!    for `T`; what may be one or many is a `Vec` with `one_or_many` and `OneOrMany`.
//! 2. The field's name is its key in files, below the table's: short (`delay` in `restart`). The
//!    flag has the long name (`long = "restart-delay"`), and so has the argument's `id` where two
//!    tables have a field of one name. The doc comment is the help and what editors show.
//! 3. `fn rules(&self) -> WatchRules`, which says what holds by default.
//! 4. What does not go together is a `conflicts_with` or `requires` for flags, and for files the
//!    same in a `conflicts()` that `conflict.rs` calls.
//! 5. A field of [`App`] with `#[command(flatten)]`, and a line for each setting in `change.rs`: what
//!    a change of it takes.
//! 6. `FORKYARD_UPDATE=1 cargo nextest run -p forkyard-cli settings` writes the schema and the table
//!    in `docs/settings.md`.

pub(crate) mod change;
mod conflict;
mod drain;
mod env;
pub(crate) mod file;
mod limits;
mod list;
mod log;
mod ready;
#[cfg(test)]
mod reference;
mod restart;
mod roll;
pub(crate) mod schema;
pub(crate) mod secrets;
mod text;
mod triggers;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use forkyard::{Dialect, NewPrivileges, Policy, PolicyRule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::boot::{BootRule, ListenOption};
use crate::limits::LimitRules;
pub(crate) use conflict::Conflict;
pub(crate) use drain::Drain;
pub(crate) use env::Env;
pub(crate) use limits::{Limits, Port, VariableName};
use list::{OneOrMany, one_or_many};
pub(crate) use log::{Log, Unsaid};
pub(crate) use ready::Ready;
pub(crate) use restart::Restart;
pub(crate) use roll::Roll;
pub(crate) use text::{Argument, FromText, Text, Workers};

use crate::triggers::{Glob, Schedule, Zone};

/// What one app is and how it is run.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct App {
    /// The program's file, or its name in PATH
    #[arg(skip)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) program: Option<PathBuf>,

    /// The program's arguments
    #[arg(skip)]
    #[serde(skip_serializing_if = "is_default", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<Argument>")]
    pub(crate) args: Vec<Argument>,

    /// How many workers: a number, or `max` for one a core (less what CPU affinity and
    /// control group quotas take away); by default what WEB_CONCURRENCY says, else `max`
    #[arg(short, long, value_name = "N|max", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) workers: Option<Text<Workers>>,

    /// How connections reach the workers: `auto`, `kernel`, `round-robin`,
    /// `least-connections`, `ip-hash` or `shared`; with a port or a socket's path before it
    /// for one listener only, as in `8443=shared` [default: auto; for Deno round-robin]
    #[arg(long, value_name = "[LISTENER=]POLICY")]
    #[serde(skip_serializing_if = "is_default", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<Text<PolicyRule>>")]
    pub(crate) policy: Vec<Text<PolicyRule>>,

    /// An address that workers inherit, as from systemd (LISTEN_FDS); for programs that do not
    /// ask for addresses as Node's do. 8000, IP:8000, unix:/PATH, udp:IP:53, or a socket that
    /// Forkyard was started with: systemd:NAME, fd:3 (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "is_default", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<Text<ListenOption>>")]
    pub(crate) listen: Vec<Text<ListenOption>>,

    /// Give each worker one core, the slot's number picking it among those that may be used
    #[arg(long)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) pin: bool,

    /// The workers' directory; PROGRAM is looked for there
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) cwd: Option<PathBuf>,

    /// Variables for the workers' environment; a table in it is for the environment of that
    /// name, and outranks them when that is chosen
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) env: Env,

    /// A file of variables for the workers' environment (may be repeated; later ones and
    /// `--env` outrank it)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "is_default", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<PathBuf>")]
    pub(crate) env_file: Vec<PathBuf>,

    /// What runs PROGRAM; by default `node` for .js .mjs .cjs .ts .mts .cts
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) interpreter: Option<PathBuf>,

    /// Arguments for the interpreter, separated by spaces (may be repeated)
    #[arg(long = "node-args", value_name = "ARGS", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "is_default", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub(crate) interpreter_args: Vec<String>,

    /// How messages between primary and workers are written: `json` or `advanced`, as in
    /// Node's `serialization` [default: json]
    #[arg(long, value_name = "DIALECT")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) serialization: Option<Text<Dialect>>,

    /// End a worker that is not listening by then, and count it as crashed
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) start_timeout: Option<Text<Duration>>,

    /// Serve on for so long after SIGTERM, new connections too, before stopping; for whoever goes
    /// on sending for a while. Any second signal to stop ends it [default: 0s]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) shutdown_delay: Option<Text<Duration>>,

    /// How long a new version of Forkyard may take to get ready when it takes over [default: 10s]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) upgrade_timeout: Option<Text<Duration>>,

    /// Run the workers as this user, by name or number, with its groups; takes root
    #[arg(long, value_name = "USER")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) user: Option<Text<String>>,

    /// Run the workers with this group in place of the user's own
    #[arg(long, value_name = "GROUP", requires = "user")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) group: Option<Text<String>>,

    /// Let nothing that workers execute have more privileges than they have (sudo, sendmail)
    #[arg(long)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) no_new_privileges: bool,

    /// What workers may use
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) limits: Limits,

    /// Ports of the workers' own
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) port: Port,

    /// The variable that tells a worker its slot [default: NODE_APP_INSTANCE]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) instance_var: Option<Text<VariableName>>,

    /// When and how often workers that have ended are started again
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) restart: Restart,

    /// When a new worker may take over
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) ready: Ready,

    /// How a worker is asked to leave
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) drain: Drain,

    /// How all workers are replaced
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) roll: Roll,

    /// Reload when one of these files changes: a glob from the workers' directory on, as in
    /// `src/**`; `!` before it for what does not count (may be repeated)
    #[arg(long, value_name = "GLOB")]
    #[serde(skip_serializing_if = "is_default", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<Text<Glob>>")]
    pub(crate) watch: Vec<Text<Glob>>,

    /// How long nothing must have changed before `watch` reloads [default: 300ms]
    #[arg(long, value_name = "TIME", requires = "watch")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) watch_quiet: Option<Text<Duration>>,

    /// Reload at these times, as cron has them: `0 4 * * *` (may be repeated)
    #[arg(long, value_name = "CRON")]
    #[serde(skip_serializing_if = "is_default", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<Text<Schedule>>")]
    pub(crate) schedule: Vec<Text<Schedule>>,

    /// The time zone of the schedule, as in Europe/Berlin [default: the system's]
    #[arg(long, value_name = "TZ", requires = "schedule")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) time_zone: Option<Text<Zone>>,

    /// Where lines go, and how long they are kept
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) log: Log,

    /// Apps of the same file that have to be ready before this one is started
    #[arg(skip)]
    #[serde(skip_serializing_if = "is_default", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub(crate) depends_on: Vec<String>,

    /// Names by which this app is meant together with others (may be repeated)
    #[arg(long = "group-name", value_name = "NAME")]
    #[serde(skip_serializing_if = "is_default", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub(crate) groups: Vec<String>,
}

impl App {
    /// As it is in the environment of that name, with nothing left of the others.
    pub(crate) fn in_environment(mut self, name: Option<&str>) -> Self {
        self.env = Env { variables: self.env.of(name).cloned().collect(), ..Env::default() };
        self
    }

    /// The policies asked for, the later ones outranking the earlier.
    ///
    /// By default, and by `auto`, workers of Deno get a policy by which they only ever are handed connections:
    /// what Deno 2.9 is handed beside a socket of its own it drops.
    pub(crate) fn policies(&self) -> Vec<PolicyRule> {
        let asked_for = self.policy.iter().map(|rule| rule.value.clone());
        let runner = self.interpreter.as_deref().or(self.program.as_deref());
        if runner.and_then(Path::file_name) != Some(OsStr::new("deno")) {
            return asked_for.collect();
        }
        let by_default = PolicyRule { listener: None, policy: Policy::RoundRobin };
        let handed = |rule: PolicyRule| match rule.policy {
            Policy::Auto => PolicyRule { policy: Policy::RoundRobin, ..rule },
            _ => rule,
        };
        [by_default].into_iter().chain(asked_for.map(handed)).collect()
    }

    /// The policy for every listener that no rule names.
    pub(crate) fn general_policy(&self) -> Policy {
        let rules = self.policies();
        let rule = rules.iter().rev().find(|rule| rule.listener.is_none());
        rule.map_or(Policy::default(), |rule| rule.policy)
    }

    /// As whom workers run, and what they may use.
    pub(crate) fn limit_rules(&self) -> LimitRules {
        let text = |text: &Text<String>| text.value.clone();
        LimitRules {
            user: self.user.as_ref().map(text),
            group: self.group.as_ref().map(text),
            new_privileges: match self.no_new_privileges {
                true => NewPrivileges::Refused,
                false => NewPrivileges::Allowed,
            },
            port_from: self.port.from,
            instance_variable: self.instance_var.as_ref().map(|name| name.value.0.clone()),
            ..self.limits.rules()
        }
    }

    /// How the app stops, as far as whoever starts and stops it is concerned.
    pub(crate) fn boot_rule(&self) -> BootRule {
        BootRule {
            shutdown_delay: time_or(self.shutdown_delay.as_ref(), Duration::ZERO),
            stop_limit: self.drain.timeout() + self.drain.term_timeout(),
        }
    }

    /// What the app is called if nobody says so.
    pub(crate) fn default_name(&self) -> String {
        let stem = self.program.as_deref().and_then(Path::file_stem);
        stem.unwrap_or(OsStr::new("app")).to_string_lossy().into_owned()
    }
}

/// Whether a setting is as if nobody had said anything.
fn is_default<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}

/// The time that was set, or the one that holds otherwise.
fn time_or(set: Option<&Text<Duration>>, otherwise: Duration) -> Duration {
    set.map_or(otherwise, |time| time.value)
}

#[cfg(test)]
mod tests;
