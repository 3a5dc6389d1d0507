//! Writes one message as a whole frame, in either dialect, into one buffer.
//!
//! Nothing is allocated but what the buffer itself needs: the way of a message
//! that goes out once per connection leads through here.

use crate::v8::Writer;
use crate::value::MAX_DEPTH;
use crate::{Dialect, EncodeError, Value};

/// Writes the properties of the object that a message is.
pub(crate) struct FrameWriter<'a> {
    form: Form<'a>,
    /// How many objects are open.
    depth: usize,
}

enum Form<'a> {
    Json { out: &'a mut Vec<u8>, first: bool },
    Advanced { writer: Writer<'a>, properties: u32 },
}

/// Appends a frame that is the object whose properties `write` writes.
/// On an error `out` is left as it was.
pub(crate) fn write_object(
    dialect: Dialect,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut FrameWriter<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    write_frame(dialect, out, |frame| frame.braces(write))
}

/// Appends a frame that is one value. On an error `out` is left as it was.
pub(crate) fn write_value(
    dialect: Dialect,
    out: &mut Vec<u8>,
    value: &Value,
) -> Result<(), EncodeError> {
    write_frame(dialect, out, |frame| frame.bare_value(value))
}

fn write_frame(
    dialect: Dialect,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut FrameWriter<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let written = match dialect {
        Dialect::Json => write_line(out, write),
        Dialect::Advanced => write_prefixed(out, write),
    };
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn write_line(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut FrameWriter<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    write(&mut FrameWriter { form: Form::Json { out, first: true }, depth: 0 })?;
    out.push(b'\n');
    Ok(())
}

fn write_prefixed(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut FrameWriter<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let writer = Writer::new(out);
    write(&mut FrameWriter { form: Form::Advanced { writer, properties: 0 }, depth: 0 })?;
    let length = u32::try_from(out.len() - start - 4).map_err(|_| EncodeError::TooLong)?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

impl FrameWriter<'_> {
    pub(crate) fn string(&mut self, name: &str, text: &str) -> Result<(), EncodeError> {
        self.name(name)?;
        match &mut self.form {
            Form::Json { out, .. } => Ok(serde_json::to_writer(&mut **out, text)?),
            Form::Advanced { writer, .. } => writer.string(text),
        }
    }

    /// Numbers beyond 2^53 are not exact in JavaScript.
    pub(crate) fn unsigned(&mut self, name: &str, number: u64) -> Result<(), EncodeError> {
        self.name(name)?;
        match &mut self.form {
            Form::Json { out, .. } => serde_json::to_writer(&mut **out, &number)?,
            Form::Advanced { writer, .. } => writer.number(number as f64),
        }
        Ok(())
    }

    pub(crate) fn signed(&mut self, name: &str, number: i64) -> Result<(), EncodeError> {
        self.name(name)?;
        match &mut self.form {
            Form::Json { out, .. } => serde_json::to_writer(&mut **out, &number)?,
            Form::Advanced { writer, .. } => writer.number(number as f64),
        }
        Ok(())
    }

    pub(crate) fn boolean(&mut self, name: &str, truth: bool) -> Result<(), EncodeError> {
        self.value(name, &Value::Bool(truth))
    }

    pub(crate) fn null(&mut self, name: &str) -> Result<(), EncodeError> {
        self.value(name, &Value::Null)
    }

    pub(crate) fn value(&mut self, name: &str, value: &Value) -> Result<(), EncodeError> {
        if *value == Value::Undefined && matches!(self.form, Form::Json { .. }) {
            return Ok(());
        }
        self.name(name)?;
        self.bare_value(value)
    }

    pub(crate) fn object(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.name(name)?;
        self.braces(write)
    }

    fn bare_value(&mut self, value: &Value) -> Result<(), EncodeError> {
        if !value.is_nested_at_most(MAX_DEPTH - self.depth) {
            return Err(EncodeError::TooDeep);
        }
        match &mut self.form {
            Form::Json { out, .. } => Ok(serde_json::to_writer(&mut **out, value)?),
            Form::Advanced { writer, .. } => writer.value(value),
        }
    }

    fn name(&mut self, name: &str) -> Result<(), EncodeError> {
        match &mut self.form {
            Form::Json { out, first } => {
                if !std::mem::take(first) {
                    out.push(b',');
                }
                serde_json::to_writer(&mut **out, name)?;
                out.push(b':');
                Ok(())
            }
            Form::Advanced { writer, properties } => {
                *properties += 1;
                writer.string(name)
            }
        }
    }

    fn braces(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.depth += 1;
        let around = self.open();
        write(self)?;
        self.close(around);
        self.depth -= 1;
        Ok(())
    }

    /// Begins an object; returns how many properties the one around it has.
    fn open(&mut self) -> u32 {
        match &mut self.form {
            Form::Json { out, first } => {
                out.push(b'{');
                *first = true;
                0
            }
            Form::Advanced { writer, properties } => {
                writer.begin_object();
                std::mem::take(properties)
            }
        }
    }

    fn close(&mut self, around: u32) {
        match &mut self.form {
            Form::Json { out, first } => {
                out.push(b'}');
                *first = false;
            }
            Form::Advanced { writer, properties } => {
                writer.end_object(*properties);
                *properties = around;
            }
        }
    }
}
