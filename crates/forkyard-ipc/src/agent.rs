//! What is said between the primary and the agent that Forkyard loads into a Node worker.
//!
//! These are messages of Forkyard's own, but named as Node names its internal ones, so that
//! the program does not see them: Node passes what begins with `NODE_` to listeners of
//! `internalMessage` only (`isInternal` in `internal/child_process.js`).

use std::time::Duration;

use crate::fields::Fields;
use crate::frame_writer::FrameWriter;
use crate::{EncodeError, ParseError, Value};

/// The `cmd` of all of them.
pub(crate) const FORKYARD: &str = "NODE_FORKYARD";

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AgentReport {
    /// It is there, and can drain its worker.
    Loaded {
        /// Which version of this exchange it speaks.
        version: u64,
    },
}

/// What the agent is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AgentOrder {
    /// Take no new connections, finish those there are, and leave.
    Drain {
        /// How long idle connections are served and told to close before they are closed.
        /// Travels in whole milliseconds.
        grace: Duration,
        /// Messages to pass to the program as if they had been sent to it.
        tell: Vec<String>,
    },
}

impl AgentReport {
    /// Reads a message whose `cmd` is [`FORKYARD`]; `None` for what a later version may say.
    pub(crate) fn parse(fields: Fields<'_>) -> Result<Option<Self>, ParseError> {
        Ok(match fields.string("act")? {
            Some("agent") => Some(Self::Loaded { version: fields.required("version")? }),
            _ => None,
        })
    }

    pub(crate) fn write(&self, fields: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
        let Self::Loaded { version } = self;
        fields.string("cmd", FORKYARD)?;
        fields.string("act", "agent")?;
        fields.unsigned("version", *version)
    }
}

impl AgentOrder {
    /// Reads a message whose `cmd` is [`FORKYARD`]; `None` for what a later version may say.
    pub(crate) fn parse(fields: Fields<'_>) -> Result<Option<Self>, ParseError> {
        if fields.string("act")? != Some("drain") {
            return Ok(None);
        }
        let grace = Duration::from_millis(fields.required("graceMs")?);
        let words = fields.any("tell").and_then(Value::as_array).unwrap_or_default();
        let tell = words.iter().map(|word| word.as_str().map(str::to_owned));
        let tell: Option<Vec<_>> = tell.collect();
        let tell = tell.ok_or(ParseError::WrongType { field: "tell" })?;
        Ok(Some(Self::Drain { grace, tell }))
    }

    pub(crate) fn write(&self, fields: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
        let Self::Drain { grace, tell } = self;
        fields.string("cmd", FORKYARD)?;
        fields.string("act", "drain")?;
        fields.unsigned("graceMs", u64::try_from(grace.as_millis()).unwrap_or(u64::MAX))?;
        let words = tell.iter().map(|word| Value::String(word.clone())).collect();
        fields.value("tell", &Value::Array(words))
    }
}
