//! What the flags mean, and what holds if nobody says anything.

use clap::Parser;
use forkyard::{CheckSettings, ReadyRule, Surge, WhenBusy};

use super::*;
use crate::args::{Args as CommandLine, Verb};

fn options(line: &[&str]) -> Result<App, clap::Error> {
    parsed(&[line, &["app.js"]].concat())
}

fn parsed(line: &[&str]) -> Result<App, clap::Error> {
    let line = ["forkyard", "run"].iter().chain(line);
    let Verb::Run(run) = CommandLine::try_parse_from(line)?.verb else { panic!("not run") };
    Ok(run.settings())
}

#[test]
fn what_nobody_says_is_as_documented() {
    let options = options(&[]).unwrap();
    assert_eq!(options.roll.surge(), Surge::Workers(1));
    assert_eq!(options.roll.second_reload(), WhenBusy::Wait);
    assert_eq!(options.ready.rule(), None);
    assert_eq!(options.ready.timeout(), Duration::from_secs(30));
    assert_eq!(options.ready.check(), None);
    assert_eq!(options.ready.settle(), Duration::from_millis(20));
    assert_eq!(options.drain.grace(), Duration::from_secs(2));
    assert_eq!(options.drain.message(), None);
    assert!(!options.drain.no_agent);
    assert_eq!(options.roll.spares(), 0);
}

#[test]
fn ready_has_four_rules_and_a_second_name_for_one() {
    let rule = |line: &[&str]| options(line).map(|options| options.ready.rule());
    for (name, expected) in [
        ("listening", ReadyRule::Listening),
        ("message", ReadyRule::Message),
        ("notify", ReadyRule::Notify),
        ("started", ReadyRule::Started),
    ] {
        assert_eq!(rule(&["--ready", name]).unwrap(), Some(expected));
    }
    assert_eq!(rule(&["--wait-ready"]).unwrap(), Some(ReadyRule::Message));
    assert!(rule(&["--wait-ready", "--ready", "listening"]).is_err());
    assert!(rule(&["--ready", "soon"]).is_err());
}

#[test]
fn a_check_has_its_time_out() {
    let path = || CheckSettings::get("/healthz?deep").unwrap();
    let with = |line: &[&str]| options(line).map(|options| options.ready.check());
    let five_seconds = path().timeout(Duration::from_secs(5));
    assert_eq!(with(&["--check", "/healthz?deep"]).unwrap(), Some(five_seconds));
    let line = ["--check", "/healthz?deep", "--check-timeout", "300ms"];
    assert_eq!(with(&line).unwrap(), Some(path().timeout(Duration::from_millis(300))));
    let error = with(&["--check", "healthz"]).unwrap_err();
    assert!(error.to_string().contains("/healthz"), "{error}");
    assert!(with(&["--check-timeout", "1s"]).is_err());
}

#[test]
fn a_second_reload_waits_or_is_refused() {
    assert_eq!(options(&["--reload", "refuse"]).unwrap().roll.second_reload(), WhenBusy::Refuse);
    assert!(options(&["--reload", "never"]).is_err());
}

#[test]
fn spares_have_a_bound() {
    assert_eq!(options(&["--spares", "2"]).unwrap().roll.spares(), 2);
    for bad in ["--spares=-1", "--spares=some", "--spares=99999999"] {
        assert!(options(&[bad]).unwrap_err().to_string().contains("from 0 to"), "{bad}");
    }
}

#[test]
fn deno_is_handed_its_connections_unless_it_is_told_otherwise() {
    let policy = |words: &[&str]| parsed(words).unwrap().general_policy();
    assert_eq!(policy(&["app.js"]), Policy::Auto);
    assert_eq!(policy(&["--interpreter", "/usr/bin/deno", "app.ts"]), Policy::RoundRobin);
    assert_eq!(policy(&["deno", "run", "app.ts"]), Policy::RoundRobin);
    assert_eq!(policy(&["--policy", "auto", "deno", "run", "app.ts"]), Policy::RoundRobin);
    assert_eq!(policy(&["--policy", "shared", "deno", "run", "app.ts"]), Policy::Shared);
}

/// A record has to come back as it was.
#[test]
fn what_flags_have_said_can_be_kept_as_json() {
    let app = parsed(&[
        "-w",
        "3",
        "--policy",
        "shared",
        "--policy",
        "8443=round-robin",
        "--listen",
        "8000",
        "--env",
        "A=b",
        "--env-file",
        ".env",
        "--node-args",
        "--max-old-space-size=100",
        "--restart-delay",
        "1s",
        "--no-restart-codes",
        "0,3",
        "--ready",
        "message",
        "--drain-timeout",
        "2m",
        "--surge",
        "25%",
        "--spares",
        "1",
        "--pin",
        "app.js",
        "-x",
    ]);
    let app = app.unwrap();
    let kept = serde_json::to_string(&app).unwrap();
    assert_eq!(serde_json::from_str::<App>(&kept).unwrap(), app);
    insta::assert_snapshot!(kept);
}

#[test]
fn what_nobody_has_said_is_not_kept() {
    assert_eq!(serde_json::to_string(&App::default()).unwrap(), "{}");
}
