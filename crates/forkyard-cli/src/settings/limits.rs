//! What workers may use.

use std::num::NonZeroU16;

use clap::Args;
use forkyard::{CgroupLimits, OpenFiles};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use super::text::{FromText, Text};
use crate::limits::{ByteSize, LimitRules};

/// What each worker may use, and what all may together.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Replace a worker that uses more memory than this, as in 300M; its successor comes first
    #[arg(long = "max-memory", id = "max_memory", value_name = "SIZE")]
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

    /// What all workers may use together
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_default")]
    cgroup: Cgroup,
}

/// What all workers may use together. Takes control groups (version 2) that are this command's
/// to divide.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Cgroup {
    /// The memory that all workers may use together; beyond it the system kills one of them.
    /// Takes control groups (version 2) that are this command's to divide
    #[arg(long = "cgroup-memory", id = "cgroup_memory", value_name = "SIZE")]
    #[serde(skip_serializing_if = "is_default")]
    memory: Option<Text<ByteSize>>,

    /// The memory of all workers together from which on the system slows them down
    #[arg(long = "cgroup-memory-high", id = "cgroup_memory_high", value_name = "SIZE")]
    #[serde(skip_serializing_if = "is_default")]
    memory_high: Option<Text<ByteSize>>,

    /// How many processors' time all workers may use together, as in 1.5
    #[arg(long = "cgroup-cpus", id = "cgroup_cpus", value_name = "N")]
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<f64>")]
    cpus: Option<Text<Cpus>>,
}

/// For programs that do not share a port.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Port {
    /// Give each worker a port of its own as PORT, from this one on, for programs that do not
    /// share one
    #[arg(long = "port-from", id = "port_from", value_name = "PORT")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) from: Option<NonZeroU16>,
}

impl Limits {
    /// The rules that are asked for here.
    pub(crate) fn rules(&self) -> LimitRules {
        let Self { memory, nice, open_files, cgroup } = self;
        LimitRules {
            max_memory: value(memory.as_ref()),
            nice: value(nice.as_ref()).map(|Niceness(level)| level),
            open_files: value(open_files.as_ref()),
            cgroup: CgroupLimits {
                memory_max_bytes: value(cgroup.memory.as_ref()).map(|ByteSize(bytes)| bytes),
                memory_high_bytes: value(cgroup.memory_high.as_ref()).map(|ByteSize(bytes)| bytes),
                cpu_thousandths: value(cgroup.cpus.as_ref()).map(|Cpus(thousandths)| thousandths),
            },
            ..LimitRules::default()
        }
    }
}

fn value<T: Copy>(text: Option<&Text<T>>) -> Option<T> {
    text.map(|text| text.value)
}

impl FromText for ByteSize {
    const HINT: &'static str = "a size in bytes, K, M, G or T";
    const EXAMPLE: &'static str = "300M";

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

/// From -20 to 19.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Niceness(i32);

impl FromText for Niceness {
    const HINT: &'static str = "a number from -20 to 19";
    const EXAMPLE: &'static str = "5";

    fn read(text: &str) -> Result<Self, String> {
        let level = text.parse().ok().filter(|level| (-20..=19).contains(level));
        level.map(Self).ok_or_else(|| "write a number from -20 to 19".to_owned())
    }
}

/// One number is for both limits, as `ulimit -n` and systemd have it.
impl FromText for OpenFiles {
    const HINT: &'static str = "a number of files, or SOFT:HARD";
    const EXAMPLE: &'static str = "4096";

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

/// Thousandths of a processor.
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

/// The name of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VariableName(pub(crate) String);

impl FromText for VariableName {
    const HINT: &'static str = "the name of a variable";
    const EXAMPLE: &'static str = "INSTANCE";

    fn read(text: &str) -> Result<Self, String> {
        match text.is_empty() || text.contains(['=', '\0']) {
            true => Err("write a variable's name, as in INSTANCE".into()),
            false => Ok(Self(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use forkyard::{NewPrivileges, Signal};

    use crate::args::{Args as CommandLine, Verb};
    use crate::limits::LimitRules;
    use crate::settings::App;

    use super::*;

    fn app(line: &[&str]) -> Result<App, clap::Error> {
        let line = ["forkyard", "run"].iter().chain(line).chain(&["app.js"]);
        let Verb::Run(run) = CommandLine::try_parse_from(line)?.verb else { panic!("not run") };
        Ok(run.settings())
    }

    fn rules(line: &[&str]) -> Result<LimitRules, clap::Error> {
        app(line).map(|app| app.limit_rules())
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

    #[test]
    fn workers_may_get_another_stop_signal() {
        let signal = |line: &[&str]| app(line).map(|app| app.drain.stop_signal());
        assert_eq!(signal(&[]).unwrap(), Signal::TERM);
        assert_eq!(signal(&["--stop-signal", "int"]).unwrap(), Signal::INT);
        assert!(signal(&["--stop-signal", "SIGSTOPIT"]).is_err());
    }

    /// As keys of a file; a record keeps them so.
    #[test]
    fn all_of_it_can_be_written_down() {
        let line = [
            "--user",
            "1000",
            "--group",
            "web",
            "--no-new-privileges",
            "--nice",
            "-5",
            "--open-files",
            "1024:65536",
            "--max-memory",
            "300M",
            "--cgroup-memory",
            "1G",
            "--cgroup-cpus",
            "1.5",
            "--port-from",
            "3000",
            "--instance-var",
            "INSTANCE",
            "--stop-signal",
            "SIGINT",
        ];
        let app = app(&line).unwrap();
        let kept = serde_json::to_value(&app).unwrap();
        assert_eq!(serde_json::from_value::<App>(kept.clone()).unwrap(), app);
        let file = serde_json::json!({
            "program": "app.js", "user": 1000, "group": "web", "no_new_privileges": true,
            "limits": {
                "nice": -5, "open_files": "1024:65536", "memory": "300M",
                "cgroup": { "memory": "1G", "cpus": 1.5 },
            },
            "port": { "from": 3000 }, "instance_var": "INSTANCE",
            "drain": { "stop_signal": "SIGINT" },
        });
        assert_eq!(serde_json::from_value::<App>(file).unwrap(), app);
        assert_eq!(kept["limits"]["cgroup"]["memory"], "1G");
    }
}
