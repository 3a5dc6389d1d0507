//! How a cluster is set up, and started.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forkyard_core::{CheckRule, IdleRule, ReadyRule};
use forkyard_ipc::Dialect;
use forkyard_sys::inherited::InheritedFds;
use forkyard_sys::process::Signal;

use super::{Cluster, Origin};
use crate::RestartSettings;
use crate::activation::ActivatedSockets;
use crate::event::Policy;
use crate::output::Output;
use crate::primary::upgrade::{Arrival, TakeOver, Waiting};
use crate::primary::{
    self, Beginning, CheckSettings, DrainSettings, NotifyDirs, Pinning, PolicyRule,
    PrimarySettings, SignalRule,
};
use crate::program::Program;

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
    activated: ActivatedSockets,
    notify: NotifyDirs,
    nofile_soft: Option<u64>,
    pinning: Pinning,
    upgrade_timeout: Duration,
}

impl ClusterBuilder {
    pub(super) fn new() -> Self {
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
            activated: ActivatedSockets::default(),
            notify: NotifyDirs::default(),
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

    /// What makes a worker ready, and above all a successor. That it listens, by default.
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

    /// Sockets that are served in place of what has the same address, be it a worker or the app
    /// itself that asks for that ([`ActivatedSockets::find`]). They are looked for among those of
    /// [`inherited`](Self::inherited). None by default.
    #[must_use]
    pub fn activated(mut self, sockets: ActivatedSockets) -> Self {
        self.activated = sockets;
        self
    }

    /// A folder for the files of the workers' notification sockets (`NOTIFY_SOCKET`), which is
    /// made if it is missing, for this user alone. Who gets at it can send to a socket, but is
    /// believed only if it is the worker's user, this one or root. By default the sockets are
    /// abstract ones, which some programs do not know; so they are where there can be no file.
    #[must_use]
    pub fn notify_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.notify.own = Some(dir.into());
        self
    }

    /// The same for workers that run as another user
    /// ([`Program::user`](crate::Program::user)): a folder that everybody may enter, and only this
    /// user change.
    #[must_use]
    pub fn visible_notify_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.notify.visible = Some(dir.into());
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
    /// ([`ClusterHandle::upgrade`](crate::ClusterHandle::upgrade)). 10 s by default.
    #[must_use]
    pub fn upgrade_timeout(mut self, limit: Duration) -> Self {
        self.upgrade_timeout = limit;
        self
    }

    /// Starts the primary, without any worker yet; or, in an image that was executed by an
    /// upgrade, takes over what the one before has left ([`Cluster::origin`]). Does not return
    /// in a rehearsal ([`is_rehearsal`](crate::is_rehearsal)).
    ///
    /// If taking over fails, the image before is executed again and goes on. Then this returns
    /// only if that fails too.
    ///
    /// # Errors
    ///
    /// If its threads cannot be started, or no program was named and this one's file is
    /// not known, or it cannot take over.
    pub fn start(self) -> Result<Cluster, StartError> {
        match Arrival::find() {
            Ok(Arrival::Fresh) => self.begin(),
            Ok(Arrival::Rehearsal(rehearsed)) => primary::upgrade::rehearse(&self.core, rehearsed),
            Ok(Arrival::TakeOver(waiting)) => self.take_over(waiting).inspect_err(|error| {
                Arrival::go_back(format!("the new program could not start: {}", in_full(error)));
            }),
            Err(error) => Err(StartError::TakeOver { reason: error.to_string() }),
        }
    }

    fn begin(self) -> Result<Cluster, StartError> {
        let (settings, program, output) = self.settings(None)?;
        let program = program.map_or_else(Program::itself, Ok).map_err(itself)?;
        let prepared = primary::prepare(settings, output, Beginning::Afresh(program));
        Ok(Cluster::of(prepared.map_err(StartError::Threads)?.begin(), Origin::Fresh))
    }

    fn take_over(self, mut waiting: Waiting) -> Result<Cluster, StartError> {
        let Some(left) = waiting.left() else { return self.begin() };
        let origin = Origin::TakenOver { rolling: left.state.core.rolling() };
        let note = left.state.note.clone();
        let (settings, _, output) = self.settings(Some(left))?;
        let prepared = primary::prepare(settings, output, Beginning::TakeOver(left));
        let prepared = prepared.map_err(StartError::Threads)?;
        waiting.taken();
        Ok(Cluster { note, ..Cluster::of(prepared.begin(), origin) })
    }

    /// What has been left is gone on with, whatever this program would choose.
    pub(crate) fn settings(
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
            activated: self.activated,
            notify: self.notify,
            pinning: self.pinning,
            nofile_soft: left.map_or(self.nofile_soft, |left| left.state.nofile_soft),
            binary,
            upgrade_timeout: self.upgrade_timeout,
        };
        Ok((settings, self.program, self.output))
    }
}

/// With its causes.
fn in_full(error: &StartError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
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
