//! What the command's next image has to know, beside what the primary itself hands over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is under way in the command when it is replaced at an upgrade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Note {
    /// A reload is still to begin.
    pub(crate) reload_waits: bool,
    /// A stop is put off, for so much longer.
    stop_in_ms: Option<u64>,
}

impl Note {
    pub(crate) fn new(reload_waits: bool, stop_in: Option<Duration>) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self { reload_waits, stop_in_ms: stop_in.map(millis) }
    }

    /// What was left by the image before, if anything. What cannot be read says nothing.
    pub(crate) fn read(text: Option<&str>) -> Self {
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// As it is left to the next image.
    pub(crate) fn text(self) -> Option<String> {
        let says_something = self != Self::default();
        says_something.then(|| serde_json::to_string(&self).ok()).flatten()
    }

    pub(crate) fn stop_in(self) -> Option<Duration> {
        self.stop_in_ms.map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_left() {
        assert_eq!(Note::default().text(), None);
        for note in [Note::new(true, None), Note::new(false, Some(Duration::from_millis(1500)))] {
            assert_eq!(Note::read(note.text().as_deref()), note);
        }
        assert_eq!(
            Note::new(true, None).text().as_deref(),
            Some(r#"{"reload_waits":true,"stop_in_ms":null}"#)
        );
        for unknown in ["", "a reload waits", r#"{"more":1}"#] {
            assert_eq!(Note::read(Some(unknown)), Note::default(), "{unknown}");
        }
    }
}
