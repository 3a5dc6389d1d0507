//! What the primary has to say, on its way to the app's logs. It is told on stderr as well.

use serde_json::Map;

use super::line::now;
use super::system::Priority;
use crate::args::LogFormat;
use crate::console::Console;
use crate::report::json_line;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dress {
    /// As those of workers.
    Lines(LogFormat),
    /// With their priority, for the system's log.
    Prioritized,
}

/// Takes what is said and never blocks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Diary {
    console: Console,
    dress: Dress,
}

impl Diary {
    /// Starts the thread that writes, by `write`.
    pub(crate) fn start(
        dress: Dress,
        write: impl FnMut(&[u8]) + Send + 'static,
    ) -> std::io::Result<Self> {
        let tell_lost = move |lost: u64| {
            let text = format!("{lost} lines were left out here, because they came too fast");
            dressed(dress, Priority::Warning, &text, || {
                let fields = Map::from_iter([("lines".to_owned(), lost.into())]);
                json_line("warn", "lines_lost", fields)
            })
        };
        Ok(Self { console: Console::start(write, tell_lost)?, dress })
    }

    /// An event: what people read, which may be nothing, and what machines read.
    pub(crate) fn note(&self, priority: Priority, text: &str, json: impl FnOnce() -> String) {
        self.console.say(dressed(self.dress, priority, text, json).as_bytes());
    }

    /// A line of the program's own log, in the format that stderr has.
    pub(crate) fn log(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        self.note(Priority::Warning, &text, || match line.first() {
            Some(b'{') => text.clone().into_owned(),
            _ => {
                let fields = Map::from_iter([("message".to_owned(), text.trim_end().into())]);
                json_line("warn", "log", fields)
            }
        });
    }

    /// Waits until all that was said is written.
    pub(crate) async fn flush(&self) {
        self.console.flush().await;
    }

    /// Nothing more is said: waits until all that was is written.
    pub(crate) async fn finish(&self) {
        self.console.finish().await;
    }
}

fn dressed(dress: Dress, priority: Priority, text: &str, json: impl FnOnce() -> String) -> String {
    let (now, pid) = (now(), std::process::id());
    let each = |head: String| text.lines().map(|line| format!("{head}{line}\n")).collect();
    match dress {
        Dress::Lines(LogFormat::Json) => json(),
        Dress::Lines(LogFormat::Text) => each(format!("{now} forkyard/{pid} ")),
        Dress::Prioritized => each(format!("<{}>", priority.number())),
    }
}
