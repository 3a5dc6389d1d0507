//! Reads the fields of a message that has been parsed into a [`Value`].
//!
//! Both dialects pass through here, so a wrong type is found in one place. JSON
//! leaves out what the advanced dialect writes as `undefined`; here both are
//! "not there", and so is `null`.

use crate::{ParseError, Value};

/// The properties of one message or of one object in it.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(&'a Value);

/// Integers beyond this are not exact in JavaScript.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

impl<'a> Fields<'a> {
    pub(crate) const fn of(message: &'a Value) -> Self {
        Self(message)
    }

    /// The value of a field that is there.
    pub(crate) fn any(self, name: &'static str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_nullish())
    }

    pub(crate) fn string(self, name: &'static str) -> Result<Option<&'a str>, ParseError> {
        self.convert(name, Value::as_str)
    }

    pub(crate) fn required_string(self, name: &'static str) -> Result<&'a str, ParseError> {
        self.string(name)?.ok_or(ParseError::MissingField { field: name })
    }

    pub(crate) fn boolean(self, name: &'static str) -> Result<Option<bool>, ParseError> {
        self.convert(name, Value::as_bool)
    }

    pub(crate) fn integer(self, name: &'static str) -> Result<Option<i64>, ParseError> {
        self.convert(name, |value| value.as_f64().and_then(integer))
    }

    /// An integer that a program gave, as JavaScript converts it when it is used:
    /// text is taken for the number it shows. `None` for what is no number.
    pub(crate) fn loose_integer(self, name: &'static str) -> Option<i64> {
        match self.any(name)? {
            Value::Number(number) => integer(number.trunc()),
            Value::String(text) => integer(text.trim().parse::<f64>().ok()?.trunc()),
            _ => None,
        }
    }

    /// A truth value that a program gave: anything may stand for one.
    pub(crate) fn loose_boolean(self, name: &'static str) -> bool {
        self.any(name).is_some_and(Value::is_truthy)
    }

    /// An integer of a narrower type.
    pub(crate) fn narrow<T: TryFrom<i64>>(
        self,
        name: &'static str,
    ) -> Result<Option<T>, ParseError> {
        self.convert(name, |value| T::try_from(value.as_f64().and_then(integer)?).ok())
    }

    pub(crate) fn required<T: TryFrom<i64>>(self, name: &'static str) -> Result<T, ParseError> {
        self.narrow(name)?.ok_or(ParseError::MissingField { field: name })
    }

    /// The number of the message; 0 if it has none.
    pub(crate) fn seq(self) -> Result<u64, ParseError> {
        Ok(self.narrow("seq")?.unwrap_or(0))
    }

    fn convert<T>(
        self,
        name: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ParseError> {
        let Some(value) = self.any(name) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or(ParseError::WrongType { field: name })
    }
}

/// The number as an integer, if it is exactly one.
fn integer(number: f64) -> Option<i64> {
    let exact = number.fract() == 0.0 && number.abs() <= MAX_SAFE_INTEGER;
    #[expect(clippy::cast_possible_truncation, reason = "an integer within ±2^53")]
    exact.then_some(number as i64)
}
