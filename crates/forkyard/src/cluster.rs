//! The primary side: a cluster, how it is set up, and what can be asked of it.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use forkyard_core::{
    Admission, CheckRule, Denied, Generation, IdleRule, ReadyRule, Request, Role, SlotId, Stage,
};
use forkyard_ipc::{Dialect, Value};
use forkyard_sys::inherited::InheritedFds;
use forkyard_sys::process::Signal;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::RestartSettings;
use crate::event::{Event, ListenerInfo, Policy, WorkerInfo};
use crate::listen::{BindError, ListenAddress};
use crate::output::{Drained, Output};
use crate::primary::upgrade::{Arrival, TakeOver, UpgradeFailure};
use crate::primary::{
    self, Beginning, CheckSettings, Command, DrainSettings, Handle, Mail, Pinning, PolicyRule,
    PrimaryHandle, PrimarySettings, ReceivedMessage, SignalRule, UpgradeRefusal, Wanted,
};
use crate::program::Program;
use crate::roll::{RollPlan, RollReason, RollTicket};

/// How many messages from workers may wait to be fetched.
const MESSAGES: usize = 1024;
/// How long a new program may take by default to get ready.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest message that a worker may send by default.
const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;

/// Why a cluster could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system does not say which program this is.
    #[error("failed to find this program's own file; name one with ClusterBuilder::program")]
    Itself(#[source] io::Error),
    /// The program was started to take over from a running one, and cannot.
    #[error("failed to take over: {reason}")]
    TakeOver {
        /// Why.
        reason: String,
    },
    /// A thread or its event queue could not be made.
    #[error("failed to start the primary's threads")]
    Threads(#[source] io::Error),
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// An address is not served.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The primary said no.
    #[error("{0}")]
    Denied(Denied),
    /// The primary has ended.
    #[error("the primary has ended")]
    Ended,
    /// The primary cannot be upgraded, or not now. No event tells of it.
    #[error("failed to upgrade: {reason}")]
    NotUpgraded {
        /// Why.
        reason: &'static str,
    },
    /// An upgrade came to nothing, as [`Event::UpgradeFailed`] has told.
    #[error("failed to upgrade: {0}")]
    UpgradeFailed(UpgradeFailure),
    /// The system or the worker would not.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// Sets up a [`Cluster`]. Everything has a sensible value beforehand.
#[derive(Debug)]
pub struct ClusterBuilder {
    program: Option<Program>,
    output: Output,
    core: forkyard_core::Settings,
    policies: Vec<PolicyRule>,
    dialect: Dialect,
    stop_signal: Signal,
    drain: DrainSettings,
    check: Option<CheckSettings>,
    message_limit: usize,
    signals: SignalRule,
    inherited: Arc<InheritedFds>,
    nofile_soft: Option<u64>,
    pinning: Pinning,
    upgrade_timeout: Duration,
}

impl ClusterBuilder {
    fn new() -> Self {
        Self {
            program: None,
            output: Output::Inherit,
            core: forkyard_core::Settings { seed: seed(), ..Default::default() },
            policies: Vec::new(),
            dialect: Dialect::Json,
            stop_signal: Signal::TERM,
            drain: DrainSettings::default(),
            check: None,
            message_limit: MESSAGE_LIMIT,
            signals: SignalRule::LeaveAlone,
            inherited: Arc::new(InheritedFds::none()),
            nofile_soft: None,
            pinning: Pinning::Free,
            upgrade_timeout: UPGRADE_TIMEOUT,
        }
    }

    /// What the workers run. By default this very program with its own arguments.
    #[must_use]
    pub fn program(mut self, program: Program) -> Self {
        self.program = Some(program);
        self
    }

    /// Where workers' output goes. By default to this process's own.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// How connections reach the workers, for every listener that no
    /// [`policy_rule`](Self::policy_rule) names. By default [`Policy::Auto`].
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        self.policy_rule(PolicyRule { listener: None, policy })
    }

    /// How connections of one listener reach the workers. A later rule outranks an earlier
    /// one.
    #[must_use]
    pub fn policy_rule(mut self, rule: PolicyRule) -> Self {
        self.policies.push(rule);
        self
    }

    /// How messages to and from workers are written; see Node's `serialization`.
    #[must_use]
    pub fn serialization(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// How workers that end are replaced.
    #[must_use]
    pub fn restart(mut self, settings: RestartSettings) -> Self {
        self.core.supervise.restart = settings;
        self
    }

    /// What happens when every slot is done. By default somebody may fork again.
    #[must_use]
    pub fn when_idle(mut self, rule: IdleRule) -> Self {
        self.core.supervise.when_idle = rule;
        self
    }

    /// A worker that does not listen within this time is ended and counts as crashed. By
    /// default a worker need not listen at all.
    #[must_use]
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.core.supervise.start_timeout = Some(limit);
        self
    }

    /// What makes a successor ready. That it listens, by default.
    #[must_use]
    pub fn ready(mut self, rule: ReadyRule) -> Self {
        self.core.supervise.ready = rule;
        self
    }

    /// How long a successor may take to be ready and to pass its check; then the roll has
    /// failed. 30 s by default.
    #[must_use]
    pub fn ready_timeout(mut self, limit: Duration) -> Self {
        self.core.supervise.ready_timeout = limit;
        self
    }

    /// How long a successor has to stay up, once it is ready, before it gets the seat. 20 ms
    /// by default.
    #[must_use]
    pub fn settle(mut self, time: Duration) -> Self {
        self.core.supervise.settle = time;
        self
    }

    /// Has every successor answer an HTTP request before it settles, on a connection that is
    /// made for it and that only this worker gets.
    #[must_use]
    pub fn check(mut self, settings: CheckSettings) -> Self {
        self.core.supervise.check = CheckRule::Ask;
        self.check = Some(settings);
        self
    }

    /// How long a worker's idle connections are served and told to close, once it is asked to
    /// leave, before they are closed. Needs an agent in the worker. 2 s by default.
    #[must_use]
    pub fn drain_grace(mut self, time: Duration) -> Self {
        self.drain.grace = time;
        self
    }

    /// A message that programs get when they are asked to leave, in addition to
    /// `forkyard:drain`. PM2 sends `shutdown`.
    #[must_use]
    pub fn drain_message(mut self, message: impl Into<String>) -> Self {
        self.drain.messages.push(message.into());
        self
    }

    /// How long a worker that was asked to leave may take to finish what it has, before it
    /// gets its stop signal. 30 s by default.
    #[must_use]
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.core.supervise.drain_timeout = limit;
        self
    }

    /// How long a worker that got its stop signal may take before it is killed. 5 s by
    /// default.
    #[must_use]
    pub fn term_timeout(mut self, limit: Duration) -> Self {
        self.core.supervise.term_timeout = limit;
        self
    }

    /// The signal that asks a worker's process to end. `SIGTERM` by default.
    #[must_use]
    pub fn stop_signal(mut self, signal: Signal) -> Self {
        self.stop_signal = signal;
        self
    }

    /// Stops the app on SIGINT, SIGTERM and SIGHUP: the first asks workers to disconnect, the
    /// second sends them their stop signal, the third kills. Without this the signals do what
    /// this process has them do, which by default is to end it at once, and its workers too.
    #[must_use]
    pub fn stop_on_signals(mut self) -> Self {
        self.signals = SignalRule::Stop;
        self
    }

    /// The largest message in bytes that a worker may send; longer ones are dropped and
    /// reported. 16 MiB by default.
    #[must_use]
    pub fn message_limit(mut self, bytes: usize) -> Self {
        self.message_limit = bytes;
        self
    }

    /// Descriptors that this process was started with, for programs that listen on one of
    /// them (`listen({ fd })`). By default none is given away.
    #[must_use]
    pub fn inherited(mut self, descriptors: InheritedFds) -> Self {
        self.inherited = Arc::new(descriptors);
        self
    }

    /// The workers' soft limit of open files, if it is to differ from this process's.
    #[must_use]
    pub fn nofile_soft(mut self, limit: Option<u64>) -> Self {
        self.nofile_soft = limit;
        self
    }

    /// Has every worker run on one core: the slot's number picks it among those that this
    /// process may use. The primary itself is left alone. By default workers may run on all of
    /// them, and the system moves them to where there is room.
    #[must_use]
    pub fn pin_workers(mut self) -> Self {
        self.pinning = Pinning::CoreEach;
        self
    }

    /// How long a new program may take to get ready when the primary is upgraded
    /// ([`ClusterHandle::upgrade`]). 10 s by default.
    #[must_use]
    pub fn upgrade_timeout(mut self, limit: Duration) -> Self {
        self.upgrade_timeout = limit;
        self
    }

    /// Starts the primary, without any worker yet; or, in an image that was executed by an
    /// upgrade, takes over what the one before has left ([`Cluster::origin`]). Does not return
    /// in a rehearsal ([`is_rehearsal`](crate::is_rehearsal)).
    ///
    /// # Errors
    ///
    /// If its threads cannot be started, or no program was named and this one's file is
    /// not known, or it cannot take over.
    pub fn start(self) -> Result<Cluster, StartError> {
        let take_over = match Arrival::take() {
            Ok(Some(Arrival::TakeOver(take_over))) => Some(take_over),
            Ok(Some(Arrival::Rehearsal { state, answer })) => {
                primary::upgrade::rehearse(&self.core, *state, answer)
            }
            Ok(None) => None,
            Err(error) => return Err(StartError::TakeOver { reason: error.to_string() }),
        };
        let origin = take_over
            .as_ref()
            .map_or(Origin::Fresh, |left| Origin::TakenOver { rolling: left.state.core.rolling() });
        let (settings, program, output) = self.settings(take_over.as_deref())?;
        let beginning = match take_over {
            Some(left) => Beginning::TakeOver(left),
            None => Beginning::Afresh(program.map_or_else(Program::itself, Ok).map_err(itself)?),
        };
        let PrimaryHandle { mail, events, tap, drained, owner } =
            primary::start(settings, beginning, output).map_err(StartError::Threads)?;
        let handle = ClusterHandle { mail };
        let events = Watching { events, returned: 0, told: None };
        Ok(Cluster { handle, events, tap, drained, origin, _owner: owner })
    }

    /// What has been left is gone on with, whatever this program would choose.
    fn settings(
        self,
        left: Option<&TakeOver>,
    ) -> Result<(PrimarySettings, Option<Program>, Output), StartError> {
        let binary = match left {
            Some(left) => left.state.binary.clone().into(),
            None => forkyard_sys::image::own_path().map_err(itself)?,
        };
        let dialect = left.and_then(|left| left.state.dialect.parse().ok());
        let settings = PrimarySettings {
            core: self.core,
            policies: self.policies,
            dialect: dialect.unwrap_or(self.dialect),
            stop_signal: self.stop_signal,
            drain: self.drain,
            check: self.check,
            message_limit: self.message_limit,
            signals: self.signals,
            inherited: self.inherited,
            pinning: self.pinning,
            nofile_soft: left.map_or(self.nofile_soft, |left| left.state.nofile_soft),
            binary,
            upgrade_timeout: self.upgrade_timeout,
        };
        Ok((settings, self.program, self.output))
    }
}

fn itself(error: io::Error) -> StartError {
    StartError::Itself(error)
}

/// A number that differs from run to run, so that primaries that start together do not
/// restart their workers together.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// Where a cluster comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It has just been started, and has no worker yet.
    Fresh,
    /// It has been taken over from the image before, with all its slots and workers.
    TakenOver {
        /// What the roll that is under way is for, if one is.
        rolling: Option<RollReason>,
    },
}

/// Events as they come, and what has become of them.
#[derive(Debug)]
struct Watching {
    events: broadcast::Receiver<Event>,
    /// How many have been returned or lost. When the next one is asked for they have been
    /// handled.
    returned: u64,
    /// While an upgrade waits for it: how many have been told to be handled.
    told: Option<u64>,
}

impl Watching {
    async fn next(&mut self, mail: &mpsc::Sender<Mail>) -> Option<Event> {
        loop {
            self.tell(mail).await;
            match self.events.recv().await {
                Ok(event) => {
                    self.returned += 1;
                    match event {
                        Event::Upgrading => self.told = Some(0),
                        Event::UpgradeFailed { .. } => self.told = None,
                        _ => {}
                    }
                    return Some(event);
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    self.returned += missed;
                    tracing::warn!(missed, "events were read too slowly and lost");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Tells an upgrade that all events so far have been handled. May be dropped at any await.
    async fn tell(&mut self, mail: &mpsc::Sender<Mail>) {
        if self.told.is_some_and(|told| told != self.returned) {
            // A primary that has ended is noticed by the events.
            let _ = mail.send(Mail::EventsHandled(self.returned)).await;
            self.told = Some(self.returned);
        }
    }
}

/// A running primary.
///
/// Dropping it stops the app: workers get their stop signal and are killed if they do not
/// end in time. Nobody waits for that; [`stop`](ClusterHandle::stop) it and read events to
/// the end to do so.
pub struct Cluster {
    handle: ClusterHandle,
    events: Watching,
    tap: crate::primary::MessageTap,
    drained: Option<Drained>,
    origin: Origin,
    /// The primary stops the app when this is gone.
    _owner: oneshot::Sender<Infallible>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// Begins to set one up.
    #[must_use]
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::new()
    }

    /// A handle to ask things of the primary, which can be cloned and sent elsewhere.
    #[must_use]
    pub fn handle(&self) -> ClusterHandle {
        self.handle.clone()
    }

    /// Whether it has just been started, or taken over.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The next event; `None` once the primary has ended. A reader that falls thousands of
    /// events behind loses the oldest. Asking for the next event says that the ones before
    /// have been handled.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.events.next(&self.handle.mail).await
    }

    /// Waits until the cluster is over and all that its workers wrote has been passed on to
    /// the sink, if it goes to one ([`Output::Lines`]). A program that has such a sink waits
    /// for this before it ends; a sink that blocks for ever makes it wait as long.
    pub async fn output_drained(&self) {
        if let Some(drained) = self.drained.clone() {
            drained.wait().await;
        }
    }

    /// Lets messages that workers send be received. Without this they are dropped. A second
    /// call takes over from the first.
    ///
    /// At most a thousand wait; a worker that sends more is held up until they are fetched.
    #[must_use]
    pub fn messages(&self) -> Messages {
        let (sender, inbox) = mpsc::channel(MESSAGES);
        self.tap.open(sender);
        Messages { inbox }
    }

    /// Adds a slot and starts a worker in it. See [`ClusterHandle::fork`].
    ///
    /// # Errors
    ///
    /// If the app is stopping, a roll is under way, or there are as many slots as there can be.
    pub async fn fork(&self) -> Result<SlotId, RequestError> {
        self.handle.fork().await
    }

    /// Ends everything. See [`ClusterHandle::stop`].
    ///
    /// # Errors
    ///
    /// If the primary has ended.
    pub async fn stop(&self, stage: Stage) -> Result<(), RequestError> {
        self.handle.stop(stage).await
    }
}

/// Messages from workers.
#[derive(Debug)]
pub struct Messages {
    inbox: mpsc::Receiver<ReceivedMessage>,
}

impl Messages {
    /// The next message; `None` once the primary has ended or somebody else receives.
    pub async fn next(&mut self) -> Option<ReceivedMessage> {
        self.inbox.recv().await
    }
}

/// Asks things of a running primary. Cheap to clone; holding one keeps nothing alive.
#[derive(Clone, Debug)]
pub struct ClusterHandle {
    mail: mpsc::Sender<Mail>,
}

impl ClusterHandle {
    /// Listens on an address of the app's own, before its workers do: every worker that is
    /// started from then on inherits a listening socket of it, in the way of systemd
    /// (`LISTEN_FDS`; see `sd_listen_fds(3)`), in the order of these calls. It stays open until the
    /// app stops. For programs in any language; those that speak Node's protocol need not have it.
    ///
    /// Returns where it is bound and how its connections reach the workers, when that is done.
    ///
    /// # Errors
    ///
    /// If it cannot be bound, the app has it already, or is stopping.
    pub async fn listen(&self, address: ListenAddress) -> Result<ListenerInfo, RequestError> {
        Ok(self.ask(|answer| Command::Listen(address, answer)).await??)
    }

    /// Adds a slot and starts a worker in it. The slot keeps a worker from then on, as the
    /// restart settings say.
    ///
    /// # Errors
    ///
    /// If the app is stopping, a roll is under way, or there are as many slots as there can be.
    pub async fn fork(&self) -> Result<SlotId, RequestError> {
        self.fork_as(Role::Serving).await
    }

    /// Adds a slot with a spare in it: a worker that is booted up to its `listen()` call and
    /// held there. When a worker that serves has ended, a spare takes its part at once, and
    /// the slot that has become empty gets the next spare.
    ///
    /// # Errors
    ///
    /// As [`fork`](Self::fork).
    pub async fn fork_spare(&self) -> Result<SlotId, RequestError> {
        self.fork_as(Role::Spare).await
    }

    async fn fork_as(&self, role: Role) -> Result<SlotId, RequestError> {
        match self.request(Request::Fork(role)).await? {
            Admission::Forked(slot) => Ok(slot),
            Admission::Denied(denied) => Err(RequestError::Denied(denied)),
            Admission::Accepted | Admission::AlreadySo => Err(RequestError::Ended),
        }
    }

    /// Asks the worker in this slot to disconnect, and takes the slot away. Returns when
    /// that has begun; the end is an event.
    ///
    /// # Errors
    ///
    /// If there is no such slot, the app is stopping, or a roll is under way.
    pub async fn retire(&self, slot: SlotId) -> Result<(), RequestError> {
        admitted(self.request(Request::Retire(slot)).await?)
    }

    /// Replaces all workers by those of the next generation, slot by slot: starts a
    /// successor, waits until it is ready, gives it the seat, lets its predecessor finish what
    /// it has, and goes on. If a successor is no good, all is as it was.
    ///
    /// Returns when that has been accepted; the ticket tells the end.
    ///
    /// # Errors
    ///
    /// If the app is stopping, there would be too many slots, or another roll is under way and
    /// the plan says not to wait (or too many wait already).
    pub async fn roll(&self, plan: RollPlan) -> Result<RollTicket, RequestError> {
        let answer = self.ask(|answer| Command::Roll(Wanted::All(plan), answer)).await?;
        answer.map_err(RequestError::Denied)
    }

    /// Replaces the worker in this slot by another one of the same generation: the successor
    /// first, as in a roll. Waits for a roll that is under way.
    ///
    /// # Errors
    ///
    /// If the app is stopping, there is no such slot, or too many rolls wait already.
    pub async fn restart(&self, slot: SlotId) -> Result<RollTicket, RequestError> {
        let answer = self.ask(|answer| Command::Roll(Wanted::One(slot), answer)).await?;
        answer.map_err(RequestError::Denied)
    }

    /// Ends everything, beginning with this step; every worker that takes too long gets the
    /// next one. Asking again with a more severe step hurries. Returns when that has begun;
    /// the end is an event.
    ///
    /// # Errors
    ///
    /// If the primary has ended.
    pub async fn stop(&self, stage: Stage) -> Result<(), RequestError> {
        admitted(self.request(Request::Stop(stage)).await?)
    }

    /// Sends a signal to the worker in this slot.
    ///
    /// # Errors
    ///
    /// If there is none, or the system does not allow it.
    pub async fn signal(&self, slot: SlotId, signal: Signal) -> Result<(), RequestError> {
        Ok(self.ask(|answer| Command::Signal(slot, signal, answer)).await??)
    }

    /// Sends a message to the worker in this slot, which gets it as `process.on('message')`.
    ///
    /// # Errors
    ///
    /// If there is none, if the message cannot be written in the serialization in force,
    /// or if the worker has left 64 MiB unread.
    pub async fn send(&self, slot: SlotId, message: Value) -> Result<(), RequestError> {
        Ok(self.ask(|answer| Command::Send(slot, message, None, answer)).await??)
    }

    /// Sends a message with a descriptor. It becomes nonblocking, as Node expects.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and `InvalidInput` for a descriptor that is not a socket of
    /// the kind named: Node would abort over it.
    pub async fn send_handle(
        &self,
        slot: SlotId,
        message: Value,
        handle: Handle,
    ) -> Result<(), RequestError> {
        handle.check()?;
        let handle = Some(handle);
        Ok(self.ask(|answer| Command::Send(slot, message, handle, answer)).await??)
    }

    /// The workers that exist now.
    ///
    /// # Errors
    ///
    /// If the primary has ended.
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, RequestError> {
        self.ask(Command::Workers).await
    }

    /// The generation that serves; the one before while a roll is under way.
    ///
    /// # Errors
    ///
    /// If the primary has ended.
    pub async fn generation(&self) -> Result<Generation, RequestError> {
        self.ask(Command::Generation).await
    }

    /// The addresses that are bound now, with the policy in force for each.
    ///
    /// # Errors
    ///
    /// If the primary has ended.
    pub async fn listeners(&self) -> Result<Vec<ListenerInfo>, RequestError> {
        self.ask(Command::Listeners).await
    }

    /// Has this process execute the program that is on disk now, which goes on with the same
    /// process number, workers, channels and sockets; neither workers nor clients notice. Does
    /// not return if that succeeds: this image of the program is gone then. What else the
    /// program holds is lost with it.
    ///
    /// The new program is tried out first, while everything goes on. It is found by the path by
    /// which this one was started, and gets the same arguments and environment.
    ///
    /// # Errors
    ///
    /// If the program does not lend its first thread ([`host`](crate::host)), if the app is
    /// stopping, if another upgrade is under way, if the new program cannot take over or takes
    /// too long to say that it can, or if events or messages are not fetched. All goes on as it
    /// was.
    pub async fn upgrade(&self) -> Result<Infallible, RequestError> {
        let result = self.ask(Command::Upgrade).await?;
        result.map_err(|refusal| match refusal {
            UpgradeRefusal::Denied(reason) => RequestError::NotUpgraded { reason },
            UpgradeRefusal::Failed(failure) => RequestError::UpgradeFailed(failure),
        })
    }

    async fn request(&self, request: Request) -> Result<Admission, RequestError> {
        self.ask(|answer| Command::Request(request, answer)).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, RequestError> {
        let (answer, answered) = oneshot::channel();
        let mail = Mail::Command(command(answer));
        self.mail.send(mail).await.map_err(|_| RequestError::Ended)?;
        answered.await.map_err(|_| RequestError::Ended)
    }
}

fn admitted(admission: Admission) -> Result<(), RequestError> {
    match admission {
        Admission::Denied(denied) => Err(RequestError::Denied(denied)),
        Admission::Accepted | Admission::AlreadySo | Admission::Forked(_) => Ok(()),
    }
}
