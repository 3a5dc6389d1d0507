//! The loop around the core, and the state that it owns.
//!
//! ```text
//!   Mail, Arrival ──▶ incoming ──▶ Core ──▶ performing ──▶ channels, sockets, processes
//!   Command ────────▶ commands ─────▲            └───────▶ telling ──▶ events
//! ```

mod arriving;
mod attending;
mod checking;
mod commands;
mod counting;
mod departing;
mod incoming;
mod listening;
mod performing;
mod rescuing;
mod rolling;
mod telling;
mod upgrading;

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use forkyard_core::{Core, Input, LaneId, LaneView, ListenerId, Outcome, WorkerId};
use forkyard_ipc::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use super::announcer::Announcer;
use super::census::Census;
use super::channel::MessageTap;
use super::listeners::{Arrival, Connections, Listeners};
use super::lookout::Lookout;
use super::rest::RestSwitch;
use super::rolls::Rolls;
use super::seats::Seats;
use super::spawner::Spawner;
use super::starvation::Suspects;
use super::{Mail, PrimarySettings};
use crate::event::Event;
use crate::program::Program;
use upgrading::Upgrade;
pub(crate) use upgrading::{UpgradeAnswer, UpgradeRefusal};

/// Where the driver sends things.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) mail: mpsc::Sender<Mail>,
    pub(super) events: Announcer,
    pub(super) tap: MessageTap,
    pub(super) spawner: Spawner,
}

/// Where the driver's news comes from, besides listeners and the clock.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) inbox: mpsc::Receiver<Mail>,
    /// Ends when whoever started the primary lets go of it; then `None`.
    pub(super) owner: Option<oneshot::Receiver<Infallible>>,
}

impl Sources {
    fn poll_abandoned(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(owner) = &mut self.owner else { return Poll::Pending };
        let gone = Pin::new(owner).poll(cx).map(|_| ());
        if gone.is_ready() {
            self.owner = None;
        }
        gone
    }
}

/// How much mail is handled before connections get a turn.
const MAIL_IN_A_ROW: u32 = 64;

/// How many connections are accepted before those are written that go to workers. A worker
/// that is written to may take the core, so that is put off for a little.
const ACCEPTS_IN_A_ROW: u32 = 32;

/// What a worker asked, until it is answered.
#[derive(Debug)]
struct Question {
    address: String,
    data: Option<Value>,
}

/// What the loop woke up for.
#[derive(Debug)]
enum Wake {
    Mail(Mail),
    Arrival(Arrival),
    Deadline,
    /// It is time to look at the lanes.
    Look,
    /// Whoever started the primary has let go of it.
    Abandoned,
    /// Everything has come to rest for an upgrade.
    Quiet,
    /// Something does not come to rest.
    NotQuiet(&'static str),
}

/// Owns everything that belongs to one primary.
#[derive(Debug)]
pub(super) struct Driver {
    settings: PrimarySettings,
    outlets: Outlets,
    core: Core,
    seats: Seats,
    listeners: Listeners,
    lookout: Lookout,
    /// What a look at the lanes sees; empty otherwise.
    seen: Vec<(ListenerId, LaneId, LaneView)>,
    suspects: Suspects,
    connections: Connections,
    census: Census,
    questions: HashMap<(WorkerId, u64), Question>,
    /// Numbers connections and, from the same row, messages to workers, so that a reply
    /// names a connection and nothing else.
    next_number: u64,
    /// The last lines of the worker whose exit is being handled.
    stderr_tail: Vec<String>,
    rolls: Rolls,
    /// Mail handled since it was last looked for connections.
    mail_in_a_row: u32,
    /// Connections accepted since they were last written to workers.
    accepts_in_a_row: u32,
    /// Tells whoever attends to workers when to rest.
    rest: RestSwitch,
    upgrade: Upgrade,
    outcome: Option<Outcome>,
}

impl Driver {
    pub(super) fn new(settings: PrimarySettings, program: Program, outlets: Outlets) -> Self {
        Self::with(settings, Rolls::new(program), outlets)
    }

    fn with(settings: PrimarySettings, rolls: Rolls, outlets: Outlets) -> Self {
        Self {
            core: Core::new(settings.core.clone()),
            settings,
            outlets,
            seats: Seats::default(),
            listeners: Listeners::new(),
            lookout: Lookout::new(),
            seen: Vec::new(),
            suspects: Suspects::default(),
            connections: Connections::default(),
            census: Census::new(),
            questions: HashMap::new(),
            next_number: 0,
            stderr_tail: Vec::new(),
            rolls,
            mail_in_a_row: 0,
            accepts_in_a_row: 0,
            rest: RestSwitch::default(),
            upgrade: Upgrade::default(),
            outcome: None,
        }
    }

    /// Runs until the core is finished.
    pub(super) async fn run(mut self, mut sources: Sources) {
        let mut sleep = Box::pin(tokio::time::sleep_until(Instant::now().into()));
        while self.outcome.is_none() {
            self.set_alarm(sleep.as_mut());
            let wake = std::future::poll_fn(|cx| self.poll_wake(cx, &mut sources, sleep.as_mut()));
            match wake.await {
                Wake::Mail(mail) => self.handle_mail(mail),
                Wake::Arrival(arrival) => self.handle_arrival(arrival),
                Wake::Deadline => self.core.handle_timeout(Instant::now()),
                Wake::Look => self.look(),
                Wake::Abandoned => self.handle_abandoned(),
                Wake::NotQuiet(why) => self.go_on(why.into()),
                Wake::Quiet => {
                    let Some((driver, failure)) = self.depart().await else { return };
                    self = driver;
                    self.go_on(failure);
                }
            }
            self.perform_all();
            self.give_way_to_stop();
        }
        // With their sockets' files, before anybody learns that it is over.
        drop(self.listeners);
        if let Some(outcome) = self.outcome {
            self.outlets.events.announce(Event::Over(outcome));
        }
    }

    fn set_alarm(&self, sleep: Pin<&mut Sleep>) {
        let Some(deadline) = self.core.next_deadline() else { return };
        if sleep.deadline() != deadline.into() {
            sleep.reset(deadline.into());
        }
    }

    /// Mail first, as what workers say may make room for a connection; but neither mail nor
    /// connections keep the other, or the clock, waiting for long.
    fn poll_wake(
        &mut self,
        cx: &mut Context<'_>,
        sources: &mut Sources,
        sleep: Pin<&mut Sleep>,
    ) -> Poll<Wake> {
        if self.upgrade.is_pausing() {
            self.write_connections();
            return self.poll_pause(cx, sources);
        }
        if self.core.next_deadline().is_some() && sleep.poll(cx).is_ready() {
            return Poll::Ready(Wake::Deadline);
        }
        if sources.poll_abandoned(cx).is_ready() {
            return Poll::Ready(Wake::Abandoned);
        }
        if self.lookout.poll(cx).is_ready() {
            return Poll::Ready(Wake::Look);
        }
        if self.mail_in_a_row < MAIL_IN_A_ROW
            && let Poll::Ready(Some(mail)) = sources.inbox.poll_recv(cx)
        {
            self.mail_in_a_row += 1;
            return Poll::Ready(Wake::Mail(mail));
        }
        if self.accepts_in_a_row == ACCEPTS_IN_A_ROW {
            self.write_connections();
        }
        let patience_over = std::mem::take(&mut self.mail_in_a_row) == MAIL_IN_A_ROW;
        let (core, now) = (&self.core, Instant::now());
        let wanted = |id| core.has_capacity(now, id);
        if let Poll::Ready(arrival) = self.listeners.poll_accept(cx, wanted) {
            self.accepts_in_a_row += 1;
            return Poll::Ready(Wake::Arrival(arrival));
        }
        self.write_connections();
        self.seats.poll_blocked(cx, &self.connections);
        if patience_over {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn write_connections(&mut self) {
        self.accepts_in_a_row = 0;
        self.seats.flush_all(&self.connections);
    }

    fn input(&mut self, input: Input) {
        self.core.handle(Instant::now(), input);
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
