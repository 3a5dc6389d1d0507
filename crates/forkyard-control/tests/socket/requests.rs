//! Requests that are answered at once, and those that are none.

use forkyard_control::client::ClientError;
use forkyard_control::server::{Server, Wish};
use forkyard_control::types::{Secrets, Stage, Update};
use serde_json::json;

use crate::place::{client, drive, place, raw, request, request_with};

#[tokio::test]
async fn whoever_asks_a_stopping_primary_is_told() {
    let (_keeps, dir) = place();
    let (_server, wishes) = Server::start(&dir, "web").unwrap();
    drop(wishes);
    let client = client(&dir);
    let errors = [
        client.reload(|_| {}).await.unwrap_err(),
        client.stop(Stage::Kill).await.unwrap_err(),
        client.events().next().await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(&error, ClientError::Denied(why) if why.contains("stopping")), "{error}");
    }
}

#[tokio::test]
async fn everything_can_be_asked_for() {
    let (_keeps, dir) = place();
    let (_server, wishes) = Server::start(&dir, "web").unwrap();
    let driving = tokio::spawn(drive(wishes));
    let client = client(&dir);
    let outcome = Update::Finished { took_ms: 3 };
    assert_eq!(client.restart(Some(3), |_| {}).await.unwrap(), outcome);
    assert_eq!(client.restart(None, |_| {}).await.unwrap(), outcome);
    assert_eq!(client.scale(4.try_into().unwrap(), |_| {}).await.unwrap(), outcome);
    assert_eq!(client.stop(Stage::Terminate).await.unwrap().pid, std::process::id());
    assert_eq!(client.signal("USR1", None).await.unwrap().workers.len(), 1);
    assert_eq!(client.flush_logs().await.unwrap().bytes, 5);
    assert_eq!(client.settings(Secrets::Show).await.unwrap(), json!({ "secrets": "show" }));
    assert_eq!(client.settings(Secrets::Hide).await.unwrap(), json!({ "secrets": "hide" }));
    let error = client.signal("USR1", Some(9)).await.unwrap_err();
    assert!(matches!(&error, ClientError::Denied(why) if why == "there is no slot 9"), "{error}");
    driving.abort();
}

/// The wish that comes of a request.
async fn wish_of(line: &str, body: &str) -> Wish {
    let (_keeps, dir) = place();
    let (_server, mut wishes) = Server::start(&dir, "web").unwrap();
    let request = request_with(line, body);
    let asking = raw(&dir, &request);
    tokio::select! {
        wish = wishes.recv() => wish.unwrap(),
        answer = asking => panic!("{answer}"),
    }
}

#[tokio::test]
async fn what_is_left_out_has_a_default() {
    for body in ["", " \n", "null", "{}", r#"{"slot":null}"#, r#"{"of a newer version":1}"#] {
        let wish = wish_of("POST /v1/restart", body).await;
        assert!(matches!(wish, Wish::Restart(None, _)), "{body}: {wish:?}");
        let wish = wish_of("POST /v1/stop", body).await;
        assert!(matches!(wish, Wish::Stop(Stage::Disconnect, _)), "{body}: {wish:?}");
    }
    let wish = wish_of("POST /v1/stop", r#"{"stage":"kill"}"#).await;
    assert!(matches!(wish, Wish::Stop(Stage::Kill, _)), "{wish:?}");
    let wish = wish_of("GET /v1/settings", "").await;
    assert!(matches!(wish, Wish::Settings(Secrets::Hide, _)), "{wish:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let (_keeps, dir) = place();
    let (_server, _wishes) = Server::start(&dir, "web").unwrap();
    for (line, body, why) in [
        ("POST /v1/restart", "{", "failed to read the body as JSON"),
        ("POST /v1/restart", r#"{"slot":-1}"#, "-1"),
        ("POST /v1/scale", "", "workers"),
        ("POST /v1/scale", r#"{"workers":0}"#, "at least one worker"),
        ("POST /v1/stop", r#"{"stage":"gently"}"#, "gently"),
        ("POST /v1/signal", "[]", "failed to read"),
        ("GET /v1/settings?secrets=sell", "", "sell"),
    ] {
        let answer = raw(&dir, &request_with(line, body)).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{line} {body}: {answer}");
        assert!(answer.contains(why), "{line} {body}: {answer}");
    }
    assert!(raw(&dir, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn what_there_is_not_is_answered_with_what_there_is() {
    let (_keeps, dir) = place();
    let (_server, _wishes) = Server::start(&dir, "web").unwrap();
    for line in ["GET /v2/status", "GET /v1/upgrade", "POST /v1/hibernate"] {
        let answer = raw(&dir, &request(line)).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(answer.contains(&format!("there is no {line}")), "{answer}");
        assert!(answer.contains("GET /v1/reload, POST /v1/reload"), "{answer}");
        assert!(answer.contains(r#""version":""#), "{answer}");
    }
}
