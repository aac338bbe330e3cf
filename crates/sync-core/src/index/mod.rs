//! What is known of the world, as plain data: [`sources`] of one process, [`pairs`] of one cluster.

mod entry;
pub mod feed;
pub mod news;
pub mod outcome;
pub mod pace;
pub mod pairs;
pub mod sources;
