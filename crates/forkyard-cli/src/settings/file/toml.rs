//! TOML, as a tree.

use toml::Spanned;
use toml::de::{DeInteger, DeString, DeTable, DeValue, Error};

use super::mistake::Mistake;
use super::tree::{Entry, Node, Value};

/// Reads a file's text, or tells everything that is wrong with how it is written.
pub(super) fn parse(text: &str) -> Result<Node, Vec<Mistake>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.iter().map(mistake).collect());
    }
    let span = root.span();
    Ok(Node { span, value: table(root.into_inner()) })
}

fn mistake(error: &Error) -> Mistake {
    let mistake = Mistake::somewhere("this is no TOML").because(error.message());
    Mistake { span: error.span(), ..mistake }
}

fn table(table: DeTable<'_>) -> Value {
    let mut entries: Vec<_> = table.into_iter().map(entry).collect();
    // They come by the alphabet.
    entries.sort_by_key(|entry| entry.key_span.start);
    Value::Table(entries)
}

fn entry((key, value): (Spanned<DeString<'_>>, Spanned<DeValue<'_>>)) -> Entry {
    let key_span = key.span();
    Entry { key: key.into_inner().into_owned(), key_span, node: node(value) }
}

fn node(value: Spanned<DeValue<'_>>) -> Node {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => integer(&number),
        DeValue::Float(number) => Value::Number(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Value::Truth(truth),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(items) => Value::List(items.into_iter().map(node).collect()),
        DeValue::Table(entries) => table(entries),
    };
    Node { span, value }
}

fn integer(number: &DeInteger<'_>) -> Value {
    match i64::from_str_radix(number.as_str(), number.radix()) {
        Ok(integer) => Value::Integer(integer),
        Err(_) => Value::Number(number.to_string()),
    }
}
