//! Which children of this process belong to a [`super::Process`].
//!
//! Three parties reap: a [`super::Process`] its own child, the standard library a
//! child whose exec failed, and [`super::reap_orphans`] the rest. The kernel
//! cannot tell them apart, so this does:
//!
//! ```text
//!  spawn:   SPAWNING read ─ fork, exec, enroll ─ release
//!  reap:    CHILDREN ─ waitid, strike out ─ release
//!  orphans: SPAWNING write ─ peek ─ CHILDREN: a stranger? reap ─ release
//! ```
//!
//! While orphans are being reaped no child is half started, and a number is
//! struck out before the kernel can give it to somebody else.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static SPAWNING: RwLock<()> = RwLock::new(());
static CHILDREN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Held from before the fork until the child is enrolled.
pub(super) fn while_spawning() -> RwLockReadGuard<'static, ()> {
    SPAWNING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held while strangers are reaped: nobody is half started.
pub(super) fn while_none_spawns() -> RwLockWriteGuard<'static, ()> {
    SPAWNING.write().unwrap_or_else(PoisonError::into_inner)
}

/// The children that a [`super::Process`] will reap.
pub(super) fn enrolled() -> MutexGuard<'static, BTreeSet<u32>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}
