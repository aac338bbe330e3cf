//! The agent, by theme. Each test cites the promises of DESIGN section 4 that it holds.

mod additions;
mod adoption;
mod annotations;
mod big;
mod drift;
mod dry_run;
mod events;
mod follow;
mod foreign;
mod frozen;
mod grace;
mod grammar;
mod help;
mod idle;
mod lifecycle;
mod marks;
mod namespaces;
pub(crate) mod port;
mod pull_secrets;
mod rejected;
mod retain;
mod rivals;
mod secrecy;
mod selection;
mod spellings;
mod summary;
mod thousand;
