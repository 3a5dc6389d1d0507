//! What files mean, and what is said about those that mean nothing.

use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

const NAME: &str = "forkyard";

/// A file in a folder of its own.
fn file(ending: &str, text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("{NAME}.{ending}"));
    fs::write(&path, text).unwrap();
    (dir, path)
}

fn good(ending: &str, text: &str) -> SettingsFile {
    let (_dir, path) = file(ending, text);
    read(&path).unwrap_or_else(|error| panic!("{error}"))
}

fn findings(ending: &str, text: &str) -> Vec<Finding> {
    let (_dir, path) = file(ending, text);
    read(&path).unwrap_err().findings().to_vec()
}

/// As it is printed, without colour.
fn told(ending: &str, text: &str) -> String {
    let name = PathBuf::from(format!("{NAME}.{ending}"));
    shown(&findings(ending, text), &name)
}

fn shown(findings: &[Finding], name: &Path) -> String {
    let text: Vec<_> = findings.iter().map(|finding| finding.as_text(name)).collect();
    anstream::adapter::strip_str(&text.join("\n")).to_string()
}

/// Line, column and setting of each.
fn places(ending: &str, text: &str) -> Vec<(u64, u64, String)> {
    let place = |finding: &Finding| {
        let json = finding.as_json();
        let number = |key: &str| json[key].as_u64().unwrap_or_default();
        let setting = json["setting"].as_str().unwrap_or_default().to_owned();
        (number("line"), number("column"), setting)
    };
    findings(ending, text).iter().map(place).collect()
}

#[test]
fn three_formats_say_the_same() {
    let toml = r#"
        #:schema ./forkyard.schema.json
        [app.web]
        program = "server.js"
        workers = 2
        listen = [8000, "udp:53"]
        restart = { limit = 3, delay = "1s" }
        [app.web.env]
        PORT = 3000
        VERSION = 1.10
        DEBUG = true
        production = { PORT = "80" }
        [app.jobs]
        program = "jobs.py"
        interpreter = "./venv/bin/python"
        depends_on = "web"
    "#;
    let yaml = r#"
$schema: ./forkyard.schema.json
app:
  web: &web
    program: server.js
    workers: 2
    listen: [8000, "udp:53"]
    restart:
      limit: 3
      delay: 1s
    roll:
    env:
      PORT: 3000
      VERSION: 1.10
      DEBUG: true
      production: {PORT: "80"}
  jobs:
    program: jobs.py
    interpreter: ./venv/bin/python
    depends_on: web
"#;
    let json = r#"{"$schema": "./forkyard.schema.json", "app": {
        "web": {
            "program": "server.js", "workers": 2, "listen": [8000, "udp:53"],
            "restart": {"limit": 3, "delay": "1s"},
            "env": {"PORT": 3000, "VERSION": 1.10, "DEBUG": true, "production": {"PORT": "80"}}
        },
        "jobs": {"program": "jobs.py", "interpreter": "./venv/bin/python", "depends_on": ["web"]}
    }}"#;
    let toml = good("toml", toml);
    assert_eq!(toml.in_order(), ["web", "jobs"]);
    for (ending, text) in [("yaml", yaml), ("yml", yaml), ("json", json)] {
        assert_eq!(good(ending, text).apps, toml.apps, "{ending}");
    }
    insta::assert_snapshot!(serde_json::to_string(&toml.apps).unwrap());
}

#[test]
fn every_mistake_is_told_with_its_line() {
    insta::assert_snapshot!(told(
        "toml",
        r#"
[app.web]
program = "server.js"
worker = 4
pin = "yes"
surge = 2
restart = { limits = 3, delay = 5 }
policy = "roundrobin"
cwd = 5

[app.web.ready]
rule = "listen"

[app.web.roll]
spares = -1

[app."bad name"]
args = 3.5

[app.jobs]
program = "jobs.js"
roll.colour = "red"
"#
    ));
}

/// How many cores there are is said too.
#[test]
fn there_is_no_app_without_workers() {
    for workers in ["0", "-1", "\"0\"", "100000"] {
        let text = format!("[app.web]\nprogram = \"a\"\nworkers = {workers}\n");
        assert_eq!(places("toml", &text), [(3, 11, "app.web.workers".to_owned())]);
    }
}

#[test]
fn it_is_told_in_yaml_and_json_too() {
    insta::assert_snapshot!(told(
        "yaml",
        "app:\n  \u{fc}:\n    program: x\n  web:\n    program: server.js\n    worker: 4\n    \
         restart: {limit: many}\n"
    ));
    insta::assert_snapshot!(told(
        "json",
        "{\"app\": {\"web\": {\"program\": \"server.js\",\n\t\"worker\": 4, \"listen\": [\"8000\", \
         \"x\"]}}}"
    ));
}

#[test]
fn what_is_no_toml_yaml_or_json_is_told_where_it_breaks() {
    insta::assert_snapshot!(told("toml", "[app.web]\nprogram = server.js\nworkers = 2x\n"));
    insta::assert_snapshot!(told("yaml", "app:\n  web:\n   program: [a\n  jobs: b\n"));
    insta::assert_snapshot!(told("json", "{\"app\": {\n  \"web\": {\"program\": \"é\", }}}\n"));
}

#[test]
fn what_is_there_twice_is_told() {
    let toml = "[app.web]\nprogram = \"a\"\n[app.web]\nprogram = \"b\"\n";
    assert_eq!(places("toml", toml)[0], (3, 6, String::new()));
    let yaml = "app:\n  web: {program: a}\n  web: {program: b}\n";
    assert_eq!(places("yaml", yaml), [(3, 3, String::new())]);
    let json = "{\"app\": {\"web\": {\"program\": \"a\"},\n \"web\": {\"program\": \"b\"}}}";
    assert_eq!(places("json", json), [(2, 2, String::new())]);
}

#[test]
fn a_file_without_an_app_says_what_one_is() {
    for (ending, text) in [
        ("toml", ""),
        ("toml", "# nothing\n"),
        ("toml", "[app]\n"),
        ("yaml", ""),
        ("yaml", "---\n"),
        ("yaml", "app:\n"),
        ("json", " \n"),
        ("json", "{}"),
        ("json", "{\"app\": {}}"),
        ("json", "\u{feff}{\"app\": null}"),
    ] {
        let told = told(ending, text);
        assert!(told.contains("no app is in this file"), "{ending} {text:?}: {told}");
    }
    for (ending, text) in [("yaml", "- a\n"), ("json", "[]"), ("json", "3"), ("yaml", "web")] {
        let told = told(ending, text);
        assert!(told.contains("needed is a table with apps"), "{ending} {text:?}: {told}");
    }
    let told = told("toml", "[[app]]\nprogram = \"a\"\n");
    assert!(told.contains("needed is a table by name"), "{told}");
}

#[test]
fn what_stands_beside_the_apps_is_told_where_it_belongs() {
    insta::assert_snapshot!(told(
        "toml",
        "program = \"a.js\"\ncolour = 1\n[apps.web]\nprogram = \"b.js\"\n[restart]\nlimit = 3\n"
    ));
}

#[test]
fn an_app_needs_a_program() {
    let text = "[app.web]\nworkers = 2\n[app.jobs]\nprogram = \"a\"\n[app.empty]\n";
    let expected = [(1, 6, "app.web.program".to_owned()), (5, 6, "app.empty.program".to_owned())];
    assert_eq!(places("toml", text), expected);
    assert_eq!(places("yaml", "app:\n  web:\n").len(), 1);
}

#[test]
fn settings_that_do_not_go_together_are_told() {
    insta::assert_snapshot!(told(
        "toml",
        r#"
[app.web]
program = "a"
listen = 8000
ready = { check = "/", wait_ready = true, rule = "started" }
[app.jobs]
program = "a"
group = "www"
[app.jobs.ready]
check_timeout = "1s"
"#
    ));
}

#[test]
fn apps_wait_for_apps_that_there_are_and_not_in_a_circle() {
    insta::assert_snapshot!(told(
        "toml",
        r#"
[app.web]
program = "a"
depends_on = ["db", "jobs"]
[app.jobs]
program = "a"
depends_on = "cache"
[app.cache]
program = "a"
depends_on = ["web"]
[app.lonely]
program = "a"
depends_on = ["wbe"]
[app.waits]
program = "a"
depends_on = ["web"]
"#
    ));
    let own = "[app.web]\nprogram = \"a\"\ndepends_on = [\"web\"]\n";
    assert!(told("toml", own).contains("`web` waits for `web`"));
}

#[test]
fn apps_are_ordered_by_what_they_wait_for() {
    let text = r#"
        [app.a]
        program = "a"
        depends_on = ["c", "b"]
        [app.b]
        program = "a"
        depends_on = ["c"]
        [app.c]
        program = "a"
        [app.d]
        program = "a"
    "#;
    assert_eq!(good("toml", text).in_order(), ["c", "d", "b", "a"]);
}

#[test]
fn groups_are_not_called_as_apps() {
    let text = "[app.web]\nprogram = \"a\"\ngroups = [\"jobs\", \"front\", \"all\"]\n[app.jobs]\n\
                program = \"a\"\n";
    let setting = "app.web.groups".to_owned();
    assert_eq!(places("toml", text), [(3, 11, setting.clone()), (3, 28, setting)]);
}

#[test]
fn an_address_of_two_apps_is_a_warning() {
    let text = "[app.web]\nprogram = \"a\"\nlisten = [\"127.0.0.1:80\", 8000]\n[app.jobs]\n\
                program = \"a\"\nlisten = [\"127.0.0.1:8000\", \"udp:80\"]\n";
    let file = good("toml", text);
    assert_eq!(file.apps.len(), 2);
    insta::assert_snapshot!(shown(&file.warnings, Path::new("forkyard.toml")));
}

#[test]
fn no_secret_is_quoted() {
    let toml = "[app.web]\nprogram = \"a\"\nenv = { KEY = \"secret\", B = [1] }\nargs = [\"--db\", \
                true, \"postgres://a:secret@b\", \"--token\", \"secret\"]\n[app.b]\nprogram = \"a\"\n[app.b.env]\n\"\" = \
                \"secret\"\n[app.c]\nprogram = \"a\"\nenv.p.A.B = \"secret\"\n";
    let yaml = "app:\n  web:\n    program: a\n    env:\n      A: |\n        secret\n      B: \
                [secret]\n      C: {D: [secret]}\n";
    let json = "{\"app\":{\"web\":{\"program\":3,\"env\":{\"A\":\"secret\",\"B\":[\"secret\"]}}}}";
    let misspelt = "TOKEN = \"secret\"\n[app.web]\nprogram = \"a\"\nenvs = { A = \"secret\" }\n\
                    API_KEY = \"secret\"\n";
    let broken = "[app.web.env]\nA = \"secret\nB = \"b\" secret\n";
    let broken_json = "{\"app\":{\"web\":{\"env\":{\"A\":\"secret\",}}}}";
    let broken_yaml = "app:\n  web:\n    env:\n      A: \"secret\n";
    for (ending, text) in [
        ("toml", toml),
        ("yaml", yaml),
        ("json", json),
        ("toml", misspelt),
        ("toml", broken),
        ("json", broken_json),
        ("yaml", broken_yaml),
    ] {
        let told = told(ending, text);
        assert!(!told.contains("secret") && told.contains("***"), "{told}");
    }
    let told_of = places("toml", toml);
    let settings: Vec<_> = told_of.iter().map(|(.., setting)| setting.as_str()).collect();
    assert_eq!(settings, ["app.web.env.B", "app.web.args", "app.b.env", "app.c.env.p"]);
    let expected = [(1, 26, "app.web.program".into()), (1, 52, "app.web.env.B".into())];
    assert_eq!(places("json", json), expected, "{}", told("json", json));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("folder.toml")).unwrap();
    fs::write(path("latin.toml"), b"[app.web]\nprogram = \"\xe9\"\n").unwrap();
    fs::write(path("long.json"), vec![b' '; LONGEST + 1]).unwrap();
    fs::write(path("settings.ini"), "").unwrap();
    symlink("/dev/null", path("null.yaml")).unwrap();
    for (name, why) in [
        ("none.toml", "No such file"),
        ("folder.toml", "it is no file"),
        ("latin.toml", "line 2 is not UTF-8"),
        ("long.json", "longer than 1 MiB"),
        ("settings.ini", "ends in none of"),
        ("null.yaml", "it is no file"),
    ] {
        let failure = Failure::from(read(&path(name)).unwrap_err());
        assert_eq!(failure.number(), 2);
        let message = failure.to_string();
        assert!(message.contains(name) && message.contains(why), "{message}");
    }
}

#[test]
fn the_one_file_of_a_folder_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let message = find(dir.path()).unwrap_err().to_string();
    assert!(message.contains("make a forkyard.toml"), "{message}");
    fs::write(dir.path().join("forkyard.yaml"), "").unwrap();
    assert_eq!(find(dir.path()).unwrap(), dir.path().join("forkyard.yaml"));
    fs::write(dir.path().join("forkyard.json"), "").unwrap();
    let message = find(dir.path()).unwrap_err().to_string();
    assert!(message.contains("forkyard.yaml, forkyard.json"), "{message}");
}

#[test]
fn paths_lead_from_the_file_as_it_was_named() {
    let (dir, path) = file("toml", "[app.web]\nprogram = \"a.js\"\n");
    let link = dir.path().join("current");
    symlink(dir.path(), &link).unwrap();
    let settings = read(&link.join("forkyard.toml")).unwrap();
    assert_eq!(settings.folder(), link);
    assert_eq!(read(&path).unwrap().folder(), dir.path());
}

#[test]
fn yaml_s_aliases_are_followed_up_to_an_end() {
    let shared = "app:\n  web: &web\n    program: a\n    workers: 2\n  jobs:\n    <<: *web\n    \
                  workers: 3\n";
    let apps = good("yaml", shared).apps;
    let workers = |name: &str| apps[name].workers.as_ref().map(ToString::to_string);
    assert_eq!((workers("web").unwrap(), workers("jobs").unwrap()), ("2".into(), "3".into()));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let below = level - 1;
        let ten = vec![format!("*a{below}"); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{ten}]\n"));
    }
    assert!(told("yaml", &bomb).contains("more than 10000 values"));
    assert!(told("yaml", "app: &a\n  web: *a\n").contains("stands within"));
    assert!(told("yaml", "app: *a\n").contains("this is no YAML"));
    assert!(told("yaml", "app: {web: {<<: 3}}\n").contains("this is no table"));
}

#[test]
fn what_yaml_has_besides_is_told() {
    for (text, words) in [
        ("app: {web: {program: a}}\n---\napp: {}\n", "second document"),
        ("app: {web: {program: !exec a}}\n", "only !!str is known"),
        ("app: {[a, b]: c}\n", "this is no key"),
    ] {
        let told = told("yaml", text);
        assert!(told.contains(words), "{told}");
    }
    let apps = good("yaml", "app: {web: {program: !!str 3, env: {ON: yes, MODE: 0755}}}\n").apps;
    let kept = serde_json::to_value(&apps["web"]).unwrap();
    assert_eq!(kept["env"], serde_json::json!({"ON": "yes", "MODE": "0755"}));
    assert_eq!(kept["program"], "3");
}

#[test]
fn depth_has_an_end() {
    for (ending, open, close) in [("yaml", "[", "]"), ("json", "[", "]"), ("toml", "[", "]")] {
        for depth in [50, 20_000] {
            let value = format!("{}{}", open.repeat(depth), close.repeat(depth));
            let text = match ending {
                "toml" => format!("app = {value}\n"),
                _ => format!("{{\"app\": {value}}}\n"),
            };
            assert!(!told(ending, &text).is_empty());
        }
    }
}

/// A file with something else in place of a part of it.
fn damaged(text: &'static str) -> impl Strategy<Value = String> {
    let junk = prop_oneof![
        "[\\[\\]{}:=,\"'\\n #&*!<>|-]{0,6}",
        "\\PC{0,3}",
        Just("env".to_owned()),
        Just("\u{fc}\u{1f600}".to_owned()),
    ];
    let at = 0..=text.len();
    (at.clone(), at, junk).prop_map(move |(from, to, junk)| {
        let boundary = |at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let (from, to) = (boundary(from.min(to)), boundary(from.max(to)));
        // A short cut leaves more of the file than most would.
        let to = to.min(boundary((from + 8).min(text.len())));
        format!("{}{junk}{}", &text[..from], &text[to..])
    })
}

const TOML: &str = "[app.web]\nprogram = \"\u{fc}.js\" # \u{1f600}\nworkers = 2\nenv = { A = \"s3cret\", \
                    B = 1.5 }\n[app.web.restart]\nlimit = 3\nargs = [\"a\", 0x1f]\n";
const YAML: &str = "app:\n  web: &web\n    program: \u{fc}.js\n    listen: [8000, 'udp:53']\n    env:\n      A: \
                    |\n        s3cret\n  jobs:\n    <<: *web\n    workers: \"2\"\n";
const JSON: &str = "{\"app\": {\"web\": {\"program\": \"\u{fc}.js\", \"env\": {\"A\": \"s3cret\"},\n \"roll\": \
                    {\"surge\": \"25%\"}, \"pin\": true}}}";

proptest! {
    /// And whatever is wrong with it can be told, in a line that there is.
    #[test]
    fn no_file_makes_it_panic(
        toml in damaged(TOML),
        yaml in damaged(YAML),
        json in damaged(JSON),
    ) {
        for (text, format) in [(toml, Format::Toml), (yaml, Format::Yaml), (json, Format::Json)] {
            let (_, findings) = understood(&text, format);
            let lines = text.split('\n').count() as u64;
            for finding in findings {
                prop_assert!(!finding.as_text(Path::new("forkyard")).is_empty());
                let line = finding.as_json()["line"].as_u64();
                prop_assert!(line.is_none_or(|line| (1..=lines).contains(&line)), "{line:?}");
            }
        }
    }
}
