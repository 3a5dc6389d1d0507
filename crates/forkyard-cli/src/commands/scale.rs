//! `forkyard scale`: more or fewer workers.

use std::num::NonZeroU32;
use std::process::ExitCode;

use clap::Parser;
use forkyard::MAX_SLOTS;
use forkyard_control::client::Client;
use forkyard_control::types::{Worker, WorkerState};

use super::Targets;
use crate::answers::{Answers, broken_off};
use crate::apps::KnownApp;
use crate::exit_code::Failure;
use crate::records::Store;

/// What `forkyard scale` can be told.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Scale {
    /// The app, by name or its primary's process id
    app: String,

    /// How many workers: N, +N more, -N less, or `max` for one a core
    #[arg(value_name = "N|+N|-N|max", allow_negative_numbers = true)]
    workers: Wanted,

    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// What somebody wants, as they say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Max,
    Exactly(u32),
    More(u32),
    Less(u32),
}

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number = text.parse().ok().filter(|number| (1..=MAX_SLOTS as u32).contains(number));
            number.ok_or_else(|| {
                format!("write a number from 1 to {MAX_SLOTS}, +N for more, -N for less, or `max`")
            })
        };
        match text.split_at_checked(1) {
            _ if text == "max" => Ok(Self::Max),
            Some(("+", more)) => number(more).map(Self::More),
            Some(("-", less)) => number(less).map(Self::Less),
            _ => number(text).map(Self::Exactly),
        }
    }
}

impl Wanted {
    /// Never none: an app without workers is one that is stopped.
    fn of(self, present: u32) -> NonZeroU32 {
        let wanted = match self {
            Self::Max => u32::try_from(forkyard::available_workers().get()).unwrap_or(u32::MAX),
            Self::Exactly(workers) => workers,
            Self::More(more) => present.saturating_add(more),
            Self::Less(less) => present.saturating_sub(less),
        };
        NonZeroU32::new(wanted).unwrap_or(NonZeroU32::MIN)
    }
}

impl Scale {
    pub(crate) fn targets(&self) -> Targets {
        Targets { apps: vec![self.app.clone()], json: self.json }
    }
}

/// Has the app keep so many workers, also after it is started again.
pub(crate) fn scale(options: &Scale) -> Result<ExitCode, Failure> {
    options.targets().each(async |app, answers| scale_one(&app, options.workers, &answers).await)
}

async fn scale_one(app: &KnownApp, wanted: Wanted, answers: &Answers) -> Result<(), Failure> {
    let client = app.running()?;
    let workers = wanted.of(serving(&client).await?);
    let outcome = client.scale(workers, |update| answers.progress(update)).await;
    let outcome = outcome.map_err(|error| broken_off("failed to scale", &error))?;
    answers.outcome("the change", &outcome)?;
    remember(app, workers)
}

fn remember(app: &KnownApp, workers: NonZeroU32) -> Result<(), Failure> {
    let Some(record) = app.kept() else { return Ok(()) };
    let store = Store::open()?;
    let _lock = store.lock(&app.name)?;
    let mut record = record.clone();
    record.scale(workers.get() as usize);
    Ok(store.keep(&record)?)
}

/// How many workers have a seat.
async fn serving(client: &Client) -> Result<u32, Failure> {
    let status = client.status().await;
    let status = status.map_err(|error| broken_off("failed to ask for the workers", &error))?;
    let has_seat =
        |worker: &&Worker| matches!(worker.state, WorkerState::Starting | WorkerState::Ready);
    let seats: std::collections::BTreeSet<_> =
        status.workers.iter().filter(has_seat).map(|worker| worker.slot).collect();
    Ok(u32::try_from(seats.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_a_number_or_a_difference_and_never_nothing() {
        let scaled = |text: &str, present| text.parse::<Wanted>().unwrap().of(present).get();
        assert_eq!(scaled("5", 2), 5);
        assert_eq!(scaled("+3", 2), 5);
        assert_eq!(scaled("-1", 2), 1);
        assert_eq!(scaled("-9", 2), 1);
        assert_eq!(scaled("max", 1) as usize, forkyard::available_workers().get());
        for bad in ["0", "+0", "many", "", "+", "100000"] {
            assert!(bad.parse::<Wanted>().unwrap_err().contains("+N for more"), "{bad}");
        }
    }
}
