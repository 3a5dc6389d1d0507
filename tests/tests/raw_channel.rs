//! Workers that handle the descriptors on their channel by themselves, and wrongly.

use forkyard_tests::client::{Failure, Target};
use forkyard_tests::load::Load;
use forkyard_tests::record::Record;
use forkyard_tests::{Ended, Event, Forkyard, Launch, ports, processes, waiting};

/// More descriptors than this the primary has no reason to hold: the workers, their pipes
/// and channels, and what may lie unread in one channel.
const DESCRIPTORS: usize = 512;

/// `channel.py` with two workers, of which the first misbehaves.
struct Misdeed {
    forkyard: Forkyard,
    target: Target,
    culprit: i32,
    _once: Record,
}

impl Misdeed {
    /// Waits until the misdeed is done and the other worker serves.
    fn done(misdeed: &str) -> Self {
        let (once, port) = (Record::new(), ports::free());
        let launch = Launch::run("channel.py").interpreter("python3").workers(2).arg(misdeed);
        // It knows connections only that are handed to it.
        let launch = launch.option("--policy", "round-robin");
        let launch = launch.worker_env("ONCE", once.file("once")).impatient();
        let forkyard = launch.worker_env("PORT", port.to_string()).start();
        let said = forkyard.wait_json("did", 1);
        let culprit = said[0]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let culprit = culprit.expect("its pid");
        forkyard.until("a worker that behaves", |events| {
            let listens = |event: &Event| event.is("worker_listening") && event.pid() != culprit;
            events.iter().any(listens).then_some(())
        });
        Self { forkyard, target: Target::port(port), culprit, _once: once }
    }

    fn assert_few_descriptors(&self) {
        let primary = self.forkyard.primary_pid();
        let open = processes::descriptors(primary);
        assert!(open < DESCRIPTORS, "{open} open: {:?}", processes::descriptor_names(primary));
    }

    fn stop(self) -> Ended {
        let ended = self.forkyard.stop();
        ended.assert_code(0).assert_no_panic().assert_nobody_left();
        ended
    }
}

/// It answers `accepted`, so it has the connection; but the channel may carry the next
/// descriptor only after the acknowledgement.
#[test]
fn a_worker_that_never_acknowledges_keeps_nothing_open() {
    let misdeed = Misdeed::done("never-acknowledges");
    let tally = Load::short(&misdeed.target).requests(3_000).run();
    misdeed.assert_few_descriptors();
    let ended = misdeed.stop();
    // It has no more than one request at a time, which is lost if it is ended over this.
    let trouble = ended.all("channel_trouble").count();
    let broken = tally.count(&Failure::Reset) + tally.count(&Failure::Closed);
    assert_eq!(tally.lost.len(), broken, "{:?}", tally.lost);
    assert!(broken <= trouble.min(1), "{:?}; it said:\n{}", tally.lost, ended.text());
}

#[test]
fn stray_descriptors_do_not_pile_up() {
    let misdeed = Misdeed::done("stray-handles");
    Load::short(&misdeed.target).requests(300).run().assert_nothing_lost();
    waiting::until("the primary to read it all", || {
        let trouble = |event: &Event| event.is("channel_trouble");
        misdeed.forkyard.events().iter().any(trouble).then_some(())
    });
    misdeed.assert_few_descriptors();
    misdeed.stop();
}

/// What is dealt to a worker that cannot receive any more goes to another.
#[test]
fn connections_of_a_worker_that_stops_reading_go_to_another() {
    let misdeed = Misdeed::done("stops-reading");
    let tally = Load::short(&misdeed.target).requests(300).run();
    tally.assert_nothing_lost();
    assert!(!tally.by_worker().contains_key(&misdeed.culprit), "it serves nobody");
    misdeed.stop();
}
