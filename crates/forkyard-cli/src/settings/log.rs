//! Where an app's lines go, and how long they are kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use super::text::{FromText, Text};
use crate::args::LogFormat;
use crate::limits::ByteSize;
use crate::logs::{Compression, Destination, LogRules};

/// What becomes of what workers write, and of what happens to them.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// Where lines go: `files`, `streams` (this command's own), `journald` or `syslog` [default:
    /// files for an app in the background or with a folder for them, else streams]
    #[arg(long = "log-to", id = "log_to", value_name = "DESTINATION")]
    #[serde(skip_serializing_if = "is_default")]
    destination: Option<Text<Kind>>,

    /// The folder for out.log, err.log and forkyard.log. They are rotated, and rotated ones
    /// compressed and in the end removed [default: one for each app in the home folder]
    #[arg(long = "log-dir", id = "log_dir", value_name = "DIR")]
    #[serde(skip_serializing_if = "is_default")]
    dir: Option<PathBuf>,

    /// How to write what happens and what workers write: `text` or `json` [default: text]
    #[arg(long = "log-format", id = "log_format", value_name = "FORMAT")]
    #[serde(skip_serializing_if = "is_default")]
    format: Option<Text<LogFormat>>,

    /// Rotate a log file before it grows beyond this [default: 10M]
    #[arg(long = "log-max-size", id = "log_max_size", value_name = "SIZE")]
    #[serde(skip_serializing_if = "is_default")]
    max_size: Option<Text<ByteSize>>,

    /// Rotate a log file whose first line is older than this: a time or `never` [default: 1d]
    #[arg(long = "log-max-age", id = "log_max_age", value_name = "TIME|never")]
    #[serde(skip_serializing_if = "is_default")]
    max_age: Option<Text<Span>>,

    /// How many rotated files to keep of each log [default: 10]
    #[arg(long = "log-keep", id = "log_keep", value_name = "N")]
    #[serde(skip_serializing_if = "is_default")]
    keep: Option<usize>,

    /// Remove log files that were rotated this long ago: a time or `never` [default: 30d]
    #[arg(long = "log-keep-for", id = "log_keep_for", value_name = "TIME|never")]
    #[serde(skip_serializing_if = "is_default")]
    keep_for: Option<Text<Span>>,

    /// Whether rotated log files are compressed [default: true]
    #[arg(long = "log-compress", id = "log_compress", value_name = "true|false")]
    #[serde(skip_serializing_if = "is_default")]
    compress: Option<bool>,
}

/// Where lines go if nobody says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unsaid {
    /// To the command's own streams, which somebody sees.
    Streams,
    /// To files in this folder.
    Files(PathBuf),
}

impl Log {
    /// The rules that are asked for here. A relative folder's path leads from `start`.
    ///
    /// # Errors
    ///
    /// If they do not fit each other or their bounds. Says why.
    pub(crate) fn rules(&self, unsaid: &Unsaid, start: &Path) -> Result<LogRules, String> {
        let by_default = LogRules::default();
        let rules = LogRules {
            destination: self.destination(unsaid, start)?,
            format: self.format().unwrap_or(by_default.format),
            max_size: self.max_size.as_ref().map_or(by_default.max_size, |size| size.value),
            max_age: self.max_age.as_ref().map_or(by_default.max_age, |age| age.value.0),
            keep: self.keep.unwrap_or(by_default.keep),
            keep_for: self.keep_for.as_ref().map_or(by_default.keep_for, |time| time.value.0),
            compress: match self.compress {
                None => by_default.compress,
                Some(true) => Compression::Gzip,
                Some(false) => Compression::None,
            },
        };
        rules.check()?;
        Ok(rules)
    }

    /// How lines are written, if somebody says so.
    pub(crate) fn format(&self) -> Option<LogFormat> {
        self.format.as_ref().map(|format| format.value)
    }

    /// The folder that was named, if one was.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// With nothing said of how lines are written.
    pub(crate) fn without_format(self) -> Self {
        Self { format: None, ..self }
    }

    fn destination(&self, unsaid: &Unsaid, start: &Path) -> Result<Destination, String> {
        let dir = self.dir.as_deref().map(|dir| settled(&start.join(dir)));
        let kind = self.destination.as_ref().map(|kind| kind.value);
        match (kind, dir, unsaid) {
            (None | Some(Kind::Files), Some(dir), _) => Ok(Destination::Files(dir)),
            (Some(kind), Some(_), _) => Err(format!(
                "a folder is for files, and lines are to go to {}; leave one of the two out",
                kind.name()
            )),
            (None | Some(Kind::Files), None, Unsaid::Files(dir)) => {
                Ok(Destination::Files(dir.clone()))
            }
            (Some(Kind::Files), None, Unsaid::Streams) => {
                Err("files need a folder; name one, as in --log-dir logs".into())
            }
            (None | Some(Kind::Streams), None, _) => Ok(Destination::Streams),
            (Some(Kind::Journald), None, _) => Ok(Destination::Journald),
            (Some(Kind::Syslog), None, _) => Ok(Destination::Syslog),
        }
    }
}

/// Where a link leads is settled now. What cannot be found is told when it is used.
fn settled(dir: &Path) -> PathBuf {
    dir.canonicalize().or_else(|_| std::path::absolute(dir)).unwrap_or(dir.to_owned())
}

/// Where lines can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Files,
    Streams,
    Journald,
    Syslog,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Files, Self::Streams, Self::Journald, Self::Syslog];

    fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Streams => "streams",
            Self::Journald => "journald",
            Self::Syslog => "syslog",
        }
    }
}

impl FromText for Kind {
    const HINT: &'static str = "files, streams, journald or syslog";
    const EXAMPLE: &'static str = "journald";

    fn read(text: &str) -> Result<Self, String> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == text);
        kind.ok_or_else(|| format!("write {}", Self::HINT))
    }
}

impl FromText for LogFormat {
    const HINT: &'static str = "text or json";
    const EXAMPLE: &'static str = "json";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("write {}", Self::HINT)),
        }
    }
}

/// A time, or none for one that never comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span(Option<Duration>);

impl FromText for Span {
    const HINT: &'static str = "a time with its unit, or never";
    const EXAMPLE: &'static str = "7d";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self(None)),
            // What is too long is told with its own bounds.
            _ => humantime::parse_duration(text)
                .map(|time| Self(Some(time)))
                .map_err(|error| format!("{error}; write a time as in 12h or 7d, or `never`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::{Args, Verb};
    use crate::settings::App;

    fn log(line: &[&str]) -> Result<Log, clap::Error> {
        let line = ["forkyard", "run"].iter().chain(line).chain(&["app.js"]);
        let Verb::Run(run) = Args::try_parse_from(line)?.verb else { panic!("not run") };
        Ok(run.settings().log)
    }

    fn rules(line: &[&str], unsaid: &Unsaid) -> Result<LogRules, String> {
        let log = log(line).map_err(|error| error.to_string())?;
        log.rules(unsaid, Path::new("/srv"))
    }

    #[test]
    fn where_lines_go_depends_on_who_sees_the_streams() {
        let kept = Unsaid::Files("/home/logs/web".into());
        for (line, unsaid, expected) in [
            (&[][..], &Unsaid::Streams, Destination::Streams),
            (&[], &kept, Destination::Files("/home/logs/web".into())),
            (&["--log-to", "files"], &kept, Destination::Files("/home/logs/web".into())),
            (&["--log-to", "streams"], &kept, Destination::Streams),
            (&["--log-to", "journald"], &kept, Destination::Journald),
            (&["--log-to", "syslog"], &Unsaid::Streams, Destination::Syslog),
            (&["--log-dir", "no/logs"], &kept, Destination::Files("/srv/no/logs".into())),
            (&["--log-dir", "/x/y"], &Unsaid::Streams, Destination::Files("/x/y".into())),
        ] {
            assert_eq!(rules(line, unsaid).unwrap().destination, expected, "{line:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, word) in [
            (&["--log-to", "files"][..], "--log-dir"),
            (&["--log-to", "syslog", "--log-dir", "x"], "syslog"),
            (&["--log-to", "paper"], "journald"),
            (&["--log-format", "xml"], "text or json"),
            (&["--log-max-size", "1K"], "64 KiB"),
            (&["--log-max-age", "sometimes"], "never"),
            (&["--log-max-age", "2years"], "a year"),
            (&["--log-keep", "10001"], "10000"),
            (&["--log-keep-for", "1s"], "a minute"),
        ] {
            let message = rules(line, &Unsaid::Streams).unwrap_err();
            assert!(message.contains(word), "{line:?}: {message}");
        }
    }

    /// As keys of a file; a record keeps them so.
    #[test]
    fn all_of_it_can_be_written_down() {
        let line = [
            "--log-to",
            "files",
            "--log-dir",
            "/x",
            "--log-format",
            "json",
            "--log-max-size",
            "1M",
            "--log-max-age",
            "never",
            "--log-keep",
            "3",
            "--log-keep-for",
            "7d",
            "--log-compress",
            "false",
        ];
        let table = json!({
            "destination": "files", "dir": "/x", "format": "json", "max_size": "1M",
            "max_age": "never", "keep": 3, "keep_for": "7d", "compress": false,
        });
        let log = log(&line).unwrap();
        assert_eq!(serde_json::to_value(&log).unwrap(), table);
        let app: App = serde_json::from_value(json!({ "program": "a.js", "log": table })).unwrap();
        assert_eq!(app.log, log);
        let rules = log.rules(&Unsaid::Streams, Path::new("/")).unwrap();
        let expected = LogRules {
            destination: Destination::Files("/x".into()),
            format: LogFormat::Json,
            max_size: ByteSize(1 << 20),
            max_age: None,
            keep: 3,
            keep_for: Some(Duration::from_secs(7 * 24 * 60 * 60)),
            compress: Compression::None,
        };
        assert_eq!(rules, expected);
    }
}
