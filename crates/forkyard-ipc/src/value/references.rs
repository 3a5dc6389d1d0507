//! Keeps references right when a value is taken out of the message around it.
//!
//! On the wire objects are numbered through the whole message. A user's value in
//! an envelope therefore begins at a number above 0, and its references have to
//! be counted from its own first object instead.

use super::Value;

/// A reference to an object that does not stand before it in the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReferenceOutside;

impl Value {
    /// Takes the property `name` out of this object, as a value of its own.
    pub(crate) fn detach(self, name: &str) -> Result<Option<Value>, ReferenceOutside> {
        let Value::Object(properties) = self else {
            return Ok(None);
        };
        let Some(at) = properties.iter().rposition(|(known, _)| known == name) else {
            return Ok(None);
        };
        // The object around it is number 0.
        let first = 1 + properties[..at].iter().map(|(_, value)| value.objects()).sum::<u32>();
        let Some((_, mut value)) = properties.into_iter().nth(at) else {
            return Ok(None);
        };
        value.count_from(first)?;
        Ok(Some(value))
    }

    /// How many objects this value consists of. No message has more than its
    /// length in bytes, which is a 32-bit number.
    fn objects(&self) -> u32 {
        let mut count = u32::from(self.is_object());
        self.for_each_child(&mut |child| count = count.saturating_add(child.objects()));
        count
    }

    fn count_from(&mut self, first: u32) -> Result<(), ReferenceOutside> {
        if let Value::Reference(number) = self {
            *number = number.checked_sub(first).ok_or(ReferenceOutside)?;
            return Ok(());
        }
        self.children_mut().into_iter().try_for_each(|child| child.count_from(first))
    }

    fn children_mut(&mut self) -> Vec<&mut Value> {
        match self {
            Value::Array(elements) | Value::Set(elements) => elements.iter_mut().collect(),
            Value::Object(entries) => entries.iter_mut().map(|(_, value)| value).collect(),
            Value::SparseArray(array) => array.entries.iter_mut().map(|(_, value)| value).collect(),
            Value::Map(entries) => {
                entries.iter_mut().flat_map(|(key, value)| [key, value]).collect()
            }
            Value::View(view) => vec![&mut view.buffer],
            Value::Error(error) => error.cause.iter_mut().collect(),
            Value::Boxed(inner) | Value::Copied(inner) => vec![inner],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_counted_from_the_value_itself() {
        let inner = Value::object([("me", Value::Reference(2))]);
        let around = Value::object([("first", Value::Array(vec![])), ("msg", inner)]);
        let wanted = Value::object([("me", Value::Reference(0))]);
        assert_eq!(around.detach("msg"), Ok(Some(wanted)));
    }

    #[test]
    fn a_reference_to_the_envelope_is_refused() {
        let around = Value::object([("msg", Value::Array(vec![Value::Reference(0)]))]);
        assert_eq!(around.detach("msg"), Err(ReferenceOutside));
    }
}
