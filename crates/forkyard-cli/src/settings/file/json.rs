//! JSON, as a tree.
//!
//! serde_json tells no places. But raw values are slices of the text, and so tell theirs.

use serde::Deserializer;
use serde::de::{Deserialize, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;

use super::mistake::Mistake;
use super::tree::{Entry, Node, Span, Value, twice};

/// How deep values may be within others.
const DEEPEST: usize = 32;

/// Reads a file's text, or tells what is wrong with how it is written.
pub(super) fn parse(text: &str) -> Result<Node, Vec<Mistake>> {
    let root: &RawValue = serde_json::from_str(text).map_err(|error| vec![broken(text, &error)])?;
    let mut source = Source { text, mistakes: Vec::new() };
    let node = source.node(root.get(), DEEPEST);
    match node {
        Some(node) if source.mistakes.is_empty() => Ok(node),
        _ => Err(source.mistakes),
    }
}

fn broken(text: &str, error: &serde_json::Error) -> Mistake {
    let before = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len);
    // Columns are bytes, counted from 1.
    let at = before.sum::<usize>() + error.column().saturating_sub(1);
    let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let full = error.to_string();
    let why = full.split(" at line ").next().unwrap_or_default();
    Mistake::at(&(at..at), "this is no JSON").because(why)
}

struct Source<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl<'a> Source<'a> {
    /// `raw` is a slice of the text. Nothing comes back for what is a mistake.
    fn node(&mut self, raw: &'a str, deeper: usize) -> Option<Node> {
        let span = self.span(raw);
        let Some(deeper) = deeper.checked_sub(1) else {
            self.mistakes.push(Mistake::at(&span, "this is deeper than any setting is"));
            return None;
        };
        let value = match raw.as_bytes().first()? {
            b'{' => self.table(raw, deeper)?,
            b'[' => self.list(raw, deeper)?,
            b'"' => Value::Text(self.read(raw, &span)?),
            b't' | b'f' => Value::Truth(raw == "true"),
            b'n' => Value::Nothing,
            _ => raw.parse().map_or_else(|_| Value::Number(raw.to_owned()), Value::Integer),
        };
        Some(Node { span, value })
    }

    fn table(&mut self, raw: &'a str, deeper: usize) -> Option<Value> {
        let pairs = self.read_by(raw, Pairs(PhantomData))?;
        let mut entries = Vec::new();
        for (key, value) in pairs {
            let key_span = self.span(key.get());
            let key = self.read(key.get(), &key_span)?;
            let Some(node) = self.node(value.get(), deeper) else { continue };
            entries.push(Entry { key, key_span, node });
        }
        self.mistakes.extend(twice(&entries));
        Some(Value::Table(entries))
    }

    fn list(&mut self, raw: &'a str, deeper: usize) -> Option<Value> {
        let items = self.read_by(raw, Items(PhantomData))?;
        let nodes = items.into_iter().filter_map(|item| self.node(item.get(), deeper)).collect();
        Some(Value::List(nodes))
    }

    fn read(&mut self, raw: &'a str, span: &Span) -> Option<String> {
        let text = serde_json::from_str(raw);
        text.map_err(|_| {
            let what = "this text has half a character in it";
            self.mistakes.push(Mistake::at(span, what).because("\\u escapes come in pairs"));
        })
        .ok()
    }

    fn read_by<V: Visitor<'a>>(&mut self, raw: &'a str, visitor: V) -> Option<V::Value> {
        let read = serde_json::Deserializer::from_str(raw).deserialize_any(visitor);
        read.map_err(|error| self.mistakes.push(broken(self.text, &error))).ok()
    }

    fn span(&self, part: &str) -> Span {
        let start = part.as_ptr().addr() - self.text.as_ptr().addr();
        start..start + part.len()
    }
}

struct Pairs<'a>(PhantomData<&'a ()>);

impl<'de> Visitor<'de> for Pairs<'de> {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

struct Items<'a>(PhantomData<&'a ()>);

impl<'de> Visitor<'de> for Items<'de> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(list))
    }
}
