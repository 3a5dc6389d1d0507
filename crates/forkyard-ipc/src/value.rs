//! What one process can send to another: a JavaScript value.
//!
//! One type serves both dialects. JSON fills the first few variants only; the
//! others exist in the advanced dialect alone and become what
//! `JSON.stringify` makes of them when written as JSON.
//!
//! # Numbers and strings
//!
//! Numbers are JavaScript's: 64-bit floats. Integers are exact up to 2^53.
//! Strings are valid Unicode; half of a surrogate pair, which JavaScript
//! tolerates, is read as U+FFFD.
//!
//! # The same object twice, and cycles
//!
//! A [`Value`] is a tree. Where the advanced dialect refers back to an object it
//! has already written, the tree has [`Value::Reference`] with that object's
//! number: objects are counted from 0 in the order in which they begin, the
//! value one holds being number 0 if it is an object itself. `a = {}; a.me = a`
//! is `Object([("me", Reference(0))])`. Which variants count is told by
//! [`Value::is_object`].

mod bigint;
mod binary;
mod error;
mod json;
mod references;

pub use bigint::BigInt;
pub use binary::{ArrayBuffer, Bytes, View, ViewKind};
pub use error::{ErrorKind, ErrorValue};

pub(crate) use json::parse as parse_json;
pub(crate) use references::ReferenceOutside;

/// How many objects may stand within each other in one message, in either
/// dialect and either direction. Deeper ones are refused, so that no peer can
/// exhaust the stack.
pub const MAX_DEPTH: usize = 127;

/// A JavaScript value that can be sent to another process.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `undefined`. JSON leaves such a property out and writes `null` elsewhere.
    #[default]
    Undefined,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// An integer of any size.
    BigInt(Box<BigInt>),
    /// A string.
    String(String),
    /// An array without holes and without properties of its own.
    Array(Vec<Value>),
    /// Any other array.
    SparseArray(Box<SparseArray>),
    /// A plain object, its properties in order. Where a name stands twice, the
    /// last one counts.
    Object(Vec<(String, Value)>),
    /// A `Date`: milliseconds since 1970, or NaN.
    Date(f64),
    /// A `RegExp`.
    RegExp(Box<RegExp>),
    /// A `Map`, in order.
    Map(Vec<(Value, Value)>),
    /// A `Set`, in order.
    Set(Vec<Value>),
    /// An `ArrayBuffer`.
    ArrayBuffer(Box<ArrayBuffer>),
    /// A `Buffer`, typed array or `DataView` as Node writes them.
    Bytes(Box<Bytes>),
    /// A typed array or `DataView` upon its `ArrayBuffer`, as V8 writes them.
    View(Box<View>),
    /// An `Error`.
    Error(Box<ErrorValue>),
    /// An object made of a boolean, number, bigint or string, as by `Object(1)`.
    Boxed(Box<Value>),
    /// Node's stand-in for an object that only native code can make: a plain
    /// copy of its properties.
    Copied(Box<Value>),
    /// An object that has already stood in this value, by its number.
    Reference(u32),
}

/// An array with holes or with properties of its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseArray {
    /// The array's `length`.
    pub length: u32,
    /// Elements, whose names are their indexes, and properties, in order.
    pub entries: Vec<(String, Value)>,
}

/// A regular expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RegExp {
    /// The pattern, without slashes.
    pub source: String,
    /// V8's bit set of flags: 1 `g`, 2 `i`, 4 `m`, 8 `y`, 16 `u`, 32 `s`, 128 `d`,
    /// 256 `v`.
    pub flags: u32,
}

impl Value {
    /// An object of these properties.
    pub fn object<K: Into<String>>(properties: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::Object(properties.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The elements, if this is an array without holes.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(elements) => Some(elements),
            Self::Copied(inner) => inner.as_array(),
            _ => None,
        }
    }

    /// The properties, if this is a plain object.
    pub fn as_object(&self) -> Option<&[(String, Value)]> {
        match self {
            Self::Object(properties) => Some(properties),
            Self::Copied(inner) => inner.as_object(),
            _ => None,
        }
    }

    /// The property called `name`, if this is a plain object that has it.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.as_object()?.iter().rfind(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Whether this is `undefined` or `null`.
    pub const fn is_nullish(&self) -> bool {
        matches!(self, Self::Undefined | Self::Null)
    }

    /// Whether JavaScript takes this for true.
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Undefined | Self::Null => false,
            Self::Bool(truth) => *truth,
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::BigInt(number) => !number.magnitude().is_empty(),
            Self::String(text) => !text.is_empty(),
            _ => true,
        }
    }

    /// Whether this is an object, which has a number [`Value::Reference`] can name.
    pub const fn is_object(&self) -> bool {
        !matches!(
            self,
            Self::Undefined
                | Self::Null
                | Self::Bool(_)
                | Self::Number(_)
                | Self::BigInt(_)
                | Self::String(_)
                | Self::Reference(_)
        )
    }

    /// Whether objects stand in objects in at most this many levels.
    pub(crate) fn is_nested_at_most(&self, levels: usize) -> bool {
        if !self.is_object() {
            return true;
        }
        let Some(below) = levels.checked_sub(1) else {
            return false;
        };
        // A view and its buffer stand side by side on the wire.
        if matches!(self, Self::View(_)) {
            return true;
        }
        let mut within = true;
        self.for_each_child(&mut |child| within = within && child.is_nested_at_most(below));
        within
    }

    /// Calls `visit` with what this value directly consists of, in the order in
    /// which the advanced dialect writes it.
    fn for_each_child<'a>(&'a self, visit: &mut dyn FnMut(&'a Value)) {
        match self {
            Self::Array(elements) | Self::Set(elements) => elements.iter().for_each(visit),
            Self::Object(entries) => entries.iter().for_each(|(_, value)| visit(value)),
            Self::SparseArray(array) => array.entries.iter().for_each(|(_, value)| visit(value)),
            Self::Map(entries) => entries.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            Self::View(view) => visit(&view.buffer),
            Self::Error(error) => error.cause.iter().for_each(visit),
            Self::Boxed(inner) | Self::Copied(inner) => visit(inner),
            _ => {}
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<BigInt> for Value {
    fn from(number: BigInt) -> Self {
        Self::BigInt(Box::new(number))
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(Box::new(bytes))
    }
}

impl From<ArrayBuffer> for Value {
    fn from(buffer: ArrayBuffer) -> Self {
        Self::ArrayBuffer(Box::new(buffer))
    }
}

impl From<SparseArray> for Value {
    fn from(array: SparseArray) -> Self {
        Self::SparseArray(Box::new(array))
    }
}

impl From<RegExp> for Value {
    fn from(regexp: RegExp) -> Self {
        Self::RegExp(Box::new(regexp))
    }
}

impl From<ErrorValue> for Value {
    fn from(error: ErrorValue) -> Self {
        Self::Error(Box::new(error))
    }
}

impl From<Vec<Value>> for Value {
    fn from(elements: Vec<Value>) -> Self {
        Self::Array(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
    }

    #[test]
    fn the_last_of_two_properties_counts() {
        let value = Value::object([("a", Value::from(1)), ("a", Value::from(2))]);
        assert_eq!(value.get("a"), Some(&Value::from(2)));
        assert_eq!(value.get("b"), None);
    }

    #[test]
    fn truth_is_javascripts() {
        let falsy = [Value::Null, 0.into(), f64::NAN.into(), "".into(), BigInt::from(0).into()];
        assert!(!falsy.iter().any(Value::is_truthy));
        let truthy = [(-1).into(), "0".into(), BigInt::from(1).into(), Value::Array(vec![])];
        assert!(truthy.iter().all(Value::is_truthy));
    }

    #[test]
    fn depth_is_counted_in_levels() {
        assert!(nested(MAX_DEPTH).is_nested_at_most(MAX_DEPTH));
        assert!(!nested(MAX_DEPTH + 1).is_nested_at_most(MAX_DEPTH));
    }

    #[test]
    fn a_value_stays_small() {
        assert!(size_of::<Value>() <= 32, "{}", size_of::<Value>());
    }
}
