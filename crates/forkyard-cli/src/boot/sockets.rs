//! What `--listen` can name: an address, or a socket that is there already.

use std::str::FromStr;

use forkyard::{ActivatedSockets, InheritedFds, ListenAddress, ParseListenAddressError};

use crate::exit_code::Failure;
use crate::settings::Text;

/// Where workers inherit a socket from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenOption {
    /// `8000`, `unix:/PATH` and the like.
    Address(ListenAddress),
    /// `fd:3`: what Forkyard was started with under that number.
    Descriptor(i32),
    /// `systemd:NAME`: all that systemd has passed under that name.
    Named(String),
}

impl FromStr for ListenOption {
    type Err = ParseListenAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix("fd:").and_then(|number| number.parse().ok());
        match (number, text.strip_prefix("systemd:")) {
            (Some(number), _) => Ok(Self::Descriptor(number)),
            (None, Some(name)) if !name.is_empty() => Ok(Self::Named(name.to_owned())),
            _ => text.parse().map(Self::Address),
        }
    }
}

impl ListenOption {
    /// Whether two apps could not both have it. Each is started with sockets of its own.
    pub(crate) fn clashes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address(address), Self::Address(other)) => address.clashes_with(other),
            _ => false,
        }
    }
}

/// The addresses that are meant, in their order.
pub(crate) fn resolve(
    wanted: &[Text<ListenOption>],
    inherited: &InheritedFds,
    activated: &ActivatedSockets,
) -> Result<Vec<ListenAddress>, Failure> {
    let at = |number| ListenAddress::inherited(number, inherited);
    let resolve_one = |option: &ListenOption| match option {
        ListenOption::Address(address) => Ok(vec![address.clone()]),
        ListenOption::Descriptor(number) => {
            at(*number).map(|address| vec![address]).map_err(|error| {
                Failure::usage(format!("failed to use --listen fd:{number}: {error}"))
            })
        }
        ListenOption::Named(name) => {
            let named = activated.all().filter(|socket| socket.name() == name);
            let found: Vec<_> = named.filter_map(|socket| at(socket.number()).ok()).collect();
            if found.is_empty() { Err(not_passed(name, activated)) } else { Ok(found) }
        }
    };
    Ok(wanted
        .iter()
        .map(|option| resolve_one(&option.value))
        .collect::<Result<Vec<_>, _>>()?
        .concat())
}

fn not_passed(name: &str, activated: &ActivatedSockets) -> Failure {
    let mut names: Vec<_> = activated.all().map(|socket| socket.name()).collect();
    names.dedup();
    let instead = match names.is_empty() {
        true => "it has passed none; a .socket unit for this service is missing".to_owned(),
        false => format!("it has passed: {}", names.join(", ")),
    };
    Failure::usage(format!(
        "failed to use --listen systemd:{name}: systemd has passed no socket of that name; {instead}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_are_there_are_named_by_number_or_name() {
        let parsed = |text: &str| text.parse::<ListenOption>().unwrap();
        assert_eq!(parsed("fd:3"), ListenOption::Descriptor(3));
        assert_eq!(parsed("systemd:web"), ListenOption::Named("web".into()));
        assert_eq!(parsed("8000"), ListenOption::Address("8000".parse().unwrap()));
        for bad in ["fd:", "fd:x", "systemd:", "systemd"] {
            assert!(bad.parse::<ListenOption>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        let (inherited, activated) = (InheritedFds::none(), ActivatedSockets::default());
        for (text, words) in [("fd:9", "descriptor 9"), ("systemd:web", "it has passed none")] {
            let error = resolve(&[text.parse().unwrap()], &inherited, &activated).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
