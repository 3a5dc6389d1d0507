//! What people and machines read, held as it is.

use std::time::Duration;

use super::*;
use forkyard::{
    ExitStatus, FailReason, Generation, LeaveReason, ListenerInfo, ReadyRule, RollExtent,
    RollFailure, RollReason, SlotId, WorkerId,
};

const INFO: WorkerInfo = WorkerInfo { slot: SlotId(1), worker: WorkerId(7), pid: 4242 };

fn events() -> Vec<Event> {
    let info = INFO;
    let limit = FailReason::RestartLimit {
        slot: SlotId(1),
        worker: WorkerId(7),
        limit: 10,
        window: Duration::from_secs(60),
    };
    let tail = vec!["Error: no database".to_owned(), "    at app.js:3".to_owned()];
    vec![
        Event::Started(info),
        Event::StartFailed { info, message: "failed to start node: no such file".into() },
        Event::Online(info),
        Event::Bound(ListenerInfo {
            address: "[::]:8000".into(),
            policy: Policy::Kernel,
            reason: None,
        }),
        Event::Bound(ListenerInfo {
            address: "unix:/run/app.sock".into(),
            policy: Policy::RoundRobin,
            reason: Some("a Unix socket".into()),
        }),
        Event::Listening { info, address: "[::]:8000".into() },
        Event::ListenRefused {
            info,
            address: "0.0.0.0:80".into(),
            code: "EACCES".into(),
            message: "failed to listen on 0.0.0.0:80: permission denied".into(),
        },
        Event::Ready(info),
        Event::AppReady,
        Event::StartTimedOut { info, after: Duration::from_millis(1500) },
        Event::Disconnected(info),
        Event::Exited {
            info,
            status: ExitStatus::Code(1),
            leaving: None,
            stderr_tail: tail.clone(),
        },
        Event::Exited {
            info,
            status: ExitStatus::Signal(9),
            leaving: Some(LeaveReason::Stop),
            stderr_tail: Vec::new(),
        },
        roll_started(RollReason::Reload, (4, 0, 0)),
        roll_started(RollReason::Reload, (1, 2, 0)),
        roll_started(RollReason::Reload, (3, 0, 1)),
        roll_started(RollReason::Replace, (1, 0, 0)),
        Event::RollStep { info, step: RollStep::Starting },
        Event::RollStep { info, step: RollStep::Waiting(ReadyRule::Listening) },
        Event::RollStep { info, step: RollStep::Waiting(ReadyRule::Message) },
        Event::RollStep { info, step: RollStep::Checking },
        Event::RollStep { info, step: RollStep::Settling },
        Event::RollStep { info, step: RollStep::Seated },
        Event::RollFinished { generation: Generation(3), took: Duration::from_millis(1234) },
        roll_failed(RollFailure::NotStarted {
            message: "failed to start node: no such file".into(),
        }),
        roll_failed(RollFailure::Ended { status: ExitStatus::Code(1) }),
        roll_failed(RollFailure::Ended { status: ExitStatus::Signal(9) }),
        roll_failed(RollFailure::NotReady {
            after: Duration::from_secs(30),
            rule: ReadyRule::Listening,
        }),
        roll_failed(RollFailure::NotReady {
            after: Duration::from_secs(30),
            rule: ReadyRule::Notify,
        }),
        roll_failed(RollFailure::Unhealthy { message: "500 Internal Server Error".into() }),
        roll_failed(RollFailure::Left),
        Event::RollBackFailed {
            info,
            reason: RollFailure::Ended { status: ExitStatus::Code(1) },
            stderr_tail: tail.clone(),
        },
        rolled_back(&[]),
        rolled_back(&[1]),
        rolled_back(&[0, 2]),
        Event::RollAborted { generation: Generation(3) },
        Event::StandsBy(info),
        Event::SpareDoesNotAsk { info, after: Duration::from_millis(10_003) },
        Event::Promoted(info),
        Event::RestartScheduled { slot: SlotId(1), delay: Duration::ZERO, restarts: 1 },
        Event::RestartScheduled { slot: SlotId(1), delay: Duration::from_millis(97), restarts: 2 },
        Event::SlotDone { slot: SlotId(1) },
        Event::Failed { reason: limit, stderr_tail: tail },
        Event::Stopping { stage: Stage::Disconnect, workers: 2 },
        Event::Escalated { info, stage: Stage::Kill },
        Event::AcceptFailed { address: "[::]:8000".into(), message: "too many files".into() },
        Event::Upgraded { pid: 4000, version: "1.2.3".into(), pause: Duration::from_millis(17) },
        Event::UpgradeFailed {
            reason: "the program at /usr/bin/forkyard ended with code 3".into(),
            stderr_tail: vec!["no such option".into()],
        },
        Event::ChannelTrouble { info, message: "ignored a message that makes no sense".into() },
    ]
}

fn roll_started(reason: RollReason, (replaced, added, removed): (usize, usize, usize)) -> Event {
    let extent = RollExtent { replaced, added, removed, surge: 2 };
    Event::RollStarted { generation: Generation(3), reason, extent }
}

fn rolled_back(pending: &[u32]) -> Event {
    let pending = pending.iter().map(|slot| SlotId(*slot)).collect();
    let took = Duration::from_millis(250);
    Event::RolledBack { generation: Generation(2), took, pending }
}

fn roll_failed(reason: RollFailure) -> Event {
    let stderr_tail = vec!["Error: no database".to_owned()];
    Event::RollFailed { generation: Generation(3), info: INFO, reason, stderr_tail }
}

fn entries() -> Vec<Entry> {
    let mut entries: Vec<_> =
        events().iter().map(|event| describe(event).expect("every event is told")).collect();
    entries.push(lines_lost(3));
    entries.push(roll::still(
        INFO,
        RollStep::Waiting(ReadyRule::Listening),
        Duration::from_millis(10_250),
    ));
    entries
}

#[test]
fn people_read_this() {
    let text: String = entries().iter().map(as_text).collect();
    insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
}

#[test]
fn machines_read_this() {
    let lines: Vec<_> =
        entries().iter().map(|entry| without_time(&as_json(entry, &now()))).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn whoever_follows_is_told_the_same_and_in_words() {
    for entry in entries() {
        let mut event = serde_json::to_value(as_event(&entry, now())).unwrap();
        let text = event.as_object_mut().unwrap().remove("text").unwrap();
        assert_eq!(text, entry.text);
        assert_eq!(without_time(&event.to_string()), without_time(&as_json(&entry, &now())));
    }
}

fn without_time(line: &str) -> String {
    let mut object: Map<String, Value> = serde_json::from_str(line).unwrap();
    assert!(object.remove("time").is_some_and(|time| time.as_str().unwrap().ends_with('Z')));
    Value::Object(object).to_string()
}

#[test]
fn a_failure_to_start_is_told_in_the_format_asked_for() {
    let failed = Failure::usage("failed to run a program without a name".into());
    let text = failure(LogFormat::Text, &failed);
    assert_eq!(text, "forkyard: failed to run a program without a name\n");
    let json: Value = serde_json::from_str(&failure(LogFormat::Json, &failed)).unwrap();
    assert_eq!((&json["event"], &json["code"]), (&json!("failed"), &json!(2)));
}
