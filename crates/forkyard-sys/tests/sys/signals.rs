//! Signals that are read from a descriptor.

use std::io::ErrorKind;

use forkyard_sys::process::Signal;
use forkyard_sys::signals::{next, take};

use crate::{own_process, waiting};

#[test]
fn a_signal_waits_until_it_is_read() {
    own_process::run("signals::a_signal_waits_until_it_is_read", || {
        let signals = take(&[Signal::USR1, Signal::USR2]).unwrap();
        assert_eq!(next(&signals).unwrap_err().kind(), ErrorKind::WouldBlock);
        for signal in [Signal::USR2, Signal::USR1] {
            send_to_this_thread(signal);
        }
        waiting::until_readable(&signals);
        let arrived = [next(&signals).unwrap(), next(&signals).unwrap()];
        assert_eq!(arrived, [Signal::USR1, Signal::USR2]);
        assert_eq!(next(&signals).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

/// Not to the process: its first thread, which is the test runner's, does not block it.
fn send_to_this_thread(signal: Signal) {
    // SAFETY: the calling thread exists.
    let result = unsafe { libc::pthread_kill(libc::pthread_self(), signal.number()) };
    assert_eq!(result, 0);
}
