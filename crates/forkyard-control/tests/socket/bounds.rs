//! What no client can do to the primary, nor to other clients.

use std::time::Duration;

use forkyard_control::client::{ClientError, Heard};
use forkyard_control::server::{Feed, Server};
use forkyard_control::types::AppEvent;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::place::{
    asked, client, drive, event, grant, in_time, place, raw, request, request_with, socket, status,
};

/// The first line of an answer.
async fn first_line(stream: &mut UnixStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(in_time(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// How much there is to read until the connection ends.
async fn read_to_end(stream: &mut UnixStream) -> usize {
    let mut bytes = Vec::new();
    in_time(stream.read_to_end(&mut bytes)).await.unwrap()
}

/// More than are served at a time. They are given up in time for those who wait.
#[tokio::test(start_paused = true)]
async fn clients_that_say_nothing_keep_nobody_out() {
    let (_keeps, dir) = place();
    let (_server, wishes) = Server::start(&dir, "web").unwrap();
    let driving = tokio::spawn(drive(wishes));
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(UnixStream::connect(socket(&dir)).await.unwrap());
    }
    assert_eq!(client(&dir).status().await.unwrap(), status());
    driving.abort();
}

/// All there is room for, of either kind that stays.
#[tokio::test]
async fn clients_that_stay_keep_nobody_out_who_only_asks() {
    let (_keeps, dir) = place();
    let (_server, mut wishes) = Server::start(&dir, "web").unwrap();
    let feed = Feed::default();
    let driving = tokio::spawn(async move {
        let mut unanswered = Vec::new();
        while let Some(wish) = wishes.recv().await {
            use forkyard_control::server::Wish::Reload;
            match wish {
                Reload(watcher) => unanswered.push(watcher),
                wish => grant(wish, &feed),
            }
        }
    });
    for (line, places) in [("GET /v1/events", 32), ("POST /v1/reload", 16)] {
        let mut staying = Vec::new();
        for _ in 0..places {
            let mut stream = asked(&dir, &request(line)).await;
            assert_eq!(first_line(&mut stream).await, "HTTP/1.1 200 OK");
            staying.push(stream);
        }
        let answer = raw(&dir, &request(line)).await;
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        assert!(answer.contains("too many clients"), "{answer}");
        assert_eq!(client(&dir).status().await.unwrap(), status());
        drop(staying);
    }
    driving.abort();
}

/// A place is free again when whoever had it is gone.
#[tokio::test]
async fn who_has_gone_leaves_a_place_to_others() {
    let (_keeps, dir) = place();
    let (_server, wishes) = Server::start(&dir, "web").unwrap();
    let driving = tokio::spawn(drive(wishes));
    for _ in 0..3 * 32 {
        let follows = async {
            while !matches!(client(&dir).events().next().await, Ok(Some(Heard::Status(_)))) {
                // Nobody announces it.
                tokio::task::yield_now().await;
            }
        };
        in_time(follows).await;
    }
    driving.abort();
}

#[tokio::test]
async fn who_is_too_slow_is_told_how_much_was_missed() {
    let (_keeps, dir) = place();
    let (_server, mut wishes) = Server::start(&dir, "web").unwrap();
    let (feed, asker) = (Feed::default(), client(&dir));
    let mut events = asker.events();
    let follows = async { grant(wishes.recv().await.unwrap(), &feed) };
    let (first, ()) = tokio::join!(events.next(), follows);
    assert!(matches!(first, Ok(Some(Heard::Status(_)))), "{first:?}");

    const TOLD: u32 = 5000;
    (0..TOLD).for_each(|number| feed.tell(|| event(number)));
    let (mut missed, mut last) = (0, None);
    while last.as_ref() != Some(&event(TOLD - 1)) {
        match events.next().await {
            Ok(Some(Heard::Missed(so_many))) => missed += so_many,
            Ok(Some(Heard::Event(event))) => {
                let number = event.fields["number"].as_u64().unwrap();
                let before =
                    last.map_or(0, |last: AppEvent| last.fields["number"].as_u64().unwrap() + 1);
                assert!(number == before || missed > 0, "{before} was left out silently");
                last = Some(event);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(missed, u64::from(TOLD) - 1024);
}

/// What it leaves unread costs no more than the socket holds, and in the end it is given up.
#[tokio::test(start_paused = true)]
async fn who_never_reads_is_given_up() {
    let (_keeps, dir) = place();
    let (_server, mut wishes) = Server::start(&dir, "web").unwrap();
    let feed = Feed::default();
    let mut deaf = asked(&dir, &request("GET /v1/events")).await;
    grant(wishes.recv().await.unwrap(), &feed);
    first_line(&mut deaf).await;
    for number in 0..100 {
        let text = "x".repeat(16 * 1024);
        feed.tell(|| AppEvent { text, ..event(number) });
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let read = read_to_end(&mut deaf).await;
    assert!(read < 100 * 16 * 1024, "{read} bytes");
}

#[tokio::test]
async fn a_request_has_bounds() {
    let (_keeps, dir) = place();
    let (_server, wishes) = Server::start(&dir, "web").unwrap();
    let driving = tokio::spawn(drive(wishes));
    let header = "x".repeat(60 * 1024);
    let request = format!("GET /v1/x HTTP/1.1\r\nHost: x\r\nX: {header}\r\n\r\n");
    assert!(first_line(&mut asked(&dir, &request).await).await.starts_with("HTTP/1.1 431"));
    let fits = format!(r#"{{"slot":0{}}}"#, " ".repeat(16 * 1024 - 10));
    for (body, code) in [(fits.clone(), 200), (format!("{fits} "), 413)] {
        let mut stream = asked(&dir, &request_with("POST /v1/restart", &body)).await;
        let line = first_line(&mut stream).await;
        assert!(line.starts_with(&format!("HTTP/1.1 {code}")), "{line}");
    }
    driving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (_keeps, dir) = place();
    let (_server, _wishes) = Server::start(&dir, "web").unwrap();
    let head = "POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{";
    let mut stream = asked(&dir, head).await;
    assert_eq!(first_line(&mut stream).await, "HTTP/1.1 408 Request Timeout");
    let mut stream = UnixStream::connect(socket(&dir)).await.unwrap();
    stream.write_all(b"GET /v1/sta").await.unwrap();
    read_to_end(&mut stream).await;
}

/// Whoever drives the primary is at something else.
#[tokio::test(start_paused = true)]
async fn an_app_that_does_not_answer_is_given_up() {
    let (_keeps, dir) = place();
    let (_server, _wishes) = Server::start(&dir, "web").unwrap();
    let error = client(&dir).status().await.unwrap_err();
    assert!(matches!(&error, ClientError::Denied(why) if why.contains("in time")), "{error}");
}
