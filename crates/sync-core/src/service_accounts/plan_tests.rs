use super::super::tests_support::{PREFIX, patched, read, stored, uid};
use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn mark() -> Mark {
    Mark { origin_uid: Some(uid(9)), ..Mark::default() }
}

fn recorded(names: &[&str]) -> String {
    names.iter().map(|name| format!("operator/{name}:{}", uid(9))).collect::<Vec<_>>().join(",")
}

fn decide(account: &Account, wishes: &BTreeMap<Arc<str>, Wish>) -> Option<Change> {
    plan(account, &Record::parse(PREFIX, account.added.as_deref().unwrap_or_default()), wishes)
}

/// The server's object after the decision, if there was anything to do.
fn after(object: &Value, wishes: &BTreeMap<Arc<str>, Wish>) -> Option<Value> {
    let account = read(object);
    let change = decide(&account, wishes)?;
    let new = patched(object, &change.body(PREFIX, &account));
    assert!(new.is_object(), "the server takes it");
    assert_eq!(read(&new), change.applied(PREFIX, &account, Rv(8)), "what is assumed is what is there");
    Some(new)
}

fn wish(wishes: &[(&str, Wish)]) -> BTreeMap<Arc<str>, Wish> {
    wishes.iter().map(|(name, wish)| (Arc::from(*name), *wish)).collect()
}

#[test]
fn every_situation() {
    let listed = Wish::Listed(mark());
    let (ours, both) = (recorded(&["a"]), recorded(&["a", "b"]));
    let retained = format!("{ours}:retain");
    let theirs = format!("other/a:{}", uid(9));
    let mixed = format!("{theirs},{ours}");
    #[rustfmt::skip]
    #[allow(clippy::type_complexity)]
    let table: &[(&str, &[&str], &str, Wish, Option<(&[&str], &str)>)] = &[
        // (situation, entries, record, wish, entries and record then)
        ("a bare one",                          &[],              "",       listed,        Some((&["a"], &ours))),
        ("others stand there",                  &["x", "y"],      "",       listed,        Some((&["x", "y", "a"], &ours))),
        ("as it should be",                     &["x", "a"],      &ours,    listed,        None),
        ("somebody else wrote it",              &["a", "x"],      "",       listed,        None),
        ("taken out by hand",                   &["x"],           &ours,    listed,        Some((&["x", "a"], &ours))),
        ("the record says too much",            &["a"],           &retained, listed,       Some((&["a"], &ours))),
        ("another agent's",                     &["a"],           &theirs,  listed,        None),
        ("goes",                                &["x", "a", "y"], &ours,    Wish::Out,     Some((&["x", "y"], ""))),
        ("the last one goes",                   &["a"],           &ours,    Wish::Out,     Some((&[], ""))),
        ("goes, and is there twice",            &["a", "x", "a"], &ours,    Wish::Out,     Some((&["a", "x"], ""))),
        ("goes, and was taken out by hand",     &["x"],           &ours,    Wish::Out,     Some((&["x"], ""))),
        ("goes, others of ours stay",           &["b", "a"],      &both,    Wish::Out,     Some((&["b"], &both[ours.len() + 1..]))),
        ("goes, another agent's stays",         &["a"],           &mixed,   Wish::Out,     Some((&[], &theirs))),
        ("somebody else's stays",               &["a", "x"],      "",       Wish::Out,     None),
        ("another agent's stays",               &["a"],           &theirs,  Wish::Out,     None),
        ("released",                            &["a", "x"],      &ours,    Wish::Released, Some((&["a", "x"], ""))),
        ("released, nothing of ours",           &["a"],           "",       Wish::Released, None),
        ("kept",                                &["x"],           &ours,    Wish::Keep,    None),
        ("kept, and not there",                 &["x"],           "",       Wish::Keep,    None),
    ];
    for (situation, entries, record, wanted, expected) in table {
        for other in [&[][..], &[("eks.amazonaws.com/role-arn", "x")]] {
            let record = (!record.is_empty()).then_some((keys::ADDED_PULL_SECRETS, *record));
            let annotations: Vec<_> = other.iter().copied().chain(record).collect();
            let new = after(&stored(entries, &annotations), &wish(&[("a", *wanted)]));
            let expected = expected.map(|(entries, record)| {
                let record = (!record.is_empty()).then_some((keys::ADDED_PULL_SECRETS, record));
                let annotations: Vec<_> = other.iter().copied().chain(record).collect();
                let mut object = stored(entries, &annotations);
                object["metadata"]["resourceVersion"] = "8".into();
                object
            });
            assert_eq!(new, expected, "{situation}");
        }
    }
}

#[test]
fn a_request_is_for_one_version_only() {
    let object = stored(&["x"], &[]);
    let account = read(&object);
    let body = decide(&account, &wish(&[("a", Wish::Listed(mark()))])).unwrap().body(PREFIX, &account);
    for (key, value) in [("resourceVersion", "8"), ("uid", "00000000-0000-4000-8000-000000000002")] {
        let mut changed = object.clone();
        changed["metadata"][key] = value.into();
        assert_eq!(patched(&changed, &body), Value::Null, "{key}");
    }
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let mark = (any::<bool>(), any::<bool>()).prop_map(|(retain, upstream)| Mark { retain, upstream, ..mark() });
    prop_oneof![mark.prop_map(Wish::Listed), Just(Wish::Out), Just(Wish::Released), Just(Wish::Keep)]
}

proptest! {
    /// Whatever stands there: others keep their entries and their order, a name that is not recorded is not taken out,
    /// and a second look finds nothing to do.
    #[test]
    fn others_keep_what_is_theirs_and_it_converges(
        entries in vec("[a-e]", 0..6),
        recorded in vec(prop_oneof!["operator/[a-e]", "operator/[a-e]:00000000-0000-4000-8000-000000000009(:retain)?", "other/[a-e]"], 0..4),
        other in any::<bool>(),
        wishes in btree_map("[a-e]".prop_map(Arc::<str>::from), any_wish(), 0..5),
    ) {
        let entries: Vec<_> = entries.iter().map(String::as_str).collect();
        let text = recorded.join(",");
        let mut annotations = Vec::new();
        annotations.extend(other.then_some(("o", "o")));
        annotations.extend((!text.is_empty()).then_some((keys::ADDED_PULL_SECRETS, text.as_str())));
        let object = stored(&entries, &annotations);
        let (old, record) = (read(&object), Record::parse(PREFIX, &text));
        let Some(new) = after(&object, &wishes) else { return Ok(()) };
        let new = read(&new);
        // One of each name may be ours, the last.
        let mut theirs = old.pull_secrets.clone();
        for (name, _) in record.marks() {
            if let Some(place) = theirs.iter().rposition(|entry| **entry == **name) {
                theirs.remove(place);
            }
        }
        let mut left = new.pull_secrets.iter();
        for entry in &theirs {
            prop_assert!(left.any(|now| now == entry), "{entry} of {theirs:?} is not in {:?}", new.pull_secrets);
        }
        for name in ["a", "b", "c", "d", "e"] {
            let count = |account: &Account| account.pull_secrets.iter().filter(|entry| *entry == name).count();
            let wish = wishes.get(name).copied().unwrap_or(Wish::Keep);
            match wish {
                Wish::Listed(_) => prop_assert_eq!(count(&new), count(&old).max(1)),
                Wish::Out if record.get(name).is_some() => prop_assert_eq!(count(&new), count(&old).saturating_sub(1)),
                _ => prop_assert_eq!(count(&new), count(&old)),
            }
        }
        prop_assert_eq!(decide(&new, &wishes), None, "idempotent");
        // And back: when all is over nothing of ours is left, and theirs is as it was.
        let out = ["a", "b", "c", "d", "e"].map(|name| (Arc::from(name), Wish::Out)).into();
        let mut end = stored(&new.pull_secrets.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        if let Some(added) = &new.added {
            end["metadata"]["annotations"] = json!({ keys::ADDED_PULL_SECRETS: added });
        }
        let end = after(&end, &out).map_or(new, |object| read(&object));
        prop_assert!(Record::parse(PREFIX, end.added.as_deref().unwrap_or_default()).has_none());
    }
}
