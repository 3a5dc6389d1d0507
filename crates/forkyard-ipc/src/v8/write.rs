//! Writes values as V8 does.

use super::tag;
use crate::value::{ArrayBuffer, BigInt, Bytes, ErrorValue, RegExp, SparseArray, View};
use crate::{EncodeError, Value};

/// Writes one message: the header, then values.
///
/// Objects are numbered as they begin. A value that stands inside a larger
/// message counts its own from 0, so its references are shifted by how many
/// objects had begun before it.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Where the header stands; two-byte strings are aligned to it.
    start: usize,
    /// How many objects have begun.
    objects: u32,
    /// How many had begun before the value that is being written.
    shift: u32,
}

impl<'a> Writer<'a> {
    /// Begins a message at the end of `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&[tag::HEADER, tag::VERSION]);
        Self { out, start, objects: 0, shift: 0 }
    }

    /// Writes a value whose references count from its own first object.
    pub(crate) fn value(&mut self, value: &Value) -> Result<(), EncodeError> {
        self.shift = self.objects;
        self.part(value)
    }

    pub(crate) fn begin_object(&mut self) {
        self.begin(tag::OBJECT);
    }

    pub(crate) fn end_object(&mut self, properties: u32) {
        self.out.push(tag::OBJECT_END);
        self.varint(properties);
    }

    /// Integers of 32 bits have a short form.
    pub(crate) fn number(&mut self, number: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "compared with the original below")]
        let integer = number as i32;
        if f64::from(integer).to_bits() == number.to_bits() {
            self.out.push(tag::INT32);
            self.varint(((integer << 1) ^ (integer >> 31)).cast_unsigned());
        } else {
            self.out.push(tag::DOUBLE);
            self.double(number);
        }
    }

    /// Latin-1 takes one byte per character, everything else UTF-16.
    pub(crate) fn string(&mut self, text: &str) -> Result<(), EncodeError> {
        if text.is_ascii() {
            self.one_byte_prefix(text.len())?;
            self.out.extend_from_slice(text.as_bytes());
        } else if text.chars().all(|character| u8::try_from(character).is_ok()) {
            self.one_byte_prefix(text.chars().count())?;
            self.out.extend(text.chars().filter_map(|character| u8::try_from(character).ok()));
        } else {
            self.two_byte_prefix(text.encode_utf16().count())?;
            self.out.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        }
        Ok(())
    }

    fn one_byte_prefix(&mut self, bytes: usize) -> Result<(), EncodeError> {
        self.out.push(tag::ONE_BYTE_STRING);
        self.length(bytes)
    }

    /// V8 aligns the text, so that it can be used where it lies.
    fn two_byte_prefix(&mut self, units: usize) -> Result<(), EncodeError> {
        let bytes = to_u32(units.checked_mul(2).ok_or(EncodeError::TooLong)?)?;
        let text_at = self.out.len() - self.start + 1 + varint_bytes(bytes);
        if !text_at.is_multiple_of(2) {
            self.out.push(tag::PADDING);
        }
        self.out.push(tag::TWO_BYTE_STRING);
        self.varint(bytes);
        Ok(())
    }

    fn part(&mut self, value: &Value) -> Result<(), EncodeError> {
        match value {
            Value::Undefined => self.out.push(tag::UNDEFINED),
            Value::Null => self.out.push(tag::NULL),
            Value::Bool(true) => self.out.push(tag::TRUE),
            Value::Bool(false) => self.out.push(tag::FALSE),
            Value::Number(number) => self.number(*number),
            Value::BigInt(number) => self.bigint(tag::BIGINT, number)?,
            Value::String(text) => self.string(text)?,
            Value::Reference(number) => self.reference(*number)?,
            object => self.object(object)?,
        }
        Ok(())
    }

    fn object(&mut self, value: &Value) -> Result<(), EncodeError> {
        match value {
            Value::Array(elements) => self.array(elements),
            Value::SparseArray(array) => self.sparse_array(array),
            Value::Object(properties) => self.plain_object(properties),
            Value::Date(time) => self.date(*time),
            Value::RegExp(regexp) => self.regexp(regexp),
            Value::Map(entries) => self.map(entries),
            Value::Set(elements) => self.set(elements),
            Value::ArrayBuffer(buffer) => self.array_buffer(buffer),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::View(view) => self.view(view),
            Value::Error(error) => self.error(error),
            Value::Boxed(inner) => self.boxed(inner),
            Value::Copied(inner) => self.copied(inner),
            _ => Err(EncodeError::Malformed { what: "primitive as an object" }),
        }
    }

    fn array(&mut self, elements: &[Value]) -> Result<(), EncodeError> {
        self.begin(tag::DENSE_ARRAY);
        self.length(elements.len())?;
        elements.iter().try_for_each(|element| self.part(element))?;
        self.out.push(tag::DENSE_ARRAY_END);
        self.varint(0);
        self.length(elements.len())
    }

    fn sparse_array(&mut self, array: &SparseArray) -> Result<(), EncodeError> {
        self.begin(tag::SPARSE_ARRAY);
        self.varint(array.length);
        self.properties(&array.entries)?;
        self.out.push(tag::SPARSE_ARRAY_END);
        self.length(array.entries.len())?;
        self.varint(array.length);
        Ok(())
    }

    fn plain_object(&mut self, properties: &[(String, Value)]) -> Result<(), EncodeError> {
        self.begin_object();
        self.properties(properties)?;
        self.end_object(to_u32(properties.len())?);
        Ok(())
    }

    fn properties(&mut self, properties: &[(String, Value)]) -> Result<(), EncodeError> {
        properties.iter().try_for_each(|(name, value)| {
            self.property_name(name)?;
            self.part(value)
        })
    }

    /// Names that are array indexes travel as numbers.
    fn property_name(&mut self, name: &str) -> Result<(), EncodeError> {
        match array_index(name) {
            Some(index) => self.number(f64::from(index)),
            None => self.string(name)?,
        }
        Ok(())
    }

    fn date(&mut self, time: f64) -> Result<(), EncodeError> {
        self.begin(tag::DATE);
        self.double(time);
        Ok(())
    }

    fn regexp(&mut self, regexp: &RegExp) -> Result<(), EncodeError> {
        self.begin(tag::REGEXP);
        self.string(&regexp.source)?;
        self.varint(regexp.flags);
        Ok(())
    }

    /// The length of a map counts keys and values.
    fn map(&mut self, entries: &[(Value, Value)]) -> Result<(), EncodeError> {
        self.begin(tag::MAP);
        for (key, value) in entries {
            self.part(key)?;
            self.part(value)?;
        }
        self.out.push(tag::MAP_END);
        self.length(entries.len().checked_mul(2).ok_or(EncodeError::TooLong)?)
    }

    fn set(&mut self, elements: &[Value]) -> Result<(), EncodeError> {
        self.begin(tag::SET);
        elements.iter().try_for_each(|element| self.part(element))?;
        self.out.push(tag::SET_END);
        self.length(elements.len())
    }

    fn array_buffer(&mut self, buffer: &ArrayBuffer) -> Result<(), EncodeError> {
        let length = to_u32(buffer.bytes.len())?;
        match buffer.max_length {
            None => {
                self.begin(tag::ARRAY_BUFFER);
                self.varint(length);
            }
            Some(max) if max < length => {
                return Err(EncodeError::Malformed { what: "buffer above its largest length" });
            }
            Some(max) => {
                self.begin(tag::RESIZABLE_ARRAY_BUFFER);
                self.varint(length);
                self.varint(max);
            }
        }
        self.out.extend_from_slice(&buffer.bytes);
        Ok(())
    }

    fn bytes(&mut self, bytes: &Bytes) -> Result<(), EncodeError> {
        let index = tag::code_of(&tag::HOST_VIEW_KINDS, bytes.kind)
            .ok_or(EncodeError::Malformed { what: "view of this kind" })?;
        if !bytes.bytes.len().is_multiple_of(bytes.kind.element_bytes() as usize) {
            return Err(EncodeError::Malformed { what: "view that ends within an element" });
        }
        self.begin(tag::HOST_OBJECT);
        self.varint(tag::HOST_VIEW);
        self.varint(index);
        self.length(bytes.bytes.len())?;
        self.out.extend_from_slice(&bytes.bytes);
        Ok(())
    }

    /// V8 writes the buffer first, so it is also numbered first.
    fn view(&mut self, view: &View) -> Result<(), EncodeError> {
        let kind = tag::code_of(&tag::VIEW_KINDS, view.kind)
            .ok_or(EncodeError::Malformed { what: "view of this kind upon a buffer" })?;
        if !matches!(view.buffer, Value::ArrayBuffer(_) | Value::Reference(_)) {
            return Err(EncodeError::Malformed { what: "view without a buffer" });
        }
        self.part(&view.buffer)?;
        self.begin(tag::VIEW);
        self.out.push(kind);
        self.varint(view.offset);
        self.varint(view.length);
        self.varint(view.flags);
        Ok(())
    }

    /// Node 22 and later read the stack before the cause only; earlier ones write
    /// it behind, and read both.
    fn error(&mut self, error: &ErrorValue) -> Result<(), EncodeError> {
        self.begin(tag::ERROR);
        self.out.extend(tag::code_of(&tag::ERROR_KINDS, error.kind));
        self.error_text(tag::ERROR_MESSAGE, error.message.as_deref())?;
        self.error_text(tag::ERROR_STACK, error.stack.as_deref())?;
        if let Some(cause) = &error.cause {
            self.out.push(tag::ERROR_CAUSE);
            self.part(cause)?;
        }
        self.out.push(tag::ERROR_END);
        Ok(())
    }

    fn error_text(&mut self, tag: u8, text: Option<&str>) -> Result<(), EncodeError> {
        let Some(text) = text else {
            return Ok(());
        };
        self.out.push(tag);
        self.string(text)
    }

    fn boxed(&mut self, inner: &Value) -> Result<(), EncodeError> {
        match inner {
            Value::Bool(true) => self.begin(tag::TRUE_OBJECT),
            Value::Bool(false) => self.begin(tag::FALSE_OBJECT),
            Value::Number(number) => {
                self.begin(tag::NUMBER_OBJECT);
                self.double(*number);
            }
            Value::BigInt(number) => {
                self.objects += 1;
                self.bigint(tag::BIGINT_OBJECT, number)?;
            }
            Value::String(text) => {
                self.begin(tag::STRING_OBJECT);
                self.string(text)?;
            }
            _ => {
                return Err(EncodeError::Malformed {
                    what: "box around something else than a primitive",
                });
            }
        }
        Ok(())
    }

    fn copied(&mut self, inner: &Value) -> Result<(), EncodeError> {
        self.begin(tag::HOST_OBJECT);
        self.varint(tag::HOST_COPY);
        self.part(inner)
    }

    fn bigint(&mut self, tag: u8, number: &BigInt) -> Result<(), EncodeError> {
        /// V8 keeps whole 64-bit digits.
        const DIGIT_BYTES: usize = 8;
        let bytes = number.magnitude().len().next_multiple_of(DIGIT_BYTES);
        let bits = to_u32(bytes)?.checked_mul(2).ok_or(EncodeError::TooLong)?;
        self.out.push(tag);
        self.varint(bits | u32::from(number.is_negative()));
        self.out.extend_from_slice(number.magnitude());
        self.out.extend(std::iter::repeat_n(0, bytes - number.magnitude().len()));
        Ok(())
    }

    fn reference(&mut self, number: u32) -> Result<(), EncodeError> {
        let shifted = number
            .checked_add(self.shift)
            .filter(|shifted| *shifted < self.objects)
            .ok_or(EncodeError::DanglingReference { number })?;
        self.out.push(tag::REFERENCE);
        self.varint(shifted);
        Ok(())
    }

    fn begin(&mut self, tag: u8) {
        self.out.push(tag);
        self.objects += 1;
    }

    fn length(&mut self, length: usize) -> Result<(), EncodeError> {
        self.varint(to_u32(length)?);
        Ok(())
    }

    fn double(&mut self, number: f64) {
        self.out.extend_from_slice(&number.to_le_bytes());
    }

    fn varint(&mut self, mut number: u32) {
        while number >= 0x80 {
            self.out.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }
}

fn varint_bytes(number: u32) -> usize {
    (number.max(1).ilog2() / 7 + 1) as usize
}

fn to_u32(number: usize) -> Result<u32, EncodeError> {
    u32::try_from(number).map_err(|_| EncodeError::TooLong)
}

/// The array index that `name` is the canonical text of.
pub(super) fn array_index(name: &str) -> Option<u32> {
    let canonical = name == "0" || !name.starts_with(['0', '+']);
    let index = name.parse::<u32>().ok()?;
    (canonical && index != u32::MAX).then_some(index)
}
