use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;

use super::tree::Changes;
use super::*;

/// A folder with an app, and whatever a test puts beside it.
struct Ground(TempDir);

impl Ground {
    /// With these files in the app's folder.
    fn with(files: &[&str]) -> Self {
        let ground = Self(tempfile::tempdir().unwrap());
        fs::create_dir(ground.app()).unwrap();
        files.iter().for_each(|file| ground.write(file));
        ground
    }

    fn app(&self) -> PathBuf {
        self.beside("app")
    }

    fn beside(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.app().join(path)
    }

    fn write(&self, path: &str) {
        self.put(path, "text");
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The app's files, watched, and how much that is.
    fn watch(&self, globs: &[&str]) -> (Tree, Watched) {
        watch(&self.app(), globs)
    }
}

fn globs(globs: &[&str]) -> Vec<Glob> {
    globs.iter().map(|glob| glob.parse().unwrap()).collect()
}

fn watch(directory: &Path, lines: &[&str]) -> (Tree, Watched) {
    let mut tree = Tree::new(directory, Selection::of(&globs(lines)).unwrap()).unwrap();
    let (watched, trouble) = tree.renew();
    assert!(trouble.is_none(), "{trouble:?}");
    (tree, watched)
}

/// The files that have changed since the last time, each once. The kernel tells at once.
fn changed(tree: &mut Tree) -> Vec<String> {
    let (changes, trouble) = tree.look().unwrap();
    assert!(trouble.is_none(), "{trouble:?}");
    assert_eq!(changes.others, 0);
    let mut files: Vec<_> = changes.files.iter().map(|file| file.display().to_string()).collect();
    files.sort();
    files.dedup();
    if tree.is_stale() {
        tree.renew();
    }
    files
}

const NOTHING: [&str; 0] = [];

#[test]
fn writing_creating_renaming_and_deleting_are_changes() {
    let ground = Ground::with(&["src/a.js", "src/b.js", "src/c.js", "src/d.js"]);
    let (mut tree, watched) = ground.watch(&["src/**"]);
    assert_eq!(watched, Watched { directories: 2, files: 4 });
    assert_eq!(changed(&mut tree), NOTHING);
    ground.write("src/a.js");
    ground.write("src/new.js");
    fs::rename(ground.at("src/b.js"), ground.at("src/e.js")).unwrap();
    fs::remove_file(ground.at("src/c.js")).unwrap();
    let expected = ["src/a.js", "src/b.js", "src/c.js", "src/e.js", "src/new.js"];
    assert_eq!(changed(&mut tree), expected);
    assert_eq!(changed(&mut tree), NOTHING);
}

/// A worker opens its database at its start, and closes it at its end.
#[test]
fn a_file_that_is_only_opened_is_not_changed() {
    let ground = Ground::with(&["data.db"]);
    let (mut tree, _) = ground.watch(&["**"]);
    drop(fs::File::options().write(true).open(ground.at("data.db")).unwrap());
    fs::read(ground.at("data.db")).unwrap();
    assert_eq!(changed(&mut tree), NOTHING);
}

#[test]
fn a_touch_is_a_change() {
    let ground = Ground::with(&["restart.txt"]);
    let (mut tree, _) = ground.watch(&["*.txt"]);
    let file = fs::File::options().write(true).open(ground.at("restart.txt")).unwrap();
    let then = std::time::SystemTime::UNIX_EPOCH;
    file.set_times(fs::FileTimes::new().set_accessed(then).set_modified(then)).unwrap();
    assert_eq!(changed(&mut tree), ["restart.txt"]);
}

#[test]
fn what_no_glob_means_is_not_even_watched() {
    let ground = Ground::with(&["src/a.js", "lib/a.js", "src/b/c/d.js"]);
    let (mut tree, watched) = ground.watch(&["src/*.js"]);
    assert_eq!(watched, Watched { directories: 4, files: 1 });
    for file in ["lib/a.js", "lib/b.js", "src/b/c/e.js", "b.js", "src/a.css"] {
        ground.write(file);
    }
    assert_eq!(changed(&mut tree), NOTHING);
}

#[test]
fn new_directories_are_watched_with_what_is_in_them() {
    let ground = Ground::with(&[]);
    let (mut tree, watched) = ground.watch(&["src/**"]);
    assert_eq!(watched, Watched { directories: 1, files: 0 });
    ground.write("src/a/b.js");
    ground.write("lib/a.js");
    assert_eq!(changed(&mut tree), ["src/a/b.js"]);
    ground.write("src/a/b.js");
    ground.write("src/a/c.js");
    assert_eq!(changed(&mut tree), ["src/a/b.js", "src/a/c.js"]);
    fs::create_dir(ground.at("src/empty")).unwrap();
    assert_eq!(changed(&mut tree), NOTHING);
}

#[test]
fn a_directory_that_is_moved_has_its_new_name() {
    let ground = Ground::with(&["src/a/b.js"]);
    let (mut tree, _) = ground.watch(&["src/**"]);
    fs::rename(ground.at("src/a"), ground.at("src/z")).unwrap();
    assert_eq!(changed(&mut tree), ["src/a", "src/z/b.js"]);
    ground.write("src/z/b.js");
    assert_eq!(changed(&mut tree), ["src/z/b.js"]);
    fs::rename(ground.at("src/z"), ground.beside("out")).unwrap();
    assert_eq!(changed(&mut tree), ["src/z"]);
    fs::write(ground.beside("out/b.js"), "more").unwrap();
    assert_eq!(changed(&mut tree), NOTHING);
}

#[test]
fn a_directory_that_is_deleted_and_made_again_is_watched_again() {
    let ground = Ground::with(&["src/a.js"]);
    let (mut tree, _) = ground.watch(&["src/**"]);
    fs::remove_dir_all(ground.at("src")).unwrap();
    assert_eq!(changed(&mut tree), ["src/a.js"]);
    ground.write("src/a.js");
    assert_eq!(changed(&mut tree), ["src/a.js"]);
    ground.write("src/a.js");
    assert_eq!(changed(&mut tree), ["src/a.js"]);
}

#[test]
fn what_git_ignores_and_nobody_means_does_not_count() {
    let ground = Ground::with(&["a.js", "node_modules/x/index.js", ".git/index", "made/a.js"]);
    ground.put(".gitignore", "*.log\n/made\n");
    let (mut tree, watched) = ground.watch(&["**"]);
    assert_eq!(watched, Watched { directories: 1, files: 2 });
    let others = ["a.log", "node_modules/x/index.js", "node_modules/y.js", ".git/index"];
    others.iter().for_each(|file| ground.write(file));
    ground.write("made/b.js");
    ground.write(".a.js.swp");
    assert_eq!(changed(&mut tree), NOTHING);
    ground.put(".gitignore", "");
    assert_eq!(changed(&mut tree), [".gitignore"]);
    ground.write("made/b.js");
    ground.write("a.log");
    assert_eq!(changed(&mut tree), ["a.log", "made/b.js"]);
}

/// A build's output is what its watcher means, and Git's business is none of it.
#[test]
fn what_a_glob_names_counts_although_git_ignores_it() {
    for ignored in ["dist", "dist/", "dist/*", "dist/**", "/dist/server.js"] {
        let ground = Ground::with(&["dist/server.js", "dist/node_modules/a.js"]);
        ground.put(".gitignore", ignored);
        for line in ["dist/**", "dist/server.js", "dist/*.js"] {
            let (mut tree, watched) = ground.watch(&[line]);
            let is_named = line == "dist/server.js" || ignored != "/dist/server.js";
            assert_eq!(watched.files, usize::from(is_named), "{line} of {ignored}");
            ground.write("dist/server.js");
            let expected = is_named.then_some("dist/server.js".to_owned());
            assert_eq!(changed(&mut tree), Vec::from_iter(expected), "{line} of {ignored}");
        }
    }
    let ground = Ground::with(&["node_modules/ours/a.js", "node_modules/b.js"]);
    let (_, watched) = ground.watch(&["node_modules/ours/**", "*.js"]);
    assert_eq!(watched.files, 1);
}

#[test]
fn the_app_s_directory_may_be_a_symlink_that_is_switched() {
    let ground = Ground::with(&["releases/1/a.js", "releases/2/a.js"]);
    let link = ground.at("current");
    symlink("releases/1", &link).unwrap();
    let (mut tree, watched) = watch(&link, &["*.js"]);
    assert_eq!(watched, Watched { directories: 1, files: 1 });
    symlink("releases/2", ground.at("next")).unwrap();
    assert_eq!(changed(&mut tree), NOTHING);
    fs::rename(ground.at("next"), &link).unwrap();
    assert_eq!(changed(&mut tree), ["current"]);
    ground.write("releases/1/a.js");
    assert_eq!(changed(&mut tree), NOTHING);
    ground.write("releases/2/a.js");
    assert_eq!(changed(&mut tree), ["a.js"]);
    // As `ln -sfn` does it, in two steps.
    fs::remove_file(&link).unwrap();
    assert_eq!(changed(&mut tree), ["current"]);
    symlink("releases/1", &link).unwrap();
    assert_eq!(changed(&mut tree), ["current"]);
    ground.write("releases/1/a.js");
    assert_eq!(changed(&mut tree), ["a.js"]);
}

#[test]
fn a_symlink_in_the_app_s_directory_may_be_switched() {
    let ground = Ground::with(&["releases/1/a.js", "releases/2/a.js"]);
    symlink("releases/1", ground.at("current")).unwrap();
    let (mut tree, watched) = ground.watch(&["current/**"]);
    assert_eq!(watched, Watched { directories: 2, files: 1 });
    symlink("releases/2", ground.at("next")).unwrap();
    fs::rename(ground.at("next"), ground.at("current")).unwrap();
    assert_eq!(changed(&mut tree), ["current", "current/a.js"]);
    ground.write("releases/1/a.js");
    assert_eq!(changed(&mut tree), NOTHING);
    ground.write("releases/2/a.js");
    assert_eq!(changed(&mut tree), ["current/a.js"]);
}

#[test]
fn the_app_s_directory_may_be_replaced() {
    let ground = Ground::with(&["a.js"]);
    let (mut tree, _) = ground.watch(&["*.js"]);
    fs::rename(ground.app(), ground.beside("old")).unwrap();
    assert_eq!(changed(&mut tree), ["app"]);
    ground.write("a.js");
    assert_eq!(changed(&mut tree), ["app"]);
    ground.write("a.js");
    assert_eq!(changed(&mut tree), ["a.js"]);
}

#[test]
fn symlinks_in_a_circle_end() {
    let ground = Ground::with(&["src/a.js"]);
    symlink("..", ground.at("src/up")).unwrap();
    symlink(".", ground.at("src/here")).unwrap();
    let (mut tree, watched) = ground.watch(&["**"]);
    assert_eq!(watched, Watched { directories: 2, files: 1 });
    ground.write("src/a.js");
    assert_eq!(changed(&mut tree), ["src/a.js"]);
}

fn rules(quiet_ms: u64, latest_ms: u64) -> WatchRules {
    let (quiet, latest) = (Duration::from_millis(quiet_ms), Duration::from_millis(latest_ms));
    WatchRules { globs: globs(&["**"]), quiet, latest }
}

/// Files that a test reports by itself.
fn reported(rules: &WatchRules) -> (Files, mpsc::Sender<Report>) {
    let (sender, reports) = mpsc::channel(REPORTS);
    let (_, wake) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (Files { quiet: Quiet::of(rules), reports, _wake: wake }, sender)
}

fn report(file: &str) -> Report {
    Report::Changed(Changes { files: vec![file.into()], others: 0 })
}

async fn told(files: &mut Files) -> Vec<PathBuf> {
    match files.next().await {
        News::Changed(Cause::Changed { files, .. }) => files,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_once_it_is_quiet() {
    let (mut files, sender) = reported(&rules(300, 5000));
    let start = Instant::now();
    let writer = async {
        for file in ["a", "b", "c"] {
            sender.send(report(file)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let (told, ()) = tokio::join!(told(&mut files), writer);
    assert_eq!(told, [PathBuf::from("a"), "b".into(), "c".into()]);
    assert_eq!(start.elapsed(), Duration::from_millis(700));
}

/// Somebody writes all the time, and whoever waits is called away all the time.
#[tokio::test(start_paused = true)]
async fn changes_are_told_although_it_never_gets_quiet() {
    let (mut files, sender) = reported(&rules(300, 5000));
    let start = Instant::now();
    for _ in 0..100 {
        sender.try_send(report("a")).unwrap();
        let called_away = Duration::from_millis(100);
        if let Ok(told) = tokio::time::timeout(called_away, told(&mut files)).await {
            assert_eq!(told, [PathBuf::from("a")]);
            return assert_eq!(start.elapsed(), Duration::from_secs(5));
        }
    }
    panic!("not told within {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_was_not_told_yet_is_not_lost_at_the_end() {
    let (mut files, sender) = reported(&rules(300, 5000));
    sender.try_send(report("a")).unwrap();
    let waited = Duration::from_millis(100);
    assert!(tokio::time::timeout(waited, files.next()).await.is_err());
    sender.try_send(report("b")).unwrap();
    let expected = Cause::Changed { files: vec!["a".into(), "b".into()], others: 0 };
    assert_eq!(files.into_pending(), Some(expected));
}

/// All of it, by the real clock.
#[tokio::test]
async fn a_file_that_is_written_is_told() {
    let ground = Ground::with(&["a.js"]);
    let mut files = Files::start(&rules(20, 5000), &ground.app()).unwrap();
    assert!(matches!(files.next().await, News::Watching(Watched { directories: 1, files: 1 })));
    ground.write("a.js");
    assert_eq!(told(&mut files).await, [PathBuf::from("a.js")]);
}
