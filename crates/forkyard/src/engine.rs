//! A thread with a runtime of its own.
//!
//! The runtime is made, and ends, on that thread: one that were dropped by whoever started it
//! would panic if that happens to be in a runtime itself.

use std::io;
use std::sync::mpsc::sync_channel;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};

/// Starts the thread, and returns when its runtime is there.
///
/// # Errors
///
/// If there can be no more threads, or no event queue.
pub(crate) fn start(
    name: &str,
    mut runtime: Builder,
    work: impl FnOnce(&Runtime) + Send + 'static,
) -> io::Result<Handle> {
    let (ready, made) = sync_channel(1);
    thread::Builder::new().name(name.into()).spawn(move || {
        let runtime = match runtime.build() {
            Ok(runtime) => runtime,
            // Somebody waits for it.
            Err(error) => return drop(ready.send(Err(error))),
        };
        if ready.send(Ok(runtime.handle().clone())).is_ok() {
            work(&runtime);
        }
    })?;
    made.recv().map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_on_a_thread_of_that_name() {
        let (done, name) = sync_channel(1);
        let work = move |_: &Runtime| {
            done.send(thread::current().name().map(str::to_owned)).unwrap();
        };
        start("engine", Builder::new_current_thread(), work).unwrap();
        assert_eq!(name.recv().unwrap().as_deref(), Some("engine"));
    }
}
