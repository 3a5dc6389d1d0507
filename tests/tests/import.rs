//! Reading PM2's settings, by the real command and a real Node.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use forkyard_tests::{Ended, Launch, Node, Stream};
use serde_json::Value;
use tempfile::TempDir;

/// `forkyard import` in this folder, with Node to hand.
fn import(folder: &TempDir) -> Launch {
    let node = Node::V24.binary();
    let path = node.parent().expect("Node is in a folder").as_os_str().to_owned();
    let path: OsString = [path, ":/usr/bin:/bin".into()].into_iter().collect();
    Launch::bare("import").cwd(folder.path()).env("PATH", path)
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    files.iter().for_each(|(name, text)| write(folder.path(), name, text));
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("a file");
}

fn json(ended: &Ended) -> Value {
    let text = ended.assert_code(0).lines(Stream::Stdout).join("\n");
    serde_json::from_str(&text).expect("JSON on stdout")
}

#[test]
fn every_language_of_pm2_is_read() {
    let app = "{ name: 'shop', script: 'server.js', instances: 2, env: { A: 'b' } }";
    for (name, text) in [
        ("ecosystem.config.js", format!("module.exports = {{ apps: [{app}] }};")),
        ("ecosystem.config.cjs", format!("exports.apps = [{app}];")),
        ("ecosystem.config.mjs", format!("export default {{ apps: [{app}] }};")),
        ("named.config.mjs", format!("export const apps = [{app}];")),
        ("promise.config.mjs", format!("export default Promise.resolve({{ apps: [{app}] }});")),
        ("process.json", format!("// a comment\n{{ apps: [{app}], }}")),
        ("ecosystem.yaml", format!("apps:\n  - {app}\n")),
        ("ecosystem.yml", "name: shop\nscript: server.js\ninstances: 2\nenv:\n  A: b\n".into()),
    ] {
        let folder = folder(&[(name, &text)]);
        let told = json(&import(&folder).flag("--json").arg(name).finish());
        let shop = &told["app"]["shop"];
        assert_eq!(
            (&shop["program"], &shop["workers"]),
            (&"server.js".into(), &2.into()),
            "{name}"
        );
        assert_eq!(shop["env"]["A"], "b", "{name}");
    }
}

/// It prints, keeps itself busy, and has what JSON has not.
#[test]
fn a_file_may_do_as_it_likes() {
    let text = "console.log('{\"apps\": []}'); console.error('a warning'); \
                process.stdout.write('half a line'); setInterval(() => {}, 1000);\n\
                module.exports = { apps: [{ script: 'a.js', watch: [/x/, 'lib'], \
                env: { F() {}, N: 10n, U: undefined } }] };";
    let folder = folder(&[("ecosystem.config.js", text)]);
    let told = json(&import(&folder).flag("--json").arg("ecosystem.config.js").finish());
    let app = &told["app"]["a"];
    assert_eq!(app["watch"], serde_json::json!(["./lib", "!.*"]));
    assert_eq!(app["env"], serde_json::json!({ "N": "10" }));
    let notes = told["notes"].to_string();
    assert!(notes.contains("the pattern /x/") && notes.contains("F is a function"), "{notes}");
}

#[test]
fn a_file_that_is_no_good_is_said() {
    for (text, words) in [
        ("throw new Error('not today');", "not today"),
        ("module.exports = {", "SyntaxError"),
        ("process.exit(7);", "exited with code 7"),
        ("require('no-such-module');", "no-such-module"),
        ("module.exports = () => ({});", "no app"),
        ("module.exports = 3;", "no app"),
        ("const a = {}; a.a = a; module.exports = a;", "circular"),
    ] {
        let folder = folder(&[("ecosystem.config.js", text)]);
        let ended = import(&folder).arg("ecosystem.config.js").finish();
        ended.assert_code(2).assert_says(&["ecosystem.config.js", words]).assert_nobody_left();
    }
}

#[test]
fn a_file_that_does_not_end_is_ended() {
    let text = "require('node:child_process').spawn('sleep', ['1000']); for (;;);";
    let folder = folder(&[("ecosystem.config.js", text)]);
    let ended = import(&folder).arg("ecosystem.config.js").finish();
    ended.assert_code(2).assert_says(&["longer than 10 s"]).wait_nobody_left();
}

#[test]
fn settings_are_written_and_what_is_left_out_is_said() {
    let text = "module.exports = { apps: [{ script: 'a.js', vizion: false }] };";
    let folder = folder(&[("ecosystem.config.js", text)]);
    let launch = || {
        let launch = import(&folder).option("--output", "forkyard.toml");
        launch.arg("ecosystem.config.js").finish()
    };
    let ended = launch();
    ended.assert_code(0).assert_says(&["a: vizion: "]);
    assert_eq!(ended.lines(Stream::Stdout), [""; 0]);
    let written = fs::read_to_string(folder.path().join("forkyard.toml")).expect("it is there");
    assert!(written.contains("[app.a]\nprogram = \"a.js\"\nworkers = 1\n"), "{written}");
    launch().assert_code(2).assert_says(&["there already"]);
}

#[test]
fn what_pm2_has_saved_is_found() {
    let dump = r#"[{"name": "shop", "pm_exec_path": "/srv/a.js", "pm_cwd": "/srv", "env": {}},
                   {"name": "shop", "pm_exec_path": "/srv/a.js", "pm_cwd": "/srv", "env": {}}]"#;
    let folder = folder(&[("dump.pm2", dump)]);
    for flag in [&["--json"][..], &["--json", "--pm2"]] {
        let launch = flag.iter().fold(import(&folder), |launch, flag| launch.flag(flag));
        let told = json(&launch.env("PM2_HOME", folder.path()).finish());
        assert_eq!(told["app"]["shop"]["workers"], 2);
        assert_eq!(told["app"]["shop"]["program"], "a.js");
    }
    let nothing = tempfile::tempdir().expect("a folder");
    let ended = import(&nothing).env("PM2_HOME", nothing.path()).finish();
    ended.assert_code(2).assert_says(&["pm2 save"]);
}
