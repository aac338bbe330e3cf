//! What is known of the world, as plain data.

pub mod feed;
