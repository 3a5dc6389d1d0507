//! Buffers and what looks into them.

use super::Value;

/// An `ArrayBuffer`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ArrayBuffer {
    /// What it holds.
    pub bytes: Vec<u8>,
    /// How far it may grow, in bytes, if it is resizable.
    pub max_length: Option<u32>,
}

/// A `Buffer`, typed array or `DataView` as Node writes them: with the bytes it
/// shows and without the rest of the buffer it looks into.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bytes {
    /// What kind of view.
    pub kind: ViewKind,
    /// The bytes, in the order in which they lie in memory (little-endian).
    pub bytes: Vec<u8>,
}

/// A typed array or `DataView` as V8 itself writes them: upon its buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// What kind of view. Never [`ViewKind::Buffer`].
    pub kind: ViewKind,
    /// The [`Value::ArrayBuffer`] it looks into, or a [`Value::Reference`] to it.
    pub buffer: Value,
    /// Where it begins, in bytes.
    pub offset: u32,
    /// How far it goes, in bytes.
    pub length: u32,
    /// V8's bit set: 1 its length follows the buffer's, 2 the buffer is resizable.
    pub flags: u32,
}

/// The kinds of views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are JavaScript's own")]
pub enum ViewKind {
    Int8Array,
    Uint8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float16Array,
    Float32Array,
    Float64Array,
    BigInt64Array,
    BigUint64Array,
    DataView,
    /// Node's `Buffer`.
    Buffer,
}

impl ViewKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Int8Array,
        Self::Uint8Array,
        Self::Uint8ClampedArray,
        Self::Int16Array,
        Self::Uint16Array,
        Self::Int32Array,
        Self::Uint32Array,
        Self::Float16Array,
        Self::Float32Array,
        Self::Float64Array,
        Self::BigInt64Array,
        Self::BigUint64Array,
        Self::DataView,
        Self::Buffer,
    ];

    /// The size of one element in bytes. A view's length is a multiple of it.
    pub const fn element_bytes(self) -> u32 {
        match self {
            Self::Int8Array
            | Self::Uint8Array
            | Self::Uint8ClampedArray
            | Self::DataView
            | Self::Buffer => 1,
            Self::Int16Array | Self::Uint16Array | Self::Float16Array => 2,
            Self::Int32Array | Self::Uint32Array | Self::Float32Array => 4,
            Self::Float64Array | Self::BigInt64Array | Self::BigUint64Array => 8,
        }
    }
}
