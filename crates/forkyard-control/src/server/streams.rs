//! Answers that take their time, as server-sent events.

use std::time::Duration;

use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;
use tokio::sync::mpsc;

use super::feed::{Follower, News};
use crate::types::{Missed, Status, Update};

/// How often a client is told that there is nothing to tell, so that it knows the primary to be
/// there.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How many updates a client may be behind. One that is slower misses the progress in between.
const UPDATES: usize = 256;

type Told = Result<Event, axum::Error>;

/// Where updates come out at the client, and what it is answered.
pub(super) fn updates() -> (mpsc::Sender<Update>, Response) {
    let (sender, updates) = mpsc::channel(UPDATES);
    let told = stream::unfold(updates, async |mut updates: mpsc::Receiver<Update>| {
        let update = updates.recv().await?;
        Some((named(update.name(), &update), updates))
    });
    (sender, answer(told))
}

/// What somebody who follows is answered.
pub(super) fn events(status: &Status, events: Follower) -> Response {
    let first = named("status", status);
    let told = stream::unfold(events, async |mut events: Follower| {
        let told = match events.next().await? {
            News::Event(event) => named(&event.event, &*event),
            News::Missed(missed) => named("missed", &Missed { missed }),
        };
        Some((told, events))
    });
    answer(stream::iter([first]).chain(told))
}

fn named(name: &str, data: &impl Serialize) -> Told {
    Event::default().event(name).json_data(data)
}

fn answer(told: impl Stream<Item = Told> + Send + 'static) -> Response {
    Sse::new(told).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
