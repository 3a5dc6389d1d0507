//! How an image finds out what it is there for.
//!
//! That has to be known before anything else happens in the process: the descriptors that were
//! left to it must not be taken for inherited ones, and if it cannot go on, it goes back to the
//! image before it while nothing is lost.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, MutexGuard, PoisonError};

use forkyard_sys::image;
use forkyard_sys::inherited::{InheritedFds, take_one};
use forkyard_sys::memory::read_sealed;

use super::state::{Descriptor, LARGEST_BYTES, State, StateError};
use super::{FAILURE_VARIABLE, Order, UpgradeFailure, VERSION, rehearsal};
use crate::host::Errands;

/// What a rehearsal is for.
static REHEARSAL: Mutex<Option<Rehearsed>> = Mutex::new(None);

/// What waits for the cluster that this image will start. It stays here, whatever happens to
/// whoever looks at it, until that cluster goes on with it.
static WAITING: Mutex<Option<Box<TakeOver>>> = Mutex::new(None);

/// What an image is there for.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Nothing was there before.
    Fresh,
    Rehearsal(Rehearsed),
    TakeOver(Waiting),
}

/// A state with which this image could go on, and where to say so.
#[derive(Debug)]
pub(crate) struct Rehearsed {
    pub(crate) state: Box<State>,
    pub(crate) answer: OwnedFd,
}

/// What waits for a cluster, which nobody else gets meanwhile.
#[derive(Debug)]
pub(crate) struct Waiting(MutexGuard<'static, Option<Box<TakeOver>>>);

impl Waiting {
    pub(crate) fn left(&mut self) -> Option<&mut TakeOver> {
        self.0.as_deref_mut()
    }

    /// The cluster goes on with it: from here on there is no way back.
    pub(crate) fn taken(mut self) {
        *self.0 = None;
    }
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
#[derive(Debug)]
pub(crate) struct Descriptors {
    open: BTreeMap<RawFd, OwnedFd>,
    originals: Originals,
}

/// What becomes of a descriptor that is taken.
#[derive(Clone, Copy, Debug)]
enum Originals {
    /// It stays, for the way back, and a duplicate is given away.
    Stay,
    /// There is no way back, and perhaps no room for duplicates: that may be why this image
    /// was gone back to.
    Go,
}

impl Descriptors {
    fn none(originals: Originals) -> Self {
        Self { open: BTreeMap::new(), originals }
    }

    /// The descriptor that a state names.
    pub(crate) fn take(&mut self, Descriptor(number): Descriptor) -> io::Result<OwnedFd> {
        let taken = match self.originals {
            Originals::Stay => self.open.get(&number).map(OwnedFd::try_clone).transpose()?,
            Originals::Go => self.open.remove(&number),
        };
        taken.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("descriptor {number} is missing"))
        })
    }

    /// What has not been given away.
    fn all(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.open.values().map(AsFd::as_fd)
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
        let found = match Order::read() {
            None => Ok(()),
            Some(Order::Rehearse { state, answer }) => Self::rehearsal(state, answer),
            Some(Order::TakeOver { state, executable }) => Self::take_over(state, Some(executable)),
            Some(Order::Return { state }) => Self::take_over(state, None),
        };
        found.unwrap_or_else(|error| give_up(&error.to_string()));
    }

    /// What waits for a cluster that is started. Whoever comes first gets it; a second cluster
    /// starts afresh.
    pub(crate) fn find() -> Result<Self, NotHosted> {
        if let Some(rehearsed) = lock(&REHEARSAL).take() {
            return Ok(Self::Rehearsal(rehearsed));
        }
        let waiting = lock(&WAITING);
        if waiting.is_some() {
            return Ok(Self::TakeOver(Waiting(waiting)));
        }
        match Order::read() {
            Some(_) if !Errands::may_execute() => Err(NotHosted),
            _ => Ok(Self::Fresh),
        }
    }

    pub(crate) fn is_upgrade() -> bool {
        Order::read().is_some()
    }

    pub(crate) fn is_rehearsal() -> bool {
        matches!(Order::read(), Some(Order::Rehearse { .. }))
    }

    /// Has the image before this one go on, if there is one and this one has not taken over.
    /// Returns if there is none, or that fails. To be called by the first thread.
    pub(crate) fn go_back_if_not_taken(reason: &str) {
        if let Some(take_over) = &*lock(&WAITING) {
            take_over.go_back(reason);
        }
    }

    /// The same, on any thread.
    pub(crate) fn go_back(reason: String) {
        let (done, back) = sync_channel(1);
        let errand = move || {
            Self::go_back_if_not_taken(&reason);
            // Somebody waits for it.
            let _ = done.send(());
        };
        if Errands::may_execute() && Errands::find().is_ok_and(|first| first.send(errand).is_ok()) {
            // There is no answer if it succeeds, nor is anybody left who waits.
            let _ = back.recv();
        }
    }

    fn rehearsal(state: RawFd, answer: RawFd) -> Result<(), ArrivalError> {
        let (memory, answer) = (take_one(state)?, take_one(answer)?);
        let state = Box::new(State::read(&read_sealed(memory, LARGEST_BYTES)?)?);
        *lock(&REHEARSAL) = Some(Rehearsed { state, answer });
        Ok(())
    }

    fn take_over(state: RawFd, executable: Option<RawFd>) -> Result<(), ArrivalError> {
        let executable = executable.map(take_one).transpose()?;
        let left = Left { memory: take_one(state)?, executable };
        let failure = left.failure();
        let mut descriptors = Descriptors::none(left.originals());
        match left.unpack(&mut descriptors) {
            Ok(state) => {
                if failure.is_some() {
                    name_after(&state);
                }
                let take_over = TakeOver { state, descriptors, failure, left };
                *lock(&WAITING) = Some(Box::new(take_over));
                Ok(())
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

    fn originals(&self) -> Originals {
        match self.executable {
            Some(_) => Originals::Stay,
            None => Originals::Go,
        }
    }

    fn unpack(&self, descriptors: &mut Descriptors) -> Result<State, ArrivalError> {
        let state = State::read(&read_sealed(&self.memory, LARGEST_BYTES)?)?;
        for Descriptor(number) in &state.descriptors {
            descriptors.open.insert(*number, take_one(*number)?);
        }
        Ok(state)
    }

    /// Executes the image before this one, with the arguments it had if they are known. Returns
    /// if there is none, or that fails.
    fn go_back(&self, args: Option<Vec<OsString>>, descriptors: &Descriptors, reason: &str) {
        let Some(executable) = &self.executable else { return };
        let path = PathBuf::from(format!("/proc/self/fd/{}", executable.as_raw_fd()));
        let order = Order::Return { state: self.memory.as_raw_fd() };
        // Whoever was started with sockets still has them, wherever they have got to here.
        let inherited = InheritedFds::taken();
        let kept = descriptors.all().chain([self.memory.as_fd()]).chain(inherited.all());
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

fn lock<T>(shared: &'static Mutex<T>) -> MutexGuard<'static, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors(originals: Originals) -> (Descriptors, Descriptor) {
        let (reader, _) = io::pipe().unwrap();
        let number = reader.as_raw_fd();
        let open = BTreeMap::from([(number, OwnedFd::from(reader))]);
        (Descriptors { open, ..Descriptors::none(originals) }, Descriptor(number))
    }

    #[test]
    fn what_is_taken_stays_while_there_is_a_way_back() {
        let (mut descriptors, named) = descriptors(Originals::Stay);
        assert_ne!(descriptors.take(named).unwrap().as_raw_fd(), named.0);
        assert_eq!(descriptors.all().count(), 1);
    }

    #[test]
    fn what_is_taken_is_the_original_if_there_is_none() {
        let (mut descriptors, named) = descriptors(Originals::Go);
        assert_eq!(descriptors.take(named).unwrap().as_raw_fd(), named.0);
        assert!(descriptors.take(named).is_err());
    }
}
