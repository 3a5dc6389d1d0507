//! What is named, and what is made of it, also when the disk has changed in between.

use std::fs;
use std::os::unix::fs::symlink;

use clap::Parser;
use tempfile::TempDir;

use super::*;
use crate::args::{Args, Verb};

fn launch_from(start: &Path, args: &[&str]) -> Launch {
    let line = ["forkyard", "run"].iter().chain(args);
    let Verb::Run(run) = Args::parse_from(line).verb else { panic!("not run") };
    Launch::of(run.name.clone(), run.settings(), start.to_owned()).unwrap()
}

fn plan_from(start: &Path, args: &[&str]) -> Result<Plan, Failure> {
    launch_from(start, args).plan()
}

fn failure(args: &[&str]) -> (u8, String) {
    let failure = plan_from(Path::new("/"), args).unwrap_err();
    (failure.number(), failure.to_string())
}

/// Two releases of one app, and a symlink to the first.
struct Releases {
    _dir: TempDir,
    root: PathBuf,
}

impl Releases {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for release in ["1", "2"] {
            let bin = root.join("releases").join(release).join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join("app.js"), "").unwrap();
            fs::write(root.join("releases").join(release).join("app.env"), "").unwrap();
            symlink("/bin/sh", bin.join("shell")).unwrap();
            symlink("app.js", bin.join("link.js")).unwrap();
        }
        let releases = Self { _dir: dir, root };
        releases.switch("1");
        releases
    }

    fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    fn release(&self, number: &str) -> PathBuf {
        self.root.join("releases").join(number)
    }

    /// As a deployment does it, at one go.
    fn switch(&self, to: &str) {
        let next = self.root.join("next");
        symlink(self.release(to), &next).unwrap();
        fs::rename(next, self.current()).unwrap();
    }
}

#[test]
fn what_is_named_wrongly_is_named_in_the_message() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (folder, none, none_js, plain) = (path(""), path("none"), path("none.js"), path("plain"));
    fs::write(&plain, "").unwrap();
    for (args, code, hint) in [
        (vec!["--interpreter", "/bin/sh", &none_js], 127, "check the path"),
        (vec!["--interpreter", "/bin/sh", &folder], 126, "name the program's file"),
        (vec![&none], 127, "check the path"),
        (vec![&folder], 126, "name the program's file"),
        (vec![&plain], 126, "chmod +x"),
    ] {
        let (number, message) = failure(&args);
        assert_eq!(number, code, "{message}");
        assert!(message.contains(args[args.len() - 1]), "{message}");
        assert!(message.contains(hint), "{message}");
    }
}

#[test]
fn an_unknown_interpreter_is_said_to_be_unknown() {
    let (code, message) = failure(&["--interpreter", "no-such-node", "app.js"]);
    assert_eq!(code, 127);
    assert!(message.contains("no-such-node"), "{message}");
    let (code, message) = failure(&["--interpreter", "/etc/passwd", "app.js"]);
    assert_eq!(code, 126);
    assert!(message.contains("/etc/passwd"), "{message}");
}

#[test]
fn an_empty_name_is_no_directory() {
    let Verb::Run(run) = Args::parse_from(["forkyard", "run", ""]).verb else { panic!("not run") };
    assert_eq!(Launch::of(None, run.settings(), "/".into()).unwrap_err().number(), 2);
}

#[test]
fn a_program_is_found_in_path_and_runs_in_its_directory() {
    let launch = launch_from(Path::new("/tmp"), &["--cwd", "/", "sh", "-c", "true"]);
    assert_eq!(launch.name(), "sh");
    let program = launch.plan().unwrap().program;
    assert!(program.path().ends_with("sh"));
    assert_eq!(program.arguments().collect::<Vec<_>>(), ["-c", "true"]);
    assert_eq!(program.directory(), Some(Path::new("/")));
}

#[test]
fn each_plan_follows_the_symlink_and_keeps_where_it_led() {
    let releases = Releases::new();
    let current = releases.current().to_str().unwrap().to_owned();
    for (start, args) in [
        (releases.current(), vec!["bin/app.js"]),
        (releases.current(), vec!["./bin/link.js"]),
        (releases.root.clone(), vec!["--cwd", "current", "bin/app.js"]),
        (PathBuf::from("/"), vec!["--cwd", &current, "bin/app.js"]),
    ] {
        releases.switch("1");
        let args = [vec!["--interpreter", "/bin/sh"], args].concat();
        let launch = launch_from(&start, &args);
        for release in ["1", "2", "1"].map(|number| (number, releases.release(number))) {
            releases.switch(release.0);
            let program = launch.plan().unwrap().program;
            let script = release.1.join("bin/app.js");
            assert_eq!(program.arguments().collect::<Vec<_>>(), [script.as_os_str()], "{args:?}");
            assert_eq!(program.directory(), Some(release.1.as_path()), "{args:?}");
        }
    }
}

/// As `venv/bin/python`, which looks for its libraries beside the symlink.
#[test]
fn an_executable_keeps_its_own_name() {
    let releases = Releases::new();
    let interpreted = ["--interpreter", "bin/shell", "bin/app.js"];
    for args in [&["bin/shell"][..], &["./bin/shell"], &interpreted] {
        let program = plan_from(&releases.current(), args).unwrap().program;
        assert_eq!(program.path(), releases.release("1").join("bin/shell"), "{args:?}");
    }
    let bin = releases.current().join("bin");
    let program = plan_from(&bin, &["shell"]).unwrap().program;
    assert_eq!(program.path(), releases.release("1").join("bin/shell"));
}

#[test]
fn environment_files_are_read_anew_and_outranked_by_what_comes_later() {
    let releases = Releases::new();
    let write = |name, text: &str| fs::write(releases.release("1").join(name), text).unwrap();
    write("one.env", "A=file one\nB=file one\nC=file one\n");
    write("two.env", "B=file two\nC=file two\n");
    let args = ["--env", "C=line", "--env-file", "one.env", "--env-file", "two.env", "sh"];
    let launch = launch_from(&releases.current(), &args);
    let value_of = |name: &str| {
        let program = launch.plan().unwrap().program;
        let of_it = program.variables().filter(|(found, _)| *found == name);
        of_it.last().map(|(_, value)| value.to_str().unwrap().to_owned())
    };
    assert_eq!(value_of("A").as_deref(), Some("file one"));
    assert_eq!(value_of("B").as_deref(), Some("file two"));
    assert_eq!(value_of("C").as_deref(), Some("line"));
    write("two.env", "A=later");
    assert_eq!(value_of("A").as_deref(), Some("later"));
    write("two.env", "A");
    let message = launch.plan().unwrap_err().to_string();
    assert!(message.contains("two.env:1"), "{message}");
}

#[test]
fn the_number_of_workers_is_what_the_nearest_says() {
    let releases = Releases::new();
    let start = releases.current();
    let write = |text: &str| fs::write(start.join("app.env"), text).unwrap();
    let workers = |args: &[&str]| {
        let args = [&["--env-file", "app.env"][..], args, &["sh"][..]].concat();
        plan_from(&start, &args).map(|plan| plan.workers)
    };
    write("WEB_CONCURRENCY=3");
    assert_eq!(workers(&[]).unwrap().get(), 3);
    assert_eq!(workers(&["--env", "WEB_CONCURRENCY=5"]).unwrap().get(), 5);
    assert_eq!(workers(&["-w", "7"]).unwrap().get(), 7);
    for max in ["WEB_CONCURRENCY=max", "WEB_CONCURRENCY="] {
        write(max);
        assert_eq!(workers(&[]).unwrap(), forkyard::available_workers());
    }
    for bad in ["0", "-1", "many", "1.5", "99999999"] {
        write(&format!("WEB_CONCURRENCY={bad}"));
        let failure = workers(&[]).unwrap_err();
        assert_eq!(failure.number(), 2);
        assert!(failure.to_string().contains(&format!("WEB_CONCURRENCY={bad}")), "{failure}");
        assert!(workers(&["-w", "7"]).is_ok());
    }
}

#[test]
fn the_environment_is_asked_last() {
    let set = vec![("WEB_CONCURRENCY".to_owned(), "2".to_owned())];
    let count = |set: &Variables, inherited: Option<&str>| {
        wanted_by_environment(set, inherited.map(OsString::from)).unwrap().count().get()
    };
    assert_eq!(count(&set, Some("4")), 2);
    assert_eq!(count(&Variables::new(), Some("4")), 4);
    assert_eq!(count(&Variables::new(), None), forkyard::available_workers().get());
}
