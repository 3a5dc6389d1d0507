//! What the program thinks to itself, for whoever looks for a fault (`FORKYARD_LOG=debug`), and
//! what it warns of. Its lines are in the format of all that the command says.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::Field;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::Visit;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::args::LogFormat;
use crate::report;

/// Begins to write it.
pub(crate) fn start<W>(format: LogFormat, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .with_env_var("FORKYARD_LOG")
        .with_default_directive(LevelFilter::WARN.into())
        .from_env_lossy();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Text => log.with_ansi(false).without_time().init(),
        LogFormat::Json => log.event_format(JsonLines).init(),
    }
}

/// Each line is an object, an event named `log`.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let Fields(mut fields) = fields;
        fields.insert("target".to_owned(), metadata.target().into());
        let level = metadata.level().as_str().to_lowercase();
        writer.write_str(&report::json_line(&level, "log", fields))
    }
}

/// An event's fields as JSON; `message` is among them.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_line_is_an_object_like_all_others() {
        let paper = Paper::default();
        let pen = paper.clone();
        let log = tracing_subscriber::fmt()
            .with_writer(move || pen.clone())
            .event_format(JsonLines)
            .finish();
        tracing::subscriber::with_default(log, || {
            let error = io::Error::other("no \"luck\"\n");
            tracing::warn!(%error, count = 3, is_last = true, "failed to {}", "serve");
        });
        let written = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = written.lines().collect();
        let [line] = lines.as_slice() else { panic!("{written}") };
        let mut object: Map<String, Value> = serde_json::from_str(line).unwrap();
        assert!(object.remove("time").is_some());
        let expected = json!({
            "level": "warn", "event": "log", "target": "forkyard::log::tests",
            "message": "failed to serve", "error": "no \"luck\"\n", "count": 3, "is_last": true,
        });
        assert_eq!(Value::Object(object), expected);
    }
}
