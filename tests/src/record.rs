//! What `recorded.js` wrote down: who had which connection and which request begun.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The files through which a test and `recorded.js` know of each other.
#[derive(Debug)]
pub struct Record {
    folder: TempDir,
}

/// All that was written so far.
#[derive(Debug, Default)]
pub struct Begun {
    /// Client ports whose connection came over the channel of a worker, not yet
    /// accepted by it, with the ids of those workers.
    pub received: BTreeMap<u16, Vec<i32>>,
    /// Client ports whose connection a worker's program had.
    pub connections: BTreeMap<u16, Vec<i32>>,
    /// Requests that a worker's program had, by their id.
    pub requests: BTreeMap<String, Vec<i32>>,
}

impl Record {
    /// A record with nothing in it.
    ///
    /// # Panics
    ///
    /// When there is no place for temporary files.
    #[must_use]
    pub fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    /// The file the workers write to.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("record")
    }

    /// The file whose existence lets held requests be answered.
    #[must_use]
    pub fn release_path(&self) -> PathBuf {
        self.folder.path().join("release")
    }

    /// A path in the same folder, for sockets and the like.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of it all.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Lets all held requests be answered.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    pub fn release(&self) {
        fs::write(self.release_path(), "").expect("the release file");
    }

    /// What the workers have written so far.
    #[must_use]
    pub fn read(&self) -> Begun {
        let text = fs::read_to_string(self.path()).unwrap_or_default();
        let mut begun = Begun::default();
        text.lines().for_each(|line| begun.add(line));
        begun
    }

    /// Waits until a worker has begun the request, and says which.
    #[must_use]
    pub fn wait_request(&self, id: &str) -> i32 {
        crate::waiting::until(&format!("request {id} to reach a worker"), || {
            self.read().requests.get(id).and_then(|pids| pids.first().copied())
        })
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

impl Begun {
    fn add(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let &[kind, pid, port, ref id @ ..] = words.as_slice() else { return };
        let (Ok(pid), Ok(port)) = (pid.parse(), port.parse()) else { return };
        match (kind, id) {
            ("received", []) => self.received.entry(port).or_default().push(pid),
            ("connection", []) => self.connections.entry(port).or_default().push(pid),
            ("request", [id]) => self.requests.entry((*id).to_owned()).or_default().push(pid),
            _ => {}
        }
    }

    /// Whether one of these workers had the connection of this client port.
    #[must_use]
    pub fn had(&self, port: u16, workers: &[i32]) -> bool {
        let among = |pids: &Vec<i32>| pids.iter().any(|pid| workers.contains(pid));
        self.received.get(&port).is_some_and(among)
            || self.connections.get(&port).is_some_and(among)
    }
}
