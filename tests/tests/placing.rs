//! Which worker gets a connection that the primary has accepted, by policy.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::thread;

use forkyard_tests::client::{Connection, Target};
use forkyard_tests::processes::signal;
use forkyard_tests::record::Record;
use forkyard_tests::{Forkyard, Launch, OnDisk, waiting};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::Signal;

/// A connection that is kept, and who serves it.
struct Kept {
    _connection: Connection,
    worker: i32,
}

fn keep(target: &Target) -> Kept {
    let mut connection = Connection::open(target).expect("a connection");
    connection.send(b"hello\n").expect("sent");
    let line = connection.line().expect("an echo");
    let worker = line.split_whitespace().next().and_then(|pid| pid.parse().ok());
    Kept { worker: worker.expect("a worker's id"), _connection: connection }
}

fn keep_many(target: &Target, count: usize) -> Vec<Kept> {
    (0..count).map(|_| keep(target)).collect()
}

fn by_worker(kept: &[Kept]) -> BTreeMap<i32, usize> {
    kept.iter().fold(BTreeMap::new(), |mut counts, kept| {
        *counts.entry(kept.worker).or_default() += 1;
        counts
    })
}

/// As many as have left this worker, opened one after the other, all go to it. Until the primary
/// has noticed that its clients have left, it goes on dealing as if they were there.
fn assert_next_go_to(target: &Target, worker: i32, count: usize) -> Vec<Kept> {
    waiting::until("the worker whose clients left to get the next ones", || {
        let next = keep_many(target, count);
        next.iter().all(|kept| kept.worker == worker).then_some(next)
    })
}

/// Two workers have about as many connections as each other. Those of one are closed, and until
/// it has caught up with the other one it gets all that come.
fn leave_one_worker(target: &Target, meanwhile: impl FnOnce()) {
    let mut kept = keep_many(target, 20);
    let workers = by_worker(&kept);
    assert_about_even(&workers);
    let fewest = workers.values().copied().min().unwrap_or_default();
    let left = kept[0].worker;
    meanwhile();
    kept.retain(|kept| kept.worker != left);
    kept.extend(assert_next_go_to(target, left, fewest));
    assert_about_even(&by_worker(&kept));
}

/// Not quite, because a worker that does not answer at once is passed over.
fn assert_about_even(workers: &BTreeMap<i32, usize>) {
    let even = workers.len() == 2 && workers.values().all(|count| *count >= 5);
    assert!(even, "{workers:?}");
}

fn least_connections() -> Launch {
    Launch::run("sticky-sockets.js").workers(2).option("--policy", "least-connections")
}

#[test]
fn the_worker_whose_clients_left_gets_the_next_ones() {
    for host in ["127.0.0.1", "::"] {
        let forkyard = least_connections().worker_env("HOST", host).start();
        forkyard.wait_listening(2);
        leave_one_worker(&Target::port(forkyard.port()), || ());
        forkyard.stop().assert_code(0).assert_no_panic();
    }
}

#[test]
fn on_unix_sockets_too() {
    let folder = Record::new();
    let path = folder.file("app.sock");
    let forkyard = least_connections().worker_env("SOCKET", &path).start();
    forkyard.wait_listening(2);
    leave_one_worker(&Target::unix(&path), || ());
}

#[test]
fn what_workers_have_is_still_known_after_an_upgrade_of_the_primary() {
    let on_disk = OnDisk::new();
    let forkyard = least_connections().on_disk(&on_disk).impatient().start();
    forkyard.wait_listening(2);
    let upgrade = || {
        on_disk.renew();
        forkyard.upgrade();
        forkyard.wait("primary_upgraded");
    };
    leave_one_worker(&Target::port(forkyard.port()), upgrade);
}

/// What a client at this address hears from whoever serves it.
fn served_from(address: Ipv4Addr, port: u16) -> i32 {
    let client = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&client, &SocketAddrV4::new(address, 0)).expect("an address of this machine");
    connect(&client, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).expect("a connection");
    let mut stream = BufReader::new(TcpStream::from(client));
    stream.get_mut().write_all(b"hello\n").expect("sent");
    let mut line = String::new();
    stream.read_line(&mut line).expect("an echo");
    line.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("a worker's id")
}

fn served(forkyard: &Forkyard, clients: &[Ipv4Addr]) -> Vec<i32> {
    clients.iter().map(|client| served_from(*client, forkyard.port())).collect()
}

#[test]
fn a_client_address_comes_to_the_same_slot_again() {
    let launch = Launch::run("sticky-sockets.js").workers(2).option("--policy", "ip-hash");
    let forkyard = launch.start();
    let workers = forkyard.wait_listening(2);
    let clients: Vec<_> = (1..=32).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
    let first = served(&forkyard, &clients);
    for worker in &workers {
        let share = first.iter().filter(|pid| *pid == worker).count();
        assert!((4..=28).contains(&share), "{share} of 32 clients");
    }
    assert_eq!(served(&forkyard, &clients), first);
    signal(workers[0], Signal::KILL);
    let slot = forkyard.wait_exited(workers[0]).slot();
    let successor = forkyard.wait_replaced(slot, &workers);
    let moved = |pid: i32| if pid == workers[0] { successor } else { pid };
    let expected: Vec<_> = first.into_iter().map(moved).collect();
    assert_eq!(served(&forkyard, &clients), expected, "the slot keeps its clients");
}

/// Unix sockets come from nowhere; anybody may have them.
#[test]
fn without_a_client_address_all_take_turns() {
    let folder = Record::new();
    let path = folder.file("app.sock");
    let launch = Launch::run("sticky-sockets.js").workers(2).option("--policy", "ip-hash");
    let forkyard = launch.worker_env("SOCKET", &path).start();
    forkyard.wait_listening(2);
    assert_about_even(&by_worker(&keep_many(&Target::unix(&path), 20)));
}

fn cores_of(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process");
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.expect("the cores it may use").trim().to_owned()
}

fn usable_cores() -> Vec<usize> {
    let usable = rustix::thread::sched_getaffinity(None).expect("the cores of this process");
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| usable.is_set(*core)).collect()
}

#[test]
fn pinned_workers_have_a_core_by_their_slot() {
    let cores = usable_cores();
    let workers = cores.len() + 1;
    let forkyard = Launch::run("recorded.js").workers(workers).flag("--pin").start();
    let pids = forkyard.wait_listening(workers);
    let in_slot = |slot: usize, old: &[i32]| forkyard.wait_replaced(slot as i64, old);
    let core = |slot: usize| cores[slot % cores.len()].to_string();
    for slot in 0..workers {
        assert_eq!(cores_of(in_slot(slot, &[])), core(slot), "slot {slot}");
    }
    assert_eq!(cores_of(forkyard.pid()), cores_of(own_pid()), "the primary is not pinned");
    forkyard.signal(Signal::HUP);
    for slot in 0..workers {
        assert_eq!(cores_of(in_slot(slot, &pids)), core(slot), "the successor in slot {slot}");
    }
}

#[test]
fn workers_that_are_not_pinned_may_use_all_cores() {
    let forkyard = Launch::run("recorded.js").workers(1).start();
    let worker = forkyard.wait_listening(1)[0];
    assert_eq!(cores_of(worker), cores_of(own_pid()));
}

fn own_pid() -> i32 {
    std::process::id().try_into().expect("a process id")
}

/// Who answered how many, of clients that ask one after the other, several at a time.
fn ask_many(target: &Target, clients: usize, each: usize) -> BTreeMap<i32, usize> {
    let ask = || Connection::open(target).expect("a connection").line().expect("an answer");
    let ask_all = || (0..each).map(|_| ask().parse().expect("a worker's id")).collect::<Vec<i32>>();
    let pids: Vec<i32> = thread::scope(|scope| {
        let asking: Vec<_> = (0..clients).map(|_| scope.spawn(ask_all)).collect();
        asking.into_iter().flat_map(|client| client.join().expect("answers")).collect()
    });
    pids.into_iter().fold(BTreeMap::new(), |mut counts, pid| {
        *counts.entry(pid).or_default() += 1;
        counts
    })
}

fn taking_turns(program: &str) -> (Forkyard, [i32; 2]) {
    let forkyard = Launch::run(program).workers(2).option("--policy", "round-robin").start();
    forkyard.wait_listening(2);
    let workers = [0, 1].map(|slot| forkyard.wait_replaced(slot, &[]));
    (forkyard, workers)
}

#[test]
fn a_worker_that_answers_slowly_gets_fewer() {
    let (forkyard, [slow, quick]) = taking_turns("slow-slot-0.js");
    let counts = ask_many(&forkyard.target(), 8, 50);
    let (slow, quick) = (counts.get(&slow).copied().unwrap_or(0), counts[&quick]);
    assert!(slow * 2 < quick, "{slow} against {quick}");
}

/// But for those that it was handed before anybody could know.
#[test]
fn a_worker_that_is_silent_gets_none() {
    const ASKED: usize = 60;
    /// How many a worker may have that it has not answered.
    const WINDOW: usize = 2;
    let (forkyard, [silent, other]) = taking_turns("sticky-sockets.js");
    signal(silent, Signal::STOP);
    let target = forkyard.target();
    let ask = |_| {
        let mut connection = Connection::open(&target).expect("a connection");
        connection.send(b"hello\n").expect("sent");
        connection
    };
    let mut asked: Vec<_> = (0..ASKED).map(ask).collect();
    let served = keep_many(&target, 20);
    assert!(served.iter().all(|kept| kept.worker == other), "{:?}", by_worker(&served));
    signal(silent, Signal::CONT);
    let by_silent = |connection: &mut Connection| {
        connection.line().expect("an echo").starts_with(&silent.to_string())
    };
    let had = asked.iter_mut().map(by_silent).filter(|it| *it).count();
    assert!(had <= WINDOW, "it had {had}");
}
