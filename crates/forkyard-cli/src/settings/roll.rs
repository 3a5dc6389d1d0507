//! How all workers are replaced.

use clap::{Args, ValueEnum};
use forkyard::{MAX_SLOTS, Surge, WhenBusy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use super::text::{FromText, Text};

/// How many at a time, and what a second reload does.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Roll {
    /// How many workers beyond the app's own there may be during a roll: a number, or a
    /// percentage of them [default: 1]
    #[arg(long, value_name = "N|P%")]
    #[serde(skip_serializing_if = "is_default")]
    surge: Option<Text<Surge>>,

    /// What a second reload does while one is under way [default: wait]
    #[arg(long = "reload", value_enum, value_name = "RULE")]
    #[serde(skip_serializing_if = "is_default")]
    second: Option<SecondReload>,

    /// How many workers wait booted up to take the seat of one that dies [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "is_default")]
    spares: Option<Text<Spares>>,
}

impl Roll {
    /// How many workers there may be beside the app's own.
    pub(crate) fn surge(&self) -> Surge {
        self.surge.as_ref().map_or(Surge::Workers(1), |surge| surge.value)
    }

    /// What becomes of a reload while another one is under way.
    pub(crate) fn second_reload(&self) -> WhenBusy {
        match self.second {
            None | Some(SecondReload::Wait) => WhenBusy::Wait,
            Some(SecondReload::Refuse) => WhenBusy::Refuse,
        }
    }

    /// How many workers wait.
    pub(crate) fn spares(&self) -> usize {
        self.spares.as_ref().map_or(0, |spares| spares.value.0)
    }
}

/// What becomes of a reload while another one is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SecondReload {
    /// It begins when that one is over
    Wait,
    /// It is refused
    Refuse,
}

/// A number of spares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spares(usize);

impl FromText for Spares {
    const HINT: &'static str = "a number of workers";
    const EXAMPLE: &'static str = "1";

    fn read(text: &str) -> Result<Self, String> {
        let count = text.parse().ok().filter(|count| *count <= MAX_SLOTS);
        count.map(Self).ok_or_else(|| format!("write a number of workers from 0 to {MAX_SLOTS}"))
    }
}
