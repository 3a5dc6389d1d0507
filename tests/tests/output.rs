//! What workers write, and how the command says what it has to say.

use forkyard_tests::events::Stream;
use forkyard_tests::{Ended, Event, Forkyard, Launch, Node, tools};
use serde_json::Value;

const LINES: usize = 10_000;

/// Lines of this stream that workers of this slot wrote.
fn written<'a>(ended: &'a Ended, slot: i64, stream: &str) -> Vec<&'a str> {
    let of_stream = |event: &&Event| event.slot() == slot && event.text("stream") == stream;
    ended.all("output").filter(of_stream).map(|event| event.text("line")).collect()
}

/// All that a worker wrote before its end is there, in order, to the last byte.
fn floods(end: &str) -> Ended {
    let launch = Launch::run("flood.js").workers(2).arg(LINES.to_string()).arg(end);
    let ended = launch.option("--restart-limit", "0").finish();
    ended.assert_code(3).assert_no_panic();
    let flooded = (0..2).filter(|&slot| whole(&ended, slot)).count();
    assert!(flooded >= 1, "the worker whose end is the app's wrote all it had to");
    ended
}

fn whole(ended: &Ended, slot: i64) -> bool {
    let (out, err) = (written(ended, slot, "stdout"), written(ended, slot, "stderr"));
    if out.len() < LINES {
        return false; // Stopped on the way, because the other one failed first.
    }
    for (n, line) in out.iter().take(LINES).enumerate() {
        assert_eq!(*line, format!("out {n} {}", "x".repeat(n % 100)));
    }
    assert_eq!(out.get(LINES..), Some(&["the last of stdout"][..]));
    for (n, line) in err.iter().take(LINES).enumerate() {
        assert_eq!(*line, format!("err {n}"));
    }
    assert_eq!(err.get(LINES..), Some(&["the last of stderr"][..]));
    true
}

#[test]
fn nothing_is_missing_of_a_worker_that_exits() {
    let ended = floods("exit");
    assert!(ended.all("worker_exited").any(|event| event.number("code") == Some(7)));
}

#[test]
fn nothing_is_missing_of_a_worker_that_is_killed() {
    let ended = floods("kill");
    assert!(ended.all("worker_exited").any(|event| event.text("signal") == "SIGKILL"));
}

/// The last lines of stderr come with the news of the end.
#[test]
fn the_last_words_come_with_the_end() {
    let ended = floods("exit");
    let exited: Vec<_> =
        ended.all("worker_exited").filter(|e| e.number("code") == Some(7)).collect();
    let tail = exited[0].json["stderr_tail"].as_array().expect("a list");
    assert_eq!(tail.last(), Some(&Value::from("the last of stderr")));
    assert!(tail.len() > 1 && tail.len() <= 100, "{} lines", tail.len());
}

#[test]
fn each_stream_comes_out_where_it_went_in() {
    let ended = floods("exit");
    for event in ended.all("output") {
        let expected =
            if event.text("stream") == "stdout" { Stream::Stdout } else { Stream::Stderr };
        assert_eq!(event.stream, expected, "{event:?}");
    }
    let own = |event: &&Event| !event.is("output");
    assert!(ended.events.iter().filter(own).all(|event| event.stream == Stream::Stderr));
}

#[test]
fn every_line_in_json_is_an_event() {
    let ended = floods("exit");
    for event in &ended.events {
        for field in ["time", "level", "event"] {
            assert!(event.json[field].is_string(), "no {field} in {event:?}");
        }
    }
}

/// Bytes that are hard to print stay one line each and harm nothing.
#[test]
fn strange_output_is_passed_on() {
    let forkyard = Launch::run("long-lines.js").workers(1).start();
    forkyard.wait_line("the end of it", |line| line == "done");
    let ended = forkyard.stop();
    ended.assert_code(0).assert_no_panic();
    let lines = written(&ended, 0, "stdout");
    let letters: usize = lines.iter().map(|line| line.matches('m').count()).sum();
    assert_eq!(letters, 1 << 20, "all of the long line, in one piece or several");
    assert!(lines.iter().any(|line| line.starts_with("bad ")), "what is no UTF-8 is shown");
    assert!(lines.contains(&"\u{1b}[31mred\u{1b}[0m"), "escapes are data in JSON");
    assert!(lines.contains(&"a\0b"));
    assert!(lines.contains(&""));
}

/// In text, each line of a worker names its slot and its process.
#[test]
fn text_lines_are_prefixed() {
    let ended = text_run(&[]);
    let line = line_with(&ended, "waiting for jobs");
    let prefix = line.strip_suffix("waiting for jobs").expect("the line ends as it was written");
    let numbers: Vec<_> =
        prefix.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    assert_eq!(numbers.first(), Some(&"0"), "the slot: {line:?}");
    assert!(numbers.len() == 2 && numbers[1].parse::<i32>().is_ok(), "the process: {line:?}");
    assert_eq!(ended.lines(Stream::Stdout).len(), 1, "only the worker's line is on stdout");
}

#[test]
fn a_pipe_gets_no_colors() {
    let ended = text_run(&[]);
    assert!(!ended.text().contains('\u{1b}'), "{:?}", ended.text());
}

#[test]
fn a_terminal_gets_colors_unless_told_otherwise() {
    let colored = terminal_run(None);
    assert!(colored.text().contains("\u{1b}["), "{:?}", colored.text());
    let plain = terminal_run(Some("1"));
    assert!(!plain.text().contains('\u{1b}'), "{:?}", plain.text());
    assert!(line_with(&plain, "waiting for jobs").contains("waiting for jobs"));
}

/// A queue worker whose output is text, stopped once it has said something.
fn text_run(wrapper: &[&str]) -> Ended {
    let launch = Launch::bare("run").option("--interpreter", Node::V24.binary()).workers(1);
    said_something(launch.wrapped(wrapper).program(tools::program("queue-worker.js")).start())
}

fn said_something(forkyard: Forkyard) -> Ended {
    forkyard.wait_for("the worker's line", |event| event.raw.contains("waiting for jobs"));
    let ended = forkyard.stop();
    ended.assert_code(0).assert_no_panic();
    ended
}

/// The same on a terminal of its own.
fn terminal_run(no_color: Option<&str>) -> Ended {
    let words = [
        tools::forkyard().display().to_string(),
        "run --workers 1 --interpreter".to_owned(),
        Node::V24.binary().display().to_string(),
        tools::program("queue-worker.js").display().to_string(),
    ];
    let script = format!("exec {}", words.join(" "));
    let launch = Launch::terminal(&script).env("TERM", "xterm-256color").env_remove("NO_COLOR");
    let launch = no_color.into_iter().fold(launch, |launch, value| launch.env("NO_COLOR", value));
    let forkyard = launch.start();
    forkyard.wait_for("the worker's line", |event| event.raw.contains("waiting for jobs"));
    forkyard.signal_children(rustix::process::Signal::TERM);
    forkyard.wait_exit()
}

fn line_with<'a>(ended: &'a Ended, words: &str) -> &'a str {
    let mut lines = ended.events.iter().map(|event| event.raw.as_str());
    lines.find(|line| line.contains(words)).expect("the line")
}
