//! Following an app, through upgrades of its primary, to its end.
//!
//! ```text
//!   beginning ──status──▶ following ──the connection ends──▶ looking for the next image
//!                             ▲                                   │            │
//!                             └──────── status of another image ──┘            ▼
//!                                       (or of the same)                     over
//! ```

use std::time::Duration;

use forkyard_sys::process;
use tokio::time::{Instant, sleep};

use super::exchange::Ask;
use super::find::LOOK_AGAIN;
use super::stream::{Message, Stream};
use super::{ClientError, Found, NEXT_IMAGE};
use crate::types::{AppEvent, Missed, Status};

/// What is heard of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// How it is. At first, and whenever the connection had to be made anew.
    Status(Box<Status>),
    /// Something has happened. The first ones may tell what the status before them knew already.
    Event(AppEvent),
    /// This client has been too slow for so many events.
    Missed(u64),
    /// The primary has been upgraded. What is heard next is the status that its next image
    /// tells; what happened in between is not heard.
    Upgraded,
    /// The app is over, and its primary is gone or about to be. Nothing is heard after it.
    Ended,
}

/// Follows one app. See [`Client::events`](super::Client::events).
#[derive(Debug)]
pub struct Events {
    primary: Found,
    state: State,
    /// When the image began that was heard last.
    image_started: Option<u64>,
}

#[derive(Debug)]
enum State {
    Beginning,
    Following(Stream),
    /// There may be another image.
    Looking,
    /// The status of another image waits to be told after the news of it.
    Upgraded(Stream, Box<Status>),
    Over,
}

impl Events {
    pub(super) fn of(primary: Found) -> Self {
        Self { primary, state: State::Beginning, image_started: None }
    }

    /// What is heard next: a status, then events until the end; nothing after the end. May be
    /// dropped while it waits, and nothing is lost.
    ///
    /// # Errors
    ///
    /// If the primary cannot be asked at first, does not know the request, says what makes no
    /// sense, or lives and does not answer any more.
    pub async fn next(&mut self) -> Result<Option<Heard>, ClientError> {
        loop {
            match &mut self.state {
                State::Beginning => match self.begin().await {
                    Ok(stream) => self.state = State::Following(stream),
                    // It was just upgraded, or has just ended.
                    Err(ClientError::Ended { .. }) => self.state = State::Looking,
                    Err(error) => return Err(error),
                },
                State::Following(stream) => match stream.next().await? {
                    Some(message) => return self.heard(&message).map(Some),
                    None => self.state = State::Looking,
                },
                State::Looking => return self.look().await.map(Some),
                State::Upgraded(..) => return Ok(self.status_of_next()),
                State::Over => return Ok(None),
            }
        }
    }

    async fn begin(&self) -> Result<Stream, ClientError> {
        let answer = Ask::get("/v1/events").of(&self.primary).await?;
        Stream::of(answer, self.primary.pid)
    }

    fn heard(&mut self, message: &Message) -> Result<Heard, ClientError> {
        Ok(match message.name.as_str() {
            "status" => {
                let status: Box<Status> = message.read()?;
                self.image_started = Some(status.image_started);
                Heard::Status(status)
            }
            "missed" => Heard::Missed(message.read::<Missed>()?.missed),
            _ => Heard::Event(message.read::<AppEvent>()?),
        })
    }

    /// The connection has come to its end.
    async fn look(&mut self) -> Result<Heard, ClientError> {
        let until = Instant::now() + NEXT_IMAGE;
        while process::is_running(self.primary.pid) {
            match self.begin_anew().await {
                Ok(Some((stream, status))) => return Ok(self.resumed(stream, status)),
                // It is coming to its end, and follows nobody's wishes any more.
                Err(ClientError::Denied(_)) => break,
                Err(error @ (ClientError::Nonsense(_) | ClientError::Unknown { .. })) => {
                    return Err(error);
                }
                // Gone again, or not there yet.
                Ok(None) | Err(_) if Instant::now() < until => sleep(LOOK_AGAIN).await,
                Ok(None) | Err(_) => {
                    return Err(ClientError::Silent { pid: self.primary.pid });
                }
            }
        }
        self.state = State::Over;
        Ok(Heard::Ended)
    }

    async fn begin_anew(&self) -> Result<Option<(Stream, Box<Status>)>, ClientError> {
        let mut stream = self.begin().await?;
        let first = stream.next().await?;
        first.map(|message| Ok((stream, message.read()?))).transpose()
    }

    /// The same image has lost patience with this client, or another one has followed it.
    fn resumed(&mut self, stream: Stream, status: Box<Status>) -> Heard {
        let before = self.image_started.replace(status.image_started);
        match before.is_none_or(|before| before == status.image_started) {
            true => {
                self.state = State::Following(stream);
                Heard::Status(status)
            }
            false => {
                self.state = State::Upgraded(stream, status);
                Heard::Upgraded
            }
        }
    }

    fn status_of_next(&mut self) -> Option<Heard> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Upgraded(stream, status) => {
                self.state = State::Following(stream);
                Some(Heard::Status(status))
            }
            _ => None,
        }
    }
}

/// The end of a primary's process.
#[derive(Debug)]
pub struct Ending(forkyard_sys::reactor::Watched);

impl Ending {
    pub(super) fn of(pid: u32) -> std::io::Result<Self> {
        let process = process::open(pid)?;
        forkyard_sys::reactor::Watched::new(process, tokio::io::Interest::READABLE).map(Self)
    }

    /// Waits until the process has ended, for which there is no limit. May be dropped and called
    /// again.
    pub async fn ended(&self) {
        // It is readable from then on. That the reactor has gone ends this program as well.
        let _ = self.0.readable().await;
    }

    /// As [`ended`](Self::ended), but gives up after that time. Tells whether it has ended.
    pub async fn ended_within(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.ended()).await.is_ok()
    }
}
