//! What the command can be told to do, one file each.

mod check;
mod completions;
mod flush;
mod list;
mod man;
mod reload;
mod renewal;
mod restart;
mod save;
mod scale;
mod show;
mod signal;
mod start;
mod stop;
mod targets;

pub(crate) use check::{Check, check};
pub(crate) use completions::{Completions, completions};
pub(crate) use flush::flush;
pub(crate) use list::{List, list};
pub(crate) use man::{Man, man};
pub(crate) use reload::{reload, upgrade};
pub(crate) use restart::{Restart, restart};
pub(crate) use save::{Saved, resurrect, save};
pub(crate) use scale::{Scale, scale};
pub(crate) use show::{Show, show};
pub(crate) use signal::{Signal, signal};
pub(crate) use start::{Start, start};
pub(crate) use stop::{Delete, Stop, delete, stop};
pub(crate) use targets::Targets;
