//! The engine of secret-replicator-eks.

pub mod announce;
pub mod cluster;
pub mod contract;
pub mod core;
pub mod engine;
pub mod fault;
pub mod index;
pub mod ops;
pub mod order;
pub mod plan;
pub mod queue;
pub mod reason;
pub mod rng;
pub mod source_feed;
pub mod watches;

#[cfg(test)]
#[path = "purity_tests.rs"]
mod purity_tests;
