//! V8's value serialization, as Node uses it between processes.
//!
//! The format is V8's `ValueSerializer` (version 15, `FF 0F`), plus what Node
//! puts into it where V8 leaves a gap for the embedder ("host objects"): buffers
//! and typed arrays, and plain copies of objects only native code can make.
//! Sources: `v8/src/objects/value-serializer.cc`, and Node's `lib/v8.js` and
//! `lib/internal/child_process/serialization.js`.
//!
//! # Why it is written here
//!
//! The crate `v8_valueserializer` (0.1.2) reads and writes the same format, but
//! refuses every host object, and Node sends each `Buffer` and typed array as
//! one. It also allocates buffers through `unsafe` code, with a zero-sized layout
//! for an empty one. So this module has its own reader and writer, without
//! `unsafe`, for bytes that an untrusted process wrote:
//!
//! - nothing is allocated for a length before that many bytes are there;
//! - nesting ends at [`MAX_DEPTH`](crate::MAX_DEPTH);
//! - a reference is checked to name an object that has begun.

mod read;
mod tag;
mod write;

pub use read::{ReadError, ReadErrorKind};

pub(crate) use read::read;
pub(crate) use write::Writer;
