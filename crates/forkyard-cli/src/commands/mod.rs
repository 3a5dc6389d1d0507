//! What the command can be told to do, one file each.

mod check;
mod completions;
mod env;
mod flush;
mod list;
mod man;
mod reload;
mod renewal;
mod restart;
mod save;
mod scale;
mod service;
mod show;
mod signal;
mod start;
mod startup;
mod stop;
mod targets;
mod unstartup;

pub(crate) use check::{Check, check};
pub(crate) use completions::{Completions, completions};
pub(crate) use env::{Env, env};
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
pub(crate) use startup::{Startup, startup};
pub(crate) use stop::{Delete, Stop, delete, stop};
pub(crate) use targets::Targets;
pub(crate) use unstartup::{Unstartup, unstartup};
