//! Both sides need not be of one version.

use std::path::Path;

use forkyard_control::client::{ClientError, Heard};
use forkyard_control::types::{AppState, Secrets, Stage, Update, UpgradeOutcome, WorkerState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::place::{client, place, socket};

/// A primary of another version, which answers all requests the same.
async fn answers(dir: &Path, kind: &str, code: &str, body: &str) {
    let listener = UnixListener::bind(socket(dir)).unwrap();
    let answer = format!(
        "HTTP/1.1 {code}\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n\
         {body}",
        body.len()
    );
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

macro_rules! told {
    ($dir:expr, $kind:expr, $code:expr, $body:expr, $asking:expr) => {
        tokio::select! {
            // The answer is there before it is asked for.
            biased;
            () = answers($dir, $kind, $code, $body) => unreachable!(),
            told = $asking => told,
        }
    };
}

#[tokio::test]
async fn an_older_primary_is_named_with_the_way_out() {
    let (_keeps, dir) = place();
    let body = r#"{"error":"there is no such thing in forkyard 0.0.1; there is GET /v1/status"}"#;
    let client = client(&dir);
    let asking = async {
        [
            client.scale(2.try_into().unwrap(), |_| {}).await.unwrap_err(),
            client.restart(None, |_| {}).await.unwrap_err(),
            client.stop(Stage::Disconnect).await.unwrap_err(),
            client.signal("TERM", None).await.unwrap_err(),
            client.flush_logs().await.unwrap_err(),
            client.settings(Secrets::Hide).await.unwrap_err(),
            client.events().next().await.unwrap_err(),
        ]
    };
    let errors = told!(&dir, JSON, "404 Not Found", body, asking);
    for error in errors {
        assert!(matches!(error, ClientError::Unknown { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("in forkyard 0.0.1"), "{said}");
        assert!(said.contains("`forkyard upgrade web`"), "{said}");
    }
}

#[tokio::test]
async fn a_newer_primary_may_say_more_than_is_understood() {
    let (_keeps, dir) = place();
    let body = r#"{
        "api": 9, "app": "web", "pid": 1, "version": "9.9.9", "state": "hibernating",
        "generation": 3, "mood": {"is": "fine"}, "listeners": [],
        "workers": [{"slot": 0, "worker": 1, "pid": 2, "state": "asleep", "dreams": []}],
        "reload": {"state": "rewound"}, "upgrade": {"update": "postponed"}
    }"#;
    let client = client(&dir);
    let status = told!(&dir, JSON, "200 OK", body, client.status()).unwrap();
    assert_eq!((status.state, status.workers[0].state), (AppState::Unknown, WorkerState::Unknown));
    assert_eq!(status.upgrade, Some(UpgradeOutcome::Unknown));
}

#[tokio::test]
async fn a_newer_primary_may_tell_more_than_is_understood() {
    let (_keeps, dir) = place();
    let body = "event: paused\ndata: {\"update\":\"paused\",\"for_ms\":5}\n\n\
                event: finished\ndata: {\"update\":\"finished\",\"took_ms\":3,\"more\":1}\n\n";
    let (client, mut heard) = (client(&dir), Vec::new());
    let reload = client.reload(|update| heard.push(update.clone()));
    let told = told!(&dir, EVENTS, "200 OK", body, reload);
    assert_eq!(told.unwrap(), Update::Finished { took_ms: 3 });
    assert_eq!(heard, [Update::Unknown]);

    let body = "event: moved\ndata: {\"time\":\"t\",\"level\":\"dire\",\"event\":\"moved\"}\n\n";
    std::fs::remove_file(socket(&dir)).unwrap();
    let mut events = client.events();
    let told = told!(&dir, EVENTS, "200 OK", body, events.next());
    let Ok(Some(Heard::Event(event))) = told else { panic!("{told:?}") };
    assert_eq!((event.event.as_str(), event.level.as_str()), ("moved", "dire"));
}

#[tokio::test]
async fn an_answer_of_another_kind_is_not_taken_for_one() {
    let (_keeps, dir) = place();
    let (client, body) = (client(&dir), "{\"update\":\"waiting\"}\n");
    let told = told!(&dir, "application/x-ndjson", "200 OK", body, client.reload(|_| {}));
    assert!(matches!(told, Err(ClientError::Nonsense(_))), "{told:?}");
}
