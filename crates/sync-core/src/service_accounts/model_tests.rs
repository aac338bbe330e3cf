//! Random schedules: people, other controllers, faults, lost replies, late watches, restarts. The server is a model
//! that knows who wrote each entry; what should be there at the end is computed from the sources alone.

mod judge;
mod world;

use proptest::prelude::*;

use super::tests_support::uid;
use super::*;
use crate::contract::desired::Template;
use crate::contract::object::{Kind, tests_support::object};
use crate::contract::rules::Role;
use crate::contract::source::{Reading, Source};
use crate::contract::strip::StripList;
use crate::plan::Want;
use world::World;

pub(super) fn rules() -> Rules {
    Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap())
}

/// A pull secret with these options.
pub(super) fn template(name: &str, options: &[(&str, &str)]) -> Arc<Template> {
    let switch = [("mw-sync", "yes")];
    let mut secret = object(Kind::Secret, "operator", name, &[], &[&switch[..], options].concat());
    secret.content.secret_type = Some("kubernetes.io/dockerconfigjson".into());
    match Source::read(&rules(), secret).reading {
        Reading::On(template) => template,
        other => panic!("{other:?}"),
    }
}

pub(super) fn on(name: &str, options: &[(&str, &str)]) -> Want {
    Want::On(Arc::new(template(name, options).desired(uid(9))))
}

const SOURCES: [&str; 2] = ["a", "b"];
const NAMESPACES: [&str; 2] = ["one", "two"];
const NAMES: [&str; 2] = ["default", "builder"];

#[derive(Clone, Debug)]
enum Act {
    Source(usize, u8),
    Account(usize, usize, u8),
    Namespace(usize, u8),
    Deliver,
    Send(Outcome),
    Pass(u16),
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Late,
    LostReply,
    NeverSent,
    /// No reply, and still it takes effect, perhaps.
    Ghost,
    Forbidden,
    Rejected,
}

fn act() -> impl Strategy<Value = Act> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Done),
        2 => Just(Outcome::Late),
        1 => Just(Outcome::LostReply),
        1 => Just(Outcome::NeverSent),
        1 => Just(Outcome::Ghost),
        1 => Just(Outcome::Forbidden),
        1 => Just(Outcome::Rejected),
    ];
    prop_oneof![
        3 => (0..2_usize, 0..12_u8).prop_map(|(source, how)| Act::Source(source, how)),
        4 => (0..2_usize, 0..2_usize, 0..12_u8).prop_map(|(ns, name, how)| Act::Account(ns, name, how)),
        1 => (0..2_usize, 0..4_u8).prop_map(|(ns, how)| Act::Namespace(ns, how)),
        8 => Just(Act::Deliver),
        8 => outcome.prop_map(Act::Send),
        2 => (0..20_000_u16).prop_map(Act::Pass),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_the_end_is_what_the_sources_want(acts in proptest::collection::vec(act(), 0..150)) {
        let mut world = World::new();
        acts.iter().for_each(|act| world.act(act));
        world.settle();
        world.judge();
        // And a restart has nothing to do.
        let (rv, note) = (world.rv, world.note);
        world.start();
        world.settle();
        world.judge();
        prop_assert_eq!((world.rv, world.note), (rv, note));
    }
}
