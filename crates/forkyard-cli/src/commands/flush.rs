//! `forkyard flush`: empty log files.

use std::process::ExitCode;

use super::Targets;
use crate::answers::broken_off;
use crate::exit_code::Failure;
use crate::units::bytes;

/// Empties the log files of each app.
pub(crate) fn flush(targets: &Targets) -> Result<ExitCode, Failure> {
    targets.each(async |app, answers| {
        let flushed = app.running()?.flush_logs().await;
        let flushed = flushed.map_err(|error| broken_off("failed to empty the logs", &error))?;
        let text = format!("{} in {} log files removed", bytes(flushed.bytes), flushed.files.len());
        answers.print(&flushed, &text);
        Ok(())
    })
}
