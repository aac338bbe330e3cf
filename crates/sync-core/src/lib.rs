//! The engine of secret-replicator-eks.

pub mod contract;
pub mod fault;
pub mod index;
pub mod order;
pub mod plan;
pub mod reason;
