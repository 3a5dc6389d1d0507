//! What workers may use and as whom they run: the rules, and what the command itself has to do
//! about them while an app runs.
//!
//! ```text
//!   LimitRules ──apply──▶ Program    user, niceness, open files, ports: by each worker at its start
//!       ├──▶ AppGroup                a control group for all of them, made and removed here
//!       └──▶ MemoryWatch             looks at each worker every now and then, replaces it
//! ```

mod group;
mod memory;
mod rules;
mod size;

use forkyard::{ClusterHandle, Event};

pub(crate) use group::AppGroup;
use memory::MemoryWatch;
pub(crate) use rules::LimitRules;
pub(crate) use size::ByteSize;

use crate::report::Reporter;

/// The part of limits that lasts as long as the app.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    group: AppGroup,
    memory: Option<MemoryWatch>,
}

impl Limits {
    pub(crate) fn new(rules: &LimitRules, group: AppGroup) -> Self {
        Self { group, memory: rules.max_memory.map(MemoryWatch::new) }
    }

    /// Goes on where another image was, in the midst of a roll perhaps.
    pub(crate) fn take_over(&mut self, rolling: bool) {
        if let Some(memory) = &mut self.memory {
            memory.roll_is_under_way(rolling);
        }
    }

    /// The next look at the workers is due; never, if nothing is to be looked at. May be dropped
    /// and awaited anew.
    pub(crate) async fn due(&mut self) {
        match &mut self.memory {
            Some(memory) => memory.due().await,
            None => std::future::pending().await,
        }
    }

    /// Looks at the workers.
    pub(crate) async fn look(&mut self, handle: &ClusterHandle, reporter: &Reporter) {
        if let Some(memory) = &mut self.memory {
            memory.look(handle, reporter).await;
        }
    }

    /// Takes note of what happens.
    pub(crate) fn event(&mut self, event: &Event, reporter: &Reporter) {
        self.group.event(event, reporter);
        match (&mut self.memory, event) {
            (Some(memory), Event::RollStarted { .. }) => memory.roll_is_under_way(true),
            (
                Some(memory),
                Event::RollFinished { .. } | Event::RolledBack { .. } | Event::RollAborted { .. },
            ) => memory.roll_is_under_way(false),
            _ => {}
        }
    }

    /// The app is over.
    pub(crate) async fn finish(self) {
        self.group.remove().await;
    }
}
