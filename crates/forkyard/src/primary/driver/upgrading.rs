//! The upgrade as the driver sees it: see [`crate::primary::upgrade`] for the whole.
//!
//! ```text
//!   Idle ──▶ Rehearsing ──▶ Pausing ──▶ the driver departs
//!    ▲           │             │               │
//!    └───────────┴─────────────┴───────────────┘  failed: all goes on
//! ```

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use forkyard_core::WorkerId;
use forkyard_sys::image::FileIdentity;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::{Driver, Sources, Wake};
use crate::event::Event;
use crate::host::Errands;
use crate::output::Pipes;
use crate::primary::Mail;
use crate::primary::exit_watch::Unattended;
use crate::primary::upgrade::{Rehearsal, UpgradeFailure};

/// How long everything may take to come to rest. Mostly it takes a few milliseconds.
const REST_LIMIT: Duration = Duration::from_secs(2);
/// How soon it is looked again whether what nobody announces has come about.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Whoever asked for an upgrade. On success there is nobody left to be answered.
pub(crate) type UpgradeAnswer = oneshot::Sender<Result<Infallible, UpgradeRefusal>>;

/// Why an upgrade was not begun or came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UpgradeRefusal {
    /// It was not begun; no event tells of it.
    Denied(&'static str),
    /// It came to nothing, as an event has told.
    Failed(UpgradeFailure),
}

/// How far an upgrade is.
#[derive(Debug, Default)]
pub(super) enum Upgrade {
    #[default]
    Idle,
    /// The new program is being tried out.
    Rehearsing(Asked),
    /// Everybody comes to rest.
    Pausing(Box<Pausing>),
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    answer: UpgradeAnswer,
    pub(super) binary: PathBuf,
    /// Which file it is that is tried out.
    pub(super) file: FileIdentity,
}

#[derive(Debug)]
pub(super) struct Pausing {
    pub(super) asked: Asked,
    /// When it began, by the clock that all processes share.
    pub(super) since: Duration,
    until: Pin<Box<Sleep>>,
    look_again: Pin<Box<Sleep>>,
    pub(super) at_rest: AtRest,
    output: OutputRest,
    /// How many events whoever watches has handled.
    events_handled: u64,
}

/// What is held while nobody works on it.
#[derive(Debug, Default)]
pub(super) struct AtRest {
    pub(super) workers: BTreeMap<WorkerId, Unattended>,
    pub(super) output: Vec<Pipes>,
}

/// Whether the output thread is at rest.
#[derive(Debug)]
enum OutputRest {
    NotAsked,
    Asked(oneshot::Receiver<Vec<Pipes>>),
    AtRest,
}

impl Upgrade {
    pub(super) fn is_pausing(&self) -> bool {
        matches!(self, Self::Pausing(_))
    }
}

impl Driver {
    pub(super) fn begin_upgrade(&mut self, answer: UpgradeAnswer) {
        match self.rehearsal() {
            Ok((rehearsal, file)) => {
                let (binary, errands) = (rehearsal.binary.clone(), self.outlets.spawner.errands());
                self.upgrade = Upgrade::Rehearsing(Asked { answer, binary, file });
                let (mail, errands) = (self.outlets.mail.clone(), errands.clone());
                tokio::spawn(async move {
                    let result = rehearsal.run(&errands).await;
                    // A driver that is gone needs no mail.
                    let _ = mail.send(Mail::Rehearsed(result)).await;
                });
            }
            Err(refusal) => {
                if let UpgradeRefusal::Failed(failure) = &refusal {
                    self.tell_failure(failure.clone());
                }
                // Whoever asked may have stopped waiting.
                let _ = answer.send(Err(refusal));
            }
        }
    }

    /// What is to be tried out, if there may be an upgrade now.
    fn rehearsal(&self) -> Result<(Rehearsal, FileIdentity), UpgradeRefusal> {
        if !matches!(self.upgrade, Upgrade::Idle) {
            return Err(UpgradeRefusal::Denied("another upgrade is under way"));
        }
        if !Errands::may_execute() {
            let why = "the program does not lend its first thread; it takes forkyard::host";
            return Err(UpgradeRefusal::Denied(why));
        }
        if self.core.snapshot(Instant::now()).is_err() {
            return Err(UpgradeRefusal::Denied("the app is stopping"));
        }
        self.prepare_rehearsal().map_err(UpgradeRefusal::Failed)
    }

    fn prepare_rehearsal(&self) -> Result<(Rehearsal, FileIdentity), UpgradeFailure> {
        let binary = self.settings.binary.clone();
        let file = FileIdentity::of(&binary)
            .map_err(|error| format!("failed to find {}: {error}", binary.display()))?;
        let (state, _) = self.state(Duration::ZERO, &AtRest::default())?;
        let state = serde_json::to_vec(&state).map_err(|error| error.to_string())?;
        let grace = self.settings.upgrade_timeout;
        Ok((Rehearsal { binary, state, grace }, file))
    }

    pub(super) fn rehearsed(&mut self, result: Result<String, UpgradeFailure>) {
        let Upgrade::Rehearsing(asked) = std::mem::take(&mut self.upgrade) else { return };
        match result {
            Ok(version) => {
                tracing::debug!(version, "the new program is ready");
                self.pause(asked);
            }
            Err(failure) => self.upgrade_failed(asked, failure),
        }
    }

    fn pause(&mut self, asked: Asked) {
        self.rest.rest();
        let sleep = |time| Box::pin(tokio::time::sleep(time));
        self.upgrade = Upgrade::Pausing(Box::new(Pausing {
            asked,
            since: forkyard_sys::clock::monotonic(),
            until: sleep(REST_LIMIT),
            look_again: sleep(Duration::ZERO),
            at_rest: AtRest::default(),
            output: OutputRest::NotAsked,
            events_handled: 0,
        }));
        self.emit(Event::Upgrading);
    }

    /// A worker that nobody attends to any more.
    pub(super) fn unattended(&mut self, worker: WorkerId, unattended: Unattended) {
        match &mut self.upgrade {
            Upgrade::Pausing(pausing) => {
                pausing.at_rest.workers.insert(worker, unattended);
            }
            // It came to rest when it was over already.
            Upgrade::Idle | Upgrade::Rehearsing(_) => self.attend(worker, unattended),
        }
    }

    /// Whoever watches the events has handled so many.
    pub(super) fn events_handled(&mut self, count: u64) {
        if let Upgrade::Pausing(pausing) = &mut self.upgrade {
            pausing.events_handled = count;
        }
    }

    /// In a pause mail is still handled, as everybody who rests has something to say before.
    pub(super) fn poll_pause(&mut self, cx: &mut Context<'_>, sources: &mut Sources) -> Poll<Wake> {
        if sources.poll_abandoned(cx).is_ready() {
            return Poll::Ready(Wake::Abandoned);
        }
        if let Poll::Ready(Some(mail)) = sources.inbox.poll_recv(cx) {
            return Poll::Ready(Wake::Mail(mail));
        }
        let is_quiet = self.is_quiet(cx);
        let Upgrade::Pausing(pausing) = &mut self.upgrade else { return Poll::Pending };
        match is_quiet {
            Ok(()) => Poll::Ready(Wake::Quiet),
            Err(why) if pausing.until.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Wake::NotQuiet(why))
            }
            Err(_) => {
                pausing.look_again.as_mut().reset(tokio::time::Instant::now() + LOOK_AGAIN);
                // Only to be woken up by it.
                let _ = pausing.look_again.as_mut().poll(cx);
                Poll::Pending
            }
        }
    }

    /// Whether everything is at rest; else what is not.
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> Result<(), &'static str> {
        let Upgrade::Pausing(pausing) = &mut self.upgrade else { return Ok(()) };
        if self.seats.are_any_starting() {
            return Err("a worker is still being started");
        }
        let is_at_rest = |worker| pausing.at_rest.workers.contains_key(&worker);
        if !self.seats.started_workers().all(is_at_rest) {
            return Err("what a worker has sent is still being handled");
        }
        if !self.seats.all_started().all(|(.., running)| running.is_silent()) {
            return Err("a worker's word that it is ready is still being handled");
        }
        if !self.outlets.tap.is_drained() {
            return Err("messages from workers have not been fetched");
        }
        if pausing.poll_output(cx, self.outlets.spawner.output()).is_pending() {
            return Err("nobody reads what the workers have written");
        }
        if self.outlets.events.announced() != pausing.events_handled
            && self.outlets.events.is_watched()
        {
            return Err("whoever watches the events has not handled them");
        }
        Ok(())
    }

    /// The upgrade comes to nothing: everything goes on as it was.
    pub(super) fn go_on(&mut self, failure: UpgradeFailure) {
        let Upgrade::Pausing(pausing) = std::mem::take(&mut self.upgrade) else { return };
        let Pausing { asked, mut at_rest, output, .. } = *pausing;
        self.rest.go_on();
        if let OutputRest::Asked(mut answer) = output {
            // From here on nobody gives anything away, but it may have been done.
            answer.close();
            at_rest.output.extend(answer.try_recv().into_iter().flatten());
        }
        if let Some(pump) = self.outlets.spawner.output() {
            at_rest.output.into_iter().for_each(|pipes| pump.follow(pipes));
        }
        for (worker, unattended) in at_rest.workers {
            self.attend(worker, unattended);
        }
        // Also to those of whom the rest has not come to rest.
        self.seats.listen_again();
        self.upgrade_failed(asked, failure);
    }

    /// The operator wants it to stop, which outranks an upgrade.
    pub(super) fn give_way_to_stop(&mut self) {
        if self.upgrade.is_pausing() && self.core.snapshot(Instant::now()).is_err() {
            self.go_on("the app is being stopped".into());
        }
    }

    fn upgrade_failed(&mut self, asked: Asked, failure: UpgradeFailure) {
        self.tell_failure(failure.clone());
        // Whoever asked may have stopped waiting.
        let _ = asked.answer.send(Err(UpgradeRefusal::Failed(failure)));
    }

    pub(super) fn tell_failure(&self, failure: UpgradeFailure) {
        let UpgradeFailure { reason, stderr_tail } = failure;
        self.emit(Event::UpgradeFailed { reason, stderr_tail });
    }
}

impl Pausing {
    /// Asks the output thread to rest, once everybody else does: who is being started may
    /// still have pipes for it.
    fn poll_output(
        &mut self,
        cx: &mut Context<'_>,
        pump: Option<&crate::output::OutputPump>,
    ) -> Poll<()> {
        let Some(pump) = pump else { return Poll::Ready(()) };
        if matches!(self.output, OutputRest::NotAsked) {
            self.output = OutputRest::Asked(pump.rest());
        }
        if let OutputRest::Asked(answer) = &mut self.output {
            match Pin::new(answer).poll(cx) {
                Poll::Ready(Ok(pipes)) => {
                    self.at_rest.output = pipes;
                    self.output = OutputRest::AtRest;
                }
                Poll::Ready(Err(_)) => self.output = OutputRest::NotAsked,
                Poll::Pending => {}
            }
        }
        match self.output {
            OutputRest::AtRest => Poll::Ready(()),
            OutputRest::NotAsked | OutputRest::Asked(_) => Poll::Pending,
        }
    }
}
