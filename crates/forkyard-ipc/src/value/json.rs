//! Values as JSON, read as `JSON.parse` and written as `JSON.stringify` would.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{Bytes, Value, ViewKind};

/// Integers up to here are written without a fraction or an exponent: 2^63, where
/// `i64` ends.
const MAX_INTEGER: f64 = 9_223_372_036_854_775_808.0;

impl Value {
    /// The value as JSON, as `JSON.stringify` would write it, with what that loses:
    /// `undefined` properties vanish, `Map`, `Set`, `RegExp`, `Error` and
    /// `ArrayBuffer` become `{}`, a `Date` becomes text, a `Buffer` an object with
    /// an array. Where `JSON.stringify` would throw, a bigint becomes text and a
    /// repeated object or a cycle becomes `null`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(truth) => Self::Bool(truth),
            // Every number is a float without the feature that keeps their text.
            Json::Number(number) => number.as_f64().map_or(Self::Null, Self::Number),
            Json::String(text) => Self::String(text),
            Json::Array(elements) => Self::Array(elements.into_iter().map(Self::from).collect()),
            Json::Object(properties) => {
                Self::object(properties.into_iter().map(|(name, value)| (name, Self::from(value))))
            }
        }
    }
}

/// Reads one line of JSON.
///
/// # Errors
///
/// When it is not JSON, is nested too deeply, or holds a number that no float can.
pub(crate) fn parse(line: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(line).or_else(|error| match mend_surrogates(line) {
        Cow::Owned(mended) => serde_json::from_slice(&mended),
        Cow::Borrowed(_) => Err(error),
    })
}

/// Replaces escapes that stand for half of a surrogate pair by that of U+FFFD.
///
/// `JSON.stringify` writes such halves, and no Rust string can hold them. It is
/// rare, so lines are read without this step first.
fn mend_surrogates(line: &[u8]) -> Cow<'_, [u8]> {
    let mut mended = Cow::Borrowed(line);
    let mut at = 0;
    while at < line.len() {
        let (length, alone) = escape_at(&line[at..]);
        if alone {
            mended.to_mut()[at..at + length].copy_from_slice(br"\ufffd");
        }
        at += length;
    }
    mended
}

/// The length of what begins here (an escape, a pair of escapes or one byte) and
/// whether it is half of a surrogate pair.
fn escape_at(text: &[u8]) -> (usize, bool) {
    match (code_unit_at(text), text.first()) {
        (Some(0xd800..=0xdbff), _) => match text.get(6..).and_then(code_unit_at) {
            Some(0xdc00..=0xdfff) => (12, false),
            _ => (6, true),
        },
        (Some(0xdc00..=0xdfff), _) => (6, true),
        (Some(_), _) => (6, false),
        (None, Some(b'\\')) => (text.len().min(2), false),
        (None, _) => (1, false),
    }
}

/// The UTF-16 code unit whose escape `\uXXXX` begins here.
fn code_unit_at(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(br"\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = array.next_element()? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut properties = Vec::new();
        while let Some(property) = object.next_entry()? {
            properties.push(property);
        }
        Ok(Value::Object(properties))
    }
}

/// As `JSON.stringify`; see [`Value::to_json`].
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Undefined | Self::Null | Self::Reference(_) => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Number(number) => serialize_number(*number, serializer),
            Self::BigInt(number) => serializer.collect_str(number),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(elements) => serializer.collect_seq(elements),
            Self::SparseArray(array) => array.serialize(serializer),
            Self::Object(properties) => serialize_object(properties, serializer),
            Self::Date(time) => serialize_date(*time, serializer),
            Self::Bytes(bytes) => bytes.serialize(serializer),
            Self::Boxed(inner) | Self::Copied(inner) => inner.serialize(serializer),
            Self::RegExp(_)
            | Self::Map(_)
            | Self::Set(_)
            | Self::ArrayBuffer(_)
            | Self::View(_)
            | Self::Error(_) => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

fn serialize_number<S: Serializer>(number: f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && number.abs() < MAX_INTEGER {
        #[expect(clippy::cast_possible_truncation, reason = "an integer within ±2^63")]
        return serializer.serialize_i64(number as i64);
    }
    if number.is_finite() { serializer.serialize_f64(number) } else { serializer.serialize_unit() }
}

fn serialize_object<S: Serializer>(
    properties: &[(String, Value)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(None)?;
    for (name, value) in properties.iter().filter(|(_, value)| *value != Value::Undefined) {
        object.serialize_entry(name, value)?;
    }
    object.end()
}

impl Serialize for super::SparseArray {
    /// Holes become `null`, but not behind the last element: the length alone
    /// costs a peer nothing, so nothing is written for it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut array = serializer.serialize_seq(None)?;
        let mut next = 0_u32;
        for (name, value) in &self.entries {
            let Ok(index) = name.parse::<u32>() else { continue };
            if index < next || index - next > MAX_HOLES {
                continue;
            }
            (next..index).try_for_each(|_| array.serialize_element(&()))?;
            array.serialize_element(value)?;
            next = index + 1;
        }
        array.end()
    }
}

/// How many holes in a row are written as `null`s. A few bytes can claim four
/// thousand million of them.
const MAX_HOLES: u32 = 1024;

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        match self.kind {
            ViewKind::Buffer => {
                object.serialize_entry("type", "Buffer")?;
                object.serialize_entry("data", &self.bytes)?;
            }
            ViewKind::Int8Array | ViewKind::Uint8Array | ViewKind::Uint8ClampedArray => {
                for (index, byte) in self.bytes.iter().enumerate() {
                    object.serialize_entry(&index.to_string(), &self.element(*byte))?;
                }
            }
            _ => {}
        }
        object.end()
    }
}

impl Bytes {
    fn element(&self, byte: u8) -> i16 {
        match self.kind {
            ViewKind::Int8Array => i16::from(byte.cast_signed()),
            _ => i16::from(byte),
        }
    }
}

/// `Date.prototype.toJSON`: ISO 8601 in UTC, `null` if there is no such date.
fn serialize_date<S: Serializer>(time: f64, serializer: S) -> Result<S::Ok, S::Error> {
    /// What a `Date` can hold, in milliseconds on either side of 1970.
    const MAX_TIME: f64 = 8.64e15;
    if time.is_nan() || time.abs() > MAX_TIME {
        return serializer.serialize_unit();
    }
    #[expect(clippy::cast_possible_truncation, reason = "an integer within MAX_TIME")]
    serializer.collect_str(&IsoDate(time as i64))
}

/// Milliseconds since 1970, shown as JavaScript's `toISOString` does.
struct IsoDate(i64);

impl fmt::Display for IsoDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_MS: i64 = 86_400_000;
        let (days, ms) = (self.0.div_euclid(DAY_MS), self.0.rem_euclid(DAY_MS));
        let (year, month, day) = civil_date(days);
        match year {
            0..=9999 => write!(f, "{year:04}")?,
            _ => write!(f, "{year:+07}")?,
        }
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
    }
}

/// Year, month and day of the Gregorian calendar, of a day counted from 1970.
///
/// The method is Howard Hinnant's `civil_from_days`: years that begin in March,
/// in eras of 400 years.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::value::{BigInt, SparseArray};

    fn text(value: &Value) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn order_is_kept() {
        let line = r#"{"b":1,"a":[null,true,-2.5,"x"],"c":{}}"#;
        assert_eq!(text(&parse(line.as_bytes()).unwrap()), line);
    }

    #[test]
    fn numbers_beyond_any_integer_are_read() {
        let value =
            parse(b"[18446744073709551616, -1e300, 123456789012345678901234567890]").unwrap();
        let numbers: Vec<_> = value.as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        assert_eq!(numbers, [18446744073709551616.0, -1e300, 123456789012345678901234567890.0]);
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        let value = parse(br#"["\ud800", "\\ud800", "\ud83d\ude00", "a\udc00b", "\ud800\u0041"]"#);
        let wanted = json!(["\u{fffd}", "\\ud800", "\u{1f600}", "a\u{fffd}b", "\u{fffd}A"]);
        assert_eq!(value.unwrap().to_json(), wanted);
    }

    #[test]
    fn nesting_is_bounded() {
        let levels = |n: usize| ["[".repeat(n), "]".repeat(n)].concat();
        assert!(parse(levels(super::super::MAX_DEPTH).as_bytes()).is_ok());
        assert!(parse(levels(super::super::MAX_DEPTH + 1).as_bytes()).is_err());
    }

    #[test]
    fn what_json_cannot_say_is_written_as_javascript_does() {
        let value = Value::object([
            ("gone", Value::Undefined),
            ("array", Value::Array(vec![Value::Undefined, Value::Number(f64::NAN)])),
            ("map", Value::Map(vec![(Value::Null, Value::Null)])),
            ("date", Value::Date(1_700_000_000_123.0)),
            ("never", Value::Date(f64::NAN)),
            ("buffer", Bytes { kind: ViewKind::Buffer, bytes: vec![1, 255] }.into()),
            ("int8", Bytes { kind: ViewKind::Int8Array, bytes: vec![255] }.into()),
            ("big", BigInt::from(-5).into()),
            ("cycle", Value::Reference(0)),
            ("boxed", Value::Boxed(Box::new(Value::from("s")))),
        ]);
        let wanted = json!({
            "array": [null, null], "map": {}, "date": "2023-11-14T22:13:20.123Z", "never": null,
            "buffer": {"type": "Buffer", "data": [1, 255]}, "int8": {"0": -1}, "big": "-5",
            "cycle": null, "boxed": "s",
        });
        assert_eq!(value.to_json(), wanted);
    }

    #[test]
    fn holes_do_not_cost_what_they_claim() {
        let entries =
            vec![("1".to_owned(), Value::from(7)), ("4294967290".to_owned(), Value::Null)];
        let value = Value::from(SparseArray { length: u32::MAX, entries });
        assert_eq!(text(&value), "[null,7]");
    }

    #[test]
    fn dates_are_shown_as_javascript_shows_them() {
        for (time, wanted) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (8_640_000_000_000_000, "+275760-09-13T00:00:00.000Z"),
            (-8_640_000_000_000_000, "-271821-04-20T00:00:00.000Z"),
        ] {
            assert_eq!(IsoDate(time).to_string(), wanted);
        }
    }
}
