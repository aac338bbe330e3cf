//! The contract: annotation and label keys, what is parsed from a source, what a replica looks like.
//!
//! Everything here is pure. An option of a source is added in [`source`] (parse it), in [`keys`] (name it) and in
//! [`crate::plan`] (act on it), each with its rows in the tests beside it.

pub mod body;
pub mod desired;
pub mod fingerprint;
pub mod keys;
pub mod marks;
pub mod object;
pub mod options;
pub mod patterns;
pub mod rules;
pub mod selector;
pub mod source;
pub mod strip;
