//! Apps that reload by themselves: because a file has changed, or because it is time.

use std::fs;

use forkyard_tests::client;
use forkyard_tests::load::Load;
use forkyard_tests::releases::{Release, Releases};
use forkyard_tests::{Event, Forkyard, Launch, OnDisk, waiting};
use rustix::process::Signal;

const WORKERS: usize = 2;

/// The release that counts, in its own folder, reloaded when one of its files changes.
fn watching(releases: &Releases) -> Launch {
    let launch = Launch::releases(releases).workers(WORKERS).impatient();
    launch.option("--cwd", releases.file("current")).option("--watch", "*.js")
}

/// Waits until its files are watched for the `count`th time.
fn wait_watching(forkyard: &Forkyard, count: usize) -> Event {
    forkyard.wait_listening(WORKERS);
    forkyard.wait_count("watching", count).pop().expect("at least one")
}

/// Waits until this version answers.
fn wait_version(forkyard: &Forkyard, version: &str) {
    let target = forkyard.target();
    waiting::until(&format!("version {version} to answer"), || {
        let reply = client::get(&target, "/version").expect("it is served");
        (reply.json()["version"] == version).then_some(())
    });
}

/// What it reloaded for so far.
fn causes(forkyard: &Forkyard, count: usize) -> Vec<Event> {
    forkyard.wait_count("reload_wanted", count)
}

fn end(forkyard: Forkyard) {
    forkyard.stop().assert_code(0).assert_no_panic().assert_nobody_left();
}

#[test]
fn a_file_that_changes_reloads_and_clients_notice_nothing() {
    let releases = Releases::new();
    let forkyard = watching(&releases).start();
    assert_eq!(wait_watching(&forkyard, 1).json["files"], 1);
    let load = Load::keep_alive(&forkyard.target()).threads(2).modest().start();
    load.wait_answered(50);
    fs::write(releases.file("current/notes.txt"), "nobody's business").expect("a file");
    releases.publish("1", &Release::good().env("NEW", "yes"));
    forkyard.wait_rolled(1);
    load.wait_answered(50);
    load.stop().assert_nothing_lost();
    let wanted = causes(&forkyard, 1);
    assert_eq!((wanted.len(), wanted[0].text("cause")), (1, "changed"));
    assert_eq!(wanted[0].json["files"], serde_json::json!(["app.js"]));
    end(forkyard);
}

#[test]
fn a_symlink_that_is_switched_reloads() {
    let releases = Releases::new();
    let forkyard = watching(&releases).start();
    wait_watching(&forkyard, 1);
    releases.deploy("2", &Release::good());
    forkyard.wait_rolled(1);
    wait_version(&forkyard, "2");
    assert_eq!(causes(&forkyard, 1)[0].json["files"][0], "current");
    wait_watching(&forkyard, 2);
    releases.publish("2", &Release::good().env("VERSION", "2.1"));
    causes(&forkyard, 2);
    forkyard.wait_rolled(2);
    end(forkyard);
}

/// The old ones serve on, and the next change is the next chance.
#[test]
fn a_change_that_is_no_good_is_undone_and_the_next_one_is_tried() {
    let releases = Releases::new();
    let forkyard = watching(&releases).start();
    wait_watching(&forkyard, 1);
    releases.deploy("2", &Release::of("crash-at-boot.js"));
    forkyard.wait("roll_failed");
    forkyard.wait("roll_rolled_back");
    wait_version(&forkyard, "1");
    fs::remove_file(releases.file("current")).expect("it is there");
    let failed = forkyard.wait("reload_failed");
    assert!(failed.text("reason").contains("--cwd"), "{failed:?}");
    releases.deploy("3", &Release::good());
    forkyard.wait("roll_finished");
    wait_version(&forkyard, "3");
    end(forkyard);
}

#[test]
fn a_time_that_comes_reloads() {
    let launch = Launch::run("release.js").workers(1).impatient();
    let launch = launch.option("--schedule", "* * * * * *").option("--time-zone", "Asia/Tokyo");
    let forkyard = launch.start();
    let scheduled = forkyard.wait("reload_scheduled");
    assert!(scheduled.text("at").ends_with("+09:00"), "{scheduled:?}");
    forkyard.wait_rolled(2);
    let wanted = causes(&forkyard, 2).remove(0);
    assert_eq!((wanted.text("cause"), wanted.text("schedule")), ("scheduled", "* * * * * *"));
    assert_eq!(wanted.text("at"), scheduled.text("at"));
    end(forkyard);
}

/// Nothing of it outlives an exec, so the next image begins anew; and this one again, if it has
/// to go on itself.
#[test]
fn files_are_watched_after_an_upgrade_and_after_one_that_came_to_nothing() {
    let releases = Releases::new();
    let on_disk = OnDisk::new();
    let forkyard = watching(&releases).on_disk(&on_disk).start();
    wait_watching(&forkyard, 1);
    on_disk.renew();
    forkyard.upgrade();
    wait_watching(&forkyard, 2);
    releases.deploy("2", &Release::good());
    forkyard.wait_rolled(1);
    wait_watching(&forkyard, 3);
    fail_in_the_end(&forkyard, &on_disk);
    wait_watching(&forkyard, 4);
    releases.deploy("3", &Release::good());
    forkyard.wait_rolled(2);
    wait_version(&forkyard, "3");
    end(forkyard);
}

/// It is sound when it is tried out, and none any more when it is to be executed.
fn fail_in_the_end(forkyard: &Forkyard, on_disk: &OnDisk) {
    let (begun, go) = (on_disk.path("begun"), on_disk.path("go"));
    on_disk.script(&format!(
        "touch '{}'\nwhile ! test -e '{}'; do sleep 0.01; done\nexec $real \"$@\"",
        begun.display(),
        go.display()
    ));
    forkyard.signal(Signal::USR2);
    waiting::until("the new program to begin", || begun.exists().then_some(()));
    on_disk.put("garbage", 0o755);
    fs::write(go, "").expect("a file");
    forkyard.wait("upgrade_failed");
}

/// In a namespace of its own, where there is room for four watches.
#[test]
fn too_many_directories_are_said_and_the_app_runs() {
    let releases = Releases::new();
    for number in 0..5 {
        let folder = releases.file(&format!("current/lib/{number}"));
        fs::create_dir_all(folder).expect("a folder");
    }
    let room = "echo 4 > /proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"";
    let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", room];
    let launch = Launch::releases(&releases).workers(WORKERS).impatient().wrapped(&wrapper);
    let launch = launch.option("--cwd", releases.file("current")).option("--watch", "**");
    let forkyard = launch.start();
    wait_watching(&forkyard, 1);
    let warning = forkyard.wait_for("a warning", |event| {
        event.is("warning") && event.text("message").contains("no room")
    });
    let message = warning.text("message");
    assert!(message.contains("fs.inotify.max_user_watches"), "{message}");
    releases.publish("1", &Release::good().env("NEW", "yes"));
    forkyard.wait_rolled(1);
    end(forkyard);
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    for (option, value, hint) in [
        ("--watch", "../src", "--cwd"),
        ("--schedule", "at four", "0 4 * * *"),
        ("--schedule", "0 4 31 2 *", "never comes"),
    ] {
        let ended = Launch::run("release.js").option(option, value).finish();
        ended.assert_code(2).assert_says(&[option, hint]);
    }
}
