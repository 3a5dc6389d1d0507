//! What happens in an app.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Something that happened, as `forkyard run --log-format json` tells it, and in words besides.
/// The name of the server-sent event is that in `event`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppEvent {
    /// When, as in RFC 3339.
    pub time: String,
    /// How much it matters: `info`, `warn` or `error`.
    pub level: String,
    /// What, by its name: `worker_started`, `roll_finished` and so on.
    pub event: String,
    /// What, in words and perhaps on several lines; empty if it is of interest to machines only.
    #[serde(default)]
    pub text: String,
    /// What else is said of it: `slot`, `worker`, `pid`, `phase` and so on.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// What a client is told in their place that was too slow for some events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Missed {
    /// How many it has missed.
    pub missed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_as_documented() {
        let line = r#"{"time":"t","level":"info","event":"e","text":"a","slot":0}"#;
        let event: AppEvent = serde_json::from_str(line).unwrap();
        assert_eq!((event.event.as_str(), &event.fields["slot"]), ("e", &0.into()));
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
    }
}
