//! How bytes, texts of the system and values of JavaScript are written in a state.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forkyard_ipc::{Decoder, Dialect, PrimaryMessage, Value, WorkerMessage};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes, written as hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
        let digits = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        serializer.serialize_str(&digits.collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_digits(text.as_bytes()).map(Self).ok_or_else(|| de::Error::custom("no hex digits"))
    }
}

fn from_digits(digits: &[u8]) -> Option<Vec<u8>> {
    let half = |digit: u8| char::from(digit).to_digit(16).and_then(|half| u8::try_from(half).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(half(*high)? << 4 | half(*low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

/// A moment on the wall, in milliseconds from the beginning of 1970 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct WallClock(u64);

impl From<SystemTime> for WallClock {
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// One that cannot be is the beginning of 1970.
impl From<WallClock> for SystemTime {
    fn from(WallClock(millis): WallClock) -> Self {
        UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
    }
}

/// A path, an argument or the like: a string if it is UTF-8, else its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    Plain(String),
    Raw { bytes: Bytes },
}

impl Text {
    pub(crate) fn of(text: impl AsRef<OsStr>) -> Self {
        let text = text.as_ref();
        match text.to_str() {
            Some(plain) => Self::Plain(plain.to_owned()),
            None => Self::Raw { bytes: Bytes(text.as_bytes().to_vec()) },
        }
    }
}

impl From<Text> for OsString {
    fn from(text: Text) -> Self {
        match text {
            Text::Plain(plain) => plain.into(),
            Text::Raw { bytes } => Self::from_vec(bytes.0),
        }
    }
}

impl From<Text> for PathBuf {
    fn from(text: Text) -> Self {
        OsString::from(text).into()
    }
}

/// A value that cannot be written or read.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("failed to carry a value over")]
pub(crate) struct ValueError;

/// In V8's own serialization, as a message on a channel would carry it.
impl TryFrom<&Value> for Bytes {
    type Error = ValueError;

    fn try_from(value: &Value) -> Result<Self, ValueError> {
        let mut bytes = Vec::new();
        // In a list, which is a program's message whatever the value looks like.
        let message = PrimaryMessage::User(Value::Array(vec![value.clone()]));
        message.encode(Dialect::Advanced, &mut bytes).map_err(|_| ValueError)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<&Bytes> for Value {
    type Error = ValueError;

    fn try_from(bytes: &Bytes) -> Result<Self, ValueError> {
        let mut decoder = Decoder::new(Dialect::Advanced, bytes.0.len());
        decoder.feed(&bytes.0);
        let frame = decoder.next_frame().ok_or(ValueError)?.map_err(|_| ValueError)?;
        match WorkerMessage::parse(Dialect::Advanced, frame) {
            Ok(WorkerMessage::User(Value::Array(mut values))) => values.pop().ok_or(ValueError),
            _ => Err(ValueError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_on_the_wall_comes_back_to_the_millisecond() {
        let at = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        let back = SystemTime::from(WallClock::from(at));
        assert_eq!(at.duration_since(back).unwrap(), Duration::from_micros(456));
        assert_eq!(WallClock::from(UNIX_EPOCH - Duration::from_secs(1)), WallClock(0));
    }

    #[test]
    fn bytes_are_digits() {
        let bytes = Bytes(vec![0, 15, 160, 255]);
        let written = serde_json::to_string(&bytes).unwrap();
        assert_eq!(written, r#""000fa0ff""#);
        assert_eq!(serde_json::from_str::<Bytes>(&written).unwrap(), bytes);
        for nonsense in [r#""0""#, r#""0g""#, "7"] {
            assert!(serde_json::from_str::<Bytes>(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_text_may_be_no_text() {
        for (text, expected) in [
            (OsString::from("/tmp/ü"), r#""/tmp/ü""#),
            (OsString::from_vec(vec![b'/', 255]), r#"{"bytes":"2fff"}"#),
        ] {
            let written = serde_json::to_string(&Text::of(&text)).unwrap();
            assert_eq!(written, expected);
            assert_eq!(OsString::from(serde_json::from_str::<Text>(&written).unwrap()), text);
        }
    }

    #[test]
    fn a_value_stays_what_it_is() {
        let ticket_keys = serde_json::json!({ "ticketKeys": "00ff" });
        let like_an_internal_one = serde_json::json!({ "cmd": "NODE_HANDLE" });
        for value in [Value::Undefined, Value::from(ticket_keys), Value::from(like_an_internal_one)]
        {
            let bytes = Bytes::try_from(&value).unwrap();
            assert_eq!(Value::try_from(&bytes).unwrap(), value);
        }
        assert!(Value::try_from(&Bytes(vec![0, 0, 0, 9, 1])).is_err());
    }
}
