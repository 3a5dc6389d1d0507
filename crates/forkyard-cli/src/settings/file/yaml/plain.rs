//! What words without quotes are, by YAML 1.2's core schema (10.3.2). `yes` and `on` are text.

use super::Value;

pub(super) fn value(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Nothing,
        "true" | "True" | "TRUE" => Value::Truth(true),
        "false" | "False" | "FALSE" => Value::Truth(false),
        _ => match integer(&text) {
            Some(number) => Value::Integer(number),
            None if is_number(&text) => Value::Number(text),
            None => Value::Text(text),
        },
    }
}

/// With a zero before it, it was an octal number in YAML 1.1. So it is what it looks like: text.
fn integer(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok();
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return i64::from_str_radix(digits, 8).ok();
    }
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    let begins = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let is_integer = digits.bytes().all(|c| c.is_ascii_digit());
    begins && !is_integer && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_they_look_like() {
        let shown = |text: &str| format!("{:?}", value(text.to_owned()));
        for text in ["~", "", "null", "Null"] {
            assert_eq!(shown(text), "Nothing", "{text:?}");
        }
        assert_eq!(shown("True"), "Truth(true)");
        for (text, number) in [("3", 3), ("-3", -3), ("0x1f", 31), ("0o17", 15), ("0", 0)] {
            assert_eq!(shown(text), format!("Integer({number})"));
        }
        for text in ["1.10", "1e3", "-.5", "1.", "+5.0"] {
            assert_eq!(shown(text), format!("Number({text:?})"));
        }
        for text in ["yes", "0755", "+5", "1.2.3", "nan", "inf", "0x", "1_000", "0o9", ".", "-"] {
            assert_eq!(shown(text), format!("Text({text:?})"));
        }
    }
}
