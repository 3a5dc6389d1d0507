//! What workers find in their environment, and as whom they run.

use serde_json::{Map, Value};

use crate::import::Draft;
use crate::import::attributes::{Attributes, as_text};

/// What PM2 calls the variable that counts instances; Forkyard does so too.
const COUNTER: &str = "NODE_APP_INSTANCE";

/// Variables that are another number for each worker.
pub(super) fn counters(app: &mut Attributes, draft: &mut Draft) {
    let counter = app.text("instance_var").filter(|name| name != COUNTER);
    let increment = app.text("increment_var");
    if let Some(name) = &counter {
        draft.set("instance_var", name.clone());
    }
    let Some(name) = increment else { return };
    let start = taken_from_env(app, &name).as_ref().and_then(as_text).unwrap_or_default();
    match (&*name, start.parse::<u64>().unwrap_or(0)) {
        ("PORT", port @ 1..=65535) => draft.set_in("port", "from", port),
        (_, 0) if counter.is_none() => draft.set("instance_var", name),
        (_, 0) => draft.note(
            "increment_var",
            format!("{name} would be what `instance_var` is already; have the program read that"),
        ),
        (_, start) => draft.note(
            "increment_var",
            format!("{name} counts from {start} on; have the program add that to FORKYARD_SLOT"),
        ),
    }
}

fn taken_from_env(app: &mut Attributes, name: &str) -> Option<Value> {
    let Some(Value::Object(mut env)) = app.take("env") else { return None };
    let value = env.remove(name);
    app.put("env", env);
    value
}

/// The variables of all environments.
pub(super) fn variables(app: &mut Attributes, draft: &mut Draft) {
    let mut all = read(app, draft, "env");
    if let Some(port) = app.text("port") {
        all.insert("PORT".to_owned(), port.into());
    }
    for key in app.beginning("env_") {
        let name = key.trim_start_matches("env_").to_owned();
        let table = read(app, draft, &key);
        if all.contains_key(&name) {
            draft.note(&key, "there is a variable of that name; rename the environment");
        } else if !table.is_empty() {
            all.insert(name, table.into());
        }
    }
    if !all.is_empty() {
        draft.set("env", all);
    }
    if app.flag("append_env_to_name") == Some(true) {
        draft.note("append_env_to_name", "an app has one name; name it yourself with --name");
    }
    filter(app, draft);
}

fn filter(app: &mut Attributes, draft: &mut Draft) {
    let is_nothing =
        |value: &Value| *value == Value::Bool(false) || value.as_array().is_some_and(Vec::is_empty);
    if app.take("filter_env").is_some_and(|filter| !is_nothing(&filter)) {
        let why = "workers have the environment that Forkyard is started in; start it with as \
                   little as they shall have (env -i)";
        draft.note("filter_env", why);
    }
}

fn read(app: &mut Attributes, draft: &mut Draft, key: &str) -> Map<String, Value> {
    let mut variables = Map::new();
    match app.take(key) {
        Some(Value::Object(table)) => {
            for (name, value) in table {
                match text_of(app, &value) {
                    Ok(text) if !name.is_empty() && !name.contains('=') => {
                        variables.insert(name, text.into());
                    }
                    Ok(_) => draft.note(key, format!("{name:?} is no name for a variable")),
                    Err(what) => draft.note(key, format!("{name} is {what}, and left out")),
                }
            }
        }
        Some(_) => app.odd(key),
        None => {}
    }
    variables
}

/// Tables are JSON, as PM2 has it.
fn text_of(app: &Attributes, value: &Value) -> Result<String, String> {
    if let Some(what) = app.foreign(value) {
        return Err(what.to_owned());
    }
    match value {
        Value::Null => Err("nothing".to_owned()),
        value => Ok(as_text(value).unwrap_or_else(|| value.to_string())),
    }
}

/// The workers' user.
pub(super) fn user(app: &mut Attributes, draft: &mut Draft) {
    let (user, group) = (app.text("uid"), app.text("gid"));
    match (user, group) {
        (Some(user), group) => {
            draft.set("user", user);
            if let Some(group) = group {
                draft.set("group", group);
            }
        }
        (None, Some(_)) => draft.note("gid", "a group takes a user; name both"),
        (None, None) => {}
    }
}
