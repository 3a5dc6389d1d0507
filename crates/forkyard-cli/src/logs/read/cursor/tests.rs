use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::*;
use crate::logs::read::source::AppLogs;
use crate::logs::rotation::{LogKind, rotate};

/// A log that is written as the primary writes it, and somebody who follows it.
struct Bench {
    temp: tempfile::TempDir,
    rotations: u64,
}

impl Bench {
    fn new() -> Self {
        Self { temp: tempfile::tempdir().unwrap(), rotations: 0 }
    }

    fn path(&self) -> PathBuf {
        LogKind::Out.path(self.temp.path())
    }

    fn write(&self, text: &str) {
        append(&self.path(), text);
    }

    fn rotate(&mut self) {
        self.rotations += 1;
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(self.rotations);
        rotate(LogKind::Out, self.temp.path(), now).unwrap();
    }

    fn compress(&self) {
        for rotated in crate::logs::rotation::rotated(self.temp.path()).unwrap() {
            if rotated.path.extension() != Some("gz".as_ref()) {
                crate::logs::compression::gzip(&rotated.path).unwrap();
            }
        }
    }

    /// From its beginning on.
    fn cursor(&self) -> Cursor {
        let app = AppLogs { name: "app".into(), folder: self.temp.path().to_owned() };
        let source = Source { app, kind: LogKind::Out };
        let found = source.find().unwrap();
        let first = found.rotated.first().map(|first| Part::Rotated(first.stamp.clone()));
        let start = Position { part: first.unwrap_or(Part::Current), offset: 0 };
        Cursor::new(source, found, start)
    }
}

fn append(path: &std::path::Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// All lines that there are for now.
fn lines(cursor: &mut Cursor) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    while cursor.next_line(&mut line).unwrap().is_some() {
        lines.push(String::from_utf8(line.clone()).unwrap());
    }
    lines
}

#[test]
fn rotated_files_come_first_whatever_their_form() {
    let mut bench = Bench::new();
    for (index, text) in ["one\n", "two\n", "three\n"].iter().enumerate() {
        bench.write(text);
        bench.rotate();
        if index == 1 {
            bench.compress();
        }
    }
    bench.write("four\n");
    assert_eq!(lines(&mut bench.cursor()), ["one", "two", "three", "four"]);
}

/// As many times as it likes, between two looks.
#[test]
fn nothing_is_missed_when_it_is_rotated() {
    let mut bench = Bench::new();
    let mut cursor = bench.cursor();
    assert!(lines(&mut cursor).is_empty());
    bench.write("one\n");
    assert_eq!(lines(&mut cursor), ["one"]);
    bench.write("two\n");
    bench.rotate();
    assert_eq!(lines(&mut cursor), ["two"]);
    bench.write("three\n");
    bench.rotate();
    bench.write("four\n");
    bench.rotate();
    bench.write("five\n");
    assert_eq!(lines(&mut cursor), ["three", "four", "five"]);
    bench.write("six\n");
    bench.rotate();
    bench.compress();
    bench.write("seven\n");
    bench.rotate();
    bench.compress();
    assert_eq!(lines(&mut cursor), ["six", "seven"]);
    bench.write("eight\n");
    assert_eq!(lines(&mut cursor), ["eight"]);
    assert!(lines(&mut cursor).is_empty());
}

/// As logrotate does: whoever writes notices a moment later.
#[test]
fn nothing_is_missed_when_others_move_it() {
    let bench = Bench::new();
    bench.write("one\n");
    let mut cursor = bench.cursor();
    assert_eq!(lines(&mut cursor), ["one"]);
    let moved = bench.temp.path().join("out.log.1");
    fs::rename(bench.path(), &moved).unwrap();
    append(&moved, "two\n");
    assert_eq!(lines(&mut cursor), ["two"]);
    bench.write("");
    append(&moved, "three\n");
    assert_eq!(lines(&mut cursor), ["three"]);
    append(&moved, "four\n");
    bench.write("five\n");
    assert_eq!(lines(&mut cursor), ["four", "five"]);
}

#[test]
fn it_goes_on_when_it_is_emptied_or_removed() {
    let mut bench = Bench::new();
    bench.write("one\n");
    bench.rotate();
    bench.write("two and more\n");
    let mut cursor = bench.cursor();
    assert_eq!(lines(&mut cursor), ["one", "two and more"]);
    crate::logs::empty(bench.temp.path()).unwrap();
    bench.write("three\n");
    assert_eq!(lines(&mut cursor), ["three"]);
    fs::remove_file(bench.path()).unwrap();
    assert!(lines(&mut cursor).is_empty());
    bench.write("four\n");
    assert_eq!(lines(&mut cursor), ["four"]);
}

#[test]
fn half_a_line_waits_for_its_end_but_not_for_ever() {
    let mut bench = Bench::new();
    let mut cursor = bench.cursor();
    bench.write("on");
    assert!(lines(&mut cursor).is_empty());
    bench.write("e\ntw");
    assert_eq!(lines(&mut cursor), ["one"]);
    bench.rotate();
    assert_eq!(lines(&mut cursor), ["tw"]);
}
