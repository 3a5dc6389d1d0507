use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Arc, Mutex};

use super::*;
use crate::logs::housekeeping::Housekeeper;
use crate::logs::rotation::rotated;

/// Longer than it takes to be noticed on any machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A log of workers' output, with no thread that tidies, and what was told about it.
struct Bench {
    temp: tempfile::TempDir,
    log: LogFile,
    notices: Arc<Mutex<Vec<Notice>>>,
    _housekeeper: Housekeeper,
}

impl Bench {
    fn new() -> Self {
        Self::with(&LogRules::default(), |_| {})
    }

    /// Something is there already.
    fn with(rules: &LogRules, prepare: impl FnOnce(&Path)) -> Self {
        let temp = tempfile::tempdir().unwrap();
        prepare(temp.path());
        let notices = Arc::<Mutex<Vec<Notice>>>::default();
        let told = Arc::clone(&notices);
        let tell: Tell = Arc::new(move |notice| told.lock().unwrap().push(notice.clone()));
        let (housekeeper, nudge) = Housekeeper::new(temp.path(), rules, Arc::clone(&tell));
        let log = LogFile::new(LogKind::Out, temp.path(), rules, (tell, nudge));
        Self { temp, log, notices, _housekeeper: housekeeper }
    }

    fn path(&self) -> PathBuf {
        LogKind::Out.path(self.temp.path())
    }

    fn write(&mut self, line: &str) {
        self.log.add(|pending| pending.extend_from_slice(format!("{line}\n").as_bytes()));
        self.log.commit();
    }

    /// Writes until that has the effect that is waited for.
    fn write_until(&mut self, line: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < DEADLINE, "in vain; {:?}", self.notices.lock().unwrap());
            self.write(line);
            std::thread::yield_now();
        }
    }

    /// Tries again until that comes to something, without a word.
    fn retry_until_written(&mut self) {
        let start = Instant::now();
        while self.log.is_in_trouble() {
            assert!(start.elapsed() < DEADLINE, "in vain; {:?}", self.told());
            self.log.commit();
            std::thread::yield_now();
        }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn rotated(&self) -> Vec<String> {
        let rotated = rotated(self.temp.path()).unwrap();
        rotated.iter().map(|rotated| fs::read_to_string(&rotated.path).unwrap()).collect()
    }

    fn told(&self) -> Vec<Notice> {
        self.notices.lock().unwrap().clone()
    }
}

#[test]
fn nobody_else_may_read_it_and_what_is_there_stays() {
    let mut bench = Bench::new();
    let folder = bench.temp.path().join("a/b");
    bench.log.folder.clone_from(&folder);
    bench.write("one");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&LogKind::Out.path(&folder))), (0o700, 0o600));
    bench.log.file = None;
    bench.write("two");
    assert_eq!(fs::read_to_string(LogKind::Out.path(&folder)).unwrap(), "one\ntwo\n");
    assert!(bench.told().is_empty());
}

#[test]
fn a_file_that_is_full_makes_room_for_the_next_one() {
    let rules = LogRules { max_size: ByteSize(12), ..LogRules::default() };
    let mut bench = Bench::with(&rules, |_| {});
    for line in ["first", "second", "third", "one that is too long", "fifth"] {
        bench.write(line);
    }
    assert_eq!(bench.rotated(), ["first\n", "second\n", "third\n", "one that is too long\n"]);
    assert_eq!(bench.text(), "fifth\n");
}

#[test]
fn a_file_that_is_old_makes_room_for_the_next_one() {
    let line = "2020-01-02T03:04:05.678Z 0/1 old\n";
    let write_old = |folder: &Path| fs::write(LogKind::Out.path(folder), line).unwrap();
    let mut bench = Bench::with(&LogRules::default(), write_old);
    bench.write("new");
    bench.write("newer");
    assert_eq!((bench.rotated(), bench.text()), (vec![line.to_owned()], "new\nnewer\n".into()));
    let never = LogRules { max_age: None, ..LogRules::default() };
    let mut bench = Bench::with(&never, write_old);
    bench.write("new");
    assert_eq!(bench.text(), format!("{line}new\n"));
}

#[test]
fn a_rotation_that_fails_keeps_nothing_from_being_written() {
    let rules = LogRules { max_size: ByteSize(1), ..LogRules::default() };
    let mut bench = Bench::with(&rules, |_| {});
    bench.write("one");
    bench.log.rotation_failed(&io::ErrorKind::ReadOnlyFilesystem.into());
    bench.write("two");
    bench.log.rotation_failed(&io::ErrorKind::ReadOnlyFilesystem.into());
    bench.write("three");
    assert_eq!(bench.text(), "one\ntwo\nthree\n");
    assert!(matches!(bench.told()[..], [Notice::NotTidied { .. }]), "{:?}", bench.told());
}

/// As logrotate does, and whoever clears up.
#[test]
fn a_file_that_was_moved_or_removed_is_made_anew() {
    let endless = LogRules { max_size: ByteSize(u64::MAX), ..LogRules::default() };
    let mut bench = Bench::with(&endless, |_| {});
    bench.write("before");
    let moved = bench.temp.path().join("out.log.1");
    fs::rename(bench.path(), &moved).unwrap();
    bench.write_until("after", |bench| bench.path().exists());
    assert!(fs::read_to_string(&moved).unwrap().starts_with("before\nafter\n"));
    assert!(bench.text().ends_with("after\n"));
    fs::remove_dir_all(bench.temp.path()).unwrap();
    bench.write_until("again", |bench| bench.path().exists());
    assert!(bench.text().ends_with("again\n"));
    assert!(bench.told().is_empty());
}

#[test]
fn a_file_that_was_emptied_begins_with_a_line() {
    let mut bench = Bench::new();
    bench.write("before");
    crate::logs::empty(bench.temp.path()).unwrap();
    bench.write("after");
    assert_eq!(bench.text(), "after\n");
}

/// What is in the way of the file is no file: it is told once and tried again, and in the end
/// nothing is missing.
#[test]
fn trouble_is_told_once_and_outlasted() {
    let mut bench = Bench::with(&LogRules::default(), |folder| {
        fs::create_dir(LogKind::Out.path(folder)).unwrap();
    });
    bench.write("one");
    bench.write("two");
    let told = bench.told();
    assert!(matches!(&told[..], [Notice::Failed { .. }]), "{told:?}");
    assert!(told[0].to_string().contains("out.log"), "{}", told[0]);
    fs::remove_dir(bench.path()).unwrap();
    bench.retry_until_written();
    assert_eq!(bench.text(), "one\ntwo\n");
    let what = bench.path().display().to_string();
    assert_eq!(bench.told()[1..], [Notice::Works { what, lost: 0 }]);
}

#[test]
fn what_finds_no_room_is_counted_where_it_is_missing() {
    let mut bench = Bench::with(&LogRules::default(), |folder| {
        fs::create_dir(LogKind::Out.path(folder)).unwrap();
    });
    let long = "x".repeat(1023);
    let kept = KEPT_BYTES / 1024;
    // A retry comes to nothing as long as the folder is there.
    for _ in 0..kept + 3 {
        bench.write(&long);
    }
    // As when a part was written after all.
    let written: Vec<_> = bench.log.pending.drain(..1024).collect();
    bench.write("short");
    bench.log.pending.splice(..0, written);
    fs::remove_dir(bench.path()).unwrap();
    bench.retry_until_written();
    bench.write("the end");
    let text = bench.text();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[..kept].iter().all(|line| *line == long));
    let Notice::Works { lost, .. } = bench.told()[1] else { panic!("{:?}", bench.told()) };
    assert_eq!(lost, 4);
    assert!(lines[kept].ends_with(&format!(" {lost} lines were lost here")), "{}", lines[kept]);
    assert_eq!(lines[kept + 1..], ["the end"]);
}

#[test]
fn what_a_full_disk_does_not_take_is_kept() {
    let mut bench = Bench::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let id = FileId::of(&full.metadata().unwrap());
    let now = (SystemTime::now(), Instant::now());
    let full = OpenFile { file: full, id, size: 0, since: now.0, looked: now.1 };
    bench.log.file = Some(full);
    bench.write("one");
    assert!(matches!(&bench.told()[..], [Notice::Failed { .. }]), "{:?}", bench.told());
    assert!(bench.log.file.is_some(), "there may be room again");
    bench.log.file = None;
    bench.retry_until_written();
    assert_eq!(bench.text(), "one\n");
}

/// A full disk takes a part of a line, and the rest when there is room again.
#[test]
fn a_line_that_was_cut_goes_on_where_it_was_cut() {
    let rules = LogRules { max_size: ByteSize(1), ..LogRules::default() };
    let mut bench = Bench::with(&rules, |_| {});
    bench.write("one");
    bench.log.max_size = ByteSize(1000);
    bench.log.add(|pending| pending.extend_from_slice(b"a line"));
    bench.log.commit();
    bench.log.max_size = ByteSize(1);
    bench.write(" that was cut");
    assert_eq!(bench.text(), "one\na line that was cut\n");
    bench.write("the next");
    assert_eq!(bench.text(), "the next\n");
}

#[test]
fn what_somebody_else_left_unfinished_is_not_gone_on_with() {
    let mut bench = Bench::with(&LogRules::default(), |folder| {
        fs::write(LogKind::Out.path(folder), "cut sho").unwrap();
    });
    bench.write("whole");
    assert_eq!(bench.text(), "cut sho\nwhole\n");
}

#[test]
fn nothing_is_written_through_a_link_or_into_what_is_no_file() {
    let mut bench = Bench::with(&LogRules::default(), |folder| {
        fs::write(folder.join("precious"), "").unwrap();
        symlink(folder.join("precious"), LogKind::Out.path(folder)).unwrap();
    });
    bench.write("one");
    assert!(bench.log.is_in_trouble());
    assert_eq!(fs::read(bench.temp.path().join("precious")).unwrap(), b"");
    crate::logs::empty(bench.temp.path()).unwrap_err();
    fs::remove_file(bench.path()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, bench.path(), 0o600.into()).unwrap();
    let open = |bench: &Bench| OpenFile::open(LogKind::Out, bench.temp.path()).err();
    let error = open(&bench).unwrap().to_string();
    assert!(error.contains("no file of this user"), "{error}");
    fs::set_permissions(bench.temp.path(), fs::Permissions::from_mode(0o770)).unwrap();
    let error = open(&bench).unwrap().to_string();
    assert!(error.contains("others can write"), "{error}");
}
