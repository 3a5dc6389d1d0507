//! How an image finds out what it is there for.
//!
//! That has to be known before anything else happens in the process: the descriptors that were
//! left to it must not be taken for inherited ones, and if it cannot go on, it goes back to the
//! image before it while nothing is lost.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::{Mutex, PoisonError};

use forkyard_sys::image;
use forkyard_sys::inherited::take_one;
use forkyard_sys::memory::read_sealed;

use super::state::{Descriptor, LARGEST_BYTES, State, StateError};
use super::{FAILURE_VARIABLE, Order, UpgradeFailure, VERSION, rehearsal};

/// What waits for the cluster that this image will start.
static WAITING: Mutex<Option<Arrival>> = Mutex::new(None);

/// What an image is there for, if it is not the first one.
#[derive(Debug)]
pub(crate) enum Arrival {
    Rehearsal { state: Box<State>, answer: OwnedFd },
    TakeOver(Box<TakeOver>),
}

/// All that the image before has left.
#[derive(Debug)]
pub(crate) struct TakeOver {
    pub(crate) state: State,
    pub(crate) descriptors: Descriptors,
    /// What was wrong with the image after this one, if it has come back.
    pub(crate) failure: Option<UpgradeFailure>,
    left: Left,
}

/// Descriptors by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Descriptors(BTreeMap<RawFd, OwnedFd>);

impl Descriptors {
    /// The descriptor that a state names.
    pub(crate) fn take(&mut self, Descriptor(number): Descriptor) -> io::Result<OwnedFd> {
        self.0.remove(&number).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("descriptor {number} is missing"))
        })
    }
}

/// What is needed to go back.
#[derive(Debug)]
struct Left {
    memory: OwnedFd,
    executable: Option<OwnedFd>,
}

/// Why an image cannot go on.
#[derive(Debug, thiserror::Error)]
enum ArrivalError {
    #[error("failed to find what the former program has left: {0}")]
    Lost(#[from] io::Error),
    #[error("{}", with_cause(.0))]
    State(#[from] StateError),
}

fn with_cause(error: &StateError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// An image was started to take over and has not been told so, because the program does not
/// lend its first thread.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this program was started to take over from a running one, which takes forkyard::host")]
pub(crate) struct NotHosted;

impl Arrival {
    /// Looks what this image is there for. To be called before anything opens descriptors.
    /// Does not return if the image cannot go on.
    pub(crate) fn expect() {
        let arrival = match Order::read() {
            None => return,
            Some(Order::Rehearse { state, answer }) => Self::rehearsal(state, answer),
            Some(Order::TakeOver { state, executable }) => Self::take_over(state, Some(executable)),
            Some(Order::Return { state }) => Self::take_over(state, None),
        };
        match arrival {
            Ok(arrival) => *waiting() = Some(arrival),
            Err(error) => give_up(&error.to_string()),
        }
    }

    /// What waits for a cluster that is started.
    pub(crate) fn take() -> Result<Option<Self>, NotHosted> {
        let arrival = waiting().take();
        // Whoever came first has it. A second cluster starts afresh.
        if arrival.is_none() && Order::read().is_some() && !crate::host::Errands::may_execute() {
            return Err(NotHosted);
        }
        Ok(arrival)
    }

    pub(crate) fn is_rehearsal() -> bool {
        matches!(Order::read(), Some(Order::Rehearse { .. }))
    }

    /// The program has ended. If it was there to take over and has not, the image before it
    /// goes on.
    pub(crate) fn go_back_if_not_taken() {
        match waiting().take() {
            Some(Self::TakeOver(take_over)) => {
                let reason = "the new program ended before it had taken over";
                take_over.go_back(reason);
            }
            Some(Self::Rehearsal { .. }) | None => {}
        }
    }

    fn rehearsal(state: RawFd, answer: RawFd) -> Result<Self, ArrivalError> {
        let (memory, answer) = (take_one(state)?, take_one(answer)?);
        let state = State::read(&read_sealed(memory, LARGEST_BYTES)?)?;
        Ok(Self::Rehearsal { state: Box::new(state), answer })
    }

    fn take_over(state: RawFd, executable: Option<RawFd>) -> Result<Self, ArrivalError> {
        let executable = executable.map(take_one).transpose()?;
        let left = Left { memory: take_one(state)?, executable };
        let (mut descriptors, failure) = (Descriptors::default(), left.failure());
        match left.unpack(&mut descriptors) {
            Ok(state) => {
                if failure.is_some() {
                    name_after(&state);
                }
                let take_over = TakeOver { state, descriptors, failure, left };
                Ok(Self::TakeOver(Box::new(take_over)))
            }
            Err(error) => {
                left.go_back(None, &descriptors, &error.to_string());
                Err(error)
            }
        }
    }
}

impl Left {
    /// If there is nothing to go back to, this is what was gone back to.
    fn failure(&self) -> Option<UpgradeFailure> {
        let reason = || std::env::var(FAILURE_VARIABLE).unwrap_or_default();
        self.executable.is_none().then(|| UpgradeFailure::from(reason()))
    }

    fn unpack(&self, descriptors: &mut Descriptors) -> Result<State, ArrivalError> {
        let state = State::read(&read_sealed(&self.memory, LARGEST_BYTES)?)?;
        for Descriptor(number) in &state.descriptors {
            descriptors.0.insert(*number, take_one(*number)?);
        }
        Ok(state)
    }

    /// Executes the image before this one, with the arguments it had if they are known. Returns
    /// if there is none, or that fails.
    fn go_back(&self, args: Option<Vec<OsString>>, descriptors: &Descriptors, reason: &str) {
        let Some(executable) = &self.executable else { return };
        let path = PathBuf::from(format!("/proc/self/fd/{}", executable.as_raw_fd()));
        let order = Order::Return { state: self.memory.as_raw_fd() };
        let kept = descriptors.0.values().map(AsFd::as_fd).chain([self.memory.as_fd()]);
        let kept: Vec<_> = kept.collect();
        let mut image = super::image(path, order, Some(reason));
        image.args = args.unwrap_or(image.args);
        let error = image::replace(&image, &kept);
        say(&format!("failed to go back to the former program: {error}"));
    }
}

impl TakeOver {
    fn go_back(&self, reason: &str) {
        let args = self.state.args.iter().cloned().map(OsString::from).collect();
        self.left.go_back(Some(args), &self.descriptors, reason);
    }

    /// From here on there is no way back.
    pub(crate) fn unpack(self) -> (State, Descriptors, Option<UpgradeFailure>) {
        (self.state, self.descriptors, self.failure)
    }
}

/// A program that is executed by its descriptor is named after that.
fn name_after(state: &State) {
    let path = PathBuf::from(state.binary.clone());
    let name = path.file_name().unwrap_or(path.as_os_str());
    if let Err(error) = image::set_name(Path::new(name)) {
        tracing::debug!(%error, "failed to give the process its name");
    }
}

/// Says that this image could go on, and ends.
pub(crate) fn pass_rehearsal(answer: OwnedFd) -> ! {
    let said = File::from(answer).write_all(rehearsal::answer(VERSION).as_bytes());
    exit(i32::from(said.is_err()));
}

fn give_up(reason: &str) -> ! {
    say(reason);
    exit(1);
}

/// Nothing else is there yet that could say it.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "forkyard: {text}");
}

fn waiting() -> std::sync::MutexGuard<'static, Option<Arrival>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}
