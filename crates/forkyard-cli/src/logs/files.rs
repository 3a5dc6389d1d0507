//! The logs of an app as files in one folder.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use forkyard::{OutputLine, OutputSink, StreamKind};

use super::file::{LogFile, prepare};
use super::housekeeping::{Housekeeper, SharedFile, lock};
use super::line::LinePen;
use super::rotation::LogKind;
use super::rules::LogRules;
use super::trouble::Tell;

/// The three files of an app, and the thread that tidies them.
pub(crate) struct LogFiles {
    out: SharedFile,
    err: SharedFile,
    events: SharedFile,
    rules: LogRules,
}

/// Makes sure that the folder can be used, before anything depends on it.
pub(crate) fn check(folder: &Path) -> io::Result<()> {
    prepare(folder)
}

impl LogFiles {
    /// Nothing need be there yet. `tell` is called by whoever writes, and by the thread.
    ///
    /// # Errors
    ///
    /// If there can be no thread.
    pub(crate) fn open(folder: &Path, rules: &LogRules, tell: &Tell) -> io::Result<Self> {
        let (housekeeper, nudge) = Housekeeper::new(folder, rules, Arc::clone(tell));
        let file = |kind| {
            let file = LogFile::new(kind, folder, rules, (Arc::clone(tell), nudge.clone()));
            Arc::new(Mutex::new(file))
        };
        let files = LogKind::ALL.map(file);
        housekeeper.start(&files)?;
        let [out, err, events] = files;
        Ok(Self { out, err, events, rules: rules.clone() })
    }

    /// Writes what workers write.
    pub(crate) fn output(&self) -> FileOutput {
        let target = |file| Target { file: Arc::clone(file), pen: LinePen::new(self.rules.format) };
        FileOutput { out: target(&self.out), err: target(&self.err) }
    }

    /// Writes what the primary has to say, whole lines as they are given.
    pub(crate) fn events(&self) -> impl FnMut(&[u8]) + Send + use<> {
        let file = Arc::clone(&self.events);
        move |lines| {
            let mut file = lock(&file);
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                file.add(|pending| pending.extend_from_slice(line));
            }
            file.commit();
        }
    }
}

/// Writes workers' lines to `out.log` and `err.log`.
pub(crate) struct FileOutput {
    out: Target,
    err: Target,
}

struct Target {
    file: SharedFile,
    pen: LinePen,
}

impl OutputSink for FileOutput {
    fn line(&mut self, line: OutputLine<'_>) {
        let Target { file, pen } = match line.stream {
            StreamKind::Stdout => &mut self.out,
            StreamKind::Stderr => &mut self.err,
        };
        lock(file).add(|pending| pen.write(pending, line));
    }

    fn flush(&mut self) {
        for Target { file, pen } in [&mut self.out, &mut self.err] {
            lock(file).commit();
            pen.pause();
        }
    }
}

#[cfg(test)]
mod tests;
