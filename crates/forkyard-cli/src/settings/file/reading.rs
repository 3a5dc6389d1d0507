//! From a tree to settings, by serde. What does not fit is told with the place where it stands.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::tree::{Entry, Node, Span, Value};

/// Reads settings, up to the first thing that does not fit.
pub(super) fn read<T: DeserializeOwned>(node: &Node) -> Result<T, Wrong> {
    T::deserialize(node)
}

/// What does not fit.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub(super) kind: WrongKind,
    pub(super) span: Option<Span>,
    /// The keys that lead to it, the last one first.
    keys: Vec<String>,
}

/// In what way.
#[derive(Clone, Debug)]
pub(super) enum WrongKind {
    /// There is no such key.
    UnknownKey { key: String, known: &'static [&'static str] },
    /// There is no such word.
    UnknownWord { word: String, known: &'static [&'static str] },
    /// It is something else than what is needed.
    OtherKind { found: Found, needed: String },
    /// What it says cannot be.
    Value(String),
}

/// What is there, without saying what it says: that may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Truth,
    Number,
    Text,
    List,
    Table,
}

impl Wrong {
    fn new(kind: WrongKind) -> Self {
        Self { kind, span: None, keys: Vec::new() }
    }

    /// Whoever was there first knows best.
    fn at(self, span: &Span) -> Self {
        Self { span: self.span.or_else(|| Some(span.clone())), ..self }
    }

    fn under(mut self, key: &str) -> Self {
        self.keys.push(key.to_owned());
        self
    }

    /// The keys that lead to it.
    pub(super) fn path(&self) -> Vec<String> {
        self.keys.iter().rev().cloned().collect()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Truth => "true or false",
            Self::Number => "a number",
            Self::Text => "text",
            Self::List => "a list",
            Self::Table => "a table",
        })
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            WrongKind::UnknownKey { key, .. } => write!(f, "there is no setting `{key}`"),
            WrongKind::UnknownWord { word, .. } => write!(f, "there is no `{word}`"),
            WrongKind::OtherKind { found, needed } => {
                write!(f, "this is {found}; needed is {needed}")
            }
            WrongKind::Value(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(WrongKind::Value(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, needed: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Unit | Unexpected::Option => Found::Nothing,
            Unexpected::Bool(_) => Found::Truth,
            Unexpected::Signed(_) | Unexpected::Unsigned(_) | Unexpected::Float(_) => Found::Number,
            Unexpected::Seq => Found::List,
            Unexpected::Map => Found::Table,
            _ => Found::Text,
        };
        Self::new(WrongKind::OtherKind { found, needed: in_words(needed) })
    }

    fn invalid_value(_: Unexpected<'_>, needed: &dyn Expected) -> Self {
        Self::new(WrongKind::Value(format!("needed is {}", in_words(needed))))
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::new(WrongKind::UnknownWord { word: word.to_owned(), known })
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(WrongKind::UnknownKey { key: key.to_owned(), known })
    }
}

/// serde speaks of Rust's types.
fn in_words(needed: &dyn Expected) -> String {
    let needed = needed.to_string();
    match needed.as_str() {
        "a boolean" => "true or false".into(),
        "a string" | "path string" | "string or map" => "text".into(),
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" | "u64" | "usize" => "a whole number from 0 on".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a sequence" => "a list".into(),
        "a map" => "a table".into(),
        _ if needed.starts_with("struct ") => "a table of settings".into(),
        _ => needed,
    }
}

impl<'de> Deserializer<'de> for &Node {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let read = match &self.value {
            Value::Nothing => visitor.visit_unit(),
            Value::Truth(truth) => visitor.visit_bool(*truth),
            Value::Integer(number) => match u64::try_from(*number) {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_i64(*number),
            },
            // What takes numbers as text gets it as it is written: `1.10` is a version.
            Value::Number(text) | Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(List(items.iter())),
            Value::Table(entries) => visitor.visit_map(Table { rest: entries, value: None }),
        };
        read.map_err(|wrong| wrong.at(&self.span))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.value {
            Value::Nothing => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    /// A table whose entries are all taken out is nothing, in YAML.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.value {
            Value::Nothing => visitor.visit_map(Table { rest: &[], value: None }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.value {
            Value::Number(text) => match text.parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match &self.value {
            Value::Text(word) => {
                let word: StrDeserializer<'_, Wrong> = word.as_str().into_deserializer();
                visitor.visit_enum(word).map_err(|wrong| wrong.at(&self.span))
            }
            _ => Err(self.other_kind("a word")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

impl Node {
    fn other_kind(&self, needed: &str) -> Wrong {
        let needed = needed.to_owned();
        Wrong::new(WrongKind::OtherKind { found: self.found(), needed }).at(&self.span)
    }

    pub(super) fn found(&self) -> Found {
        match &self.value {
            Value::Nothing => Found::Nothing,
            Value::Truth(_) => Found::Truth,
            Value::Integer(_) | Value::Number(_) => Found::Number,
            Value::Text(_) => Found::Text,
            Value::List(_) => Found::List,
            Value::Table(_) => Found::Table,
        }
    }
}

struct List<'a>(std::slice::Iter<'a, Node>);

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        self.0.next().map(|item| seed.deserialize(item)).transpose()
    }
}

struct Table<'a> {
    rest: &'a [Entry],
    /// Whose key has been read.
    value: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Table<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        let Some((entry, rest)) = self.rest.split_first() else { return Ok(None) };
        (self.rest, self.value) = (rest, Some(entry));
        let key: StrDeserializer<'_, Wrong> = entry.key.as_str().into_deserializer();
        let key = seed.deserialize(key);
        key.map(Some).map_err(|wrong| wrong.at(&entry.key_span).under(&entry.key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let Some(entry) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let value = seed.deserialize(&entry.node);
        value.map_err(|wrong| wrong.at(&entry.node.span).under(&entry.key))
    }
}
