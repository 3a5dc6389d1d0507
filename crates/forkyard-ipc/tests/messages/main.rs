//! Messages from outside the crate: what real Node processes said, and anything.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod recorded;
#[cfg(test)]
#[path = "../recordings/mod.rs"]
mod recordings;
