//! Starts a primary: first all that can fail, then the primary.
//!
//! ```text
//!   prepare ── threads, event queues, signals, what another image has left ──▶ Prepared
//!                                                                   begin │ │ dropped
//!                                            the driver is in its thread ◀┘ └▶ nothing
//! ```

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use tokio::runtime::{Handle, Runtime};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::announcer::Announcer;
use super::channel::MessageTap;
use super::driver::{Driver, Newcomer, Outlets, Sources};
use super::signals::{self, Signals};
use super::spawner::{Recipe, Spawner};
use super::upgrade::TakeOver;
use super::{Mail, PrimarySettings, SignalRule};
use crate::engine;
use crate::event::Event;
use crate::output::{Drained, Output, OutputPump};
use crate::program::Program;

/// How much mail may wait. Readers and the spawner wait when it is full; the driver never
/// sends to itself.
const MAILBOX: usize = 1024;

/// How many events a watcher may be behind before it loses the oldest.
const EVENTS: usize = 4096;

/// The way to a running primary.
#[derive(Debug)]
pub(crate) struct PrimaryHandle {
    pub(crate) mail: mpsc::Sender<Mail>,
    pub(crate) events: broadcast::Receiver<Arc<Event>>,
    pub(crate) tap: MessageTap,
    /// The end of the output thread, if there is one.
    pub(crate) drained: Option<Drained>,
    /// Dropped to have the app stopped.
    pub(crate) owner: oneshot::Sender<Infallible>,
}

/// What a primary begins with.
#[derive(Debug)]
pub(crate) enum Beginning<'a> {
    /// A program to start workers from.
    Afresh(Program),
    /// What another image has left.
    TakeOver(&'a mut TakeOver),
}

/// A primary that has only to begin, which cannot fail. If it is dropped instead, nothing has
/// happened.
#[derive(Debug)]
pub(crate) struct Prepared {
    driver: Ready,
    sources: Sources,
    handle: PrimaryHandle,
    thread: DriverThread,
}

#[derive(Debug)]
enum Ready {
    Afresh(Box<Driver>),
    TakeOver(Box<Newcomer>),
}

/// The thread that waits for its driver.
#[derive(Debug)]
struct DriverThread {
    runtime: Handle,
    work: SyncSender<(Box<Driver>, Sources)>,
}

/// Does all that can fail.
pub(crate) fn prepare(
    settings: PrimarySettings,
    output: Output,
    beginning: Beginning<'_>,
) -> io::Result<Prepared> {
    let (mail, inbox) = mpsc::channel(MAILBOX);
    let (events, watching) = Announcer::new(EVENTS);
    let tap = MessageTap::default();
    let (pump, drained) = match output {
        Output::Inherit => (None, None),
        Output::Lines(sink) => {
            let (pump, drained) = OutputPump::start(sink)?;
            (Some(pump), Some(drained))
        }
    };
    let thread = DriverThread::start()?;
    let _inside = thread.runtime.enter();
    if settings.signals == SignalRule::Stop {
        tokio::spawn(signals::stop_on_signals(Signals::listen()?, mail.clone()));
    }
    let spawner = Spawner::start(Recipe::new(&settings, pump), mail.clone())?;
    let (owner, lifeline) = oneshot::channel();
    let (mail_in, tap_in) = (mail.clone(), tap.clone());
    let handle = PrimaryHandle { mail: mail_in, events: watching, tap: tap_in, drained, owner };
    let sources = Sources { inbox, owner: Some(lifeline) };
    let outlets = Outlets { mail, events, tap, spawner };
    let driver = match beginning {
        Beginning::Afresh(program) => {
            Ready::Afresh(Box::new(Driver::new(settings, program, outlets)))
        }
        Beginning::TakeOver(left) => {
            Ready::TakeOver(Box::new(Newcomer::prepare(settings, outlets, left)?))
        }
    };
    Ok(Prepared { driver, sources, handle, thread })
}

impl Prepared {
    /// Begins, or takes over. Whoever has left something must not go on with it from now on.
    pub(crate) fn begin(self) -> PrimaryHandle {
        let _inside = self.thread.runtime.enter();
        let driver = match self.driver {
            Ready::Afresh(driver) => driver,
            Ready::TakeOver(newcomer) => Box::new(newcomer.take_over()),
        };
        if self.thread.work.send((driver, self.sources)).is_err() {
            // As it is noticed by whoever watches the events.
            tracing::error!("the primary's thread is gone");
        }
        self.handle
    }
}

impl DriverThread {
    fn start() -> io::Result<Self> {
        let (work, inbox) = sync_channel::<(Box<Driver>, Sources)>(1);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all();
        let runtime = engine::start("forkyard-primary", runtime, move |runtime| {
            if let Ok((driver, sources)) = inbox.recv() {
                drive(runtime, *driver, sources);
            }
        })?;
        Ok(Self { runtime, work })
    }
}

/// As a task, because mail wakes a task more cheaply than the runtime's own future;
/// unconstrained, because it sees to fairness between its sources itself.
fn drive(runtime: &Runtime, driver: Driver, sources: Sources) {
    // Workers have more to do than it has, so it does not interrupt them.
    if let Err(error) = forkyard_sys::process::wait_for_own_turn() {
        tracing::debug!(%error, "failed to set how the primary's thread is scheduled");
    }
    let driving = async { tokio::spawn(tokio::task::unconstrained(driver.run(sources))).await };
    if let Err(error) = runtime.block_on(driving) {
        tracing::error!(%error, "the primary failed");
    }
}
