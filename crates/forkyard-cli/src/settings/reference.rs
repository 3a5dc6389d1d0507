//! The table of all settings in `docs/settings.md`, from the schema and from what changes need.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::change::Needs;
use super::schema;

const FILE: &str = "docs/settings.md";
/// Between these the table stands.
const MARKS: [&str; 2] = ["<!-- every setting: -->\n", "<!-- that was every setting -->\n"];

fn table() -> String {
    let whole = schema::schema();
    let app = &whole["$defs"]["App"];
    let rows = schema::settings().into_iter().map(|setting| row(&whole, app, &setting));
    format!("\n| setting | is | a change takes |\n|---|---|---|\n{}\n", rows.collect::<String>())
}

fn row(whole: &Value, app: &Value, setting: &str) -> String {
    let mut property = &Value::Null;
    let mut table = app;
    for key in setting.split('.') {
        property = &table["properties"][key];
        table = schema::resolved(whole, property);
    }
    let description = property["description"].as_str().unwrap_or_default().replace('\n', " ");
    format!("| `{setting}` | {} | {} |\n", description.replace('|', "\\|"), Needs::of(setting))
}

/// `FORKYARD_UPDATE=1` before the test writes it.
#[test]
fn the_table_of_all_settings_is_this_version_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(FILE);
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(MARKS[0]).unwrap();
    let (written, after) = rest.split_once(MARKS[1]).unwrap();
    let present = table();
    if std::env::var_os("FORKYARD_UPDATE").is_some() {
        fs::write(&path, [before, MARKS[0], &present, MARKS[1], after].concat()).unwrap();
        return;
    }
    assert!(written == present, "the table in {FILE} is another one's; set FORKYARD_UPDATE=1");
}
