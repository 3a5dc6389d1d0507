//! Gives memory back when nothing has happened for a while: what a start, a reload or an answer to
//! an operator needs is most of the program, and what goes on in between next to nothing of it.
//!
//! ```text
//!   idle ◀── give back ── resting ◀── tick ── busy
//!                            └── something happened ──▲
//! ```

use forkyard_sys::footprint;

/// What this process has done of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Footprint {
    /// Something, since the last tick.
    #[default]
    Busy,
    /// Something, but before the last tick.
    Resting,
    /// Nothing since memory was given back.
    Idle,
}

impl Footprint {
    /// Something has happened. What happens at every tick keeps all that it needs.
    pub(crate) fn grow(&mut self) {
        *self = Self::Busy;
    }

    /// To be called every few seconds.
    pub(crate) fn tick(&mut self) {
        if self.is_to_shrink()
            && let Err(error) = footprint::give_back()
        {
            tracing::debug!(%error, "failed to give memory back");
        }
    }

    fn is_to_shrink(&mut self) -> bool {
        let before = *self;
        *self = match before {
            Self::Busy => Self::Resting,
            Self::Resting | Self::Idle => Self::Idle,
        };
        before == Self::Resting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_after_a_whole_tick_of_rest() {
        let mut footprint = Footprint::default();
        let ticks = |footprint: &mut Footprint| [0; 4].map(|_| footprint.is_to_shrink());
        assert_eq!(ticks(&mut footprint), [false, true, false, false]);
        footprint.grow();
        assert!(!footprint.is_to_shrink());
        footprint.grow();
        assert_eq!(ticks(&mut footprint), [false, true, false, false]);
    }
}
