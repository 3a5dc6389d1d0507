//! A service manager, as far as it listens to what it is told (`NOTIFY_SOCKET`).

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tempfile::TempDir;

use crate::waiting::nap;
use crate::{DEADLINE, Launch};

/// Ends the listening.
const END: &[u8] = b"";

/// Listens, and keeps what it hears.
#[derive(Debug)]
pub struct Manager {
    dir: TempDir,
    heard: Arc<Mutex<Vec<String>>>,
    listening: Option<JoinHandle<()>>,
}

impl Manager {
    /// Begins to listen.
    ///
    /// # Panics
    ///
    /// When there is no place for its socket.
    #[must_use]
    pub fn new() -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
        let heard = Arc::default();
        let keep = Arc::clone(&heard);
        let listening = Some(thread::spawn(move || listen(&socket, &keep)));
        Self { dir, heard, listening }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> PathBuf {
        self.dir.path().join("notify")
    }

    /// Has the command be started by it.
    #[must_use]
    pub fn launch(&self, launch: Launch) -> Launch {
        launch.env("NOTIFY_SOCKET", self.address())
    }

    /// The lines that it has heard so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
    }

    /// Waits until it has heard `count` lines for which `wanted` holds, and gives these.
    ///
    /// # Panics
    ///
    /// When it does not; with what it has heard.
    pub fn wait_lines(
        &self,
        what: &str,
        count: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let start = Instant::now();
        loop {
            let lines = self.lines();
            let found: Vec<_> = lines.iter().filter(|line| wanted(line)).cloned().collect();
            if found.len() >= count {
                return found;
            }
            let late = start.elapsed() >= DEADLINE;
            assert!(
                !late,
                "waited in vain for {count} × {what}; it has heard:\n{}",
                lines.join("\n")
            );
            nap();
        }
    }

    /// Waits until it has heard this line.
    pub fn wait_line(&self, line: &str) {
        self.wait_lines(line, 1, |heard| heard == line);
    }

    /// Waits until it has heard this line so often.
    pub fn wait_count(&self, line: &str, count: usize) {
        self.wait_lines(line, count, |heard| heard == line);
    }

    /// The lines that tell where the app is in its life, in their order.
    #[must_use]
    pub fn lifecycle(&self) -> Vec<String> {
        let is_one = |line: &String| {
            ["READY=", "RELOADING=", "STOPPING="].iter().any(|start| line.starts_with(start))
        };
        self.lines().into_iter().filter(is_one).collect()
    }
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let sent = UnixDatagram::unbound().and_then(|end| end.send_to(END, self.address()));
        if let (Ok(_), Some(listening)) = (sent, self.listening.take()) {
            // A thread that panicked has said so.
            let _ = listening.join();
        }
    }
}

fn listen(socket: &UnixDatagram, heard: &Mutex<Vec<String>>) {
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        if length == END.len() {
            return;
        }
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}
