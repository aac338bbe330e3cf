//! What people ask of a fleet: answers come from the RemoteClusters, so they can be asked from anywhere.

pub mod look;
pub mod status;
pub mod verdict;
pub mod wait;
pub mod watching;
