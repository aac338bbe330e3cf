//! Remote clusters: the object that names one, the Secret that opens it, and what is reported of it.

pub(crate) mod claims;
pub mod condition;
pub mod crd;
pub mod fleet;
mod follow;
pub mod gauges;
pub(crate) mod identity;
pub mod objects;
mod reach;
pub mod receipt;
pub mod removal;
pub mod secret;
pub mod serve;
pub mod status;
pub mod teller;
pub(crate) mod visit;
mod way;
