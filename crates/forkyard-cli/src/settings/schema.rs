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

/// What a property is, where the schema has it under a name.
pub(super) fn resolved<'a>(whole: &'a Value, property: &'a Value) -> &'a Value {
    let reference = property["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    reference.and_then(|pointer| whole.pointer(pointer)).unwrap_or(property)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const FILE: &str = "docs/forkyard.schema.json";

    /// Editors get it from there. `FORKYARD_UPDATE=1` before the test writes it.
    #[test]
    fn the_schema_that_is_shipped_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(FILE);
        let present = schema();
        if std::env::var_os("FORKYARD_UPDATE").is_some() {
            fs::write(&path, format!("{present:#}\n")).unwrap();
        }
        let shipped = fs::read_to_string(&path).unwrap_or_default();
        // The order of keys does not matter.
        let shipped: Value = serde_json::from_str(&shipped).unwrap_or_default();
        assert!(shipped == present, "{FILE} is another one's; set FORKYARD_UPDATE=1 to write it");
    }

    #[test]
    fn every_setting_has_a_description() {
        let schema = schema();
        let mut undescribed = Vec::new();
        for (table, definition) in schema["$defs"].as_object().unwrap() {
            let Some(properties) = definition["properties"].as_object() else { continue };
            let without = properties.iter().filter(|(_, setting)| setting["description"].is_null());
            undescribed.extend(without.map(|(key, _)| format!("{table}.{key}")));
        }
        assert!(undescribed.is_empty(), "{undescribed:?}");
    }

    #[test]
    fn settings_in_tables_are_called_by_both() {
        let settings = settings();
        for known in ["program", "workers", "env", "restart.limit", "ready.check", "roll.surge"] {
            assert!(settings.iter().any(|setting| setting == known), "{known}: {settings:?}");
        }
        assert!(!settings.iter().any(|setting| setting == "restart"));
    }
}
