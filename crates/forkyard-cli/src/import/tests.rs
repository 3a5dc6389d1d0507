use std::collections::BTreeMap;

use super::attributes::Attributes;
use super::source::Source;
use super::*;
use crate::settings::App;

/// What `pm2 save` of PM2 7.0.4 wrote: two instances of `shop`, `job` that was stopped, `plain` that
/// was started on the command line.
const DUMP: &str = include_str!("recorded/dump.pm2");

/// One of each thing that a file may have.
const ECOSYSTEM: &str = include_str!("recorded/ecosystem.json");

fn of_file(text: &str) -> Drafts {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ecosystem.json");
    std::fs::write(&path, text).unwrap();
    mapping::drafts(source::file(&path).unwrap())
}

fn of_dump() -> Drafts {
    let environment = [("LIST", "another"), ("SHOP", "real")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let value = serde_json::from_str(DUMP).unwrap();
    mapping::drafts(dump::source(value, &BTreeMap::from(environment)).unwrap())
}

/// One app with these settings of PM2's.
fn app(value: Value) -> Draft {
    let Value::Object(app) = value else { panic!("no app") };
    let apps = vec![Attributes::of(app, Some("mark"))];
    mapping::drafts(Source { apps, notes: Vec::new() }).apps.remove(0)
}

fn about(draft: &Draft) -> Vec<&str> {
    draft.notes.iter().map(|note| note.about.as_str()).collect()
}

#[test]
fn a_file_with_everything_in_it_becomes_this() {
    insta::assert_snapshot!(written::toml(&of_file(ECOSYSTEM)));
}

#[test]
fn what_pm2_has_saved_becomes_this() {
    insta::assert_snapshot!(written::toml(&of_dump()));
}

/// All of it is what the settings have.
#[test]
fn drafts_are_settings() {
    for draft in of_file(ECOSYSTEM).apps.into_iter().chain(of_dump().apps) {
        let settings = draft.settings;
        let shown = Value::from(settings.clone()).to_string();
        serde_json::from_value::<App>(settings.into()).unwrap_or_else(|error| {
            panic!("{error}: {shown}");
        });
    }
}

#[test]
fn one_app_and_a_list_of_apps_are_files_too() {
    for text in [
        r#"{"script": "a.js"}"#,
        r#"[{"script": "a.js"}]"#,
        r#"{"apps": {"script": "a.js"}}"#,
        r#"{"pm2": [{"exec": "a.js"}]}"#,
    ] {
        let drafts = of_file(text);
        assert_eq!(drafts.apps.len(), 1, "{text}");
        assert_eq!(drafts.apps[0].settings["program"], "a.js", "{text}");
    }
}

#[test]
fn what_has_no_app_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, words) in [
        ("a.json", "{}", "no app"),
        ("a.json", r#"{"apps": []}"#, "no app"),
        ("a.yaml", "apps: [", "a.yaml"),
        ("a.toml", "", "none of .js"),
        ("dump.pm2", "{}", "no list"),
        ("dump.pm2", "[", "dump.pm2"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let message = source::file(&path).unwrap_err().to_string();
        assert!(message.contains(words), "{name} {text}: {message}");
    }
    let message = source::file(&folder.path().join("none.json")).unwrap_err().to_string();
    assert!(message.contains("No such file"), "{message}");
}

#[test]
fn what_pm2_does_by_itself_is_done() {
    let draft = app(json!({ "script": "a.js" }));
    assert_eq!(draft.settings["workers"], 1, "one, not one a core");
    assert_eq!(draft.settings["drain"], json!({ "stop_signal": "SIGINT" }));
    assert_eq!(about(&draft), [""; 0]);
    let defaults = json!({
        "script": "a.js", "vizion": true, "pmx": true, "automation": true, "force": false,
        "windowsHide": true, "treekill": true, "autorestart": true, "autostart": true,
        "namespace": "default", "instance_var": "NODE_APP_INSTANCE", "merge_logs": true,
        "watch": false, "filter_env": [], "exec_mode": "cluster_mode", "cron_restart": "0",
    });
    assert_eq!(about(&app(defaults)), [""; 0]);
}

#[test]
fn programs_are_run_by_what_pm2_runs_them_by() {
    for (told, expected) in [
        (json!({ "script": "a.py" }), Some("python3")),
        (json!({ "script": "a.sh" }), Some("bash")),
        (json!({ "script": "a.ts" }), None),
        (json!({ "script": "a.js", "interpreter": "node" }), None),
        (json!({ "script": "bin/serve", "interpreter": "node" }), Some("node")),
        (json!({ "script": "a.py", "interpreter": "none" }), None),
        (json!({ "script": "a.js", "exec_interpreter": "bun" }), Some("bun")),
    ] {
        let draft = app(told.clone());
        let interpreter = draft.settings.get("interpreter").and_then(Value::as_str);
        assert_eq!(interpreter, expected, "{told}");
    }
}

#[test]
fn a_counter_is_a_port_or_a_variable() {
    let ports =
        app(json!({ "script": "a.js", "increment_var": "PORT", "env": { "PORT": "3000" } }));
    assert_eq!(ports.settings["port"], json!({ "from": 3000 }));
    assert_eq!(ports.settings.get("env"), None);
    let counter = app(json!({ "script": "a.js", "increment_var": "N" }));
    assert_eq!(counter.settings["instance_var"], "N");
    let high = app(json!({ "script": "a.js", "increment_var": "N", "env": { "N": 5 } }));
    assert_eq!(about(&high), ["increment_var"]);
}

#[test]
fn what_json_has_not_is_named() {
    let pattern = json!({ "mark": "the pattern /x/" });
    let draft = app(json!({
        "script": "a.js", "watch": true, "ignore_watch": [pattern, "tmp"],
        "env": { "F": { "mark": "a function" } }, "max_restarts": { "mark": "a function" },
    }));
    assert_eq!(draft.settings["watch"], json!(["**", "!tmp"]));
    assert_eq!(about(&draft), ["ignore_watch", "env", "max_restarts"]);
    assert!(draft.notes[0].why.contains("the pattern /x/"));
    assert!(draft.notes[1].why.contains("F is a function"));
}

#[test]
fn settings_are_for_their_owner_and_overwrite_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forkyard.toml");
    write(&path, "a").unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let message = write(&path, "b").unwrap_err().to_string();
    assert!(message.contains("there already"), "{message}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a");
}

/// Nobody has to guess what becomes of something.
#[test]
fn the_documentation_has_every_attribute() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/from-pm2.md");
    let page = std::fs::read_to_string(page).unwrap();
    let missing: Vec<_> =
        PM2_S.split_whitespace().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, [""; 0]);
}

/// All that PM2 7.0.4 knows (`lib/API/schema.json`), by the names that its users write.
const PM2_S: &str = "script name name_prefix filter_env namespace install_url cwd args interpreter \
    interpreter_args node_args out_file error_file log_file disable_logs log_type log_date_format \
    time env env_NAME max_memory_restart pid_file restart_delay exp_backoff_restart_delay \
    source_map_support disable_source_map_support wait_ready instances kill_timeout \
    shutdown_with_message listen_timeout cron_restart merge_logs combine_logs vizion autostart \
    autorestart stop_exit_codes watch_delay watch ignore_watch watch_options min_uptime \
    max_restarts execute_command exec_mode force append_env_to_name post_update trace \
    disable_trace v8 event_loop_inspector deep_monitoring increment_var instance_var pmx \
    automation treekill port username uid user gid windowsHide kill_retry_time write io deploy \
    static";
