//! What the command can be told to do, one file each.

mod flush;
mod list;
mod reload;
mod restart;
mod save;
mod scale;
mod show;
mod signal;
mod start;
mod stop;
mod targets;

pub(crate) use flush::flush;
pub(crate) use list::{List, list};
pub(crate) use reload::{reload, upgrade};
pub(crate) use restart::{Restart, restart};
pub(crate) use save::{Saved, resurrect, save};
pub(crate) use scale::{Scale, scale};
pub(crate) use show::{Show, show};
pub(crate) use signal::{Signal, signal};
pub(crate) use start::{Start, start};
pub(crate) use stop::{Delete, Stop, delete, stop};
pub(crate) use targets::Targets;
