//! A Rust program that is its own cluster: `cargo run -p forkyard --features axum --example hello`.

use axum::{Router, routing::get};
use forkyard::{Cluster, Event, Worker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if forkyard::is_primary() {
        let mut cluster = Cluster::builder().stop_on_signals().start()?;
        for _ in 0..forkyard::available_workers().get() {
            cluster.fork().await?;
        }
        while let Some(event) = cluster.next_event().await {
            if let Event::Exited { info, status, .. } = event {
                println!("worker {} ended with {status}", info.worker);
            }
        }
    } else {
        let worker = Worker::from_env()?;
        let listener = worker.listen("127.0.0.1:8000").await?;
        let text = format!("Hello from worker {} (pid {})\n", worker.id(), std::process::id());
        let app = Router::new().route("/", get(|| async { text }));
        axum::serve(listener, app).with_graceful_shutdown(worker.leaving()).await?;
    }
    Ok(())
}
