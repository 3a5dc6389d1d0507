//! As whom workers run, and what they may use.

use std::num::NonZeroU16;

use clap::Args;
use forkyard::{CgroupLimits, NewPrivileges, OpenFiles};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{FromText, Text};
use super::{Conflict, is_default};
use crate::limits::{ByteSize, LimitRules};

/// The workers' user.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[command(next_help_heading = "Limits and privileges")]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunAs {
    /// Run the workers as this user, by name or number, with its groups; takes root
    #[arg(long, value_name = "USER")]
    #[serde(skip_serializing_if = "is_default")]
    user: Option<Text<String>>,

    /// Run the workers with this group in place of the user's own
    #[arg(long, value_name = "GROUP", requires = "user")]
    #[serde(skip_serializing_if = "is_default")]
    group: Option<Text<String>>,

    /// Let nothing that workers execute have more privileges than they have (sudo, sendmail)
    #[arg(long)]
    #[serde(skip_serializing_if = "is_default")]
    no_new_privileges: bool,
}

impl RunAs {
    /// What does not go together. The flags have the same rule.
    pub(super) fn conflicts(&self) -> Vec<Conflict> {
        const WHY: &str = "it takes a `run_as.user`, whose group it is in place of";
        let is_broken = self.group.is_some() && self.user.is_none();
        is_broken.then_some(Conflict { setting: "run_as.group", why: WHY }).into_iter().collect()
    }
}

/// What workers may use.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Replace a worker that uses more memory than this, as in 300M; its successor comes first
    #[arg(long = "max-memory", value_name = "SIZE")]
    #[serde(skip_serializing_if = "is_default")]
    memory: Option<Text<ByteSize>>,

    /// How nice the workers are to other processes: from -20, which takes root, to 19
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "is_default")]
    nice: Option<Text<Niceness>>,

    /// How many files a worker may have open: N, or how many and how far it may raise that
    /// itself; to raise it beyond what this command has takes root
    #[arg(long, value_name = "N|SOFT:HARD")]
    #[serde(skip_serializing_if = "is_default")]
    open_files: Option<Text<OpenFiles>>,

    /// The memory that all workers may use together; beyond it the system kills one of them.
    /// Takes control groups (version 2) that are this command's to divide
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "is_default")]
    cgroup_memory: Option<Text<ByteSize>>,

    /// The memory of all workers together from which on the system slows them down
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "is_default")]
    cgroup_memory_high: Option<Text<ByteSize>>,

    /// How many processors' time all workers may use together, as in 1.5
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "is_default")]
    cgroup_cpus: Option<Text<Cpus>>,
}

/// A port for each worker, for programs that do not share one.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Port {
    /// Give each worker a port of its own as PORT, from this one on, for programs that do not
    /// share one
    #[arg(long = "port-from", value_name = "PORT")]
    #[serde(skip_serializing_if = "is_default")]
    from: Option<Text<NonZeroU16>>,
}

/// The rules that follow.
pub(super) fn rules(
    run_as: &RunAs,
    limits: &Limits,
    port: &Port,
    instance_variable: Option<&Text<VariableName>>,
) -> LimitRules {
    let bytes = |size: &Option<Text<ByteSize>>| size.as_ref().map(|size| size.value.0);
    LimitRules {
        user: run_as.user.as_ref().map(|user| user.value.clone()),
        group: run_as.group.as_ref().map(|group| group.value.clone()),
        new_privileges: match run_as.no_new_privileges {
            true => NewPrivileges::Refused,
            false => NewPrivileges::Allowed,
        },
        nice: limits.nice.as_ref().map(|nice| nice.value.0),
        open_files: limits.open_files.as_ref().map(|files| files.value),
        max_memory: limits.memory.as_ref().map(|size| size.value),
        cgroup: CgroupLimits {
            memory_max_bytes: bytes(&limits.cgroup_memory),
            memory_high_bytes: bytes(&limits.cgroup_memory_high),
            cpu_thousandths: limits.cgroup_cpus.as_ref().map(|cpus| cpus.value.0),
        },
        port_from: port.from.as_ref().map(|port| port.value),
        instance_variable: instance_variable.map(|name| name.value.0.clone()),
    }
}

/// How nice a process is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Niceness(i32);

impl FromText for Niceness {
    const HINT: &'static str = "a number from -20 to 19";
    const EXAMPLE: &'static str = "10";

    fn read(text: &str) -> Result<Self, String> {
        let nice = text.parse().ok().filter(|nice| (-20..=19).contains(nice));
        nice.map(Self).ok_or_else(|| "write a number from -20 to 19".into())
    }
}

/// Processors' time, in thousandths of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cpus(u32);

impl FromText for Cpus {
    const HINT: &'static str = "a number of processors";
    const EXAMPLE: &'static str = "1.5";

    fn read(text: &str) -> Result<Self, String> {
        const HINT: &str = "write a number of processors from 0.01 to 10000, as in 1.5";
        let cpus: f64 = text.parse().map_err(|_| HINT.to_owned())?;
        match (0.01..=10_000.0).contains(&cpus) {
            true => Ok(Self((cpus * 1000.0).round() as u32)),
            false => Err(HINT.to_owned()),
        }
    }
}

/// What a variable may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VariableName(String);

impl FromText for VariableName {
    const HINT: &'static str = "a variable's name";
    const EXAMPLE: &'static str = "INSTANCE";

    fn read(text: &str) -> Result<Self, String> {
        match text.is_empty() || text.contains(['=', '\0']) {
            true => Err("write a variable's name, as in INSTANCE".into()),
            false => Ok(Self(text.to_owned())),
        }
    }
}

impl FromText for NonZeroU16 {
    const HINT: &'static str = "a port";
    const EXAMPLE: &'static str = "3000";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "write a port from 1 to 65535".into())
    }
}

impl FromText for ByteSize {
    const HINT: &'static str = "a size with its unit";
    const EXAMPLE: &'static str = "300M";

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

/// One number for both limits, as `ulimit -n` and systemd have it.
impl FromText for OpenFiles {
    const HINT: &'static str = "a number of files, or SOFT:HARD";
    const EXAMPLE: &'static str = "1024:65536";

    fn read(text: &str) -> Result<Self, String> {
        const HINT: &str = "write a number, as in 4096, or two, as in 1024:65536";
        let (soft, hard) = text.split_once(':').unwrap_or((text, text));
        let (soft, hard) = match (soft.parse(), hard.parse()) {
            (Ok(soft), Ok(hard)) => (soft, hard),
            _ => return Err(HINT.to_owned()),
        };
        match soft {
            // It would have no room for its channel, let alone for its program.
            0..16 => Err(format!("no worker can do with so few; {HINT}")),
            _ if soft > hard => Err(format!("the first cannot be above the second; {HINT}")),
            _ => Ok(Self { soft, hard }),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Verb};

    fn rules(line: &[&str]) -> Result<LimitRules, clap::Error> {
        let line = ["forkyard", "run"].iter().chain(line).chain(&["app.js"]);
        let Verb::Run(run) = Args::try_parse_from(line)?.verb else { panic!("not run") };
        Ok(run.settings().limit_rules())
    }

    #[test]
    fn what_nobody_says_is_as_it_is() {
        let rules = rules(&[]).unwrap();
        assert_eq!((rules.user, rules.group, rules.nice), (None, None, None));
        assert_eq!((rules.open_files, rules.max_memory, rules.port_from), (None, None, None));
        assert_eq!(rules.new_privileges, NewPrivileges::Allowed);
        assert!(rules.cgroup.is_none() && rules.instance_variable.is_none());
    }

    #[test]
    fn a_group_takes_a_user() {
        assert!(rules(&["--group", "www"]).is_err());
        let rules = rules(&["--user", "www", "--group", "web", "--no-new-privileges"]).unwrap();
        assert_eq!((rules.user.as_deref(), rules.group.as_deref()), (Some("www"), Some("web")));
        assert_eq!(rules.new_privileges, NewPrivileges::Refused);
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(rules(&["--nice", "-5"]).unwrap().nice, Some(-5));
        assert_eq!(rules(&["--port-from", "3000"]).unwrap().port_from.unwrap().get(), 3000);
        for bad in [
            ["--nice", "20"],
            ["--nice", "-21"],
            ["--port-from", "0"],
            ["--port-from", "70000"],
            ["--instance-var", "A=B"],
            ["--max-memory", "lots"],
            ["--cgroup-cpus", "0"],
            ["--cgroup-cpus", "NaN"],
        ] {
            assert!(rules(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn open_files_are_one_number_or_two() {
        let both = OpenFiles { soft: 4096, hard: 4096 };
        assert_eq!(OpenFiles::read("4096"), Ok(both));
        let apart = OpenFiles { soft: 1024, hard: 65536 };
        assert_eq!(OpenFiles::read("1024:65536"), Ok(apart));
        for bad in ["", "3", "many", "100:50", "1024:", "-1", "1:2:3"] {
            assert!(OpenFiles::read(bad).unwrap_err().contains("1024:65536"), "{bad}");
        }
    }

    #[test]
    fn shares_of_a_group_are_for_all_workers_together() {
        let line =
            ["--cgroup-memory", "1G", "--cgroup-memory-high", "800M", "--cgroup-cpus", "1.5"];
        let limits = rules(&line).unwrap().cgroup;
        assert_eq!(limits.memory_max_bytes, Some(1 << 30));
        assert_eq!(limits.memory_high_bytes, Some(800 << 20));
        assert_eq!(limits.cpu_thousandths, Some(1500));
    }
}
