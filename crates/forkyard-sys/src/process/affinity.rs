//! Which cores a process runs on.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// One core, by the number that the system gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core(usize);

impl Core {
    /// One of the cores that the calling thread may use: the one with this index, counted round
    /// and round. `None` if the system names none.
    ///
    /// # Errors
    ///
    /// Those of `sched_getaffinity(2)`: `InvalidInput` on a machine with more than 1024 cores.
    pub fn usable(index: usize) -> io::Result<Option<Self>> {
        let usable = sched_getaffinity(None)?;
        let cores = || (0..CpuSet::MAX_CPU).filter(|core| usable.is_set(*core));
        let count = cores().count().max(1);
        Ok(cores().nth(index % count).map(Self))
    }

    /// Has the calling thread, and what it executes, run there and nowhere else. One plain
    /// system call, so async-signal-safe.
    pub(super) fn occupy(self) -> io::Result<()> {
        let mut only = CpuSet::new();
        only.set(self.0);
        Ok(sched_setaffinity(None, &only)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_counted_round_and_round() {
        let first = Core::usable(0).unwrap().unwrap();
        let mut seen = vec![first];
        while let Some(core) = Core::usable(seen.len()).unwrap().filter(|core| *core != first) {
            assert!(!seen.contains(&core));
            seen.push(core);
        }
        assert_eq!(seen.len(), sched_getaffinity(None).unwrap().count() as usize);
    }
}
