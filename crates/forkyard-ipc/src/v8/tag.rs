//! The bytes that say what follows.

use crate::value::{ErrorKind, ViewKind};

/// The version this crate writes. Node 18 to 26 write and read it.
pub(super) const VERSION: u8 = 15;

pub(super) const HEADER: u8 = 0xff;
pub(super) const PADDING: u8 = 0;
pub(super) const OBJECT_COUNT: u8 = b'?';
pub(super) const HOLE: u8 = b'-';
pub(super) const UNDEFINED: u8 = b'_';
pub(super) const NULL: u8 = b'0';
pub(super) const TRUE: u8 = b'T';
pub(super) const FALSE: u8 = b'F';
pub(super) const INT32: u8 = b'I';
pub(super) const UINT32: u8 = b'U';
pub(super) const DOUBLE: u8 = b'N';
pub(super) const BIGINT: u8 = b'Z';
pub(super) const UTF8_STRING: u8 = b'S';
pub(super) const ONE_BYTE_STRING: u8 = b'"';
pub(super) const TWO_BYTE_STRING: u8 = b'c';
pub(super) const REFERENCE: u8 = b'^';
pub(super) const OBJECT: u8 = b'o';
pub(super) const OBJECT_END: u8 = b'{';
pub(super) const SPARSE_ARRAY: u8 = b'a';
pub(super) const SPARSE_ARRAY_END: u8 = b'@';
pub(super) const DENSE_ARRAY: u8 = b'A';
pub(super) const DENSE_ARRAY_END: u8 = b'$';
pub(super) const DATE: u8 = b'D';
pub(super) const TRUE_OBJECT: u8 = b'y';
pub(super) const FALSE_OBJECT: u8 = b'x';
pub(super) const NUMBER_OBJECT: u8 = b'n';
pub(super) const BIGINT_OBJECT: u8 = b'z';
pub(super) const STRING_OBJECT: u8 = b's';
pub(super) const REGEXP: u8 = b'R';
pub(super) const MAP: u8 = b';';
pub(super) const MAP_END: u8 = b':';
pub(super) const SET: u8 = b'\'';
pub(super) const SET_END: u8 = b',';
pub(super) const ARRAY_BUFFER: u8 = b'B';
pub(super) const RESIZABLE_ARRAY_BUFFER: u8 = b'~';
pub(super) const VIEW: u8 = b'V';
pub(super) const ERROR: u8 = b'r';
pub(super) const HOST_OBJECT: u8 = b'\\';

/// Node's host objects: bytes seen through a view.
pub(super) const HOST_VIEW: u32 = 0;
/// Node's host objects: a plain copy of an object's properties.
pub(super) const HOST_COPY: u32 = 1;

pub(super) const ERROR_MESSAGE: u8 = b'm';
pub(super) const ERROR_STACK: u8 = b's';
pub(super) const ERROR_CAUSE: u8 = b'c';
pub(super) const ERROR_END: u8 = b'.';

/// The classes of errors but `Error` itself, which has no tag.
pub(super) const ERROR_KINDS: [(u8, ErrorKind); 6] = [
    (b'E', ErrorKind::EvalError),
    (b'R', ErrorKind::RangeError),
    (b'F', ErrorKind::ReferenceError),
    (b'S', ErrorKind::SyntaxError),
    (b'T', ErrorKind::TypeError),
    (b'U', ErrorKind::UriError),
];

/// Views as V8 itself tags them.
pub(super) const VIEW_KINDS: [(u8, ViewKind); 13] = [
    (b'b', ViewKind::Int8Array),
    (b'B', ViewKind::Uint8Array),
    (b'C', ViewKind::Uint8ClampedArray),
    (b'w', ViewKind::Int16Array),
    (b'W', ViewKind::Uint16Array),
    (b'd', ViewKind::Int32Array),
    (b'D', ViewKind::Uint32Array),
    (b'h', ViewKind::Float16Array),
    (b'f', ViewKind::Float32Array),
    (b'F', ViewKind::Float64Array),
    (b'q', ViewKind::BigInt64Array),
    (b'Q', ViewKind::BigUint64Array),
    (b'?', ViewKind::DataView),
];

/// Views as Node numbers them (`arrayBufferViewIndexToType` in `lib/v8.js`).
/// `Float16Array` exists from Node 24 on.
pub(super) const HOST_VIEW_KINDS: [(u32, ViewKind); 14] = [
    (0, ViewKind::Int8Array),
    (1, ViewKind::Uint8Array),
    (2, ViewKind::Uint8ClampedArray),
    (3, ViewKind::Int16Array),
    (4, ViewKind::Uint16Array),
    (5, ViewKind::Int32Array),
    (6, ViewKind::Uint32Array),
    (7, ViewKind::Float32Array),
    (8, ViewKind::Float64Array),
    (9, ViewKind::DataView),
    (10, ViewKind::Buffer),
    (11, ViewKind::BigInt64Array),
    (12, ViewKind::BigUint64Array),
    (13, ViewKind::Float16Array),
];

/// What `code` stands for in one of the tables above.
pub(super) fn kind_of<C: PartialEq + Copy, K: Copy>(table: &[(C, K)], code: C) -> Option<K> {
    table.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind)
}

/// What stands for `kind` in one of the tables above.
pub(super) fn code_of<C: Copy, K: PartialEq + Copy>(table: &[(C, K)], kind: K) -> Option<C> {
    table.iter().find(|(_, known)| *known == kind).map(|(code, _)| *code)
}
