//! The format, held as it is. Whoever has to change one of these files changes the format: a
//! primary of before could not be taken over any more, nor one of afterwards by an older
//! program. That takes a new number.

use std::time::Instant;

use forkyard_core::{Core, RollReason, Settings};
use serde_json::{Value as Json, json};

use super::*;

const FORMAT_2: &str = include_str!("format-2.json");

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

/// Nothing of it is passed over, and nothing is written otherwise.
#[test]
fn format_2_is_read_and_written_as_it_is() {
    let state = State::read(FORMAT_2.as_bytes()).unwrap();
    assert_eq!(serde_json::to_value(&state).unwrap(), json(FORMAT_2));
}

/// The core, too, keeps all of it.
#[test]
fn a_core_of_format_2_goes_on() {
    let state = State::read(FORMAT_2.as_bytes()).unwrap();
    assert_eq!(state.core.rolling(), Some(RollReason::Reload));
    let now = Instant::now();
    let core = Core::resume(Settings::default(), state.core, now);
    let again = serde_json::to_value(core.snapshot(now).unwrap()).unwrap();
    assert_eq!(sorted(again), sorted(json(FORMAT_2)["core"].clone()));
}

/// The order of timers means nothing.
fn sorted(mut core: Json) -> Json {
    for part in ["supervisor", "dispatcher"] {
        let timers = core[part]["timers_ns"].as_array_mut().unwrap();
        timers.sort_by_key(Json::to_string);
    }
    core
}

#[test]
fn what_is_sent_and_read_comes_back() {
    let state = State::read(FORMAT_2.as_bytes()).unwrap();
    let worker = &state.workers[0];
    let outbox: OutboxState<SentState> = worker.sending.clone().into();
    assert_eq!((outbox.waiting.len(), outbox.written, outbox.stopped), (3, 1, true));
    assert_eq!(
        serde_json::to_value(SendingState::from(outbox)).unwrap(),
        serde_json::to_value(&worker.sending).unwrap()
    );
    assert_eq!(worker.reading.as_ref().unwrap().decoder().rest, b"{\"cmd");
    for worker in &state.workers {
        let Some(reading) = &worker.reading else { continue };
        let skip = SkipState::from(reading.decoder().skip);
        assert_eq!(
            serde_json::to_value(skip).unwrap(),
            serde_json::to_value(reading.skip).unwrap()
        );
    }
}

/// A newer or older program says which format it found, whatever else has changed.
#[test]
fn another_format_is_refused_by_its_number() {
    for other in [0, 1, 999] {
        let text = json!({ "format": other, "all": "new" }).to_string();
        let error = State::read(text.as_bytes()).unwrap_err();
        assert!(matches!(error, StateError::Format { found } if found == other));
        assert!(error.to_string().contains(&format!("format {other}")), "{error}");
    }
}

#[test]
fn what_is_no_state_is_an_error() {
    let mut incomplete = json(FORMAT_2);
    incomplete.as_object_mut().unwrap().remove("workers");
    for text in ["", "{}", "[]", "null", "\u{0}", &incomplete.to_string()] {
        assert!(State::read(text.as_bytes()).is_err(), "{text}");
    }
}
