//! The two ways a channel's messages can be written.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// How messages are written on a channel.
///
/// Fixed when the worker starts: the primary says it in the environment
/// variable `NODE_CHANNEL_SERIALIZATION_MODE`, whose values are what
/// [`Display`](fmt::Display) and [`FromStr`] use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// One line of JSON per message. Node's default.
    #[default]
    Json,
    /// Four bytes of length, then V8's own serialization. It carries what JSON
    /// cannot: `Map`, `Buffer`, `BigInt`, `undefined`, cycles.
    Advanced,
}

/// A name that is neither `json` nor `advanced`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("know the dialect {name:?} (json or advanced)")]
pub struct UnknownDialect {
    /// What was given.
    pub name: String,
}

impl Dialect {
    /// The name, as Node spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Advanced => "advanced",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "json" => Ok(Self::Json),
            "advanced" => Ok(Self::Advanced),
            _ => Err(UnknownDialect { name: name.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_its_dialect() {
        for dialect in [Dialect::Json, Dialect::Advanced] {
            assert_eq!(dialect.to_string().parse(), Ok(dialect));
        }
        assert!("JSON".parse::<Dialect>().is_err());
    }
}
