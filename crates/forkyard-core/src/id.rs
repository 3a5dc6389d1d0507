//! Numbers that name things. Each kind is its own type, so that they cannot be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A seat for a worker, counted from 0. It outlives the processes that sit in it.
    SlotId, u32
}
id! {
    /// One process in one seat, counted from 1 and never used twice by one primary.
    /// Node calls it `cluster.worker.id`.
    WorkerId, u32
}
id! {
    /// All workers started from the same version of the program and its settings, counted
    /// from 0. Whoever drives the core knows which program it stands for.
    Generation, u32
}
id! {
    /// An address that the app serves.
    ListenerId, u32
}
id! {
    /// A connection that the primary accepted and still owns.
    ConnectionId, u64
}
id! {
    /// A listening socket of a listener's own row, to which the kernel can deal. Counted from 0
    /// in each listener.
    LaneId, u16
}
