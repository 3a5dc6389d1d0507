//! JavaScript errors.

use super::Value;

/// An `Error` as it travels: properties of its own do not.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ErrorValue {
    /// Which of the built-in errors it is.
    pub kind: ErrorKind,
    /// Its message, if it has one.
    pub message: Option<String>,
    /// Its stack, if it has one.
    pub stack: Option<String>,
    /// Its cause, if it has one.
    pub cause: Option<Value>,
}

/// The built-in errors. Any other class arrives as the one it is derived from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "the names are JavaScript's own")]
pub enum ErrorKind {
    #[default]
    Error,
    EvalError,
    RangeError,
    ReferenceError,
    SyntaxError,
    TypeError,
    UriError,
}
