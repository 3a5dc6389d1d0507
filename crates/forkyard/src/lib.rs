//! Run a server on all cores.
