//! The description of the requests for machines, which is kept in `docs/openapi.json`.

use std::fs;
use std::path::Path;

use forkyard_control::server::{Server, openapi};
use serde_json::Value;

use crate::place::{place, raw, request, request_with};

/// Written anew when this variable is set.
const UPDATE: &str = "FORKYARD_UPDATE_OPENAPI";

#[test]
fn the_description_in_the_documentation_is_true() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let described = format!("{}\n", openapi());
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&file, &described).unwrap();
    }
    let documented = fs::read_to_string(&file).unwrap_or_default();
    assert!(documented == described, "docs/openapi.json is not true any more: set {UPDATE}=1");
}

#[tokio::test]
async fn the_primary_tells_it_and_serves_all_of_it() {
    let (_keeps, dir) = place();
    let (_server, wishes) = Server::start(&dir, "web").unwrap();
    let answer = raw(&dir, &request("GET /v1/openapi.json")).await;
    assert!(answer.ends_with(&openapi()), "{answer}");
    // Whoever is known is told that the app is stopping, or that there is something missing.
    drop(wishes);
    let document: Value = serde_json::from_str(&openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let line = format!("{} {path}", method.to_uppercase());
            let answer = raw(&dir, &request_with(&line, "{}")).await;
            let is_known = ["200", "400", "503"]
                .iter()
                .any(|code| answer.starts_with(&format!("HTTP/1.1 {code}")));
            assert!(is_known, "{line}: {answer}");
        }
    }
}
