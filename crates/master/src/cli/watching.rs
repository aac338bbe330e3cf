//! Whether a master runs, as its Lease says: it writes the statuses that people are answered from.

use std::time::Duration;

use jiff::Timestamp;
use sync_core::cluster::lease::{Holder, Leader};
use sync_core::contract::rules::Role;
use sync_core::lease::LEASE;
use sync_core::summary::{last_word, since};

/// Whether what a master has written last still holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watching {
    /// One runs, or there is no Lease by which that would show.
    Yes,
    /// One that has just begun to lead has not looked everywhere yet.
    Begins,
    /// None runs and sees what has happened since: what is known of the last one.
    No(String),
}

impl Watching {
    /// As the Lease says. `renewing`: it was seen to be renewed, whatever the clocks say. For `first_look` one that begins to
    /// lead is not taken at the word of the one before.
    pub fn of(leader: &Leader, renewing: bool, first_look: Duration, now: Timestamp) -> Self {
        match leader {
            Leader::Nobody => Self::No("it gave up its Lease".to_owned()),
            Leader::Holder(holder) if !renewing && !is_alive(holder, now) => {
                Self::No(last_word(Some(since(holder.renewed, now))))
            }
            Leader::Holder(holder) if since(holder.acquired, now) < first_look => Self::Begins,
            Leader::Holder(_) | Leader::NoLease => Self::Yes,
        }
    }

    /// How to find out why none runs.
    pub fn look(last: &str, namespace: &str) -> String {
        let (name, look) = (Role::Master.field_manager(), Role::Master.look(namespace));
        let leftover = format!("if one runs without --leader-elect: kubectl -n {namespace} delete lease {name}");
        format!("{last}; does one run? {look} ({leftover})")
    }
}

/// What was renewed in the future was so by another clock than ours, and perhaps long ago.
fn is_alive(holder: &Holder, now: Timestamp) -> bool {
    holder.is_alive(now) && since(now, holder.renewed) < 2 * LEASE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_runs_that_renews_its_lease() {
        let time = |text: &str| format!("2026-01-01T{text}Z").parse::<Timestamp>().unwrap();
        let led = |from: &str, to: &str| {
            Leader::Holder(Holder { identity: "pod_1".to_owned(), acquired: time(from), renewed: time(to) })
        };
        let of = |leader: &Leader, renewing| Watching::of(leader, renewing, Duration::from_secs(30), time("12:05:00"));
        let no = |last: &str| Watching::No(last.to_owned());
        for (leader, watching) in [
            (Leader::NoLease, Watching::Yes),
            (Leader::Nobody, no("it gave up its Lease")),
            (led("00:00:00", "12:04:45"), Watching::Yes),
            (led("00:00:00", "12:02:00"), no("its last word is 3 min ago")),
            // By another clock, and nobody knows when.
            (led("00:00:00", "12:06:00"), no("its last word is 0 s ago")),
            (led("12:04:40", "12:04:58"), Watching::Begins),
            (led("12:02:00", "12:02:10"), no("its last word is 2 min ago")),
        ] {
            assert_eq!(of(&leader, false), watching, "{leader:?}");
        }
        // Whatever the clocks say.
        assert_eq!(of(&led("00:00:00", "01:00:00"), true), Watching::Yes);
    }
}
