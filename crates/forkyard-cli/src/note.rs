//! What one image of the command tells the next besides what the primary itself hands on.

use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::control::{milliseconds, since_1970};
use crate::reload::Wanted;

/// What the next image has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Note {
    /// What is still to begin.
    pub(crate) waiting: Vec<Wanted>,
    /// How many workers somebody wanted, whatever the settings say.
    pub(crate) scaled: Option<NonZeroUsize>,
    /// When the first image began, in milliseconds since 1970.
    pub(crate) started_ms: Option<u64>,
    /// For how much longer a stop is put off, in milliseconds, if one is.
    pub(crate) stop_in_ms: Option<u64>,
}

impl Note {
    /// When the first image began.
    pub(crate) fn started(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_millis(self.started_ms?))
    }

    pub(crate) fn with_started(self, started: SystemTime) -> Self {
        Self { started_ms: Some(since_1970(started)), ..self }
    }

    /// For how much longer a stop is put off, if one is.
    pub(crate) fn stop_in(&self) -> Option<Duration> {
        self.stop_in_ms.map(Duration::from_millis)
    }

    pub(crate) fn with_stop_in(self, left: Option<Duration>) -> Self {
        Self { stop_in_ms: left.map(milliseconds), ..self }
    }

    /// Writing one of our own types cannot fail.
    pub(crate) fn write(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// What an image of another version means may be lost; it never keeps this one from serving.
    pub(crate) fn read(note: Option<&str>) -> Self {
        let read = |note| {
            serde_json::from_str(note).unwrap_or_else(|error| {
                tracing::warn!(%error, note, "failed to read what the image before has left");
                Self::default()
            })
        };
        note.map_or_else(Self::default, read)
    }
}

#[cfg(test)]
mod tests {
    use forkyard::SlotId;

    use super::*;
    use crate::reload::Seats;

    #[test]
    fn a_note_comes_out_as_it_went_in() {
        let restarts = [Seats::One(SlotId(3)), Seats::All].map(Wanted::Restart);
        let waiting = [Wanted::Reload].into_iter().chain(restarts).collect();
        let started = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let note = Note { waiting, scaled: NonZeroUsize::new(5), ..Note::default() };
        let left = Some(Duration::from_millis(1500));
        let note = note.with_started(started).with_stop_in(left);
        assert_eq!(note.stop_in(), left);
        assert_eq!(note.started(), Some(started));
        assert_eq!(Note::read(note.write().as_deref()), note);
        for unknown in [None, Some("a reload waits"), Some("{\"more\":1}")] {
            assert_eq!(Note::read(unknown), Note::default());
        }
    }
}
