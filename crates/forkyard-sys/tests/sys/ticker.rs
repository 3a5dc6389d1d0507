//! A clock that ticks.

use std::future::poll_fn;
use std::time::Duration;

use forkyard_sys::ticker::Ticker;

#[tokio::test]
async fn it_ticks_again_and_again() {
    let ticker = Ticker::start(Duration::from_millis(1)).unwrap();
    for _ in 0..5 {
        poll_fn(|cx| ticker.poll_tick(cx)).await.unwrap();
    }
}

#[tokio::test]
async fn it_does_not_tick_before_its_time() {
    let ticker = Ticker::start(Duration::from_secs(3600)).unwrap();
    let tick = poll_fn(|cx| ticker.poll_tick(cx));
    tokio::select! {
        biased;
        _ = tick => panic!("it ticks at once"),
        () = tokio::task::yield_now() => {}
    }
}
