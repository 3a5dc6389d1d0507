//! A settings file as a tree whose every part knows where it stands, whatever the format.

use std::ops::Range;

use super::mistake::Mistake;

/// Where something stands in the text, in bytes.
pub(super) type Span = Range<usize>;

/// A value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Null, or nothing at all.
    Nothing,
    Truth(bool),
    Integer(i64),
    /// Any other number, as it is written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
}

impl Node {
    /// The entries of a table; nothing has none.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// A table's entry.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entry that these keys lead to, one table after the other.
    pub(super) fn at<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Entry> {
        let mut path = path.into_iter();
        let first = self.entry(path.next()?)?;
        path.try_fold(first, |entry, key| entry.node.entry(key))
    }

    /// The value that is this text, be it the node itself or one of a list.
    pub(super) fn saying(&self, text: &str) -> Option<&Self> {
        match &self.value {
            Value::Text(own) if own == text => Some(self),
            Value::Integer(own) if own.to_string() == text => Some(self),
            Value::List(items) => items.iter().find_map(|item| item.saying(text)),
            _ => None,
        }
    }

    /// Takes out what stands there, with its key. Returns whether anything does.
    pub(super) fn take_out(&mut self, span: &Span) -> bool {
        match &mut self.value {
            Value::Table(entries) => {
                let stands = |entry: &Entry| entry.key_span == *span || entry.node.span == *span;
                take_first(entries, stands)
                    || entries.iter_mut().any(|entry| entry.node.take_out(span))
            }
            Value::List(items) => {
                take_first(items, |item| item.span == *span)
                    || items.iter_mut().any(|item| item.take_out(span))
            }
            _ => false,
        }
    }

    /// Every value in it that is neither a list nor a table.
    pub(super) fn leaves(&self) -> Vec<&Self> {
        match &self.value {
            Value::List(items) => items.iter().flat_map(Self::leaves).collect(),
            Value::Table(entries) => entries.iter().flat_map(|entry| entry.node.leaves()).collect(),
            _ => vec![self],
        }
    }
}

fn take_first<T>(list: &mut Vec<T>, is_it: impl Fn(&T) -> bool) -> bool {
    let at = list.iter().position(is_it);
    at.map(|at| list.remove(at)).is_some()
}

/// Keys that are there twice.
pub(super) fn twice(entries: &[Entry]) -> Vec<Mistake> {
    let is_second = |at: usize| entries[..at].iter().any(|before| before.key == entries[at].key);
    let second = (0..entries.len()).filter(|at| is_second(*at)).map(|at| &entries[at]);
    second
        .map(|entry| {
            let key = &entry.key;
            Mistake::at(&entry.key_span, format!("`{key}` is there twice"))
                .because("this is the second one; leave one of them out")
        })
        .collect()
}
