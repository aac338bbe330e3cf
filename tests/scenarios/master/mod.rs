//! The master: a management cluster and remote ones, the real binary under the ServiceAccount that `deploy/` gives it.
//!
//! Clusters are shared; each scenario has a source namespace, a ServiceAccount and a destination of its own name.

pub(crate) mod api;
mod bounds;
mod carried;
mod conditions;
mod copies;
mod discovery;
mod dry_run;
mod events;
mod fleet;
mod hostile;
mod identity;
mod in_the_way;
mod isolation;
mod options;
mod receipt;
mod receipt_proof;
mod removal;
mod restarts;
mod selection;
pub(crate) mod stage;
mod start;
mod take_over;
