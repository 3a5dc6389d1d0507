//! Settings files: checked, compared with what runs, made to hold; and what shells and readers of
//! manual pages get.

use std::fs;
use std::process::Command;

use forkyard_tests::{Answer, Yard};
use serde_json::Value;

/// With an app that has two workers.
const ONE_APP: &str = r#"
[app.web]
program = "web.js"
workers = 2
groups = "front"
[app.web.env]
TOKEN = "very secret"
"#;

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.stdout).expect("it answers in JSON")
}

fn yard(settings: &str) -> Yard {
    let yard = Yard::new();
    yard.install("plain.js", "web.js");
    yard.write("forkyard.toml", settings);
    yard
}

#[test]
fn a_file_is_checked_without_starting_anything() {
    let yard = yard(ONE_APP);
    yard.ask(&["check"]).assert(0, &["forkyard.toml: 1 app, all is fine", "web.js", "front"]);
    let checked = json(&yard.ask(&["check", "forkyard.toml", "--json"]));
    assert_eq!(checked["ok"], true);
    assert_eq!(checked["apps"][0]["workers"], 2);
    assert!(checked["apps"][0]["executable"].as_str().unwrap().ends_with("/node"));
    assert!(yard.list().is_empty());
}

/// As it is shipped.
#[test]
fn the_example_can_be_started() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/forkyard.toml");
    let checked = json(Yard::new().ask(&["check", examples, "--json"]).assert(0, &[]));
    let names: Vec<_> = checked["apps"].as_array().unwrap().iter().collect();
    let names: Vec<_> = names.iter().map(|app| app["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hello", "plain"]);
}

#[test]
fn what_is_wrong_is_told_with_exit_code_2() {
    let yard = yard("[app.web]\nprogram = \"web.js\"\nworker = 2\n");
    let words = ["forkyard.toml:3:1", "there is no setting `worker`", "did you mean `workers`?"];
    yard.ask(&["check"]).assert(2, &words);
    yard.ask(&["start"]).assert(2, &words);
    let checked = json(yard.ask(&["check", "--json"]).assert(2, &[]));
    assert_eq!(checked["ok"], false);
    assert_eq!(checked["findings"][0]["line"], 3);
    assert_eq!(checked["findings"][0]["setting"], "app.web.worker");

    yard.write("forkyard.toml", "[app.web]\nprogram = \"none.js\"\n");
    yard.ask(&["check"]).assert(2, &["web: failed to run none.js"]);
    let checked = json(yard.ask(&["check", "--json"]).assert(2, &[]));
    assert_eq!(checked["findings"][0]["setting"], "app.web");

    yard.ask(&["check", "none.toml"]).assert(2, &["none.toml: No such file"]);
    yard.ask(&["check", "--environment", "prod"]).assert(2, &["there is no environment \"prod\""]);
    yard.ask(&["start", "--environment", "prod"]).assert(2, &["there is no environment \"prod\""]);
}

#[test]
fn two_apps_on_one_port_are_a_warning() {
    let text = "[app.web]\nprogram = \"web.js\"\nlisten = 8000\n";
    let yard = yard(&format!("{text}{}", text.replace("app.web", "app.other")));
    yard.ask(&["check"]).assert(0, &["all is fine", "warning: `web` and `other` cannot both"]);
    let checked = json(yard.ask(&["check", "--json"]).assert(0, &[]));
    assert_eq!(checked["findings"][0]["level"], "warning");
}

#[test]
fn what_has_changed_is_told_and_holds_after_a_reload() {
    let yard = yard(ONE_APP);
    yard.ask(&["check", "--diff"]).assert(0, &["web is new"]);
    yard.done(&["start"]);
    yard.ask(&["check", "--diff"]).assert(0, &["all apps are as they were started"]);

    let changed = ONE_APP.replace("workers = 2", "workers = 1").replace("very", "most");
    yard.write("forkyard.toml", &changed);
    let told = yard.ask(&["check", "--diff"]);
    told.assert(0, &["web has changed: forkyard reload web", "workers", "env.TOKEN", "***"]);
    assert!(!told.stdout.contains("secret"), "{told:#?}");

    let changed = format!("{changed}[app.web.restart]\nlimit = 3\n[app.web.roll]\nspares = 1\n");
    yard.write("forkyard.toml", &format!("{changed}[app.jobs]\nprogram = \"jobs.js\"\n"));
    let diff = json(&yard.ask(&["check", "--diff", "--json"]));
    assert_eq!(diff["apps"][0]["difference"], "added");
    let needs: Vec<_> = diff["apps"][1]["settings"].as_array().unwrap().iter().collect();
    let needs: Vec<_> =
        needs.iter().map(|change| (change["setting"].as_str(), change["needs"].as_str())).collect();
    let expected = [
        ("env.TOKEN", "roll"),
        ("restart.limit", "primary"),
        ("roll.spares", "restart"),
        ("workers", "roll"),
    ];
    assert_eq!(needs, expected.map(|(setting, needs)| (Some(setting), Some(needs))));

    yard.write("forkyard.toml", &changed);
    let primary = yard.primary("web");
    let reloaded = yard.done(&["reload", "web"]);
    reloaded.assert(0, &["primary ", "reload finished", "roll.spares is as before"]);
    assert_eq!(yard.primary("web"), primary);
    assert_eq!(yard.workers("web").len(), 1);
    let left = json(&yard.ask(&["check", "--diff", "--json"]));
    assert_eq!(left["apps"][0]["settings"].as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left["apps"][0]["needs"], "restart");

    yard.write("forkyard.toml", "[app.other]\nprogram = \"web.js\"\n");
    let told = yard.ask(&["check", "--diff"]);
    told.assert(0, &["other is new", "web is not in the file any more"]);
}

/// What a shell runs when somebody presses Tab after the last word.
fn completed(yard: &Yard, words: &[&str]) -> Vec<String> {
    let words = [&["--", "forkyard"], words].concat();
    let mut command = yard.command(&words);
    command.env("FORKYARD_COMPLETE", "bash");
    command.env("_CLAP_COMPLETE_INDEX", (words.len() - 2).to_string()).env("_CLAP_IFS", "\n");
    Answer::of(&mut command).assert(0, &[]).stdout.lines().map(str::to_owned).collect()
}

#[test]
fn shells_complete_names_of_apps_and_groups() {
    let yard = yard(ONE_APP);
    assert_eq!(completed(&yard, &["stop", "w"]), Vec::<String>::new());
    assert!(!yard.home().exists());
    yard.done(&["start"]);
    yard.done(&["start", "--name", "worker", "web.js", "-w", "1"]);
    assert_eq!(completed(&yard, &["stop", "w"]), ["web", "worker"]);
    assert_eq!(completed(&yard, &["reload", "f"]), ["front"]);
    assert_eq!(completed(&yard, &["logs", "web"]), ["web"]);
    assert!(completed(&yard, &["ls", "a"]).contains(&"all".to_owned()));
    let targets = completed(&yard, &["start", "w"]);
    assert!(targets.contains(&"web.js".to_owned()) && targets.contains(&"web".to_owned()));
    assert!(completed(&yard, &["rel"]).contains(&"reload".to_owned()));
    // As one in the foreground, which has a socket and no record.
    fs::remove_file(yard.home().join("apps/web.json")).unwrap();
    assert_eq!(completed(&yard, &["stop", "w"]), ["web", "worker"]);
}

#[test]
fn bash_takes_the_completion() {
    let yard = yard(ONE_APP);
    yard.done(&["start"]);
    let script = yard.done(&["completions", "bash"]).stdout;
    let ask = "COMP_WORDS=(forkyard stop w); COMP_CWORD=2; COMP_TYPE=9; \
               _clap_complete_forkyard forkyard w stop; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &format!("{script}\n{ask}")]).current_dir(yard.folder());
    bash.env("FORKYARD_HOME", yard.home()).env("FORKYARD_RUNTIME_DIR", yard.sockets());
    assert_eq!(Answer::of(&mut bash).assert(0, &[]).stdout, "web\n");
    for shell in ["zsh", "fish", "elvish"] {
        yard.done(&["completions", shell]).assert(0, &["FORKYARD_COMPLETE"]);
    }
}

#[test]
fn manual_pages_are_there() {
    let yard = Yard::new();
    yard.done(&["man"]).assert(0, &[".TH forkyard", "check"]);
    yard.done(&["man", "check"]).assert(0, &[".TH forkyard-check", "diff"]);
    yard.ask(&["man", "chek"]).assert(2, &["no command \"chek\""]);
    yard.done(&["man", "--out", "man1"]);
    assert!(yard.folder().join("man1/forkyard-start.1").exists());
}

#[test]
fn the_schema_is_printed_for_editors() {
    let schema = json(&Yard::new().done(&["check", "--schema"]));
    assert_eq!(schema["properties"]["app"]["type"], "object");
}
