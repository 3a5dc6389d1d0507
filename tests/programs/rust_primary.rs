//! A primary in Rust on the library: runs `rust_primary json|advanced PROGRAM ARGS…` as
//! one worker and sends every message and every handle back to where it came from.

#![forbid(unsafe_code)]

use std::error::Error;

use forkyard::{Cluster, Event, Program, ReceivedMessage, Stage};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let serialization = args.next().ok_or("the serialization is missing")?;
    let program = args.next().ok_or("the program is missing")?;
    let builder = Cluster::builder().serialization(serialization.parse()?);
    let mut cluster = builder.program(Program::new(program).args(args)).start()?;
    let mut messages = cluster.messages();
    cluster.fork().await?;
    loop {
        tokio::select! {
            Some(message) = messages.next() => send_back(&cluster, message).await?,
            event = cluster.next_event() => match event {
                Some(Event::Exited { .. }) => cluster.stop(Stage::Disconnect).await?,
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

async fn send_back(cluster: &Cluster, received: ReceivedMessage) -> Result<(), Box<dyn Error>> {
    let (slot, message) = (received.info.slot, received.message);
    match received.handle {
        Some(handle) => cluster.handle().send_handle(slot, message, handle).await?,
        None => cluster.handle().send(slot, message).await?,
    }
    Ok(())
}
