//! Integers of any size, kept as the advanced dialect writes them.

use std::fmt;

/// An integer of any size.
///
/// It is only carried, never calculated with: magnitude and sign, as on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BigInt {
    negative: bool,
    /// Little-endian, without zero bytes at the end.
    magnitude: Vec<u8>,
}

impl BigInt {
    /// From a sign and the bytes of the magnitude, least significant first.
    pub fn new(negative: bool, mut magnitude: Vec<u8>) -> Self {
        let used = magnitude.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        magnitude.truncate(used);
        Self { negative: negative && used > 0, magnitude }
    }

    /// Whether it is below zero.
    pub const fn is_negative(&self) -> bool {
        self.negative
    }

    /// The bytes of the magnitude, least significant first, no zeros at the end.
    pub fn magnitude(&self) -> &[u8] {
        &self.magnitude
    }

    /// The value, where it fits.
    pub fn to_i128(&self) -> Option<i128> {
        let mut bytes = [0; 16];
        bytes.get_mut(..self.magnitude.len())?.copy_from_slice(&self.magnitude);
        let magnitude = i128::try_from(u128::from_le_bytes(bytes)).ok()?;
        Some(if self.negative { -magnitude } else { magnitude })
    }
}

impl From<i128> for BigInt {
    fn from(number: i128) -> Self {
        Self::new(number < 0, number.unsigned_abs().to_le_bytes().to_vec())
    }
}

/// Decimal where it fits into 128 bits, hexadecimal (`0x…`) where it does not.
impl fmt::Display for BigInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.to_i128() {
            return write!(f, "{number}");
        }
        f.write_str(if self.negative { "-0x" } else { "0x" })?;
        let mut digits = self.magnitude.iter().rev();
        digits.next().map_or(Ok(()), |first| write!(f, "{first:x}"))?;
        digits.try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_one_form() {
        assert_eq!(BigInt::new(true, vec![0, 0]), BigInt::from(0));
    }

    #[test]
    fn small_ones_are_decimal_and_large_ones_hexadecimal() {
        assert_eq!(BigInt::from(-1234).to_string(), "-1234");
        let mut magnitude = vec![0; 16];
        magnitude.extend([0x0b, 0x01]);
        let wanted = format!("0x10b{}", "0".repeat(32));
        assert_eq!(BigInt::new(false, magnitude).to_string(), wanted);
    }

    #[test]
    fn every_i128_but_the_lowest_comes_back() {
        for number in [0, 1, -1, 255, 256, i128::MAX, i128::MIN + 1] {
            assert_eq!(BigInt::from(number).to_i128(), Some(number));
        }
    }
}
