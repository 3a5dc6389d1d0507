//! The programs of the generations, and who waits for which roll.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use forkyard_core::{Generation, SlotId};
use tokio::sync::oneshot;

use super::upgrade::state::{ProgramState, RollsState, WantedState};
use crate::program::Program;
use crate::roll::{RollError, RollPlan};

/// How many rolls may wait for the one that is under way.
const WAITING: usize = 16;

/// Tells whoever asked for a roll how it ended.
pub(super) type RollEnd = oneshot::Sender<Result<(), RollError>>;

/// What somebody asked for.
#[derive(Debug)]
pub(crate) enum Wanted {
    All(RollPlan),
    One(SlotId),
}

impl From<&Wanted> for WantedState {
    fn from(wanted: &Wanted) -> Self {
        match wanted {
            Wanted::One(slot) => Self::One(*slot),
            Wanted::All(plan) => Self::All {
                program: plan.program.as_ref().map(Program::state),
                workers: plan.workers,
                surge: plan.surge,
            },
        }
    }
}

impl From<WantedState> for Wanted {
    fn from(state: WantedState) -> Self {
        match state {
            WantedState::One(slot) => Self::One(slot),
            WantedState::All { program, workers, surge } => Self::All(RollPlan {
                program: program.map(Program::from),
                workers,
                surge,
                ..RollPlan::default()
            }),
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Rolls {
    programs: BTreeMap<Generation, Arc<Program>>,
    /// The one that the next roll would replace.
    present: Generation,
    next: u32,
    /// Who waits for the end of the roll that is under way, and how it went wrong.
    end: Option<RollEnd>,
    failure: Option<RollError>,
    waiting: VecDeque<(Wanted, RollEnd)>,
}

impl Rolls {
    pub(super) fn new(program: Program) -> Self {
        let present = Generation(0);
        Self {
            programs: BTreeMap::from([(present, Arc::new(program))]),
            present,
            next: 1,
            end: None,
            failure: None,
            waiting: VecDeque::new(),
        }
    }

    /// Goes on where another image was. Whoever waited for a roll there is gone.
    pub(super) fn resume(state: RollsState) -> Self {
        let RollsState { programs, present, next, waiting } = state;
        let program =
            |(generation, program): (_, ProgramState)| (generation, Arc::new(program.into()));
        Self {
            programs: programs.into_iter().map(program).collect(),
            present,
            next,
            end: None,
            failure: None,
            waiting: waiting
                .into_iter()
                .map(|wanted| (wanted.into(), oneshot::channel().0))
                .collect(),
        }
    }

    /// All that another image needs to go on.
    pub(super) fn state(&self) -> RollsState {
        let programs = self.programs.iter();
        RollsState {
            programs: programs
                .map(|(generation, program)| (*generation, program.state()))
                .collect(),
            present: self.present,
            next: self.next,
            waiting: self.waiting.iter().map(|(wanted, _)| wanted.into()).collect(),
        }
    }

    pub(super) fn program(&self, generation: Generation) -> Option<Arc<Program>> {
        self.programs.get(&generation).cloned()
    }

    /// As whom workers may run, besides this process's user.
    pub(super) fn users(&self) -> impl Iterator<Item = u32> {
        let accounts = self.programs.values().map(|program| program.limits().account.as_ref());
        accounts.flatten().map(|account| account.uid)
    }

    /// The generation that serves; the one before while a roll is under way.
    pub(super) fn present(&self) -> Generation {
        self.present
    }

    /// Names the generation of this program; of the present one if none is given.
    pub(super) fn add(&mut self, program: Option<Program>) -> Generation {
        let generation = Generation(self.next);
        self.next += 1;
        let program = program.map(Arc::new).or_else(|| self.program(self.present));
        self.programs.extend(program.map(|program| (generation, program)));
        generation
    }

    /// Lets go of the programs that nothing will be started from any more.
    pub(super) fn retain(&mut self, needed: impl Fn(Generation) -> bool) {
        self.programs.retain(|generation, _| needed(*generation));
    }

    pub(super) fn began(&mut self, end: RollEnd) {
        self.end = Some(end);
        self.failure = None;
    }

    /// Gives the request back if too many wait.
    pub(super) fn wait(&mut self, wanted: Wanted, end: RollEnd) -> Result<(), RollEnd> {
        if self.waiting.len() == WAITING {
            return Err(end);
        }
        self.waiting.push_back((wanted, end));
        Ok(())
    }

    /// The first failure is what the roll failed of.
    pub(super) fn failed(&mut self, error: RollError) {
        self.failure.get_or_insert(error);
    }

    /// The roll under way is over, and this generation serves.
    pub(super) fn ended(&mut self, present: Generation) {
        self.present = present;
        let result = self.failure.take().map_or(Ok(()), Err);
        if let Some(end) = self.end.take() {
            // Nobody needs to be waiting.
            let _ = end.send(result);
        }
    }

    /// Whoever waits learns it by the end of his channel.
    pub(super) fn abort(&mut self) {
        self.end = None;
        self.waiting.clear();
    }

    pub(super) fn next_waiting(&mut self) -> Option<(Wanted, RollEnd)> {
        self.waiting.pop_front()
    }
}
