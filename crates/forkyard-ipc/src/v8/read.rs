//! Reads values as V8 does, from bytes that nobody vouches for.

use std::collections::HashMap;

use thiserror::Error;

use super::tag;
use crate::Value;
use crate::value::{
    ArrayBuffer, BigInt, Bytes, ErrorKind, ErrorValue, MAX_DEPTH, RegExp, SparseArray, View,
    ViewKind,
};

/// Why bytes are not a serialized value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{kind} at byte {position}")]
pub struct ReadError {
    /// Where the reader stood, in bytes from the header.
    pub position: usize,
    /// What was wrong.
    pub kind: ReadErrorKind,
}

/// What can be wrong with serialized bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReadErrorKind {
    /// The bytes end too early, or a length says more than there is.
    #[error("the bytes end too early")]
    Short,
    /// There is something behind the value.
    #[error("there is something behind the value")]
    Trailing,
    /// No header, or a version that is not known.
    #[error("there is no header of a known version")]
    Header,
    /// A tag that is not known or cannot stand here.
    #[error("the tag {tag:#04x} cannot stand here")]
    Tag {
        /// The tag.
        tag: u8,
    },
    /// A number with more digits than it can have.
    #[error("there is a number of too many digits")]
    Number,
    /// A count at the end of an object that is not what it holds.
    #[error("there is a wrong count")]
    Count,
    /// A property whose name is neither text nor number.
    #[error("there is a property without a name")]
    Name,
    /// A reference to an object that has not begun.
    #[error("there is a reference to nothing")]
    Reference,
    /// A view that is not within its buffer, or is not made of whole elements.
    #[error("there is a view that does not fit its buffer")]
    View,
    /// More objects within each other than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("objects stand too deep within each other")]
    Depth,
}

/// Versions whose messages are known. From 13 to 15 only views gained a field,
/// and 16 is 15 with lengths that may exceed 32 bits.
const VERSIONS: std::ops::RangeInclusive<u32> = 13..=16;

/// The first version in which a view has flags.
const VERSION_OF_VIEW_FLAGS: u32 = 14;

/// Reads one message.
///
/// # Errors
///
/// When the bytes are not exactly one value behind a header.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, ReadError> {
    let mut reader = Reader::new(bytes);
    reader.header()?;
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    version: u32,
    depth: usize,
    /// How many objects have begun.
    objects: u32,
    /// The lengths of the buffers among them, for views that come later.
    buffers: HashMap<u32, usize>,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, version: 0, depth: 0, objects: 0, buffers: HashMap::new() }
    }

    fn header(&mut self) -> Result<(), ReadError> {
        if self.byte()? != tag::HEADER {
            return Err(self.error(ReadErrorKind::Header));
        }
        self.version = self.varint()?;
        if VERSIONS.contains(&self.version) {
            Ok(())
        } else {
            Err(self.error(ReadErrorKind::Header))
        }
    }

    fn end(&self) -> Result<(), ReadError> {
        if self.position == self.bytes.len() {
            Ok(())
        } else {
            Err(self.error(ReadErrorKind::Trailing))
        }
    }

    fn value(&mut self) -> Result<Value, ReadError> {
        let tag = self.tag()?;
        self.tagged_value(tag)
    }

    fn tagged_value(&mut self, tag: u8) -> Result<Value, ReadError> {
        match tag {
            tag::UNDEFINED => Ok(Value::Undefined),
            tag::NULL => Ok(Value::Null),
            tag::TRUE => Ok(Value::Bool(true)),
            tag::FALSE => Ok(Value::Bool(false)),
            tag::INT32 => self.int32(),
            tag::UINT32 => Ok(Value::from(self.varint()?)),
            tag::DOUBLE => Ok(Value::Number(self.double()?)),
            tag::BIGINT => Ok(self.bigint()?.into()),
            tag::UTF8_STRING | tag::ONE_BYTE_STRING | tag::TWO_BYTE_STRING => {
                Ok(Value::String(self.tagged_string(tag)?))
            }
            tag::REFERENCE => self.reference(),
            _ => self.nested(tag),
        }
    }

    fn nested(&mut self, tag: u8) -> Result<Value, ReadError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(ReadErrorKind::Depth));
        }
        self.depth += 1;
        let object = self.object(tag)?;
        self.depth -= 1;
        Ok(object)
    }

    fn object(&mut self, tag: u8) -> Result<Value, ReadError> {
        let number = self.objects;
        self.objects += 1;
        match tag {
            tag::OBJECT => self.plain_object(),
            tag::DENSE_ARRAY => self.dense_array(),
            tag::SPARSE_ARRAY => self.sparse_array(),
            tag::DATE => Ok(Value::Date(self.double()?)),
            tag::REGEXP => self.regexp(),
            tag::MAP => self.map(),
            tag::SET => Ok(Value::Set(self.collection(tag::SET_END)?)),
            tag::ARRAY_BUFFER | tag::RESIZABLE_ARRAY_BUFFER => self.array_buffer(tag, number),
            tag::ERROR => self.js_error(),
            tag::HOST_OBJECT => self.host_object(),
            _ => self.boxed(tag),
        }
    }

    fn plain_object(&mut self) -> Result<Value, ReadError> {
        let properties = self.properties(tag::OBJECT_END)?;
        self.expect_count(properties.len())?;
        Ok(Value::Object(properties))
    }

    /// Properties up to the tag `end`, which is taken.
    fn properties(&mut self, end: u8) -> Result<Vec<(String, Value)>, ReadError> {
        let mut properties = Vec::new();
        loop {
            let tag = self.tag()?;
            if tag == end {
                return Ok(properties);
            }
            let name = self.name(tag)?;
            properties.push((name, self.value()?));
        }
    }

    fn name(&mut self, tag: u8) -> Result<String, ReadError> {
        match tag {
            tag::INT32 | tag::UINT32 | tag::DOUBLE => match self.tagged_value(tag)? {
                Value::Number(number) => Ok(number.to_string()),
                _ => Err(self.error(ReadErrorKind::Name)),
            },
            tag::UTF8_STRING | tag::ONE_BYTE_STRING | tag::TWO_BYTE_STRING => {
                self.tagged_string(tag)
            }
            _ => Err(self.error(ReadErrorKind::Name)),
        }
    }

    fn dense_array(&mut self) -> Result<Value, ReadError> {
        let length = self.varint()?;
        // An element takes a byte at least, a hole too.
        self.expect_left(length as usize)?;
        let elements = self.elements(length)?;
        let properties = self.properties(tag::DENSE_ARRAY_END)?;
        self.expect_count(properties.len())?;
        self.expect_count(length as usize)?;
        Ok(assemble_array(length, elements, properties))
    }

    /// Elements of a dense array; a hole is `None`.
    fn elements(&mut self, length: u32) -> Result<Vec<Option<Value>>, ReadError> {
        let mut elements = Vec::new();
        for _ in 0..length {
            let tag = self.tag()?;
            elements.push(match tag {
                tag::HOLE => None,
                _ => Some(self.tagged_value(tag)?),
            });
        }
        Ok(elements)
    }

    fn sparse_array(&mut self) -> Result<Value, ReadError> {
        let length = self.varint()?;
        let entries = self.properties(tag::SPARSE_ARRAY_END)?;
        self.expect_count(entries.len())?;
        self.expect_count(length as usize)?;
        Ok(SparseArray { length, entries }.into())
    }

    fn regexp(&mut self) -> Result<Value, ReadError> {
        let source = self.string()?;
        Ok(RegExp { source, flags: self.varint()? }.into())
    }

    fn map(&mut self) -> Result<Value, ReadError> {
        let mut parts = self.collection(tag::MAP_END)?.into_iter();
        let mut entries = Vec::with_capacity(parts.len() / 2);
        while let Some(key) = parts.next() {
            let value = parts.next().ok_or_else(|| self.error(ReadErrorKind::Count))?;
            entries.push((key, value));
        }
        Ok(Value::Map(entries))
    }

    /// Values up to the tag `end`, which is taken with the count behind it.
    fn collection(&mut self, end: u8) -> Result<Vec<Value>, ReadError> {
        let mut values = Vec::new();
        loop {
            let tag = self.tag()?;
            if tag == end {
                break;
            }
            values.push(self.tagged_value(tag)?);
        }
        self.expect_count(values.len())?;
        Ok(values)
    }

    fn array_buffer(&mut self, tag: u8, number: u32) -> Result<Value, ReadError> {
        let length = self.varint()?;
        let max_length = match tag {
            tag::RESIZABLE_ARRAY_BUFFER => Some(self.varint()?),
            _ => None,
        };
        if max_length.is_some_and(|max| max < length) {
            return Err(self.error(ReadErrorKind::View));
        }
        let bytes = self.take(length as usize)?.to_vec();
        self.buffers.insert(number, bytes.len());
        self.view_upon(ArrayBuffer { bytes, max_length }.into(), number)
    }

    fn reference(&mut self) -> Result<Value, ReadError> {
        let number = self.varint()?;
        if number >= self.objects {
            return Err(self.error(ReadErrorKind::Reference));
        }
        if self.buffers.contains_key(&number) {
            return self.view_upon(Value::Reference(number), number);
        }
        Ok(Value::Reference(number))
    }

    /// A buffer may be followed by a view, which is then the value that is meant.
    fn view_upon(&mut self, buffer: Value, number: u32) -> Result<Value, ReadError> {
        self.skip_padding();
        if self.bytes.get(self.position) != Some(&tag::VIEW) {
            return Ok(buffer);
        }
        self.position += 1;
        self.objects += 1;
        let kind = self.byte()?;
        let kind = tag::kind_of(&tag::VIEW_KINDS, kind)
            .ok_or_else(|| self.error(ReadErrorKind::Tag { tag: kind }))?;
        let view = View {
            kind,
            buffer,
            offset: self.varint()?,
            length: self.varint()?,
            flags: if self.version >= VERSION_OF_VIEW_FLAGS { self.varint()? } else { 0 },
        };
        self.check_view(&view, number)?;
        Ok(Value::View(Box::new(view)))
    }

    fn check_view(&self, view: &View, number: u32) -> Result<(), ReadError> {
        let present = self.buffers.get(&number).copied().unwrap_or(0) as u64;
        let element = view.kind.element_bytes();
        let within = u64::from(view.offset) + u64::from(view.length) <= present;
        let whole = view.offset.is_multiple_of(element) && view.length.is_multiple_of(element);
        if within && whole { Ok(()) } else { Err(self.error(ReadErrorKind::View)) }
    }

    fn js_error(&mut self) -> Result<Value, ReadError> {
        let mut error = ErrorValue::default();
        loop {
            match self.byte()? {
                tag::ERROR_END => return Ok(error.into()),
                tag::ERROR_MESSAGE => error.message = Some(self.string()?),
                tag::ERROR_STACK => error.stack = Some(self.string()?),
                tag::ERROR_CAUSE => error.cause = Some(self.value()?),
                kind => error.kind = self.error_kind(kind)?,
            }
        }
    }

    fn error_kind(&self, tag: u8) -> Result<ErrorKind, ReadError> {
        tag::kind_of(&tag::ERROR_KINDS, tag).ok_or_else(|| self.error(ReadErrorKind::Tag { tag }))
    }

    fn host_object(&mut self) -> Result<Value, ReadError> {
        match self.varint()? {
            tag::HOST_VIEW => self.host_view(),
            tag::HOST_COPY => Ok(Value::Copied(Box::new(self.value()?))),
            _ => Err(self.error(ReadErrorKind::Tag { tag: tag::HOST_OBJECT })),
        }
    }

    fn host_view(&mut self) -> Result<Value, ReadError> {
        let index = self.varint()?;
        let kind: ViewKind = tag::kind_of(&tag::HOST_VIEW_KINDS, index)
            .ok_or_else(|| self.error(ReadErrorKind::Tag { tag: tag::HOST_OBJECT }))?;
        let length = self.varint()?;
        if !length.is_multiple_of(kind.element_bytes()) {
            return Err(self.error(ReadErrorKind::View));
        }
        Ok(Bytes { kind, bytes: self.take(length as usize)?.to_vec() }.into())
    }

    fn boxed(&mut self, tag: u8) -> Result<Value, ReadError> {
        let inner = match tag {
            tag::TRUE_OBJECT => Value::Bool(true),
            tag::FALSE_OBJECT => Value::Bool(false),
            tag::NUMBER_OBJECT => Value::Number(self.double()?),
            tag::BIGINT_OBJECT => self.bigint()?.into(),
            tag::STRING_OBJECT => Value::String(self.string()?),
            _ => return Err(self.error(ReadErrorKind::Tag { tag })),
        };
        Ok(Value::Boxed(Box::new(inner)))
    }

    fn int32(&mut self) -> Result<Value, ReadError> {
        let zigzag = self.varint()?;
        Ok(Value::from((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed()))
    }

    fn bigint(&mut self) -> Result<BigInt, ReadError> {
        let bits = self.varint()?;
        let magnitude = self.take((bits >> 1) as usize)?;
        Ok(BigInt::new(bits & 1 == 1, magnitude.to_vec()))
    }

    fn string(&mut self) -> Result<String, ReadError> {
        let tag = self.tag()?;
        self.tagged_string(tag)
    }

    fn tagged_string(&mut self, tag: u8) -> Result<String, ReadError> {
        let length = match tag {
            tag::UTF8_STRING | tag::ONE_BYTE_STRING | tag::TWO_BYTE_STRING => self.varint()?,
            _ => return Err(self.error(ReadErrorKind::Tag { tag })),
        };
        let bytes = self.take(length as usize)?;
        match tag {
            tag::UTF8_STRING => Ok(String::from_utf8_lossy(bytes).into_owned()),
            tag::ONE_BYTE_STRING => Ok(bytes.iter().copied().map(char::from).collect()),
            _ => self.utf16(bytes),
        }
    }

    fn utf16(&self, bytes: &[u8]) -> Result<String, ReadError> {
        let (units, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.error(ReadErrorKind::Count));
        }
        let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
        Ok(char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect())
    }

    fn double(&mut self) -> Result<f64, ReadError> {
        let bytes = self.take(8)?.first_chunk::<8>();
        bytes
            .map(|bytes| f64::from_le_bytes(*bytes))
            .ok_or_else(|| self.error(ReadErrorKind::Short))
    }

    fn varint(&mut self) -> Result<u32, ReadError> {
        let mut number = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(number).map_err(|_| self.error(ReadErrorKind::Number));
            }
        }
        Err(self.error(ReadErrorKind::Number))
    }

    fn expect_count(&mut self, count: usize) -> Result<(), ReadError> {
        if self.varint()? as usize == count {
            Ok(())
        } else {
            Err(self.error(ReadErrorKind::Count))
        }
    }

    fn expect_left(&self, length: usize) -> Result<(), ReadError> {
        if length <= self.bytes.len() - self.position {
            Ok(())
        } else {
            Err(self.error(ReadErrorKind::Short))
        }
    }

    /// The next tag. A count of objects in front of one says nothing and is skipped.
    fn tag(&mut self) -> Result<u8, ReadError> {
        loop {
            self.skip_padding();
            match self.byte()? {
                tag::OBJECT_COUNT => self.varint()?,
                tag => return Ok(tag),
            };
        }
    }

    fn skip_padding(&mut self) {
        while self.bytes.get(self.position) == Some(&tag::PADDING) {
            self.position += 1;
        }
    }

    fn byte(&mut self) -> Result<u8, ReadError> {
        let byte = self.bytes.get(self.position).ok_or_else(|| self.error(ReadErrorKind::Short))?;
        self.position += 1;
        Ok(*byte)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ReadError> {
        self.expect_left(length)?;
        let taken = &self.bytes[self.position..self.position + length];
        self.position += length;
        Ok(taken)
    }

    const fn error(&self, kind: ReadErrorKind) -> ReadError {
        ReadError { position: self.position, kind }
    }
}

/// An array is plain if it has neither holes nor properties of its own.
fn assemble_array(
    length: u32,
    elements: Vec<Option<Value>>,
    properties: Vec<(String, Value)>,
) -> Value {
    if properties.is_empty() && elements.iter().all(Option::is_some) {
        return Value::Array(elements.into_iter().flatten().collect());
    }
    let mut entries: Vec<_> = elements
        .into_iter()
        .enumerate()
        .filter_map(|(index, element)| Some((index.to_string(), element?)))
        .collect();
    entries.extend(properties);
    SparseArray { length, entries }.into()
}
