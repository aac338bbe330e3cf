//! Faults that are put into the engine on purpose, to see that the simulation finds them.
//!
//! Those that can be had on the wire, by a request that lacks its guard or a line that is not heard, are made there and
//! leave the engine alone. For the others there is one line each where the engine would be wrong. Outside tests
//! [`has`] is a constant `false`, and nothing is left of them.

/// What is wrong with the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Replicas of a source that nobody has named are left alone.
    OrphansIgnored,
    /// An object that we have deleted is known again by an older event.
    TombstoneIgnored,
    /// What an older event shows takes the place of our own write.
    OlderEventsCount,
    /// What others have added to a replica is taken for nothing.
    AdditionsIgnored,
    /// What fails is not tried again.
    RetryDropped,
    /// Copies that an earlier source namespace has made are orphans like any.
    IncarnationIgnored,
    /// The note on entries is taken to be there still, also in another source namespace.
    NoteTrusted,
    /// What the watch shows of the note on entries is not heard.
    NoteUnheard,
    /// What has been forgotten is asked for again if ServiceAccounts list it still.
    AskedAgain,
    /// While a `no` waits for entries to go, copies are made.
    OffWithheld,
    /// Entries of a source that cannot be understood stay in a namespace that opts out.
    EntriesOutlast,
    /// What stands in the place of a master's replica makes its loss an end that somebody wants.
    LossForgotten,
    /// What fails in one namespace is taken for a failure of the whole cluster.
    FailureSpreads,
    /// The same, for entries.
    EntryFailureSpreads,
    /// What goes unanswered is taken for the silence of the whole cluster.
    SilenceSpreads,
    /// A write begins although the Lease may have gone by the time it is done.
    LeaseOutlived,
    /// A Lease is taken from whoever holds it.
    LeaseSnatched,
    /// A standby that begins to lead acts on what its watches have shown before.
    StandbyTrusted,
    /// Made on the wire, by the simulation.
    #[cfg(test)]
    OnTheWire(crate::simulation::Sabotage),
}

/// Whether the engine is wrong in this way.
#[cfg(not(test))]
pub(crate) const fn has(_: Mutant) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static PRESENT: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether the engine is wrong in this way, in this thread.
#[cfg(test)]
pub(crate) fn has(mutant: Mutant) -> bool {
    PRESENT.get() == Some(mutant)
}

/// From now on the engine is wrong in this way, in this thread.
#[cfg(test)]
pub(crate) fn put(mutant: Option<Mutant>) {
    PRESENT.set(mutant);
}
