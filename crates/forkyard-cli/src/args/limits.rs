//! The options about what workers may use and as whom they run.

use std::num::NonZeroU16;

use clap::Args;
use forkyard::{CgroupLimits, NewPrivileges, OpenFiles};

use crate::limits::{ByteSize, LimitRules};

/// As whom workers run, and what they may use.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits and privileges")]
pub(crate) struct LimitOptions {
    /// Run the workers as this user, by name or number, with its groups; takes root
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// Run the workers with this group in place of the user's own
    #[arg(long, value_name = "GROUP", requires = "user")]
    group: Option<String>,

    /// Let nothing that workers execute have more privileges than they have (sudo, sendmail)
    #[arg(long)]
    no_new_privileges: bool,

    /// How nice the workers are to other processes: from -20, which takes root, to 19
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    nice: Option<i32>,

    /// How many files a worker may have open: N, or how many and how far it may raise that
    /// itself; to raise it beyond what this command has takes root
    #[arg(long, value_name = "N|SOFT:HARD", value_parser = parse_open_files)]
    open_files: Option<OpenFiles>,

    /// Replace a worker that uses more memory than this, as in 300M; its successor comes first
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<ByteSize>,

    /// The memory that all workers may use together; beyond it the system kills one of them.
    /// Takes control groups (version 2) that are this command's to divide
    #[arg(long, value_name = "SIZE")]
    cgroup_memory: Option<ByteSize>,

    /// The memory of all workers together from which on the system slows them down
    #[arg(long, value_name = "SIZE")]
    cgroup_memory_high: Option<ByteSize>,

    /// How many processors' time all workers may use together, as in 1.5
    #[arg(long, value_name = "N", value_parser = parse_cpus)]
    cgroup_cpus: Option<u32>,

    /// Give each worker a port of its own as PORT, from this one on, for programs that do not
    /// share one
    #[arg(long, value_name = "PORT")]
    port_from: Option<NonZeroU16>,

    /// The variable that tells a worker its slot [default: NODE_APP_INSTANCE]
    #[arg(long, value_name = "NAME", value_parser = parse_variable)]
    instance_var: Option<String>,
}

impl LimitOptions {
    /// The rules that are asked for.
    pub(crate) fn rules(&self) -> LimitRules {
        LimitRules {
            user: self.user.clone(),
            group: self.group.clone(),
            new_privileges: match self.no_new_privileges {
                true => NewPrivileges::Refused,
                false => NewPrivileges::Allowed,
            },
            nice: self.nice,
            open_files: self.open_files,
            max_memory: self.max_memory,
            cgroup: CgroupLimits {
                memory_max_bytes: self.cgroup_memory.map(|size| size.0),
                memory_high_bytes: self.cgroup_memory_high.map(|size| size.0),
                cpu_thousandths: self.cgroup_cpus,
            },
            port_from: self.port_from,
            instance_variable: self.instance_var.clone(),
        }
    }
}

/// One number for both limits, as `ulimit -n` and systemd have it.
fn parse_open_files(text: &str) -> Result<OpenFiles, String> {
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
        _ => Ok(OpenFiles { soft, hard }),
    }
}

/// In thousandths.
fn parse_cpus(text: &str) -> Result<u32, String> {
    const HINT: &str = "write a number of processors from 0.01 to 10000, as in 1.5";
    let cpus: f64 = text.parse().map_err(|_| HINT.to_owned())?;
    if !(0.01..=10_000.0).contains(&cpus) {
        return Err(HINT.to_owned());
    }
    Ok((cpus * 1000.0).round() as u32)
}

fn parse_variable(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(['=', '\0']) {
        true => Err("write a variable's name, as in INSTANCE".into()),
        false => Ok(text.to_owned()),
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
        Ok(run.limits.rules())
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
        assert_eq!(parse_open_files("4096"), Ok(both));
        let apart = OpenFiles { soft: 1024, hard: 65536 };
        assert_eq!(parse_open_files("1024:65536"), Ok(apart));
        for bad in ["", "3", "many", "100:50", "1024:", "-1", "1:2:3"] {
            assert!(parse_open_files(bad).unwrap_err().contains("1024:65536"), "{bad}");
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
