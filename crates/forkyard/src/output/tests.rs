use std::io::Write;

use forkyard_core::{SlotId, WorkerId};

use super::*;

pub(super) const INFO: WorkerInfo = WorkerInfo { slot: SlotId(0), worker: WorkerId(1), pid: 1 };

#[derive(Default)]
pub(super) struct Collected(pub(super) Arc<Mutex<Vec<String>>>);

impl OutputSink for Collected {
    fn line(&mut self, line: OutputLine<'_>) {
        self.0.lock().unwrap().push(String::from_utf8_lossy(line.text).into_owned());
    }
    fn flush(&mut self) {}
}

/// What was read is passed on once, and what was not is found by whoever goes on.
#[tokio::test]
async fn a_line_may_begin_in_one_thread_and_end_in_another() {
    let start = || {
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let sink = Collected(Arc::clone(&seen));
        (OutputPump::start(Box::new(sink)).unwrap(), seen)
    };
    let ((first, _), seen_first) = start();
    let (reader, mut writer) = io::pipe().unwrap();
    let capture = tokio::task::spawn_blocking({
        let first = first.clone();
        move || first.capture(INFO, None, Some(reader.into()))
    });
    let capture = capture.await.unwrap();
    writer.write_all(b"whole\nbeg").unwrap();
    while capture.tail().lines().is_empty() {
        tokio::task::yield_now().await;
    }
    let mut resting = first.rest().await.unwrap();
    writer.write_all(b"un\nlast").unwrap();
    let pipes = resting.pop().unwrap();
    assert_eq!((pipes.info, pipes.stderr.unfinished.as_slice()), (INFO, b"beg".as_slice()));
    let ((second, drained), seen_second) = start();
    let RestingPipe { pipe, unfinished } = pipes.stderr;
    let left = pipe.map(|pipe| pipe.into_nonblocking_fd().unwrap());
    let stderr = second.resting(left, unfinished).unwrap();
    let (pipes, capture) = pair(INFO, (pipes.stdout, stderr), capture.tail().lines());
    second.follow(pipes);
    drop(writer);
    let mut rest = RestSwitch::default().signal();
    let tail = capture.finish(Duration::from_secs(30), &mut rest).await;
    assert_eq!(tail, ["whole", "begun", "last"]);
    drop(second);
    drained.wait().await;
    assert_eq!(*seen_first.lock().unwrap(), ["whole"]);
    assert_eq!(*seen_second.lock().unwrap(), ["begun", "last"]);
}

/// A sink that takes one line for each word it gets.
struct Slow(Arc<Mutex<Vec<String>>>, std::sync::mpsc::Receiver<()>);

impl OutputSink for Slow {
    fn line(&mut self, line: OutputLine<'_>) {
        // At the end of the test it is as fast as can be.
        let _ = self.1.recv();
        self.0.lock().unwrap().push(String::from_utf8_lossy(line.text).into_owned());
    }
    fn flush(&mut self) {}
}

/// The sink takes nothing, and what is before them on stdout is not passed on.
#[tokio::test]
async fn last_words_are_known_before_they_are_passed_on() {
    let (hurry, words) = std::sync::mpsc::sync_channel(0);
    let sink: SharedSink = Arc::new(Mutex::new(Box::new(Slow(Arc::default(), words))));
    let pipe = |text: &[u8]| {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(text).unwrap();
        let pipe = pipe::Receiver::from_owned_fd(reader.into()).unwrap();
        RestingPipe { pipe: Some(pipe), unfinished: b"be".to_vec() }
    };
    let (pipes, capture) = pair(INFO, (pipe(b"gun\n"), pipe(b"gun\nlast")), Vec::new());
    let Capture { finish, done, tail } = capture;
    finish.send(()).unwrap();
    let (rest, runtime) = (RestSwitch::default().signal(), Handle::current());
    let read = move || runtime.block_on(read_worker(pipes, (sink, Naps::default()), rest));
    let reading = tokio::task::spawn_blocking(read);
    // The sink takes this once it has come to the first line.
    hurry.send(()).unwrap();
    assert_eq!(Tail(Arc::clone(&tail)).lines(), ["begun", "last"]);
    drop(hurry);
    assert!(reading.await.unwrap().is_none());
    done.await.unwrap();
    assert_eq!(Tail(tail).lines(), ["begun", "last"], "they are remembered once");
}

/// The pipe is held open by somebody else, and the sink takes nothing at first.
#[tokio::test]
async fn what_a_dead_worker_wrote_outlasts_the_wait_for_it() {
    let (seen, (hurry, words)) = (Arc::default(), std::sync::mpsc::sync_channel(0));
    let (pump, drained) = OutputPump::start(Box::new(Slow(Arc::clone(&seen), words))).unwrap();
    let (reader, mut held) = io::pipe().unwrap();
    held.write_all(b"one\ntwo\nthree").unwrap();
    let pump =
        tokio::task::spawn_blocking(move || (pump.capture(INFO, None, Some(reader.into())), pump));
    let (capture, pump) = pump.await.unwrap();
    capture.finish(Duration::ZERO, &mut RestSwitch::default().signal()).await;
    assert!(seen.lock().unwrap().is_empty());
    drop((pump, hurry));
    drained.wait().await;
    assert_eq!(*seen.lock().unwrap(), ["one", "two", "three"]);
    drop(held);
}
