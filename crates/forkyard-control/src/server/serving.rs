//! Accepts clients and talks to them.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use forkyard_sys::process::own_user;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::Wish;
use super::places::{Place, Places};
use super::routes::routes;
use crate::impatient::Impatient;
use crate::socket::Socket;

/// How long a client may take to say what it wants.
pub(super) const ASKING: Duration = Duration::from_secs(5);
/// How long a client may leave unread what it is told, before it counts as gone.
const READING: Duration = Duration::from_secs(30);
/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// How long nobody is accepted after the system could not.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked whether the socket is still where clients look for it.
const LOOKING: Duration = Duration::from_secs(5);
/// The system's user, who may do everything anyway.
const ROOT: u32 = 0;

/// Serves clients, so many at a time, until it is closed and the last of them has gone.
pub(super) async fn serve(
    mut socket: Socket,
    wishes: mpsc::Sender<Wish>,
    mut closing: oneshot::Receiver<()>,
) {
    let (places, routes) = (Places::new(), routes(wishes));
    let mut clients = JoinSet::new();
    let mut looking = tokio::time::interval(LOOKING);
    looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            (place, stream) = next(&places, &socket) => {
                clients.spawn(talk(stream, place, routes.clone()));
            }
            Some(_) = clients.join_next() => {}
            _ = looking.tick() => socket.look_after(),
            _ = &mut closing => break,
        }
    }
    drop((socket, routes));
    while clients.join_next().await.is_some() {}
}

/// The next client, once there is a place for it. Until then it waits in the kernel's backlog.
async fn next(places: &Places, socket: &Socket) -> (Place, UnixStream) {
    let place = places.take().await;
    (place, accept(socket).await)
}

/// The next connection of this user.
async fn accept(socket: &Socket) -> UnixStream {
    loop {
        match socket.accept().await {
            Ok(stream) if is_allowed(&stream) => return stream,
            Ok(_) => tracing::warn!("turned away another user at the control socket"),
            Err(error) => {
                tracing::warn!(%error, "failed to accept at the control socket");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_allowed(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own_user() || peer.uid() == ROOT)
}

/// One request and its answer.
async fn talk(stream: UnixStream, place: Place, routes: Router) {
    let routes = TowerToHyperService::new(routes);
    let with_place = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(place.clone());
        routes.call(request)
    });
    let talked = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASKING)
        .max_buf_size(LONGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Impatient::new(stream, READING)), with_place)
        .await;
    if let Err(error) = talked {
        tracing::debug!(%error, "a client of the control socket is gone");
    }
}
