//! Rolls as the library offers them.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use forkyard::{
    Cluster, ClusterBuilder, Denied, Event, ExitStatus, Output, OutputLine, OutputSink, Program,
    RequestError, RollError, RollFailure, RollPlan, Signal, SlotId, Stage, WhenBusy, WorkerInfo,
    WorkerState, WorkerStatus,
};
use forkyard_tests::watching::event;
use forkyard_tests::{DEADLINE, Node, tools};
use tokio::time::timeout;

/// So that the last lines on stderr are known.
struct Nowhere;

impl OutputSink for Nowhere {
    fn line(&mut self, _: OutputLine<'_>) {}
    fn flush(&mut self) {}
}

fn program(name: &str) -> Program {
    Program::new(Node::V24.binary()).arg(tools::program(name))
}

fn builder() -> ClusterBuilder {
    Cluster::builder()
        .program(program("plain.js"))
        .output(Output::Lines(Box::new(Nowhere)))
        .settle(Duration::ZERO)
}

/// A cluster whose workers all listen.
async fn serving(builder: ClusterBuilder, workers: usize) -> (Cluster, Vec<WorkerInfo>) {
    let mut cluster = builder.start().unwrap();
    for _ in 0..workers {
        cluster.fork().await.unwrap();
    }
    for _ in 0..workers {
        event(&mut cluster, |event| matches!(event, Event::Listening { .. }).then_some(())).await;
    }
    let workers = infos(&cluster).await;
    (cluster, workers)
}

async fn ended(ticket: forkyard::RollTicket) -> Result<(), RollError> {
    timeout(DEADLINE, ticket.finished()).await.expect("the roll ends in time")
}

/// The workers that have a seat and are not leaving, when all others are gone.
async fn staff(cluster: &mut Cluster, leaving: usize) -> Vec<WorkerInfo> {
    for _ in 0..leaving {
        event(cluster, |event| matches!(event, Event::Exited { .. }).then_some(())).await;
    }
    infos(cluster).await
}

async fn infos(cluster: &Cluster) -> Vec<WorkerInfo> {
    let workers = cluster.handle().workers().await.unwrap();
    workers.into_iter().map(|worker| worker.info).collect()
}

#[tokio::test]
async fn a_roll_replaces_everybody() {
    let (mut cluster, before) = serving(builder(), 2).await;
    let ticket = cluster.handle().roll(RollPlan::default()).await.unwrap();
    ended(ticket).await.unwrap();
    let after = staff(&mut cluster, 2).await;
    let slots: Vec<_> = after.iter().map(|info| info.slot.0).collect();
    assert_eq!(slots, [0, 1]);
    assert!(after.iter().all(|info| before.iter().all(|old| old.pid != info.pid)), "{after:?}");
    cluster.stop(Stage::Kill).await.unwrap();
}

/// Readiness, as it is told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Worker(SlotId),
    App,
}

async fn told(cluster: &mut Cluster) -> Told {
    let readiness = |event| match event {
        Event::Ready(info) => Some(Told::Worker(info.slot)),
        Event::AppReady => Some(Told::App),
        _ => None,
    };
    event(cluster, readiness).await
}

#[tokio::test]
async fn every_worker_gets_ready_and_the_app_once() {
    let mut cluster = builder().start().unwrap();
    let slots = cluster.handle().fork_many(NonZeroUsize::new(2).unwrap()).await.unwrap();
    assert_eq!(slots, [SlotId(0), SlotId(1)]);
    let mut ready = [told(&mut cluster).await, told(&mut cluster).await];
    ready.sort_by_key(|told| *told == Told::Worker(SlotId(1)));
    assert_eq!(ready, [Told::Worker(SlotId(0)), Told::Worker(SlotId(1))]);
    assert_eq!(told(&mut cluster).await, Told::App);

    cluster.handle().signal(SlotId(1), Signal::KILL).await.unwrap();
    assert_eq!(told(&mut cluster).await, Told::Worker(SlotId(1)), "after a crash");
    ended(cluster.handle().restart(SlotId(0)).await.unwrap()).await.unwrap();
    assert_eq!(told(&mut cluster).await, Told::Worker(SlotId(0)), "as a successor");
    cluster.stop(Stage::Kill).await.unwrap();
}

#[tokio::test]
async fn workers_are_shown_as_they_stand() {
    let mut cluster = builder().start().unwrap();
    let before = SystemTime::now();
    cluster.fork().await.unwrap();
    assert!(!cluster.handle().has_been_ready().await.unwrap());
    event(&mut cluster, |event| matches!(event, Event::AppReady).then_some(())).await;
    let [first] = shown(&cluster).await;
    assert_eq!((first.state, first.restarts), (WorkerState::Ready, 0));
    assert!(first.started.unwrap() >= before);

    cluster.handle().signal(SlotId(0), Signal::KILL).await.unwrap();
    event(&mut cluster, |event| matches!(event, Event::Ready(_)).then_some(())).await;
    let [second] = shown(&cluster).await;
    assert_eq!((second.state, second.restarts), (WorkerState::Ready, 1));
    assert!(second.started >= first.started && second.info.pid != first.info.pid);
    assert!(cluster.handle().has_been_ready().await.unwrap());
    cluster.stop(Stage::Kill).await.unwrap();
}

async fn shown<const N: usize>(cluster: &Cluster) -> [WorkerStatus; N] {
    cluster.handle().workers().await.unwrap().try_into().unwrap()
}

#[tokio::test]
async fn too_many_forks_are_none() {
    let cluster = builder().start().unwrap();
    let many = NonZeroUsize::new(forkyard::MAX_SLOTS + 1).unwrap();
    let denied = cluster.handle().fork_many(many).await.unwrap_err();
    assert!(matches!(denied, RequestError::Denied(Denied::TooManySlots)), "{denied}");
    assert_eq!(cluster.handle().workers().await.unwrap(), []);
}

#[tokio::test]
async fn a_roll_can_bring_more_workers() {
    let (cluster, _) = serving(builder(), 1).await;
    let plan = RollPlan::default().workers(NonZeroUsize::new(3).unwrap());
    ended(cluster.handle().roll(plan).await.unwrap()).await.unwrap();
    let slots = infos(&cluster).await;
    assert!(slots.iter().any(|info| info.slot == SlotId(2)), "{slots:?}");
    cluster.stop(Stage::Kill).await.unwrap();
}

#[tokio::test]
async fn a_failed_roll_says_who_and_why_and_changes_nothing() {
    let (mut cluster, before) = serving(builder(), 2).await;
    let plan = RollPlan::default().program(program("crash-at-boot.js"));
    let error = ended(cluster.handle().roll(plan).await.unwrap()).await.unwrap_err();
    let RollError::Failed { info, reason, stderr_tail } = error else { panic!("{error:?}") };
    assert_eq!(info.slot, SlotId(0));
    assert_eq!(reason, RollFailure::Ended { status: ExitStatus::Code(1) });
    assert!(stderr_tail.iter().any(|line| line.contains("no database today")), "{stderr_tail:?}");
    assert_eq!(staff(&mut cluster, 0).await, before);

    ended(cluster.handle().roll(RollPlan::default()).await.unwrap()).await.unwrap();
    cluster.stop(Stage::Kill).await.unwrap();
}

/// What is started after a failed roll is what was there before it.
#[tokio::test]
async fn a_restart_after_a_failed_roll_is_of_the_generation_before() {
    let (mut cluster, before) = serving(builder(), 1).await;
    let plan = RollPlan::default().program(program("crash-at-boot.js"));
    ended(cluster.handle().roll(plan).await.unwrap()).await.unwrap_err();
    cluster.handle().signal(before[0].slot, forkyard::Signal::KILL).await.unwrap();
    let listens = |event| match event {
        Event::Listening { info, .. } if info.pid != before[0].pid => Some(info),
        _ => None,
    };
    event(&mut cluster, listens).await;
    cluster.stop(Stage::Kill).await.unwrap();
}

#[tokio::test]
async fn a_second_roll_waits_or_is_refused() {
    let (cluster, _) = serving(builder(), 2).await;
    let handle = cluster.handle();
    let first = handle.roll(RollPlan::default()).await.unwrap();
    let refused = handle.roll(RollPlan::default().when_busy(WhenBusy::Refuse)).await.unwrap_err();
    assert!(matches!(refused, RequestError::Denied(Denied::Rolling)), "{refused:?}");
    let second = handle.roll(RollPlan::default()).await.unwrap();
    ended(first).await.unwrap();
    ended(second).await.unwrap();
    cluster.stop(Stage::Kill).await.unwrap();
}

#[tokio::test]
async fn whoever_waits_for_a_roll_learns_of_a_stop() {
    let (cluster, _) = serving(builder(), 1).await;
    let handle = cluster.handle();
    let first = handle.roll(RollPlan::default()).await.unwrap();
    let second = handle.roll(RollPlan::default()).await.unwrap();
    cluster.stop(Stage::Kill).await.unwrap();
    assert_eq!(ended(first).await, Err(RollError::Stopped));
    assert_eq!(ended(second).await, Err(RollError::Stopped));
}

#[tokio::test]
async fn one_slot_is_restarted_successor_first() {
    let (mut cluster, before) = serving(builder(), 2).await;
    let ticket = cluster.handle().restart(SlotId(1)).await.unwrap();
    ended(ticket).await.unwrap();
    let after = staff(&mut cluster, 1).await;
    let pid_in = |workers: &[WorkerInfo], slot| {
        workers.iter().find(|info| info.slot == SlotId(slot)).map(|info| info.pid)
    };
    assert_eq!(pid_in(&after, 0), pid_in(&before, 0));
    assert_ne!(pid_in(&after, 1), pid_in(&before, 1));
    let unknown = cluster.handle().restart(SlotId(7)).await.unwrap_err();
    assert!(matches!(unknown, RequestError::Denied(Denied::NoSuchSlot)), "{unknown:?}");
    cluster.stop(Stage::Kill).await.unwrap();
}

#[tokio::test]
async fn a_spare_takes_over() {
    let (mut cluster, before) = serving(builder(), 1).await;
    let spare = cluster.handle().fork_spare().await.unwrap();
    let stands_by =
        |event| matches!(event, Event::StandsBy(info) if info.slot == spare).then_some(());
    event(&mut cluster, stands_by).await;
    cluster.handle().signal(before[0].slot, forkyard::Signal::KILL).await.unwrap();
    let promoted = event(&mut cluster, |event| match event {
        Event::Promoted(info) => Some(info),
        _ => None,
    })
    .await;
    assert_eq!(promoted.slot, spare);
    event(&mut cluster, |event| match event {
        Event::Listening { info, .. } => (info == promoted).then_some(()),
        _ => None,
    })
    .await;
    cluster.stop(Stage::Kill).await.unwrap();
}
