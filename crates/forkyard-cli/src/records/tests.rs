//! Records are kept in one piece, and what is no record is told from what is not there.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::store::StoreError;
use super::*;
use crate::exit_code::Failure;

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path());
    (dir, store)
}

fn record(name: &str, workers: Option<&str>) -> Record {
    let workers = workers.map(|workers| workers.parse().unwrap());
    let settings = App { program: Some("app.js".into()), workers, ..App::default() };
    Record::new(name, settings, "/srv".into())
}

#[test]
fn what_is_kept_is_found_again_until_it_is_removed() {
    let (dir, store) = store();
    assert!(store.names().unwrap().is_empty());
    assert_eq!(store.load("web").unwrap(), None);
    let (web, jobs) = (record("web", Some("2")), record("jobs", None));
    store.keep(&web).unwrap();
    store.keep(&jobs).unwrap();
    assert_eq!(store.names().unwrap(), ["jobs", "web"]);
    assert_eq!(store.load("web").unwrap(), Some(web));
    let mode = fs::metadata(dir.path().join("apps/web.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    store.remove("web").unwrap();
    assert_eq!(store.names().unwrap(), ["jobs"]);
}

#[test]
fn what_is_no_record_is_said_to_be_none() {
    let (dir, store) = store();
    store.keep(&record("web", None)).unwrap();
    let path = dir.path().join("apps/web.json");
    for (content, words) in [
        ("", "failed to understand"),
        ("{\"format\": 1}", "missing field"),
        ("{\"format\": 2}", "has format 2"),
    ] {
        fs::write(&path, content).unwrap();
        let error = store.load("web").unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("web.json"), "{error}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named_with_the_way_out() {
    let (dir, store) = store();
    fs::write(dir.path().join("apps"), "").unwrap();
    let failure = Failure::from(store.keep(&record("web", None)).unwrap_err()).to_string();
    assert!(failure.contains("apps") && failure.contains("FORKYARD_HOME"), "{failure}");
}

#[test]
fn only_one_command_changes_an_app_at_a_time() {
    let (_dir, store) = store();
    let lock = store.lock("web").unwrap();
    assert!(matches!(store.lock("web"), Err(StoreError::Busy { .. })));
    store.lock("jobs").unwrap();
    store.remove("web").unwrap();
    let next = store.lock("web").unwrap();
    drop(lock);
    assert!(matches!(store.lock("web"), Err(StoreError::Busy { .. })));
    drop(next);
    store.lock("web").unwrap();
}

#[test]
fn a_scale_holds_until_the_settings_say_something_else() {
    let mut web = record("web", Some("2"));
    let workers = |web: &Record, said: Option<&str>| {
        let said = said.map(|said| said.parse().unwrap());
        let app = web.with_scale(App { workers: said, ..App::default() });
        app.workers.map(|workers| workers.to_string())
    };
    assert_eq!(workers(&web, Some("2")).as_deref(), Some("2"));
    web.scale(5);
    assert_eq!(workers(&web, Some("2")).as_deref(), Some("5"));
    assert_eq!(workers(&web, Some("3")).as_deref(), Some("3"));
    assert_eq!(workers(&web, None), None);
}

#[test]
fn how_a_primary_ended_is_kept_until_the_next_is_started() {
    let (_dir, store) = store();
    assert_eq!(store.end("web"), None);
    let (time, reason) = ("2026-11-24T14:00:00.000Z".to_owned(), "crashed".to_owned());
    let end = End { pid: 7, code: 3, time, reason, stderr_tail: vec!["oops".into()] };
    store.keep_end("web", &end).unwrap();
    assert_eq!(store.end("web"), Some(end));
    store.forget_end("web").unwrap();
    assert_eq!(store.end("web"), None);
}
