//! Messages from outside the crate: what real Node processes said, anything at
//! all, and the bytes that must be exact.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod recorded;
#[cfg(test)]
#[path = "../recordings/mod.rs"]
mod recordings;
#[cfg(test)]
mod wire;
