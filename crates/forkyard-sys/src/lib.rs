//! The system calls Forkyard needs, behind safe functions. Linux only.
//!
//! Every `unsafe` line of the project is in this crate. What it offers is thin:
//! each function is one system call, or the few that only make sense together,
//! and returns the kernel's own error as an [`std::io::Error`].
//!
//! Three rules hold throughout:
//!
//! - Descriptors are owned ([`std::os::fd::OwnedFd`]) or borrowed, never a bare
//!   number, and carry `CLOEXEC`. A child gets a descriptor because it was listed
//!   in [`process::Spawn`], and for no other reason.
//! - `EINTR` is retried here; `EAGAIN` is reported as
//!   [`std::io::ErrorKind::WouldBlock`].
//! - A process is named by its pidfd, or by a number that cannot be reused
//!   because the process has not been reaped.
//!
//! | module | is about |
//! |---|---|
//! | [`cgroup`] | a control group for an app's workers |
//! | [`channel`] | the socket between primary and worker, and descriptors passed over it |
//! | [`clock`] | a clock that two processes can compare |
//! | [`folder`] | folders of this user's own |
//! | [`image`] | replacing the program of this process |
//! | [`process`] | starting, signalling, watching and reaping processes |
//! | [`reactor`] | having tokio watch a descriptor |
//! | [`reuseport`] | one address dealt out to many sockets by a program in the kernel |
//! | [`sockets`] | binding, listening, accepting, and what a descriptor is |
//! | [`inherited`] | descriptors this process was started with |
//! | [`memory`] | sealed memory, to hand on what a process knows |
//! | [`notify`] | the socket on which a worker says that it is ready |
//! | [`signals`] | signals read from a descriptor |
//! | [`ticker`] | a clock that ticks |

pub mod cgroup;
pub mod channel;
pub mod clock;
pub mod folder;
pub mod image;
pub mod inherited;
pub mod memory;
pub mod notify;
pub mod process;
pub mod reactor;
pub mod reuseport;
pub mod signals;
pub mod sockets;
pub mod ticker;
