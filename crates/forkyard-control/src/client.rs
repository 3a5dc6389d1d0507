//! The other side: finds running primaries and asks them for things.

mod error;
mod events;
mod exchange;
mod find;
mod stream;

use std::num::NonZeroU32;
use std::time::Duration;

use forkyard_sys::process;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

pub use error::ClientError;
pub use events::{Ending, Events, Heard};
pub use find::{Found, find};

use crate::types::{
    FlushReply, ReloadState, RestartRequest, ScaleRequest, Secrets, SignalReply, SignalRequest,
    Stage, Status, StopReply, StopRequest, Update, UpgradeOutcome,
};
use exchange::Ask;
use find::{BETWEEN_IMAGES, LOOK_AGAIN, connect};
use stream::Stream;

/// How long the next image of a primary may take to be there.
const NEXT_IMAGE: Duration = Duration::from_secs(10);
/// How soon it is looked again how a reload goes that nobody tells of any more.
const WATCH_AGAIN: Duration = Duration::from_millis(200);

/// Asks one primary.
#[derive(Clone, Debug)]
pub struct Client {
    primary: Found,
}

impl Client {
    /// For that primary.
    #[must_use]
    pub fn of(primary: Found) -> Self {
        Self { primary }
    }

    /// Whom it asks.
    #[must_use]
    pub fn primary(&self) -> &Found {
        &self.primary
    }

    /// How things are.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn status(&self) -> Result<Status, ClientError> {
        Ask::get("/v1/status").reply(&self.primary).await
    }

    /// How things are, and what happens from then on, through upgrades of the primary.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::of(self.primary.clone())
    }

    /// Has it reload, and follows that to its end, through upgrades of the primary. Returns the
    /// last update, which is the outcome; `heard` gets those before it.
    ///
    /// # Errors
    ///
    /// If it does not answer, is gone before it has told the outcome, or was upgraded before it
    /// had begun.
    pub async fn reload(&self, heard: impl FnMut(&Update)) -> Result<Update, ClientError> {
        self.replace(&Ask::post("/v1/reload"), heard).await
    }

    /// Has it replace the worker in a slot, or every slot's, by another one of the same program,
    /// and follows that as [`reload`](Self::reload) does.
    ///
    /// # Errors
    ///
    /// As [`reload`](Self::reload).
    pub async fn restart(
        &self,
        slot: Option<u32>,
        heard: impl FnMut(&Update),
    ) -> Result<Update, ClientError> {
        self.replace(&Ask::post("/v1/restart").with(&RestartRequest { slot }), heard).await
    }

    /// Has it keep so many workers, and follows that until the new ones are ready or the others
    /// have been asked to leave. Returns the last update, which is the outcome; `heard` gets those
    /// before it.
    ///
    /// # Errors
    ///
    /// If it does not answer, or is gone before it has told the outcome.
    pub async fn scale(
        &self,
        workers: NonZeroU32,
        mut heard: impl FnMut(&Update),
    ) -> Result<Update, ClientError> {
        let ask = Ask::post("/v1/scale").with(&ScaleRequest { workers: workers.get() });
        loop {
            match self.follow(&ask, &mut heard).await {
                Ok(Some(outcome)) => return Ok(outcome),
                // The connection was not to outlive the image, and asking twice does no harm.
                Ok(None) | Err(ClientError::Ended { .. }) if self.may_go_on() => {
                    heard(&upgraded_meanwhile("what was asked for is asked for again"));
                    sleep(WATCH_AGAIN).await;
                }
                Ok(None) => return Err(self.ended()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Has it execute the version of its program that is on disk now, and waits until that
    /// serves. `heard` gets what is told meanwhile.
    ///
    /// # Errors
    ///
    /// If it does not answer, or ends.
    pub async fn upgrade(&self, heard: impl FnMut(&Update)) -> Result<UpgradeOutcome, ClientError> {
        let told = match self.follow(&Ask::post("/v1/upgrade"), heard).await {
            // The connection was not to outlive the image.
            Err(ClientError::Ended { .. }) => None,
            told => told?,
        };
        match told {
            Some(Update::Failed { reason, stderr_tail, .. }) => {
                Ok(UpgradeOutcome::Failed { reason, stderr_tail })
            }
            Some(Update::Refused { reason }) => {
                Ok(UpgradeOutcome::Failed { reason, stderr_tail: Vec::new() })
            }
            Some(other) => Err(ClientError::Nonsense(format!("{other:?} ends no upgrade"))),
            None => self.next_image().await.ok_or_else(|| self.ended()),
        }
    }

    /// Begins to stop the app, or hurries. Returns when that has begun; [`ending`](Self::ending),
    /// asked for before, tells the end.
    ///
    /// # Errors
    ///
    /// If it does not answer. If it says that it is stopping, that is [`ClientError::Denied`].
    pub async fn stop(&self, stage: Stage) -> Result<StopReply, ClientError> {
        let ask = Ask::post("/v1/stop").with(&StopRequest { stage });
        match ask.reply(&self.primary).await {
            // It was just upgraded, and asking twice does no harm.
            Err(ClientError::Ended { .. }) if self.may_go_on() => ask.reply(&self.primary).await,
            told => told,
        }
    }

    /// Watches the primary's process, so that its end is noticed whatever its number means by
    /// then. To be called before the app is stopped, if it is to be waited for.
    ///
    /// # Errors
    ///
    /// If it is not there, or the process cannot be watched.
    pub async fn ending(&self) -> Result<Ending, ClientError> {
        let Found { pid, path, .. } = &self.primary;
        let ending = Ending::of(*pid).map_err(|source| ClientError::Watch { pid: *pid, source })?;
        // It listens there, so the number has been its own all the time.
        let stream = connect(path, *pid, Instant::now() + BETWEEN_IMAGES).await;
        match stream.and_then(|stream| stream.peer_cred()) {
            Ok(peer) if peer.pid().and_then(|peer| u32::try_from(peer).ok()) == Some(*pid) => {
                Ok(ending)
            }
            Ok(_) => Err(self.ended()),
            Err(source) => Err(ClientError::Connect { path: path.clone(), source }),
        }
    }

    /// Sends a signal to the worker in a slot, or to every slot's.
    ///
    /// # Errors
    ///
    /// If there is no such signal or slot, or it does not answer.
    pub async fn signal(
        &self,
        signal: &str,
        slot: Option<u32>,
    ) -> Result<SignalReply, ClientError> {
        let request = SignalRequest { signal: signal.to_owned(), slot };
        Ask::post("/v1/signal").with(&request).reply(&self.primary).await
    }

    /// Has it empty the app's log files.
    ///
    /// # Errors
    ///
    /// If there are none, or it does not answer.
    pub async fn flush_logs(&self) -> Result<FlushReply, ClientError> {
        Ask::post("/v1/logs/flush").reply(&self.primary).await
    }

    /// The settings in force.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn settings(&self, secrets: Secrets) -> Result<Value, ClientError> {
        let path = match secrets {
            Secrets::Show => "/v1/settings?secrets=show",
            Secrets::Hide => "/v1/settings?secrets=hide",
        };
        Ask::get(path).reply(&self.primary).await
    }

    async fn replace(
        &self,
        ask: &Ask,
        mut heard: impl FnMut(&Update),
    ) -> Result<Update, ClientError> {
        match self.follow(ask, &mut heard).await {
            Ok(Some(outcome)) => Ok(outcome),
            // The connection was not to outlive the image.
            Ok(None) | Err(ClientError::Ended { .. }) => self.replaced_afterwards(heard).await,
            Err(error) => Err(error),
        }
    }

    /// How the reload or restart ends that an image before was asked for. Of those that are known
    /// there by then, it is the last.
    async fn replaced_afterwards(
        &self,
        mut heard: impl FnMut(&Update),
    ) -> Result<Update, ClientError> {
        let mut news = Some(upgraded_meanwhile("the reload goes on"));
        while self.next_image().await.is_some() {
            match self.status().await {
                Ok(Status { reload: Some(ReloadState::Over { outcome }), .. }) => {
                    return Ok(outcome);
                }
                Ok(Status { reload: None, .. }) => {
                    return Err(ClientError::NotBegun { pid: self.primary.pid });
                }
                Ok(_) => match Ask::get("/v1/reload").of(&self.primary).await {
                    Ok(answer) => {
                        news.take().iter().for_each(&mut heard);
                        // Without an outcome it is perhaps upgraded once more.
                        if let Some(outcome) = self.told_by(answer, &mut heard).await? {
                            return Ok(outcome);
                        }
                    }
                    Err(error) => tracing::debug!(%error, "failed to follow a reload"),
                },
                Err(error) => tracing::debug!(%error, "failed to ask the next image"),
            }
            sleep(WATCH_AGAIN).await;
        }
        Err(self.ended())
    }

    /// What the image says that has come after the one whose connection has ended. Nothing if
    /// there is none, because the primary has ended.
    async fn next_image(&self) -> Option<UpgradeOutcome> {
        let until = Instant::now() + NEXT_IMAGE;
        while self.may_go_on() && Instant::now() < until {
            if let Ok(Status { upgrade: Some(outcome), .. }) = self.status().await {
                return Some(outcome);
            }
            // Nobody announces it.
            sleep(LOOK_AGAIN).await;
        }
        None
    }

    /// Whether there may be another image after the one whose connection has ended.
    fn may_go_on(&self) -> bool {
        process::is_running(self.primary.pid)
    }

    fn ended(&self) -> ClientError {
        ClientError::Ended { pid: self.primary.pid }
    }

    /// Asks for something and follows it to the last update; nothing if the primary is gone
    /// before it.
    async fn follow(
        &self,
        ask: &Ask,
        heard: impl FnMut(&Update),
    ) -> Result<Option<Update>, ClientError> {
        self.told_by(ask.of(&self.primary).await?, heard).await
    }

    /// The last update of an answer, if it has one; `heard` gets those before it.
    async fn told_by(
        &self,
        answer: Response<Incoming>,
        mut heard: impl FnMut(&Update),
    ) -> Result<Option<Update>, ClientError> {
        let mut stream = Stream::of(answer, self.primary.pid)?;
        while let Some(message) = stream.next().await? {
            let update: Update = message.read()?;
            if update.is_last() {
                return Ok(Some(update));
            }
            heard(&update);
        }
        Ok(None)
    }
}

fn upgraded_meanwhile(what_now: &str) -> Update {
    let text = format!("the primary was upgraded, and {what_now}");
    Update::Progress { event: "primary_upgraded".into(), text, fields: Map::new() }
}
