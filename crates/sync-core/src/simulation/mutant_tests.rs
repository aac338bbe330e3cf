//! The simulation bites: each of these engines is wrong in one way, and some seed tells.

use super::Sabotage;
use super::run::run;
use super::schedule::Schedule;
use super::seeds::{first_failure, report};
use super::shrink::{kind, shrink};
use crate::mutants::{self, Mutant};

/// Each is found within so many seeds; most within a hundred.
const SEEDS: u64 = 3000;

/// The mutants, each with the first seed that tells: where to look first, so that the test is quick. If what happens in
/// a seed has changed since, all are tried.
const MUTANTS: [(Mutant, u64); 33] = [
    (Mutant::LeaseOutlived, 4),
    (Mutant::LeaseSnatched, 2),
    (Mutant::StandbyTrusted, 2),
    (Mutant::OnTheWire(Sabotage::UnguardedUpdate), 285),
    (Mutant::OnTheWire(Sabotage::UnguardedReplace), 53),
    (Mutant::OnTheWire(Sabotage::UnguardedDelete), 285),
    (Mutant::OnTheWire(Sabotage::DeleteByUid), 285),
    (Mutant::OnTheWire(Sabotage::UnguardedPatch), 148),
    (Mutant::OnTheWire(Sabotage::NotSwitchedOff), 41),
    (Mutant::OnTheWire(Sabotage::NotConfirmed), 2),
    (Mutant::OnTheWire(Sabotage::LostReplyIsDone), 18),
    (Mutant::OnTheWire(Sabotage::ExpiredIgnored), 294),
    (Mutant::OnTheWire(Sabotage::DeafToDeletions), 25),
    (Mutant::OnTheWire(Sabotage::DeafToNamespaces), 6),
    (Mutant::OnTheWire(Sabotage::ListCutShort), 0),
    (Mutant::OnTheWire(Sabotage::NoGrace), 2),
    (Mutant::OnTheWire(Sabotage::AllTakenOver), 1260),
    (Mutant::OrphansIgnored, 220),
    (Mutant::TombstoneIgnored, 432),
    (Mutant::OlderEventsCount, 79),
    (Mutant::AdditionsIgnored, 111),
    (Mutant::RetryDropped, 12),
    (Mutant::IncarnationIgnored, 55),
    (Mutant::OnTheWire(Sabotage::UnguardedEntries), 1263),
    (Mutant::NoteTrusted, 505),
    (Mutant::NoteUnheard, 1889),
    (Mutant::AskedAgain, 505),
    (Mutant::OffWithheld, 1177),
    (Mutant::EntriesOutlast, 1888),
    (Mutant::LossForgotten, 419),
    (Mutant::FailureSpreads, 7),
    (Mutant::EntryFailureSpreads, 230),
    (Mutant::SilenceSpreads, 46),
];

#[test]
fn every_mutant_is_found() {
    for (mutant, known) in MUTANTS {
        let put = || mutants::put(Some(mutant));
        let found = first_failure(known..known + 1, put).or_else(|| first_failure(0..SEEDS, put));
        let Some((seed, failure)) = found else { panic!("{mutant:?} is not found in {SEEDS} seeds") };
        // It is the mutant that fails.
        let sound = run(&Schedule::new(seed), false);
        assert!(sound.is_ok(), "{mutant:?} by seed {seed}: {}, but also {sound:?}", failure.what);
        println!("{mutant:?} by seed {seed}: {}", failure.what);
    }
}

/// What is printed of a failing seed: the shortest schedule that breaks the same promise, and how to run it by itself.
#[test]
fn a_failing_seed_is_told_by_the_shortest_schedule_that_fails_so() {
    let put = || mutants::put(Some(Mutant::OnTheWire(Sabotage::NoGrace)));
    let (seed, failure) = first_failure(0..SEEDS, put).expect("it is found");
    put();
    let told = report(seed, &failure);
    let short = shrink(Schedule::new(seed), &failure.what);
    let again = run(&short, false);
    mutants::put(None);
    let promise = kind(&failure.what);
    assert!(again.as_ref().is_err_and(|again| kind(&again.what) == promise), "{again:?}, {failure:?}");
    let all = Schedule::new(seed).acts.len();
    assert!(short.acts.len() < all, "{} acts of {all}:\n{short}", short.acts.len());
    for part in [promise, &short.to_string(), &format!("SIM_SEED={seed} cargo test"), "DELETE"] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
}
