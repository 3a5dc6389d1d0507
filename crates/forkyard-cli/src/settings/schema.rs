//! The JSON Schema of a settings file, by which editors complete and check it.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, schema_for};
use serde_json::{Map, Value, json};

use super::App;
use crate::names;

/// What stands in a settings file.
#[derive(JsonSchema)]
#[schemars(title = "Settings of Forkyard's apps", deny_unknown_fields)]
#[expect(dead_code, reason = "files are read app by app, so that each one's mistakes are told")]
struct File {
    /// Where this schema is, for editors
    #[serde(rename = "$schema")]
    schema: Option<String>,
    /// The apps, by their names
    #[schemars(extend("propertyNames" = { "pattern": names::PATTERN }, "minProperties" = 1))]
    app: BTreeMap<String, App>,
}

/// The schema.
pub(crate) fn schema() -> Value {
    let mut schema = schema_for!(File);
    let program = json!(["program"]);
    if let Some(app) = definitions(&mut schema).and_then(|all| all.get_mut("App")) {
        app["required"] = program;
    }
    schema.to_value()
}

fn definitions(schema: &mut Schema) -> Option<&mut Map<String, Value>> {
    schema.get_mut("$defs")?.as_object_mut()
}

/// The settings of an app, those in tables by the tables' names: `restart.limit`.
pub(crate) fn settings() -> Vec<String> {
    let schema = schema_for!(App).to_value();
    let mut found = Vec::new();
    collect(&schema, &schema, "", &mut found);
    found
}

fn collect(whole: &Value, part: &Value, prefix: &str, found: &mut Vec<String>) {
    let Some(properties) = part["properties"].as_object() else { return };
    for (key, property) in properties {
        let (path, table) = (format!("{prefix}{key}"), resolved(whole, property));
        match table["properties"].is_object() {
            true => collect(whole, table, &format!("{path}."), found),
            false => found.push(path),
        }
    }
}

fn resolved<'a>(whole: &'a Value, property: &'a Value) -> &'a Value {
    let reference = property["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    reference.and_then(|pointer| whole.pointer(pointer)).unwrap_or(property)
}
