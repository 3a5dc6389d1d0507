//! What can be asked of a running primary.

use std::convert::Infallible;
use std::io;
use std::num::NonZeroUsize;

use forkyard_core::{Admission, Denied, Generation, Request, Role, Scaled, SlotId, Stage};
use forkyard_ipc::Value;
use forkyard_sys::process::Signal;
use tokio::sync::{mpsc, oneshot};

use crate::event::{ListenerInfo, WorkerStatus};
use crate::listen::{BindError, ListenAddress};
use crate::primary::upgrade::UpgradeFailure;
use crate::primary::{Command, Handle, Mail, UpgradeRefusal, Wanted};
use crate::roll::{RollPlan, RollTicket};

/// The longest note to the next image, in bytes.
const LONGEST_NOTE: usize = 64 * 1024;

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
    /// An upgrade came to nothing, as
    /// [`Event::UpgradeFailed`](crate::Event::UpgradeFailed) has told.
    #[error("failed to upgrade: {0}")]
    UpgradeFailed(UpgradeFailure),
    /// The system or the worker would not.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// Asks things of a running primary. Cheap to clone; holding one keeps nothing alive.
#[derive(Clone, Debug)]
pub struct ClusterHandle {
    pub(super) mail: mpsc::Sender<Mail>,
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

    /// Adds so many slots at a stroke, each as by [`fork`](Self::fork). So an app that is started
    /// this way is not [ready](crate::Event::AppReady) before all of them are.
    ///
    /// # Errors
    ///
    /// If the app is stopping, a roll is under way, or there would be more slots than there can
    /// be. None is added then.
    pub async fn fork_many(&self, count: NonZeroUsize) -> Result<Vec<SlotId>, RequestError> {
        let answer = self.ask(|answer| Command::Fork(count, answer)).await?;
        answer.map_err(RequestError::Denied)
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

    /// Keeps so many workers from now on, spares not counted: adds slots as by
    /// [`fork`](Self::fork), or takes the highest away as by [`retire`](Self::retire). Returns when
    /// that has begun; that the new ones are ready is told by events.
    ///
    /// # Errors
    ///
    /// If the app is stopping, a roll is under way, or there would be more slots than there can
    /// be. Nothing is done then.
    pub async fn scale(&self, workers: NonZeroUsize) -> Result<Scaled, RequestError> {
        let answer = self.ask(|answer| Command::Scale(workers, answer)).await?;
        answer.map_err(RequestError::Denied)
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

    /// The workers that exist now, successors and those that are leaving among them.
    ///
    /// # Errors
    ///
    /// If the primary has ended.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>, RequestError> {
        self.ask(Command::Workers).await
    }

    /// Whether the app has got ready, as [`Event::AppReady`](crate::Event::AppReady) tells. An
    /// upgrade of the primary changes nothing about it.
    ///
    /// # Errors
    ///
    /// If the primary has ended.
    pub async fn has_been_ready(&self) -> Result<bool, RequestError> {
        self.ask(Command::HasBeenReady).await
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

    /// What the next image of this program is to know if there is an upgrade, in place of what
    /// was said before: [`Cluster::note`](crate::Cluster::note) there. An image that has taken over leaves the note
    /// that it has found until it says something else.
    ///
    /// # Errors
    ///
    /// If the primary has ended, or the note is longer than 64 KiB.
    pub async fn leave_note(&self, note: Option<String>) -> Result<(), RequestError> {
        if note.as_ref().is_some_and(|note| note.len() > LONGEST_NOTE) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "the note is too long");
            return Err(RequestError::Failed(error));
        }
        self.ask(|answer| Command::Note(note, answer)).await
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
