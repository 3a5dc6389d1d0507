use std::fs;
use std::path::Path;

use clap::Parser;

use super::*;
use crate::logs::compression::gzip;
use crate::logs::rotation::LogKind;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: LogsOptions,
}

fn options(words: &str) -> LogsOptions {
    Command::parse_from(std::iter::once("logs").chain(words.split_whitespace())).options
}

fn app(home: &Path, name: &str) -> AppLogs {
    AppLogs { name: name.to_owned(), folder: home.join(name) }
}

/// A line that was written in this second.
fn line(second: u32, text: &str) -> String {
    format!("2025-06-01T12:00:{second:02}.000Z 0/7 {text}\n")
}

/// Two apps: `a` with rotated files, one of them compressed, `b` with what it said itself.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let (a, b) = (home.path().join("a"), home.path().join("b"));
    fs::create_dir(&a).unwrap();
    fs::create_dir(&b).unwrap();
    let oldest = a.join("out-20250601T120003.000Z.log");
    fs::write(&oldest, line(1, "a one") + &line(2, "a two")).unwrap();
    gzip(&oldest).unwrap();
    fs::write(a.join("out-20250601T120006.000Z.log"), line(5, "a five")).unwrap();
    fs::write(LogKind::Out.path(&a), line(7, "a seven")).unwrap();
    fs::write(LogKind::Err.path(&a), line(6, "a six") + &line(8, "a eight")).unwrap();
    fs::write(LogKind::Out.path(&b), line(3, "b three") + &line(9, "b nine")).unwrap();
    let said = "2025-06-01T12:00:04.000Z forkyard/9 b four\n";
    fs::write(LogKind::Events.path(&b), said).unwrap();
    home
}

/// The texts that are shown of both apps.
fn shown(home: &Path, words: &str) -> Vec<String> {
    let (options, file) = (options(words), tempfile::tempfile().unwrap());
    let apps = [app(home, "a"), app(home, "b")];
    let mut reading = Reading::start(&apps, &options, &file).unwrap();
    texts(&mut reading)
}

fn texts(reading: &mut Reading<'_>) -> Vec<String> {
    let mut out = Vec::new();
    reading.pass_on(&mut out).unwrap();
    let lines = String::from_utf8(out).unwrap();
    let text = |line: &str| line.splitn(5, ' ').last().unwrap().to_owned();
    lines.lines().map(text).collect()
}

const ALL: [&str; 9] =
    ["a one", "a two", "b three", "b four", "a five", "a six", "a seven", "a eight", "b nine"];

#[test]
fn the_last_lines_of_all_are_shown_in_the_order_of_time() {
    let home = home();
    assert_eq!(shown(home.path(), ""), ALL);
    assert_eq!(shown(home.path(), "--lines all"), ALL);
    for count in 0..=9 {
        let shown = shown(home.path(), &format!("--lines {count}"));
        assert_eq!(shown, ALL[9 - count..], "{count}");
    }
}

#[test]
fn lines_can_be_chosen() {
    let home = home();
    let shown = |words| shown(home.path(), words);
    assert_eq!(shown("--err"), ["a six", "a eight"]);
    assert_eq!(shown("--out --lines 2"), ["a seven", "b nine"]);
    assert_eq!(shown("--out --err -n 3"), ["a seven", "a eight", "b nine"]);
    assert_eq!(shown("--grep (one|five|four)$"), ["a one", "b four", "a five"]);
    assert_eq!(shown("--grep (one|five|four)$ -n 2"), ["b four", "a five"]);
    assert_eq!(shown("--since 2025-06-01T12:00:05Z"), ALL[4..]);
    assert_eq!(shown("--since 2025-06-01T12:00:02Z"), ALL[1..]);
    assert_eq!(shown("--since 2025-06-01T12:00:05Z -n 2"), ALL[7..]);
    assert!(shown("--since 2025-06-01T12:00:10Z").is_empty());
}

/// Each log that is named is followed, and so is an app that is new.
#[test]
fn what_is_written_later_is_shown_later() {
    let home = home();
    let (options, file) = (options("-f -n 1"), tempfile::tempfile().unwrap());
    let mut apps = vec![app(home.path(), "a"), app(home.path(), "b")];
    let mut reading = Reading::start(&apps, &options, &file).unwrap();
    assert_eq!(texts(&mut reading), ["b nine"]);
    assert!(texts(&mut reading).is_empty());
    fs::write(LogKind::Err.path(&apps[1].folder), line(11, "b eleven")).unwrap();
    let out = LogKind::Out.path(&apps[0].folder);
    fs::write(&out, line(7, "a seven") + &line(10, "a ten")).unwrap();
    assert_eq!(texts(&mut reading), ["a ten", "b eleven"]);
    apps.push(app(home.path(), "c"));
    fs::create_dir(&apps[2].folder).unwrap();
    fs::write(LogKind::Out.path(&apps[2].folder), line(12, "c twelve")).unwrap();
    reading.find_new(&apps).unwrap();
    assert_eq!(texts(&mut reading), ["c twelve"]);
}

#[test]
fn a_damaged_file_hides_no_other() {
    let home = home();
    let packed = home.path().join("a/out-20250601T120003.000Z.log.gz");
    let bytes = fs::read(&packed).unwrap();
    fs::write(&packed, &bytes[..bytes.len() - 12]).unwrap();
    let seen = shown(home.path(), "--lines all");
    assert!(seen.ends_with(&ALL[2..].iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()));
}
