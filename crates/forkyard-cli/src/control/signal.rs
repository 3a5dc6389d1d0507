//! A signal for workers.

use std::collections::BTreeMap;

use forkyard::{
    ClusterHandle, RequestError, Signal, SlotId, WorkerInfo, WorkerState, WorkerStatus,
};
use forkyard_control::server::Denial;
use forkyard_control::types::{SignalReply, SignalRequest};

use super::{STOPPING, told};

/// Sends a signal to the worker in a slot, or to every slot's. Tells who got it.
pub(crate) async fn signal(
    handle: &ClusterHandle,
    request: &SignalRequest,
) -> Result<SignalReply, Denial> {
    let signal: Signal = request.signal.parse().map_err(denied)?;
    let seated = seated(handle.workers().await.map_err(|_| denied(STOPPING))?);
    let meant = match request.slot.map(SlotId) {
        None => seated.values().copied().collect(),
        Some(slot) => seated.get(&slot).copied().into_iter().collect::<Vec<_>>(),
    };
    let mut workers = Vec::new();
    for info in meant {
        match handle.signal(info.slot, signal).await {
            Ok(()) => workers.push(told(info)),
            // It has just gone.
            Err(RequestError::Failed(error)) if request.slot.is_none() => {
                tracing::debug!(%error, slot = info.slot.0, "failed to send a signal");
            }
            Err(error) => return Err(denied(error)),
        }
    }
    match (request.slot, workers.is_empty()) {
        (Some(slot), true) => Err(denied(format!("there is no worker in slot {slot}"))),
        _ => Ok(SignalReply { workers }),
    }
}

/// Who has the seat of each slot. Successors have none yet, and whoever is leaving may have given
/// it up.
fn seated(workers: Vec<WorkerStatus>) -> BTreeMap<SlotId, WorkerInfo> {
    let has_seat = |worker: &WorkerStatus| match worker.state {
        WorkerState::Starting | WorkerState::Ready | WorkerState::Spare => true,
        WorkerState::Successor | WorkerState::Leaving => false,
    };
    workers.into_iter().filter(has_seat).map(|worker| (worker.info.slot, worker.info)).collect()
}

fn denied(why: impl ToString) -> Denial {
    Denial { reason: why.to_string() }
}
