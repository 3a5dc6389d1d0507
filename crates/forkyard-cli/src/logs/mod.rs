//! Logs: what workers write and what the primary has to say goes to files or to the system's
//! log, and files are read again.
//!
//! ```text
//!   workers ─▶ OutputSink ─┬─▶ Printer (stdout, stderr)
//!                          ├─▶ out.log, err.log ─────────┐
//!                          └─▶ journald, syslog          ├─▶ rotation ─▶ the thread that tidies
//!   primary ─▶ Diary ─▶ a console thread ─▶ forkyard.log ┘                │
//!                                        └▶ journald, syslog              ▼
//!                                                    files, rotated ones ─▶ `forkyard logs`
//! ```

mod compression;
mod diary;
mod emptying;
mod file;
mod files;
mod housekeeping;
mod journald;
mod line;
mod mailbox;
mod read;
mod retention;
mod rotation;
mod rules;
mod stored;
mod syslog;
mod system;
mod trouble;

use std::path::Path;
use std::sync::Arc;

use forkyard::OutputSink;

pub(crate) use diary::Diary;
pub(crate) use emptying::{Emptied, empty};
pub(crate) use line::LinePen;
pub(crate) use read::{AppLogs, LogsOptions, show};
pub(crate) use rules::{Compression, Destination, LogRules};
pub(crate) use system::Priority;
pub(crate) use trouble::{Notice, Tell};

use crate::exit_code::Failure;
use crate::report::Reporter;
use crate::sink::Printer;
use diary::Dress;
use files::LogFiles;
use system::{SystemLog, SystemWriter};

/// Opens an app's logs: has the reporter write what it says there too, and returns what takes the
/// workers' lines.
pub(crate) fn open(
    rules: &LogRules,
    app: &str,
    reporter: &Reporter,
) -> Result<Box<dyn OutputSink>, Failure> {
    let telling = reporter.clone();
    let tell: Tell = Arc::new(move |notice| telling.log_notice(notice));
    match &rules.destination {
        Destination::Streams => Ok(Box::new(Printer::new(rules.format))),
        Destination::Files(folder) => to_files(folder, rules, reporter, &tell),
        Destination::Journald => to_system(SystemLog::Journald, app, reporter, &tell),
        Destination::Syslog => to_system(SystemLog::Syslog, app, reporter, &tell),
    }
}

fn to_files(
    folder: &Path,
    rules: &LogRules,
    reporter: &Reporter,
    tell: &Tell,
) -> Result<Box<dyn OutputSink>, Failure> {
    // It would end the primary where a write can fail as well.
    let limit = forkyard_sys::process::ignore(forkyard::Signal::XFSZ);
    limit.map_err(|error| not_opened(&error))?;
    // Past its start an app goes on, whatever becomes of the folder.
    if !forkyard::is_upgrade() {
        files::check(folder).map_err(|error| {
            Failure::usage(format!("failed to write logs to {}: {error}", folder.display()))
        })?;
    }
    let files = LogFiles::open(folder, rules, tell).map_err(|error| not_opened(&error))?;
    keep(reporter, Diary::start(Dress::Lines(rules.format), files.events()))?;
    Ok(Box::new(files.output()))
}

fn to_system(
    system: SystemLog,
    app: &str,
    reporter: &Reporter,
    tell: &Tell,
) -> Result<Box<dyn OutputSink>, Failure> {
    let writer = SystemWriter::new(system, app, tell);
    keep(reporter, Diary::start(Dress::Prioritized, writer.events()))?;
    Ok(Box::new(writer))
}

fn keep(reporter: &Reporter, diary: std::io::Result<Diary>) -> Result<(), Failure> {
    reporter.keep(diary.map_err(|error| not_opened(&error))?);
    Ok(())
}

fn not_opened(error: &std::io::Error) -> Failure {
    Failure::unexpected("failed to open the logs", error)
}
