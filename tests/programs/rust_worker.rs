//! A worker in Rust: `recorded.js` as far as it answers, on the library and axum. It
//! listens where `LISTEN` says, a TCP address or the path of a Unix socket.

#![forbid(unsafe_code)]

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use forkyard::{Listener, Worker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let worker = Worker::from_env()?;
    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:0".to_owned());
    let listener = listen(&worker, &address).await?;
    let who = format!(r#""pid":{},"worker":{}"#, std::process::id(), worker.id());
    let answer = async move |Path(id): Path<String>| format!(r#"{{{who},"id":"{id}"}}"#);
    let app = Router::new().route("/{id}", get(answer));
    axum::serve(listener, app).with_graceful_shutdown(worker.leaving()).await?;
    Ok(())
}

async fn listen(worker: &Worker, address: &str) -> Result<Listener, forkyard::ListenError> {
    if address.starts_with('/') {
        worker.listen_unix(address).await
    } else {
        worker.listen(address).await
    }
}
