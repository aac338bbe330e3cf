//! Several watches, told into one channel.

use std::collections::BTreeMap;

use tracing::{info, warn};

use crate::cluster::watch::News;
use crate::fault::Fault;
use crate::index::feed::Feed;

/// What one of several watches tells.
#[derive(Debug)]
pub enum Told<I> {
    /// A step of a list, or a change.
    Input(I),
    /// The watch of this name has failed and tries again, or works again.
    Watch(&'static str, Result<(), Fault>),
}

impl<I> Told<I> {
    /// What a watch of this name tells, as what the receiver takes in.
    pub fn of<T>(watch: &'static str, news: News<T>, input: impl Fn(Feed<T>) -> I) -> Self {
        match news {
            News::Feed(feed) => Self::Input(input(feed)),
            News::Trouble(fault) => Self::Watch(watch, Err(fault)),
            News::Well => Self::Watch(watch, Ok(())),
        }
    }
}

/// Those of them that fail at present, each with its last failure.
#[derive(Debug, Default)]
pub struct Troubles(BTreeMap<&'static str, Fault>);

impl Troubles {
    /// Takes note; says in the log what is new about it.
    pub fn note(&mut self, watch: &'static str, result: Result<(), Fault>) {
        match result {
            Ok(()) => {
                if self.0.remove(watch).is_some() {
                    info!(watch, "watching again");
                }
            }
            Err(fault) => {
                if self.0.get(watch).is_none_or(|known| known.reason() != fault.reason()) {
                    warn!(watch, reason = fault.reason(), %fault, todo = fault.what_to_do(), "cannot watch");
                }
                self.0.insert(watch, fault);
            }
        }
    }

    /// One of the failures, if there is any.
    pub fn first(&self) -> Option<&Fault> {
        self.0.values().next()
    }
}
