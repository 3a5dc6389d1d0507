use std::fs;
use std::time::{Duration, Instant};

use forkyard::{SlotId, WorkerId, WorkerInfo};

use super::*;
use crate::limits::ByteSize;
use crate::logs::rotation::{Packing, rotated};

fn line(stream: StreamKind, text: &[u8]) -> OutputLine<'_> {
    let info = WorkerInfo { slot: SlotId(0), worker: WorkerId(1), pid: 7 };
    OutputLine { info, stream, text }
}

fn open(folder: &Path, rules: &LogRules) -> LogFiles {
    let tell: Tell = Arc::new(|notice| panic!("{notice}"));
    LogFiles::open(folder, rules, &tell).unwrap()
}

#[test]
fn each_stream_has_its_file() {
    let temp = tempfile::tempdir().unwrap();
    let files = open(temp.path(), &LogRules::default());
    let mut output = files.output();
    output.line(line(StreamKind::Stdout, b"to out"));
    output.line(line(StreamKind::Stderr, b"to err"));
    output.flush();
    files.events()(b"an event\nanother\n");
    let text = |kind: LogKind| fs::read_to_string(kind.path(temp.path())).unwrap();
    assert!(text(LogKind::Out).ends_with(" 0/7 to out\n"));
    assert!(text(LogKind::Err).ends_with(" 0/7 to err\n"));
    assert_eq!(text(LogKind::Events), "an event\nanother\n");
}

/// Also if no other line comes that would try it again.
#[test]
fn what_could_not_be_written_is_written_when_that_is_possible() {
    let temp = tempfile::tempdir().unwrap();
    let path = LogKind::Out.path(temp.path());
    fs::create_dir(&path).unwrap();
    let tell: Tell = Arc::new(|_| {});
    let files = LogFiles::open(temp.path(), &LogRules::default(), &tell).unwrap();
    let mut output = files.output();
    output.line(line(StreamKind::Stdout, b"the last"));
    output.flush();
    fs::remove_dir(&path).unwrap();
    let start = Instant::now();
    while !fs::read_to_string(&path).is_ok_and(|text| text.ends_with(" 0/7 the last\n")) {
        assert!(start.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
}

/// More is written than is kept; the thread compresses and removes meanwhile.
#[test]
fn rotated_files_are_tidied_while_more_is_written() {
    let temp = tempfile::tempdir().unwrap();
    let rules = LogRules { max_size: ByteSize(1000), keep: 3, ..LogRules::default() };
    let files = open(temp.path(), &rules);
    let mut output = files.output();
    for n in 0..500 {
        output.line(line(StreamKind::Stdout, format!("line {n}").as_bytes()));
        output.flush();
    }
    let start = Instant::now();
    loop {
        let found = rotated(temp.path()).unwrap();
        if found.len() == 3 && found.iter().all(|file| file.packing == Packing::Gzip) {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{found:?}");
        std::thread::yield_now();
    }
    let text = fs::read_to_string(LogKind::Out.path(temp.path())).unwrap();
    assert!(text.ends_with("line 499\n"));
}
