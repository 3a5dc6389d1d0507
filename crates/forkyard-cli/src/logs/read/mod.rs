//! `forkyard logs`: the last lines of several logs in the order of time, and what is written from
//! then on.
//!
//! ```text
//!   logs ──find──▶ files ──from the end backwards──▶ where the last lines begin
//!                    └──from there forwards, merged by time──▶ stdout ──follow──▶ …
//! ```
//!
//! Memory is bounded: one line of each log is held at a time, and the places of those that are
//! wanted.

mod backward;
mod cursor;
mod part;
mod query;
mod shown;
mod source;
mod start;

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(crate) use query::LogsOptions;
pub(crate) use source::AppLogs;

use crate::exit_code::Failure;
use crate::logs::stored::Stored;
use cursor::Cursor;
use shown::{Colours, Form, Names};
use source::{Part, Position, Source};
use start::starts;

/// How often it is looked for more.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// From how many bytes on lines are written though more may come.
const BATCH_BYTES: usize = 64 * 1024;

/// Shows these apps' logs on stdout. `find_apps` is asked again while they are followed, for those
/// that are new; these are shown from their beginning.
pub(crate) fn show(
    mut find_apps: impl FnMut() -> Vec<AppLogs>,
    options: &LogsOptions,
) -> Result<ExitCode, Failure> {
    let stdout = io::stdout();
    let mut out = stdout.lock();
    let mut reading =
        Reading::start(&find_apps(), options, &out).map_err(|error| failed(&error))?;
    loop {
        match reading.pass_on(&mut out) {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(failed(&error)),
            Ok(()) => {}
        }
        if !options.follow || is_closed(&out) {
            break;
        }
        reading.find_new(&find_apps()).map_err(|error| failed(&error))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(error: &io::Error) -> Failure {
    Failure::unexpected("failed to show the logs", error)
}

/// Waits a moment, or until nobody reads any more. Returns whether that is so.
fn is_closed(out: &impl AsFd) -> bool {
    let mut awaited = [PollFd::new(out, PollFlags::empty())];
    poll(&mut awaited, Some(&LOOK)).is_ok_and(|ready| ready > 0)
}

/// The logs that are shown.
struct Reading<'a> {
    options: &'a LogsOptions,
    form: Form,
    heads: Vec<Head>,
}

/// The next line of a log.
struct Head {
    cursor: Cursor,
    line: Vec<u8>,
    state: HeadState,
    /// As it stands in the line; of the one before, if it has none.
    time: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeadState {
    /// There is none at the moment.
    Empty,
    Waiting,
}

impl<'a> Reading<'a> {
    fn start(
        apps: &[AppLogs],
        options: &'a LogsOptions,
        out: &(impl AsFd + io::IsTerminal),
    ) -> io::Result<Self> {
        let form = match options.json {
            true => Form::Json,
            false => Form::Text(names(options, apps), colours(out)),
        };
        let sources: Vec<_> = apps.iter().flat_map(|app| sources(app, options)).collect();
        let found = sources.iter().map(Source::find).collect::<io::Result<Vec<_>>>()?;
        let starts = starts(&found, options)?;
        let heads = sources.into_iter().zip(found).zip(starts);
        let heads =
            heads.map(|((source, found), start)| Head::new(Cursor::new(source, found, start)));
        Ok(Self { options, form, heads: heads.collect() })
    }

    /// Apps that were not there before.
    fn find_new(&mut self, apps: &[AppLogs]) -> io::Result<()> {
        for app in apps {
            if self.heads.iter().any(|head| head.cursor.source.app == *app) {
                continue;
            }
            for source in sources(app, self.options) {
                let found = source.find()?;
                let first = found.rotated.first().map(|first| Part::Rotated(first.stamp.clone()));
                let start = Position { part: first.unwrap_or(Part::Current), offset: 0 };
                self.heads.push(Head::new(Cursor::new(source, found, start)));
            }
        }
        Ok(())
    }

    /// Writes what there is, the earliest first.
    fn pass_on(&mut self, out: &mut impl Write) -> io::Result<()> {
        let (form, mut pending) = (self.form, Vec::new());
        while let Some(head) = self.earliest()? {
            head.state = HeadState::Empty;
            form.write(&mut pending, &head.cursor.source, &head.line);
            if pending.len() >= BATCH_BYTES {
                out.write_all(&pending)?;
                pending.clear();
            }
        }
        if !self.options.follow {
            self.write_rests(&mut pending);
        }
        out.write_all(&pending)?;
        out.flush()
    }

    fn earliest(&mut self) -> io::Result<Option<&mut Head>> {
        for head in &mut self.heads {
            head.fill(self.options)?;
        }
        let waiting = self.heads.iter_mut().filter(|head| head.state == HeadState::Waiting);
        Ok(waiting.min_by(|one, other| one.time.cmp(&other.time)))
    }

    /// Lines that somebody was cut short in.
    fn write_rests(&mut self, out: &mut Vec<u8>) {
        for head in &mut self.heads {
            if let Some(line) = head.cursor.take_rest().filter(|line| self.options.wants(line)) {
                self.form.write(out, &head.cursor.source, &line);
            }
        }
    }
}

impl Head {
    fn new(cursor: Cursor) -> Self {
        Self { cursor, line: Vec::new(), state: HeadState::Empty, time: String::new() }
    }

    /// Looks for the next line that is wanted, if none is waiting.
    fn fill(&mut self, options: &LogsOptions) -> io::Result<()> {
        while self.state == HeadState::Empty && self.next_line()?.is_some() {
            if options.wants(&self.line) {
                let time = Stored::parse(&self.line).time;
                if !time.is_empty() {
                    time.clone_into(&mut self.time);
                }
                self.state = HeadState::Waiting;
            }
        }
        Ok(())
    }

    fn next_line(&mut self) -> io::Result<Option<()>> {
        loop {
            match self.cursor.next_line(&mut self.line) {
                // Compressed files may be damaged; the others are worth reading.
                Err(error) if self.cursor.skip_part() => {
                    let app = &self.cursor.source.app.name;
                    anstream::eprint!("forkyard: failed to read all of a log of {app}: {error}\n");
                }
                other => return other,
            }
        }
    }
}

fn sources(app: &AppLogs, options: &LogsOptions) -> Vec<Source> {
    options.kinds().into_iter().map(|kind| Source { app: app.clone(), kind }).collect()
}

/// Only of one that was asked for it is clear whose lines they are.
fn names(options: &LogsOptions, apps: &[AppLogs]) -> Names {
    match options.apps.len() {
        1 => Names::LeftOut,
        0 if apps.len() == 1 && !options.follow => Names::LeftOut,
        _ => Names::Shown,
    }
}

fn colours(out: &(impl AsFd + io::IsTerminal)) -> Colours {
    // What `anstream` would do with it.
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if out.is_terminal() && !plain { Colours::Some } else { Colours::None }
}

#[cfg(test)]
mod tests;
