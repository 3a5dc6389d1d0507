//! Starts an app's primary in the background, and follows it until it is ready.
//!
//! ```text
//!   locked ──▶ kept ──▶ primary started ──▶ its socket is there ──▶ ready
//!                             │                     │
//!                             └── it has ended ─────┴──▶ why, as it has kept it
//! ```

use std::env;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use forkyard_control::client::{Client, ClientError, Found, Heard};
use forkyard_control::folder::{runtime_dir, socket_path};
use forkyard_control::types::{AppEvent, AppState, Status};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::answers::{Answers, broken_off};
use crate::apps::known;
use crate::exit_code::Failure;
use crate::home::log_dir;
use crate::kept::Kept;
use crate::records::{End, Record, Store, Wanted, environment_of};
use crate::report::shown;

/// How soon it is looked again whether the socket is there.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// For how long a start is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until its primary runs.
    None,
    /// Until every slot has had a worker that was ready.
    UntilReady,
}

/// Starts apps.
#[derive(Debug)]
pub(crate) struct Background<'a> {
    pub(crate) store: &'a Store,
    pub(crate) patience: Patience,
    pub(crate) answers: Answers,
}

impl Background<'_> {
    /// Starts it unless it runs.
    pub(crate) async fn start(&self, record: Record) -> Result<(), Failure> {
        let name = record.name.clone();
        let _lock = self.store.lock(&name)?;
        if let Some(found) = primary_of(&name).await? {
            let text = format!(
                "{name} runs already (pid {}); `forkyard reload {name}` replaces its workers",
                found.pid
            );
            self.answers.print(&json!({ "done": "runs already", "pid": found.pid }), &text);
            return Ok(());
        }
        let record = Record { wanted: Wanted::Running, ..record };
        self.store.keep(&record)?;
        self.store.forget_end(&name)?;
        // What can be said without starting anything is said here, and with its own exit code.
        Kept::of(&name)?.former_launch()?.plan()?;
        let limit = record.settings.ready.timeout();
        self.follow(&name, &mut self.spawn(&record)?, limit).await
    }

    fn spawn(&self, record: &Record) -> Result<Child, Failure> {
        let failed = |error: io::Error| {
            Failure::unexpected(&format!("failed to start {}", record.name), &error)
        };
        let image = env::current_exe().map_err(failed)?;
        let words = self.last_words(&record.name).map_err(failed)?;
        Command::new(image)
            .args(["run", "--detached", "--app", &record.name])
            .env_clear()
            .envs(environment_of(record))
            .current_dir(&record.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words)
            .spawn()
            .map_err(failed)
    }

    /// Where a primary writes that cannot write its log: it panics, or has none yet.
    fn last_words(&self, name: &str) -> io::Result<File> {
        let dir = log_dir(self.store.home(), name);
        forkyard_sys::folder::make(&dir)?;
        let path = dir.join("stderr.log");
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)
    }

    async fn follow(
        &self,
        name: &str,
        primary: &mut Child,
        limit: Duration,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let pid = primary.id().unwrap_or_default();
        let path = socket_path(&runtime_dir(), name, pid);
        while !path.exists() {
            if primary.try_wait().is_ok_and(|status| status.is_some()) {
                return Err(self.why(name));
            }
            // Nobody announces it.
            sleep(LOOK_AGAIN).await;
        }
        if self.patience == Patience::None {
            self.started(pid, &format!("{name} is being started (pid {pid})"));
            return Ok(());
        }
        let client = Client::of(Found { app: name.to_owned(), pid, path });
        let Ok(ready) = timeout(limit, self.until_ready(&client)).await else {
            return Err(Failure::not_done(format!(
                "{name} (pid {pid}) is not ready after {}, and goes on starting: a worker is ready \
                 when it listens, if nothing else is said by --ready; see `forkyard logs {name}`",
                shown(limit)
            )));
        };
        match ready {
            Ok(true) => {
                let text = format!("{name} is ready (pid {pid}) after {}", shown(began.elapsed()));
                self.started(pid, &text);
                Ok(())
            }
            Ok(false) => {
                // It has kept why before it ends.
                drop(primary.wait().await);
                Err(self.why(name))
            }
            Err(error) => Err(broken_off(&format!("failed to follow the start of {name}"), &error)),
        }
    }

    fn started(&self, pid: u32, text: &str) {
        self.answers.print(&json!({ "done": "started", "pid": pid }), text);
    }

    /// Whether it got ready; else it has ended.
    async fn until_ready(&self, client: &Client) -> Result<bool, ClientError> {
        let mut events = client.events();
        while let Some(heard) = events.next().await? {
            match heard {
                Heard::Status(status) if is_ready(&status) => return Ok(true),
                Heard::Event(event) if event.event == "app_ready" => return Ok(true),
                Heard::Event(event) => self.tell(&event),
                Heard::Ended => return Ok(false),
                Heard::Status(_) | Heard::Missed(_) | Heard::Upgraded => {}
            }
        }
        Ok(false)
    }

    /// What goes wrong on the way. The end is told once, at the end.
    fn tell(&self, event: &AppEvent) {
        let is_end = matches!(event.event.as_str(), "app_failed" | "stopped" | "stopping");
        if event.level != "info" && !is_end {
            self.answers.print(event, &event.text);
        }
    }

    fn why(&self, name: &str) -> Failure {
        match self.store.end(name) {
            Some(End { code, reason, stderr_tail, .. }) => {
                let text = format!("{name} did not get ready: {reason}");
                Failure::of_app(code, self.answers.with_tail(text, &stderr_tail))
            }
            None => Failure::because(format!(
                "{name} did not get ready: its primary has ended without a word; see {}",
                log_dir(self.store.home(), name).join("stderr.log").display()
            )),
        }
    }
}

/// Its primary, if one runs under that name.
async fn primary_of(name: &str) -> Result<Option<Found>, Failure> {
    let app = known().await?.into_iter().find(|app| app.name == name && app.primary.is_some());
    Ok(app.and_then(|app| app.primary))
}

fn is_ready(status: &Status) -> bool {
    !matches!(status.state, AppState::Starting | AppState::Unknown)
}
