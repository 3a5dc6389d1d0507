//! A primary on the library that lends its first thread: runs `rust_host PROGRAM ARGS…` as two
//! workers and says in the command's words what happens. SIGUSR2 upgrades it, SIGTERM stops it.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Write;

use forkyard::{Cluster, Event, Origin, Program, RequestError};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    forkyard::host(serve)
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Outcome {
    let mut args = std::env::args().skip(1);
    let program = Program::new(args.next().ok_or("the program is missing")?).args(args);
    let mut wishes = signal(SignalKind::user_defined2())?;
    let mut cluster = Cluster::builder().program(program).stop_on_signals().start()?;
    if cluster.origin() == Origin::Fresh {
        for _ in 0..2 {
            cluster.fork().await?;
        }
    }
    loop {
        tokio::select! {
            event = cluster.next_event() => match event {
                Some(event) => tell(&event)?,
                None => return Ok(()),
            },
            _ = wishes.recv() => drop(tokio::spawn(upgrade(cluster.handle()))),
        }
    }
}

async fn upgrade(handle: forkyard::ClusterHandle) {
    if let Err(RequestError::NotUpgraded { reason }) = handle.upgrade().await {
        // Whoever reads is gone, if anything.
        let _ = say(&json!({ "event": "upgrade_failed", "reason": reason }));
    }
}

fn tell(event: &Event) -> std::io::Result<()> {
    match event {
        Event::Listening { info, address } => {
            let (pid, slot) = (info.pid, info.slot.0);
            say(&json!({
                "event": "worker_listening", "pid": pid, "slot": slot, "address": address,
            }))
        }
        Event::Upgraded { pid, version, .. } => {
            say(&json!({ "event": "primary_upgraded", "pid": pid, "version": version }))
        }
        Event::UpgradeFailed { reason, .. } => {
            say(&json!({ "event": "upgrade_failed", "reason": reason }))
        }
        _ => Ok(()),
    }
}

fn say(event: &Value) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{event}")
}
