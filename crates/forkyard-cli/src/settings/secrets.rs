//! What must not be shown: passwords, keys, and all that files of variables contain.
//!
//! By name (`DB_PASSWORD`, `API_KEY`), or because a URL has a password in it, of which only that is
//! hidden. A name that looks like a secret's and is none costs nothing; the other way round it does.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::App;

/// What is shown instead.
const HIDDEN: &str = "***";

/// What is in the name of a secret.
const WORDS: [&str; 11] = [
    "PASSWORD",
    "PASS",
    "_PWD",
    "SECRET",
    "TOKEN",
    "KEY",
    "CREDENTIAL",
    "AUTH",
    "PRIVATE",
    "DSN",
    "COOKIE",
];

/// Where a variable comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file of variables, which is where secrets are kept.
    EnvFile,
    /// Settings, or the environment.
    Elsewhere,
}

/// Whether what has this name is a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_uppercase().replace('-', "_");
    WORDS.iter().any(|word| name.contains(word))
}

/// A variable's value, as it may be shown.
pub(crate) fn in_variable<'a>(name: &str, value: &'a str, source: Source) -> Cow<'a, str> {
    match source {
        Source::EnvFile => HIDDEN.into(),
        Source::Elsewhere if is_secret_name(name) && !value.is_empty() => HIDDEN.into(),
        Source::Elsewhere => in_text(value),
    }
}

/// Text without the passwords of URLs in it.
pub(crate) fn in_text(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return text.into();
    }
    let words = text.split_inclusive(|c: char| c.is_whitespace() || c == ',');
    words.map(in_url).collect::<String>().into()
}

/// A password may have any character in it, so it reaches up to the last `@`.
fn in_url(word: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = word.split_once("://") else { return word.into() };
    let Some((credentials, host)) = rest.rsplit_once('@') else { return word.into() };
    match credentials.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{HIDDEN}@{host}").into(),
        None => word.into(),
    }
}

/// A program's arguments, as they may be shown: `--password=…`, `--token …`, `KEY=…`.
pub(crate) fn in_arguments<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut is_secret = false;
    let shown = |argument: &str| {
        let before = std::mem::take(&mut is_secret);
        match argument.split_once('=') {
            _ if before && !argument.starts_with('-') => HIDDEN.to_owned(),
            Some((name, _)) if is_secret_name(name) => format!("{name}={HIDDEN}"),
            None if argument.starts_with('-') && is_secret_name(argument) => {
                is_secret = true;
                argument.to_owned()
            }
            _ => in_text(argument).into_owned(),
        }
    };
    arguments.into_iter().map(shown).collect()
}

/// An app's settings with its secrets hidden, in the shape of a settings file.
///
/// # Errors
///
/// If a path or an argument is not UTF-8.
pub(crate) fn hidden(app: &App) -> serde_json::Result<Value> {
    let mut settings = serde_json::to_value(app)?;
    if let Some(settings) = settings.as_object_mut() {
        hide(settings);
    }
    Ok(settings)
}

fn hide(settings: &mut Map<String, Value>) {
    for (key, value) in settings {
        match (key.as_str(), value) {
            ("env", Value::Object(env)) => hide_variables(env),
            ("args" | "interpreter_args", Value::Array(arguments)) => hide_arguments(arguments),
            (_, value) => hide_passwords(value),
        }
    }
}

fn hide_variables(env: &mut Map<String, Value>) {
    for (name, value) in env {
        match value {
            Value::Object(environment) => hide_variables(environment),
            Value::String(text) => {
                *text = in_variable(name, text, Source::Elsewhere).into_owned();
            }
            _ => {}
        }
    }
}

fn hide_arguments(arguments: &mut Vec<Value>) {
    let shown =
        in_arguments(arguments.iter().map(|argument| argument.as_str().unwrap_or_default()));
    *arguments = shown.into_iter().map(Value::String).collect();
}

fn hide_passwords(value: &mut Value) {
    match value {
        Value::String(text) => *text = in_text(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(hide_passwords),
        Value::Object(table) => table.values_mut().for_each(hide_passwords),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "DB_PASSWORD",
            "db_pass",
            "PGPASSWORD",
            "DB_PWD",
            "API_KEY",
            "apiKey",
            "AUTH",
            "x-auth",
            "GITHUB_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "SENTRY_DSN",
            "SESSION_COOKIE",
            "GOOGLE_CREDENTIALS",
            "SSH_PRIVATE",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["PORT", "NODE_ENV", "PWD", "OLDPWD", "HOME", "DATABASE_URL", "PATH"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn of_a_url_only_the_password_is_hidden() {
        for (url, shown) in [
            ("postgres://me:s3cret@db/shop", "postgres://me:***@db/shop"),
            ("redis://:s3cret@db:6379", "redis://:***@db:6379"),
            ("amqp://a:s@one,amqp://b:s@two", "amqp://a:***@one,amqp://b:***@two"),
            ("postgres://me:s/3@c@db", "postgres://me:***@db"),
            ("https://example.org:8443/a", "https://example.org:8443/a"),
            ("ssh://git@example.org", "ssh://git@example.org"),
            ("see http://a:s@b now", "see http://a:***@b now"),
            ("no url: a:b@c", "no url: a:b@c"),
        ] {
            assert_eq!(in_text(url), shown);
        }
    }

    #[test]
    fn what_comes_from_a_file_of_variables_is_not_shown() {
        assert_eq!(in_variable("PORT", "3000", Source::EnvFile), "***");
        assert_eq!(in_variable("PORT", "3000", Source::Elsewhere), "3000");
        assert_eq!(in_variable("API_KEY", "3000", Source::Elsewhere), "***");
        assert_eq!(in_variable("API_KEY", "", Source::Elsewhere), "");
    }

    #[test]
    fn arguments_may_be_secrets_too() {
        let line = ["--port", "1", "--token", "s", "--key=s", "PASSWORD=s", "--auth", "-v", "x"];
        let shown =
            ["--port", "1", "--token", "***", "--key=***", "PASSWORD=***", "--auth", "-v", "x"];
        assert_eq!(in_arguments(line), shown);
    }

    #[test]
    fn settings_are_shown_without_secrets() {
        let app = json!({
            "program": "a.js",
            "args": ["--db", "postgres://u:secret@h/d", "--password", "secret"],
            "env": {"PORT": "1", "API_KEY": "secret", "production": {"TOKEN": "secret", "A": "b"}},
        });
        let shown = hidden(&serde_json::from_value(app).unwrap()).unwrap();
        assert!(!shown.to_string().contains("secret"), "{shown}");
        assert_eq!(shown["env"]["PORT"], "1");
        assert_eq!(shown["env"]["production"]["A"], "b");
        assert_eq!(shown["args"][1], "postgres://u:***@h/d");
    }
}
