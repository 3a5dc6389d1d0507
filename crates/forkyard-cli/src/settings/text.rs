//! Values that people write as text: on the command line, in files, in the schema.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use forkyard::{CheckSettings, Dialect, MAX_SLOTS, Policy, PolicyRule, Surge};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::boot::ListenOption;

/// A value that is written as text, and remembers how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text<T> {
    pub(crate) value: T,
    /// As it was written, which is how it is shown and kept.
    text: String,
}

/// What can be written as text.
pub(crate) trait FromText: Sized {
    /// What editors show of it.
    const HINT: &'static str;
    /// An example.
    const EXAMPLE: &'static str;

    /// Reads it, or says what is wrong and how it is written.
    fn read(text: &str) -> Result<Self, String>;
}

impl<T: FromText> FromStr for Text<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self { value: T::read(text)?, text: text.to_owned() })
    }
}

impl<T> fmt::Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<T> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

/// Numbers are what they would be as text.
struct TextVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for TextVisitor<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, as in {}", T::HINT, T::EXAMPLE)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map_err(|why| E::custom(format!("`{text}` does not fit here: {why}")))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }
}

impl<T: FromText> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::HINT.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "examples": [T::EXAMPLE] })
    }
}

/// How many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    /// As many as the machine has room for at the time.
    Max,
    /// So many.
    Count(NonZeroUsize),
}

impl Workers {
    /// How many that is now.
    pub(crate) fn count(self) -> NonZeroUsize {
        match self {
            Self::Max => forkyard::available_workers(),
            Self::Count(count) => count,
        }
    }
}

impl FromText for Workers {
    const HINT: &'static str = "a number of workers or `max`";
    const EXAMPLE: &'static str = "max";

    fn read(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let hint =
            format!("use `max` for one a core, which is {} here", forkyard::available_workers());
        let count: i128 = text.parse().map_err(|_| format!("it is no number; {hint}"))?;
        if count < 1 {
            return Err(format!("at least one worker is needed; {hint}"));
        }
        let count = usize::try_from(count).ok().and_then(NonZeroUsize::new);
        let count = count.filter(|count| count.get() <= MAX_SLOTS);
        count.map(Self::Count).ok_or_else(|| format!("there can be at most {MAX_SLOTS}; {hint}"))
    }
}

impl FromText for Duration {
    const HINT: &'static str = "a time with its unit";
    const EXAMPLE: &'static str = "500ms";

    fn read(text: &str) -> Result<Self, String> {
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let time = humantime::parse_duration(text)
            .map_err(|error| format!("{error}; write a time as in 500ms, 5s or 2m"))?;
        if time > LONGEST { Err("a year is the longest".into()) } else { Ok(time) }
    }
}

impl FromText for PolicyRule {
    const HINT: &'static str = "a policy, or LISTENER=POLICY";
    const EXAMPLE: &'static str = "round-robin";

    fn read(text: &str) -> Result<Self, String> {
        let (listener, name) = match text.rsplit_once('=') {
            Some((listener, name)) => (Some(listener.trim_start_matches(':').to_owned()), name),
            None => (None, text),
        };
        let policy = Policy::ALL.into_iter().find(|policy| policy.name() == name);
        let policy = policy.ok_or_else(|| {
            let names: Vec<_> =
                Policy::ALL.iter().map(|policy| format!("`{}`", policy.name())).collect();
            format!("there are {}", names.join(", "))
        })?;
        Ok(Self { listener, policy })
    }
}

impl FromText for ListenOption {
    const HINT: &'static str = "an address to listen on";
    const EXAMPLE: &'static str = "127.0.0.1:8000";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: forkyard::ParseListenAddressError| error.to_string())
    }
}

impl FromText for Dialect {
    const HINT: &'static str = "`json` or `advanced`";
    const EXAMPLE: &'static str = "json";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "there are `json` and `advanced`".into())
    }
}

impl FromText for Surge {
    const HINT: &'static str = "a number of workers, or a percentage";
    const EXAMPLE: &'static str = "25%";

    fn read(text: &str) -> Result<Self, String> {
        const HINT: &str = "write a number of workers, as in 2, or a percentage, as in 25%";
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
            return percent.map(Self::Percent).ok_or(format!("it is none from 1% to 100%; {HINT}"));
        }
        let count: NonZeroUsize = text.parse().map_err(|_| HINT.to_owned())?;
        match count.get() <= MAX_SLOTS {
            true => Ok(Self::Workers(count.get())),
            false => Err(format!("there can be at most {MAX_SLOTS} workers; {HINT}")),
        }
    }
}

impl FromText for CheckSettings {
    const HINT: &'static str = "a path that every new worker is asked for";
    const EXAMPLE: &'static str = "/healthz";

    fn read(text: &str) -> Result<Self, String> {
        Self::get(text).map_err(|_| "write a path from its slash on, as in /healthz".into())
    }
}

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u8);

impl FromText for Code {
    const HINT: &'static str = "an exit code";
    const EXAMPLE: &'static str = "0";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "exit codes are numbers from 0 to 255".to_owned())
    }
}

/// An argument of a program, which need not be UTF-8 on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Argument(pub(crate) OsString);

impl AsRef<OsStr> for Argument {
    fn as_ref(&self) -> &OsStr {
        &self.0
    }
}

impl From<OsString> for Argument {
    fn from(text: OsString) -> Self {
        Self(text)
    }
}

impl Serialize for Argument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Paths are refused in the same way.
        PathBuf::from(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::<String>::deserialize(deserializer)?;
        Ok(Self(text.value.into()))
    }
}

impl JsonSchema for Argument {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "an argument".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"] })
    }
}

impl FromText for String {
    const HINT: &'static str = "text";
    const EXAMPLE: &'static str = "text";

    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromText>(text: &str) -> Result<T, String> {
        T::read(text)
    }

    #[test]
    fn worker_counts_have_bounds() {
        let workers = read::<Workers>;
        assert_eq!(workers("max").unwrap().count(), forkyard::available_workers());
        assert_eq!(workers("3").unwrap().count().get(), 3);
        for bad in ["0", "100000", "many", "-1"] {
            assert!(workers(bad).unwrap_err().contains("max"), "{bad}");
        }
    }

    #[test]
    fn a_policy_may_name_its_listener() {
        let rule = |text| read::<PolicyRule>(text).unwrap();
        assert_eq!(rule("shared"), PolicyRule { listener: None, policy: Policy::Shared });
        let listener = Some("8443".to_owned());
        let expected = PolicyRule { listener, policy: Policy::RoundRobin };
        assert_eq!(rule("8443=round-robin"), expected);
        assert_eq!(rule(":8443=round-robin"), expected);
        assert!(read::<PolicyRule>("fair").is_err());
    }

    #[test]
    fn times_have_units_and_an_end() {
        let time = read::<Duration>;
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        for bad in ["5", "soon", "-1s", "500000000000y", "2y"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_surge_is_a_number_or_a_share_rounded_up() {
        let surge = |text: &str, workers| read::<Surge>(text).unwrap().of(workers);
        for (text, workers, expected) in [
            ("1", 8, 1),
            ("3", 2, 3),
            ("25%", 8, 2),
            ("25%", 9, 3),
            ("1%", 1, 1),
            ("100%", 20, 20),
            ("100%", MAX_SLOTS, MAX_SLOTS),
        ] {
            assert_eq!(surge(text, workers), expected, "{text} of {workers}");
        }
        for bad in ["0", "0%", "101%", "-1", "all", "%", "1.5", "", "99999999", "256%", "10 %"] {
            assert!(read::<Surge>(bad).unwrap_err().contains("25%"), "{bad}");
        }
    }

    #[test]
    fn what_is_text_may_be_a_number_in_a_file_and_is_kept_as_it_was_written() {
        let time: Text<Duration> = serde_json::from_str(r#""1m 30s""#).unwrap();
        assert_eq!(time.value, Duration::from_secs(90));
        assert_eq!(serde_json::to_string(&time).unwrap(), r#""1m 30s""#);
        let workers: Text<Workers> = serde_json::from_str("3").unwrap();
        assert_eq!(workers.value.count().get(), 3);
        let error = serde_json::from_str::<Text<Workers>>("true").unwrap_err().to_string();
        assert!(error.contains("a number of workers or `max`, as in max"), "{error}");
        let error = serde_json::from_str::<Text<Duration>>(r#""5""#).unwrap_err().to_string();
        assert!(error.contains("write a time as in 500ms"), "{error}");
    }
}
