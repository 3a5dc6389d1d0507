//! Sizes, as people write and read them.

use std::fmt;
use std::str::FromStr;

/// So many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub(crate) u64);

const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

/// Reads `300M`, `1.5G`, `512KiB` or a number of bytes. A K is 1024, as for PM2 and systemd.
impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const HINT: &str = "write a size as in 300M or 1.5G";
        let upper = text.trim().to_ascii_uppercase();
        let bare = upper.strip_suffix("IB").or(upper.strip_suffix('B')).unwrap_or(&upper);
        let with_unit = |(letter, shift)| Some((bare.strip_suffix(letter)?, shift));
        let (number, shift) = UNITS.into_iter().find_map(with_unit).unwrap_or((bare, 0));
        let (whole, part) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), ""));
        let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
        if whole.is_empty() || part.len() > 6 || !is_number(whole) || !is_number(part) {
            return Err(HINT.to_owned());
        }
        let whole: u64 = whole.parse().map_err(|_| HINT.to_owned())?;
        let millionths: u64 = format!("{part:0<6}").parse().map_err(|_| HINT.to_owned())?;
        let bytes = (u128::from(whole) << shift) + ((u128::from(millionths) << shift) / 1_000_000);
        match u64::try_from(bytes) {
            Ok(0) => Err(format!("it is nothing; {HINT}")),
            Ok(bytes) if i64::try_from(bytes).is_ok() => Ok(Self(bytes)),
            _ => Err(format!("that is more than there can be; {HINT}")),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().rev().find(|(_, shift)| self.0 >> shift > 0);
        match unit {
            Some((letter, shift)) => {
                let tenths = (u128::from(self.0) * 10) >> shift;
                let (whole, tenth) = (tenths / 10, tenths % 10);
                match whole < 10 && tenth > 0 {
                    true => write!(f, "{whole}.{tenth} {letter}iB"),
                    false => write!(f, "{whole} {letter}iB"),
                }
            }
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in [
            ("300M", 300 << 20),
            ("300m", 300 << 20),
            ("1.5G", 3 << 29),
            ("512KiB", 512 << 10),
            ("512 KB", 512 << 10),
            ("2T", 2 << 40),
            ("4096", 4096),
            ("0.000001M", 1),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for bad in
            ["", "M", "-1M", "1,5G", "many", "0", "0.1", "1.2.3M", "9999999999T", ".5G", "1MM "]
        {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_read_well() {
        for (bytes, text) in [
            (300 << 20, "300 MiB"),
            (3 << 29, "1.5 GiB"),
            (1 << 30, "1 GiB"),
            ((20 << 30) + (1 << 29), "20 GiB"),
            (1023, "1023 bytes"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
