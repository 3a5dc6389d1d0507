//! The requests there are, and their description for machines. Either comes from the same lines.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Asked, Rejection};
use super::places::{Place, Stay};
use super::{Answer, Following, Watcher, Wish, streams};
use crate::types::{
    AppEvent, ErrorBody, FlushReply, Missed, RestartRequest, ScaleRequest, SettingsQuery,
    SignalReply, SignalRequest, Status, StopReply, StopRequest, Update,
};

/// How long whoever drives the primary may take to answer what takes no time.
const ANSWERING: Duration = Duration::from_secs(10);

/// What all requests need.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    wishes: mpsc::Sender<Wish>,
    document: Arc<str>,
    /// The requests there are, in words.
    known: Arc<str>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Forkyard's control socket",
        version = "1",
        description = "What can be asked of a running app: HTTP/1 over its Unix socket, which \
            only its user can open. Errors have a body of `ErrorBody`: 404 for what this version \
            of the primary does not know, 409 for what it will not do, 429 and 503 for clients \
            that are too many and for an app that is stopping.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "http://localhost", description = "By the app's socket")),
    components(schemas(AppEvent, ErrorBody, Missed)),
)]
struct Document;

/// The description of the control API, as OpenAPI in JSON.
#[must_use]
pub fn openapi() -> String {
    described(&all().into_openapi())
}

fn described(document: &utoipa::openapi::OpenApi) -> String {
    let text = document.to_pretty_json();
    text.expect("invariant: what is described by types can be written as JSON")
}

pub(super) fn routes(wishes: mpsc::Sender<Wish>) -> Router {
    let (routes, document) = all().split_for_parts();
    let (known, document) = (listed(&document).into(), described(&document).into());
    routes.fallback(unknown).method_not_allowed_fallback(unknown).with_state(Shared {
        wishes,
        document,
        known,
    })
}

fn all() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(status))
        .routes(routes!(events))
        .routes(routes!(reload, follow))
        .routes(routes!(restart))
        .routes(routes!(scale))
        .routes(routes!(upgrade))
        .routes(routes!(stop))
        .routes(routes!(signal))
        .routes(routes!(flush_logs))
        .routes(routes!(settings))
        .routes(routes!(document))
}

/// How things are.
#[utoipa::path(
    get,
    path = "/v1/status",
    responses((status = OK, body = Status, description = "The app's state")),
)]
async fn status(State(shared): State<Shared>) -> Result<Json<Status>, Rejection> {
    shared.ask(Wish::Status).await.map(Json)
}

/// How things are, and what happens from then on.
///
/// First an event `status`, then events under the names that they have in `--log-format json`. What
/// the status knows already the first ones may tell once more. A client that is too slow for some
/// events gets `missed` in their place.
#[utoipa::path(
    get,
    path = "/v1/events",
    responses((
        status = OK,
        body = AppEvent,
        content_type = "text/event-stream",
        description = "`Status` as `status`, then these; `Missed` as `missed`",
    )),
)]
async fn events(
    State(shared): State<Shared>,
    Extension(place): Extension<Place>,
) -> Result<Response, Rejection> {
    place.stay(Stay::Following)?;
    let Following { status, events } = shared.ask(Wish::Events).await?;
    Ok(streams::events(&status, events))
}

/// Replaces all workers by those of the next generation.
///
/// They are made of what is on disk now: the successors first, one slot after the other.
#[utoipa::path(
    post,
    path = "/v1/reload",
    responses((
        status = OK,
        body = Update,
        content_type = "text/event-stream",
        description = "How it goes, and last how it went",
    )),
)]
async fn reload(
    State(shared): State<Shared>,
    Extension(place): Extension<Place>,
) -> Result<Response, Rejection> {
    shared.watch(&place, Wish::Reload).await
}

/// How the reload or restart goes that is under way.
///
/// If others wait for its end, it is the last one's that counts. If none is under way, how the last
/// one ended. For whoever has lost the connection by an upgrade.
#[utoipa::path(
    get,
    path = "/v1/reload",
    responses((
        status = OK,
        body = Update,
        content_type = "text/event-stream",
        description = "How it goes, and last how it went",
    )),
)]
async fn follow(
    State(shared): State<Shared>,
    Extension(place): Extension<Place>,
) -> Result<Response, Rejection> {
    shared.watch(&place, Wish::Follow).await
}

/// Replaces the worker in a slot, or every slot's.
///
/// By another one of the same program, the successor first.
#[utoipa::path(
    post,
    path = "/v1/restart",
    request_body = Option<RestartRequest>,
    responses(
        (
            status = OK,
            body = Update,
            content_type = "text/event-stream",
            description = "How it goes, and last how it went",
        ),
        (status = BAD_REQUEST, body = ErrorBody, description = "What is asked for makes no sense"),
    ),
)]
async fn restart(
    State(shared): State<Shared>,
    Extension(place): Extension<Place>,
    Asked(RestartRequest { slot }): Asked<RestartRequest>,
) -> Result<Response, Rejection> {
    shared.watch(&place, |watcher| Wish::Restart(slot, watcher)).await
}

/// Adds workers, or takes those of the highest slots away.
///
/// Finished when the new ones are ready, or the others have been asked to leave. Until the app is
/// stopped, reloads keep the number.
#[utoipa::path(
    post,
    path = "/v1/scale",
    request_body = ScaleRequest,
    responses(
        (
            status = OK,
            body = Update,
            content_type = "text/event-stream",
            description = "How it goes, and last how it went",
        ),
        (status = BAD_REQUEST, body = ErrorBody, description = "What is asked for makes no sense"),
    ),
)]
async fn scale(
    State(shared): State<Shared>,
    Extension(place): Extension<Place>,
    Asked(ScaleRequest { workers }): Asked<ScaleRequest>,
) -> Result<Response, Rejection> {
    let workers = NonZeroU32::new(workers).ok_or_else(|| Rejection {
        status: StatusCode::BAD_REQUEST,
        error: "at least one worker is needed; to have none, stop the app".to_owned(),
    })?;
    shared.watch(&place, |watcher| Wish::Scale(workers, watcher)).await
}

/// Has the primary execute the version of its program that is on disk now.
///
/// If that succeeds, the connection ends without an outcome, and a moment later the socket is there
/// again and the status tells of it.
#[utoipa::path(
    post,
    path = "/v1/upgrade",
    responses((
        status = OK,
        body = Update,
        content_type = "text/event-stream",
        description = "How it goes, and last how it went",
    )),
)]
async fn upgrade(
    State(shared): State<Shared>,
    Extension(place): Extension<Place>,
) -> Result<Response, Rejection> {
    shared.watch(&place, Wish::Upgrade).await
}

/// Begins to stop the app, or hurries.
///
/// The end of the primary's process is the end.
#[utoipa::path(
    post,
    path = "/v1/stop",
    request_body = Option<StopRequest>,
    responses(
        (status = ACCEPTED, body = StopReply, description = "It has begun"),
        (status = BAD_REQUEST, body = ErrorBody, description = "What is asked for makes no sense"),
    ),
)]
async fn stop(
    State(shared): State<Shared>,
    Asked(StopRequest { stage }): Asked<StopRequest>,
) -> Result<Response, Rejection> {
    shared.ask(|answer| Wish::Stop(stage, answer)).await?;
    let reply = StopReply { pid: std::process::id() };
    Ok((StatusCode::ACCEPTED, Json(reply)).into_response())
}

/// Sends a signal to the worker in a slot, or to every slot's.
#[utoipa::path(
    post,
    path = "/v1/signal",
    request_body = SignalRequest,
    responses(
        (status = OK, body = SignalReply, description = "Who got it"),
        (status = BAD_REQUEST, body = ErrorBody, description = "What is asked for makes no sense"),
        (status = CONFLICT, body = ErrorBody, description = "The app will not"),
    ),
)]
async fn signal(
    State(shared): State<Shared>,
    Asked(request): Asked<SignalRequest>,
) -> Result<Json<SignalReply>, Rejection> {
    Ok(Json(shared.ask(|answer| Wish::Signal(request, answer)).await??))
}

/// Empties the log files of the app.
#[utoipa::path(
    post,
    path = "/v1/logs/flush",
    responses(
        (status = OK, body = FlushReply, description = "What was emptied"),
        (status = CONFLICT, body = ErrorBody, description = "The app will not"),
    ),
)]
async fn flush_logs(State(shared): State<Shared>) -> Result<Json<FlushReply>, Rejection> {
    Ok(Json(shared.ask(Wish::FlushLogs).await??))
}

/// The settings in force.
#[utoipa::path(
    get,
    path = "/v1/settings",
    params(SettingsQuery),
    responses(
        (status = OK, body = Object, description = "They depend on how the app was started"),
        (status = BAD_REQUEST, body = ErrorBody, description = "What is asked for makes no sense"),
    ),
)]
async fn settings(
    State(shared): State<Shared>,
    query: Result<Query<SettingsQuery>, QueryRejection>,
) -> Result<Response, Rejection> {
    let Query(SettingsQuery { secrets }) = query.map_err(|rejection| Rejection {
        status: StatusCode::BAD_REQUEST,
        error: rejection.body_text(),
    })?;
    let settings = shared.ask(|answer| Wish::Settings(secrets, answer)).await?;
    Ok(Json(settings).into_response())
}

/// This description.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    responses((status = OK, body = Object, description = "OpenAPI 3.1")),
)]
async fn document(State(shared): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], String::from(&*shared.document)).into_response()
}

async fn unknown(State(shared): State<Shared>, method: Method, uri: Uri) -> Rejection {
    let error = format!(
        "there is no {method} {} in forkyard {}; there are {}",
        uri.path(),
        env!("CARGO_PKG_VERSION"),
        shared.known
    );
    Rejection { status: StatusCode::NOT_FOUND, error }
}

impl Shared {
    /// Passes a wish on that is answered at once.
    async fn ask<T>(&self, wish: impl FnOnce(Answer<T>) -> Wish) -> Result<T, Rejection> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.wishes.send(wish(answer)).await.ok()?;
            answered.await.ok()
        };
        let answered = timeout(ANSWERING, asked).await.map_err(|_| Rejection::silent())?;
        answered.ok_or_else(Rejection::stopping)
    }

    /// Passes a wish on that takes its time, and answers with how it goes.
    async fn watch(
        &self,
        place: &Place,
        wish: impl FnOnce(Watcher) -> Wish,
    ) -> Result<Response, Rejection> {
        place.stay(Stay::Waiting)?;
        let (updates, answer) = streams::updates();
        let passed_on = timeout(ANSWERING, self.wishes.send(wish(Watcher(updates)))).await;
        match passed_on {
            Ok(Ok(())) => Ok(answer),
            Ok(Err(_)) => Err(Rejection::stopping()),
            Err(_) => Err(Rejection::silent()),
        }
    }
}

/// The requests that are described, in words.
fn listed(document: &utoipa::openapi::OpenApi) -> String {
    let paths = document.paths.paths.iter();
    let requests = paths.flat_map(|(path, item)| {
        let methods = [("GET", &item.get), ("POST", &item.post)];
        methods
            .into_iter()
            .filter(|(_, asked)| asked.is_some())
            .map(move |(method, _)| format!("{method} {path}"))
    });
    requests.collect::<Vec<_>>().join(", ")
}
