//! What PM2 was told of one app, by one name for each thing.

use serde_json::{Map, Value};

/// PM2's other names (`lib/API/schema.json` of PM2 7, and `verifyConfs` for the script).
const ALIASES: [(&str, &str); 17] = [
    ("exec", "script"),
    ("cmd", "script"),
    ("command", "script"),
    ("interpreter", "exec_interpreter"),
    ("interpreter_args", "node_args"),
    ("out", "out_file"),
    ("output", "out_file"),
    ("out_log", "out_file"),
    ("error", "error_file"),
    ("err", "error_file"),
    ("err_file", "error_file"),
    ("err_log", "error_file"),
    ("log", "log_file"),
    ("pid", "pid_file"),
    ("cron", "cron_restart"),
    ("combine_logs", "merge_logs"),
    ("user", "uid"),
];

/// Each attribute can be taken once; what is left in the end nobody knew.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    all: Map<String, Value>,
    /// The only key of what JSON has not.
    foreign: Option<String>,
    /// What was there, but made no sense.
    odd: Vec<String>,
}

impl Attributes {
    /// Whatever is not there is not told.
    pub(super) fn of(app: Map<String, Value>, foreign: Option<&str>) -> Self {
        let mut all = Map::new();
        for (name, value) in app {
            if !value.is_null() {
                all.entry(canonical(&name)).or_insert(value);
            }
        }
        Self { all, foreign: foreign.map(str::to_owned), odd: Vec::new() }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.all.remove(name)
    }

    pub(super) fn peek(&self, name: &str) -> Option<&Value> {
        self.all.get(name)
    }

    pub(super) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.all.insert(name.to_owned(), value.into());
    }

    /// Numbers are what they would be as text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.understood(name, as_text)
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        self.understood(name, as_flag)
    }

    pub(super) fn number(&mut self, name: &str) -> Option<f64> {
        self.understood(name, as_number)
    }

    /// A list of texts; PM2 takes a text as one that is separated by spaces.
    pub(super) fn words(&mut self, name: &str) -> Option<Vec<String>> {
        self.understood(name, |value| match value {
            Value::String(text) => Some(split(text)),
            value => as_list(value),
        })
    }

    /// A list of texts, or one of them.
    pub(super) fn list(&mut self, name: &str) -> Option<Vec<String>> {
        self.understood(name, |value| match value {
            Value::Array(_) => as_list(value),
            value => Some(vec![as_text(value)?]),
        })
    }

    /// A time in milliseconds; as text it may have a unit.
    pub(super) fn milliseconds(&mut self, name: &str) -> Option<u64> {
        self.understood(name, |value| {
            let units = [('h', 3_600_000.0), ('m', 60_000.0), ('s', 1000.0)];
            with_unit(value, &units).map(|time| time.max(0.0) as u64)
        })
    }

    /// A size in bytes; as text it may have a unit.
    pub(super) fn bytes(&mut self, name: &str) -> Option<u64> {
        self.understood(name, |value| {
            let units = [('G', 1024.0 * 1024.0 * 1024.0), ('M', 1024.0 * 1024.0), ('K', 1024.0)];
            with_unit(value, &units).map(|size| size.max(0.0) as u64)
        })
    }

    /// What is there and makes no sense.
    pub(super) fn odd(&mut self, name: &str) {
        self.odd.push(name.to_owned());
    }

    /// The names of all that begin like this.
    pub(super) fn beginning(&self, start: &str) -> Vec<String> {
        self.all.keys().filter(|name| name.starts_with(start)).cloned().collect()
    }

    /// What that is which JSON has not, such as a function.
    pub(super) fn foreign<'a>(&self, value: &'a Value) -> Option<&'a str> {
        let table = value.as_object().filter(|table| table.len() == 1)?;
        table.get(self.foreign.as_deref()?)?.as_str()
    }

    /// What nobody has taken, and what made no sense.
    pub(super) fn left(self) -> (Vec<String>, Vec<String>) {
        (self.all.into_iter().map(|(name, _)| name).collect(), self.odd)
    }

    fn understood<T>(&mut self, name: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.take(name)?;
        let understood = read(&value);
        if understood.is_none() {
            self.odd(name);
        }
        understood
    }
}

/// PM2 takes `maxRestarts` for `max_restarts`. Environments keep their names.
fn canonical(name: &str) -> String {
    if name.starts_with("env_") {
        return name.to_owned();
    }
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    let alias = ALIASES.iter().find(|(alias, _)| *alias == snake);
    alias.map_or(snake, |(_, name)| (*name).to_owned())
}

pub(super) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn as_list(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(as_text).collect()
}

fn with_unit(value: &Value, units: &[(char, f64)]) -> Option<f64> {
    if let Some(number) = as_number(value) {
        return Some(number);
    }
    let text = value.as_str()?.trim();
    let with = |(unit, factor): &(char, f64)| Some((text.strip_suffix(*unit)?, *factor));
    let (number, factor) = units.iter().find_map(with)?;
    Some(number.trim().parse::<f64>().ok()? * factor)
}

/// Words are separated by spaces, and may be in quotes.
fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in text.chars() {
        match quote {
            Some(mark) if letter == mark => quote = None,
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attributes(value: Value) -> Attributes {
        let Value::Object(app) = value else { panic!("no app") };
        Attributes::of(app, Some("mark"))
    }

    #[test]
    fn every_name_of_pm2_s_means_the_same() {
        for (alias, name) in [
            ("exec", "script"),
            ("interpreterArgs", "node_args"),
            ("interpreter", "exec_interpreter"),
            ("maxMemoryRestart", "max_memory_restart"),
            ("windowsHide", "windows_hide"),
            ("appendEnvToName", "append_env_to_name"),
            ("env_Staging", "env_Staging"),
        ] {
            let mut attributes = attributes(json!({ alias: "x" }));
            assert_eq!(attributes.text(name), Some("x".to_owned()), "{alias}");
        }
        let mut both = attributes(json!({ "out": "a", "out_file": null }));
        assert_eq!(both.text("out_file"), Some("a".to_owned()));
    }

    #[test]
    fn times_and_sizes_have_units() {
        let mut all = attributes(json!({
            "a": 500, "b": "5s", "c": "2h", "d": "300M", "e": "1.5G", "f": "soon", "g": "700",
        }));
        assert_eq!((all.milliseconds("a"), all.milliseconds("b")), (Some(500), Some(5000)));
        assert_eq!((all.milliseconds("c"), all.milliseconds("g")), (Some(7_200_000), Some(700)));
        assert_eq!((all.bytes("d"), all.bytes("e")), (Some(300 << 20), Some(1536 << 20)));
        assert_eq!(all.milliseconds("f"), None);
        assert_eq!(all.left(), (vec![], vec!["f".to_owned()]));
    }

    #[test]
    fn words_may_be_in_quotes() {
        for (text, expected) in [
            ("--a  b", &["--a", "b"][..]),
            (" --name='two words' \"\" x", &["--name=two words", "", "x"]),
            ("it\"s", &["its"]),
            ("", &[]),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
        let mut list = attributes(json!({ "args": ["-n", 3, "two words"] }));
        assert_eq!(list.words("args").unwrap(), ["-n", "3", "two words"]);
    }

    #[test]
    fn what_json_has_not_is_told() {
        let all = attributes(json!({ "a": { "mark": "a function" }, "b": { "other": "x" } }));
        assert_eq!(all.foreign(&all.all["a"]), Some("a function"));
        assert_eq!(all.foreign(&all.all["b"]), None);
    }
}
