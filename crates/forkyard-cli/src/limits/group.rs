//! The control group of an app's workers: there from the first worker to the last, upgrades of the
//! primary included, if the system permits it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use forkyard::{Cgroup, Event, ExitStatus, Program, Signal};

use super::LimitRules;
use crate::report::Reporter;

/// How long the last processes of a group may take to be gone, and how often it is looked.
const PATIENCE: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(20);

/// The group, if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppGroup {
    group: Option<Arc<Cgroup>>,
    /// How many of its processes were killed for want of memory, as far as that has been told.
    told: u64,
}

impl AppGroup {
    /// Makes it, if there is to be one. An app that cannot have one runs all the same.
    pub(crate) fn make(app: &str, rules: &LimitRules, reporter: &Reporter) -> Self {
        if rules.cgroup.is_none() {
            return Self::default();
        }
        match Cgroup::make(app, &rules.cgroup) {
            Ok(group) => Self { group: Some(Arc::new(group)), told: 0 },
            Err(error) => {
                reporter.warning(format!(
                    "the app runs without its limits for all workers (--cgroup-memory, \
                     --cgroup-memory-high, --cgroup-cpus): {error}"
                ));
                Self::default()
            }
        }
    }

    /// The one that the image before this one has made.
    pub(crate) fn find(app: &str, rules: &LimitRules) -> Self {
        let group = (!rules.cgroup.is_none()).then(|| Cgroup::find(app)).flatten();
        let told = group.as_ref().map_or(0, Cgroup::oom_kills);
        Self { group: group.map(Arc::new), told }
    }

    /// Has workers of this program start in it.
    pub(crate) fn house(&self, program: Program) -> Program {
        self.group.iter().fold(program, |program, group| program.cgroup(group))
    }

    /// Whoever is killed by the system is told nothing.
    pub(super) fn event(&mut self, event: &Event, reporter: &Reporter) {
        let Event::Exited { info, status: ExitStatus::Signal(signal), leaving: None, .. } = event
        else {
            return;
        };
        if *signal != Signal::KILL.number() {
            return;
        }
        let kills = self.group.as_deref().map_or(0, Cgroup::oom_kills);
        if kills > self.told {
            self.told = kills;
            reporter.memory_exhausted(*info);
        }
    }

    /// Takes it away. Processes that a worker has left behind keep it; it is removed at the next
    /// start then.
    pub(super) async fn remove(self) {
        let Some(group) = self.group else { return };
        let removed = tokio::time::timeout(PATIENCE, async {
            while let Err(error) = group.remove() {
                if error.kind() != io::ErrorKind::ResourceBusy {
                    return Err(error);
                }
                tokio::time::sleep(STEP).await;
            }
            Ok(())
        });
        if let Ok(Err(error)) = removed.await {
            let folder = group.folder().display();
            tracing::warn!(%folder, %error, "failed to remove the workers' control group");
        }
    }
}
