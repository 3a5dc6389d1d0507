//! Watching a cluster of the library.

use forkyard::{Cluster, Event};
use tokio::time::timeout;

use crate::DEADLINE;

/// Reads events up to the one that is wanted.
///
/// # Panics
///
/// When the primary ends first, or the event does not come.
pub async fn event<T>(cluster: &mut Cluster, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let search = async {
        while let Some(event) = cluster.next_event().await {
            if let Some(found) = wanted(event) {
                return found;
            }
        }
        panic!("the primary ended first");
    };
    timeout(DEADLINE, search).await.expect("the event comes in time")
}
