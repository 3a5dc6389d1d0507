//! The system's log as a destination: the same lines for journald and for syslog, each as they
//! want it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forkyard::{OutputLine, OutputSink, StreamKind, WorkerInfo};

use super::mailbox::Mailbox;
use super::trouble::Tell;
use super::{journald, syslog};

/// How much a line matters, as `syslog(3)` counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    Error = 3,
    Warning = 4,
    Info = 6,
}

impl Priority {
    const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Info];

    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    /// Takes a line apart that begins with its priority, as `sd-daemon(3)` has it: `<4>text`.
    fn parse(line: &[u8]) -> (Self, &[u8]) {
        let parsed = Self::ALL.into_iter().find_map(|priority| {
            let mark = format!("<{}>", priority.number());
            line.strip_prefix(mark.as_bytes()).map(|text| (priority, text))
        });
        parsed.unwrap_or((Self::Info, line))
    }
}

/// A line on its way to the system's log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) app: &'a str,
    pub(super) priority: Priority,
    /// Who wrote it, and where to; the primary, if no worker.
    pub(super) worker: Option<(WorkerInfo, StreamKind)>,
    pub(super) text: &'a [u8],
}

impl Record<'_> {
    /// The process that wrote it.
    pub(super) fn pid(&self) -> u32 {
        self.worker.map_or_else(std::process::id, |(info, _)| info.pid)
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SystemLog {
    Journald,
    Syslog,
}

impl SystemLog {
    fn path(self) -> &'static Path {
        Path::new(match self {
            Self::Journald => "/run/systemd/journal/socket",
            Self::Syslog => "/dev/log",
        })
    }
}

/// Sends lines of workers and of the primary. Both go one way, so that trouble is told once.
#[derive(Clone)]
pub(crate) struct SystemWriter {
    system: SystemLog,
    app: String,
    mailbox: Arc<Mutex<Mailbox>>,
}

impl SystemWriter {
    pub(crate) fn new(system: SystemLog, app: &str, tell: &Tell) -> Self {
        Self::at(system.path(), system, app, tell)
    }

    fn at(path: &Path, system: SystemLog, app: &str, tell: &Tell) -> Self {
        let mailbox = Arc::new(Mutex::new(Mailbox::new(path, Arc::clone(tell))));
        Self { system, app: app.to_owned(), mailbox }
    }

    /// Writes what the primary has to say: lines that begin with their priority.
    pub(crate) fn events(&self) -> impl FnMut(&[u8]) + Send + use<> {
        let writer = self.clone();
        move |lines| {
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let (priority, text) = Priority::parse(line);
                writer.write(Record { app: &writer.app, priority, worker: None, text });
            }
        }
    }

    fn write(&self, record: Record<'_>) {
        let mut mailbox = self.lock();
        match self.system {
            SystemLog::Journald => journald::send(&mut mailbox, record),
            SystemLog::Syslog => syslog::send(&mut mailbox, record),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputSink for SystemWriter {
    fn line(&mut self, line: OutputLine<'_>) {
        let priority = match line.stream {
            StreamKind::Stdout => Priority::Info,
            StreamKind::Stderr => Priority::Warning,
        };
        let worker = Some((line.info, line.stream));
        self.write(Record { app: &self.app, priority, worker, text: line.text });
    }

    /// Nothing waits here.
    fn flush(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use forkyard::{SlotId, WorkerId};

    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = vec![0; 128 * 1024];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// A writer, and whoever reads what it writes.
    fn writer(system: SystemLog) -> (SystemWriter, UnixDatagram, tempfile::TempDir) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("socket");
        let reader = UnixDatagram::bind(&path).unwrap();
        let tell: Tell = Arc::new(|notice| panic!("{notice}"));
        (SystemWriter::at(&path, system, "shop", &tell), reader, temp)
    }

    fn line(text: &[u8]) -> OutputLine<'_> {
        let info = WorkerInfo { slot: SlotId(3), worker: WorkerId(5), pid: 77 };
        OutputLine { info, stream: StreamKind::Stderr, text }
    }

    #[test]
    fn journald_gets_fields() {
        let (mut writer, reader, _temp) = writer(SystemLog::Journald);
        writer.line(line(b"hello \xff"));
        let datagram = received(&reader);
        assert!(datagram.starts_with("MESSAGE=hello \u{fffd}\n"), "{datagram:?}");
        for field in [
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=shop",
            "SYSLOG_PID=77",
            "FORKYARD_APP=shop",
            "FORKYARD_SLOT=3",
            "FORKYARD_STREAM=stderr",
        ] {
            assert!(datagram.contains(&format!("\n{field}\n")), "{field}: {datagram:?}");
        }
        writer.events()(b"<3>it failed\nplain\n");
        let datagram = received(&reader);
        assert!(datagram.contains("it failed\n") && datagram.contains("\nPRIORITY=3\n"));
        assert!(!datagram.contains("FORKYARD_SLOT"), "{datagram:?}");
        assert!(received(&reader).contains("\nPRIORITY=6\n"));
    }

    #[test]
    fn syslog_gets_lines_with_a_tag() {
        let (mut writer, reader, _temp) = writer(SystemLog::Syslog);
        writer.line(line(b"hello"));
        assert_eq!(received(&reader), "<28>shop/3[77]: hello");
        writer.events()(b"<6>stopped\n");
        assert_eq!(received(&reader), format!("<30>shop[{}]: stopped", std::process::id()));
    }

    /// All of it, in parts that whoever reads can take.
    #[test]
    fn a_long_line_goes_in_parts_to_syslog() {
        let (mut writer, reader, _temp) = writer(SystemLog::Syslog);
        let text: String = (0..20_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
        writer.line(line(text.as_bytes()));
        let mut seen = String::new();
        while seen.len() < text.len() {
            let part = received(&reader);
            assert!(part.len() <= 8 * 1024);
            seen.push_str(part.strip_prefix("<28>shop/3[77]: ").unwrap());
        }
        assert_eq!(seen, text);
    }
}
