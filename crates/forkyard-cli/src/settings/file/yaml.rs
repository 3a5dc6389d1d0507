//! YAML 1.2, as a tree. Anchors, aliases and `<<` are known.
//!
//! ```text
//!   text ──saphyr-parser──▶ events ──▶ a stack of what is open ──▶ tree
//! ```

mod plain;

use std::collections::BTreeMap;
use std::mem;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as Marks, Tag};

use super::mistake::Mistake;
use super::tree::{Entry, Node, Span, Value, twice};

/// How many values aliases may add.
const MOST_COPIED: usize = 10_000;
/// How deep values may be within others.
const DEEPEST: usize = 32;
/// By which a table takes over another one's entries.
const MERGE: &str = "<<";

/// Reads a file's text, or tells what is wrong with how it is written.
pub(super) fn parse(text: &str) -> Result<Node, Vec<Mistake>> {
    let mut builder = Builder::new(text);
    for event in Parser::new_from_str(text) {
        let (event, marks) = event.map_err(|error| vec![builder.places.broken(&error)])?;
        let span = builder.places.span(marks);
        builder.take(event, span)?;
    }
    match builder.mistakes.is_empty() {
        true => Ok(builder.root.unwrap_or(Node { span: 0..0, value: Value::Nothing })),
        false => Err(builder.mistakes),
    }
}

struct Builder {
    places: Places,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    copied: usize,
    root: Option<Node>,
    mistakes: Vec<Mistake>,
}

/// A list or table that has not ended yet.
struct Open {
    start: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// With the key whose value is to come.
    Table(Vec<Entry>, Option<(String, Span)>),
}

impl Builder {
    fn new(text: &str) -> Self {
        Self {
            places: Places::of(text),
            open: Vec::new(),
            anchors: BTreeMap::new(),
            copied: 0,
            root: None,
            mistakes: Vec::new(),
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Vec<Mistake>> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text.into_owned(), style, tag.as_deref(), &span)?;
                self.anchored(anchor, Node { span, value })
            }
            Event::Alias(anchor) => {
                let copy = self.copy(anchor, span)?;
                self.put(copy)
            }
            Event::SequenceStart(anchor, _) => self.begin(span, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.begin(span, anchor, Content::Table(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(&span),
            Event::DocumentStart(_) if self.root.is_some() => Err(vec![
                Mistake::at(&span, "there is a second document in this file")
                    .because("put all apps into one"),
            ]),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, span: Span, anchor: usize, content: Content) -> Result<(), Vec<Mistake>> {
        if self.open.len() == DEEPEST {
            return Err(vec![Mistake::at(&span, "this is deeper than any setting is")]);
        }
        self.open.push(Open { start: span.start, anchor, content });
        Ok(())
    }

    fn end(&mut self, span: &Span) -> Result<(), Vec<Mistake>> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Table(entries, _) => {
                self.mistakes.extend(twice(&entries));
                Value::Table(merged(entries)?)
            }
        };
        let span = open.start..span.end.max(open.start);
        self.anchored(open.anchor, Node { span, value })
    }

    fn anchored(&mut self, anchor: usize, node: Node) -> Result<(), Vec<Mistake>> {
        // 0 is none.
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.put(node)
    }

    /// A short file could otherwise become a tree that fills all memory.
    fn copy(&mut self, anchor: usize, span: Span) -> Result<Node, Vec<Mistake>> {
        let Some(node) = self.anchors.get(&anchor) else {
            let what = "this alias stands within what it stands for";
            return Err(vec![Mistake::at(&span, what)]);
        };
        self.copied += size(node);
        if self.copied > MOST_COPIED {
            let what = format!("the aliases stand for more than {MOST_COPIED} values");
            return Err(vec![Mistake::at(&span, what).because("this one is too much")]);
        }
        Ok(node.clone())
    }

    fn put(&mut self, node: Node) -> Result<(), Vec<Mistake>> {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Table(entries, key)) => match key.take() {
                Some((key, key_span)) => entries.push(Entry { key, key_span, node }),
                None => *key = Some(as_key(node)?),
            },
        }
        Ok(())
    }
}

fn scalar(
    text: String,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Span,
) -> Result<Value, Vec<Mistake>> {
    let tag = tag.filter(|tag| !(tag.handle.is_empty() && tag.suffix == "!"));
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    match (tag, style) {
        (Some(_), _) if !is_text => {
            Err(vec![Mistake::at(span, "this has a tag").because("of tags only !!str is known")])
        }
        (None, ScalarStyle::Plain) => Ok(plain::value(text)),
        _ => Ok(Value::Text(text)),
    }
}

fn as_key(node: Node) -> Result<(String, Span), Vec<Mistake>> {
    let key = match node.value {
        Value::Text(text) | Value::Number(text) => text,
        Value::Integer(number) => number.to_string(),
        Value::Truth(truth) => truth.to_string(),
        Value::Nothing | Value::List(_) | Value::Table(_) => {
            return Err(vec![Mistake::at(&node.span, "this is no key").because("a key is a word")]);
        }
    };
    Ok((key, node.span))
}

/// What a table says itself outranks what it takes over.
fn merged(entries: Vec<Entry>) -> Result<Vec<Entry>, Vec<Mistake>> {
    let (merges, mut own): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.key == MERGE);
    for merge in merges {
        for entry in taken_over(merge.node)? {
            if !own.iter().any(|own| own.key == entry.key) {
                own.push(entry);
            }
        }
    }
    Ok(own)
}

fn taken_over(mut node: Node) -> Result<Vec<Entry>, Vec<Mistake>> {
    match mem::replace(&mut node.value, Value::Nothing) {
        Value::Table(entries) => Ok(entries),
        Value::List(tables) => {
            let entries = tables.into_iter().map(taken_over).collect::<Result<Vec<_>, _>>()?;
            Ok(entries.into_iter().flatten().collect())
        }
        _ => Err(vec![
            Mistake::at(&node.span, "this is no table")
                .because("`<<` takes over the entries of a table, or of a list of them"),
        ]),
    }
}

fn size(node: &Node) -> usize {
    let within = match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Table(entries) => entries.iter().map(|entry| size(&entry.node)).sum(),
        _ => 0,
    };
    1 + within
}

/// The parser counts characters.
struct Places {
    /// Where the characters begin, and the end. None if each is a byte.
    starts: Option<Vec<usize>>,
    end: usize,
}

impl Places {
    fn of(text: &str) -> Self {
        let starts = || text.char_indices().map(|(at, _)| at).collect();
        Self { starts: (!text.is_ascii()).then(starts), end: text.len() }
    }

    fn span(&self, marks: Marks) -> Span {
        let start = self.at(&marks.start);
        start..self.at(&marks.end).max(start)
    }

    fn at(&self, mark: &Marker) -> usize {
        match &self.starts {
            Some(starts) => starts.get(mark.index()).copied().unwrap_or(self.end),
            None => mark.index().min(self.end),
        }
    }

    fn broken(&self, error: &ScanError) -> Mistake {
        let at = self.at(error.marker());
        Mistake::at(&(at..at), "this is no YAML").because(error.info())
    }
}
