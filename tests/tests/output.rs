//! What workers write, and how the command says what it has to say.

use forkyard_tests::client::{self, Target};
use forkyard_tests::events::Stream;
use forkyard_tests::load::Load;
use forkyard_tests::{Ended, Event, Forkyard, Launch, Node, ports, processes, tools, waiting};
use rustix::process::Signal;
use serde_json::Value;

const LINES: usize = 10_000;
/// With what is put before each they fit into the command's own pipe, so nobody waits for a reader.
const FEW_LINES: usize = 50;

/// Lines of this stream that workers of this slot wrote.
fn written<'a>(ended: &'a Ended, slot: i64, stream: &str) -> Vec<&'a str> {
    let of_stream = |event: &&Event| event.slot() == slot && event.text("stream") == stream;
    ended.all("output").filter(of_stream).map(|event| event.text("line")).collect()
}

/// A worker that writes so much and then ends in the given way, and the end of its app.
fn flood(end: &str, lines: usize) -> Ended {
    let launch = Launch::run("flood.js").workers(1).arg(lines.to_string()).arg(end);
    let ended = launch.option("--restart-limit", "0").finish();
    ended.assert_code(3).assert_no_panic();
    ended
}

/// All that the worker wrote before its end is there, in order, to the last byte.
fn assert_whole(ended: &Ended) {
    let numbers = || 0..LINES;
    let out = numbers().map(|n| format!("out {n} {}", "x".repeat(n % 100)));
    let err = numbers().map(|n| format!("err {n}"));
    let out: Vec<_> = out.chain(["the last of stdout".to_owned()]).collect();
    let err: Vec<_> = err.chain(["the last of stderr".to_owned()]).collect();
    assert_same_lines(&written(ended, 0, "stdout"), &out);
    assert_same_lines(&written(ended, 0, "stderr"), &err);
}

fn assert_same_lines(seen: &[&str], expected: &[String]) {
    let differs = seen.iter().zip(expected).position(|(seen, expected)| seen != expected);
    let at = differs.unwrap_or(seen.len().min(expected.len()));
    let (one, other) = (seen.get(at), expected.get(at));
    assert_eq!(one.copied(), other.map(String::as_str), "line {at} of {}", expected.len());
}

#[test]
fn nothing_is_missing_of_a_worker_that_exits() {
    let ended = flood("exit", LINES);
    assert_whole(&ended);
    let exited = ended.all("worker_exited").next().expect("its end");
    assert_eq!(exited.number("code"), Some(7));
}

/// A reader may be too slow for the last lines of a flood to be known by then, but not for so few.
#[test]
fn the_end_of_a_worker_tells_its_last_words() {
    let ended = flood("exit", FEW_LINES);
    let exited = ended.all("worker_exited").next().expect("its end");
    let tail = exited.json["stderr_tail"].as_array().expect("its last words");
    assert_eq!(tail.last(), Some(&Value::from("the last of stderr")));
    assert_eq!(tail.len(), 20);
}

#[test]
fn nothing_is_missing_of_a_worker_that_is_killed() {
    let ended = flood("kill", LINES);
    assert_whole(&ended);
    assert!(ended.all("worker_exited").any(|event| event.text("signal") == "SIGKILL"));
}

/// So many lines fit into a worker's pipe, but not, with what is put before each, into the
/// command's own.
const LAST_WORDS: usize = 10_000;

/// A worker that ends with its words unread, because nobody reads the command's `stream`.
fn last_words(stream: Stream) -> Forkyard {
    let number = if stream == Stream::Stdout { "1" } else { "2" };
    let launch = Launch::run("last-words.js").workers(1).arg(number).arg(LAST_WORDS.to_string());
    let forkyard = launch.option("--no-restart-codes", "0").unread(stream).start();
    forkyard.wait_full();
    forkyard
}

fn assert_last_words(ended: &Ended, stream: &str) {
    ended.assert_code(0).assert_no_panic();
    let expected: Vec<_> = (0..LAST_WORDS).map(|n| n.to_string()).collect();
    assert_same_lines(&written(ended, 0, stream), &expected);
    assert_eq!(written(ended, 0, stream).len(), LAST_WORDS);
}

/// The command has told of the end before it got rid of the words, and waits for whoever
/// reads them.
#[test]
fn a_slow_reader_of_stdout_gets_everything() {
    let mut forkyard = last_words(Stream::Stdout);
    forkyard.wait("worker_exited");
    forkyard.wait("app_finished");
    forkyard.read();
    assert_last_words(&forkyard.wait_exit(), "stdout");
}

#[test]
fn a_slow_reader_of_stderr_gets_everything() {
    let mut forkyard = last_words(Stream::Stderr);
    forkyard.read();
    let ended = forkyard.wait_exit();
    assert_last_words(&ended, "stderr");
    for name in ["primary_started", "worker_started", "worker_exited", "app_finished"] {
        assert_eq!(ended.all(name).count(), 1, "{name}");
    }
}

/// Whoever does not read at all does not keep the command for ever.
#[test]
fn a_signal_ends_the_wait_for_a_reader() {
    let forkyard = last_words(Stream::Stdout);
    forkyard.wait("app_finished");
    forkyard.stop().assert_code(0).assert_nobody_left();
}

/// A worker that floods a stream nobody reads is held up; the others serve, and the first
/// signal ends all workers, the second the wait for the reader.
fn goes_on_with_a_stopped_reader(stream: Stream) {
    let number = if stream == Stream::Stdout { "1" } else { "2" };
    let port = ports::free();
    let launch = Launch::run("flood-one.js").workers(2).arg(number).impatient().unread(stream);
    let forkyard = launch.worker_env("PORT", port.to_string()).start();
    forkyard.wait_full();
    let target = Target::port(port);
    waiting::until("a server", || client::get(&target, "/first").ok());
    Load::short(&target).requests(300).run().assert_nothing_lost();
    forkyard.signal(Signal::TERM);
    waiting::until("the workers to end", || {
        (forkyard.processes() == [forkyard.pid()]).then_some(())
    });
    forkyard.stop().assert_code(0).assert_nobody_left();
}

#[test]
fn a_stopped_reader_of_stdout_holds_up_nobody_else() {
    goes_on_with_a_stopped_reader(Stream::Stdout);
}

#[test]
fn a_stopped_reader_of_stderr_holds_up_nobody_else() {
    goes_on_with_a_stopped_reader(Stream::Stderr);
}

/// A process that left the worker's group and lives on with its stdout keeps neither the
/// worker's end from being told nor the command from ending.
#[test]
fn a_holder_of_the_pipes_is_not_waited_for() {
    let launch = Launch::run("leaves-a-holder.js").workers(1);
    let ended = launch.option("--no-restart-codes", "0").finish();
    ended.assert_code(0).assert_no_panic();
    assert_eq!(ended.all("worker_exited").count(), 1, "{}", ended.text());
    let said = ended.all("output").find_map(Event::output_json).expect("its line");
    let holder = said["holder"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid");
    assert!(processes::is_alive(holder), "it lives on");
}

/// In JSON every line is an event, a worker's on the stream it wrote to, the command's
/// own on stderr.
#[test]
fn every_line_in_json_is_an_event() {
    let ended = flood("exit", LINES);
    for event in &ended.events {
        for field in ["time", "level", "event"] {
            assert!(event.json[field].is_string(), "no {field} in {event:?}");
        }
        let on_stdout = event.is("output") && event.text("stream") == "stdout";
        let expected = if on_stdout { Stream::Stdout } else { Stream::Stderr };
        assert_eq!(event.stream, expected, "{event:?}");
    }
}

/// Bytes that are hard to print stay one line each and harm nothing.
#[test]
fn strange_output_is_passed_on() {
    let forkyard = Launch::run("long-lines.js").workers(1).impatient().start();
    forkyard.wait_line("the end of it", |line| line == "done");
    let ended = forkyard.stop();
    ended.assert_code(0).assert_no_panic();
    let lines = written(&ended, 0, "stdout");
    let long = lines.iter().filter(|line| line.contains("mm"));
    let letters: usize = long.map(|line| line.matches('m').count()).sum();
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
    let launch =
        Launch::bare("run").option("--interpreter", Node::V24.binary()).workers(1).impatient();
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
        "run --workers 1 --drain-timeout 300ms --interpreter".to_owned(),
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
