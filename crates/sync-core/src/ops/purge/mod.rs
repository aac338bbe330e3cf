//! `purge`: a person says that copies go, whatever their sources say. Each ends as the engine would end it: by the same
//! plan, with the same guarded requests.

mod begin;
mod end;
mod told;

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

pub use begin::{may_begin, not_begun};
pub use end::{Failure, end};
pub use told::told;

use super::source_name::SourceName;
use crate::cluster::connection::Connection;
use crate::cluster::query::Query;
use crate::cluster::{read, wire};
use crate::contract::marks::Sighting;
use crate::contract::object::{Kind, SourceKey, Uid};
use crate::contract::options::OnDelete;
use crate::contract::rules::Rules;
use crate::fault::Fault;
use crate::plan::{Action, Destination, Guard, MayAdopt, Replica, Selected, There, View, Want, plan};

/// What goes, as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct PurgeArgs {
    /// Only copies of this source: secret/NAME or configmap/NAME; may be repeated
    #[arg(long = "source", value_name = "SOURCE")]
    pub sources: Vec<SourceName>,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask; needed where nobody can be asked
    #[arg(short, long)]
    pub yes: bool,
}

impl PurgeArgs {
    /// The same, and nothing goes if the program was told before that it is a dry run.
    #[must_use]
    pub fn or_dry(mut self, dry_run: bool) -> Self {
        self.dry_run |= dry_run;
        self
    }
}

/// How a purge has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing is left, or nothing was to be done: status 0.
    Done,
    /// Something is left: status 1.
    Left,
    /// Nothing was begun: status 2.
    NotBegun,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Done => 0,
            Ending::Left => 1,
            Ending::NotBegun => 2,
        })
    }
}

/// A copy that is to end.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Where it is.
    pub namespace: String,
    /// Its kind and name.
    pub source: SourceKey,
    /// How it ends, guarded by its version.
    pub how: How,
}

/// How a copy ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It is deleted.
    Deleted(Guard),
    /// Our marks are taken off and it stays: its source said so, or it was somebody's before.
    Released(Guard, OnDelete),
}

/// What carries our marks.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// What is to go.
    pub copies: Vec<Copy>,
    /// How many stay because they are of another incarnation of the source namespace, by its uid: another controller of the
    /// same name may keep them.
    pub strange: BTreeMap<Uid, usize>,
}

impl PurgeArgs {
    /// Whether copies of this source go.
    pub fn takes(&self, source: &SourceKey) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|SourceName(key)| key == source)
    }
}

/// What is ours in all namespaces, or in one. What carries our label and is not ours is left alone. With `incarnations` only
/// copies of these incarnations of the source namespace go: a master's name may be another one's too, an agent's cluster is
/// its own.
///
/// # Errors
/// If they cannot be listed.
pub async fn copies(
    connection: &Connection,
    rules: &Rules,
    namespace: Option<&str>,
    args: &PurgeArgs,
    incarnations: Option<&[Uid]>,
) -> Result<Ours, Fault> {
    let mut all = Ours::default();
    for kind in Kind::ALL {
        let decode = wire::replica(rules.clone(), kind);
        let query = Query::replicas(rules, kind, namespace)?;
        let taken = |item: &_| decode(item).filter(|sighting| args.takes(&sighting.source));
        for sighting in read::list(&connection.watch, &query, taken).await?.0 {
            let origin_uid = sighting.ours.as_ref().and_then(|ours| ours.origin_uid);
            match origin_uid.filter(|uid| incarnations.is_some_and(|known| !known.contains(uid))) {
                Some(strange) => *all.strange.entry(strange).or_default() += 1,
                None => all.copies.extend(copy(rules, sighting)),
            }
        }
    }
    Ok(all)
}

fn copy(rules: &Rules, sighting: Sighting) -> Option<Copy> {
    let Sighting { namespace, source, ours, uid, rv, .. } = sighting;
    let ours = ours?;
    // Also one of an earlier incarnation of the source namespace: a person who purges it is what it waits for.
    let origin_uid = Some(ours.origin_uid.unwrap_or(uid));
    let replica = Replica {
        uid,
        rv,
        fingerprint: Arc::new(ours.fingerprint),
        shape: Arc::new(ours.shape),
        origin_uid: origin_uid.map(Arc::new),
        end: ours.end,
        alone: ours.alone,
    };
    let how = plan(&View {
        role: rules.role,
        want: Some(&Want::Off(None)),
        destination: Some(Destination::Open),
        selected: Selected::Yes,
        there: Some(There::Ours(&replica)),
        deletes_frozen: false,
        origin_uid,
        take_over: &[],
        may_adopt: MayAdopt::NotAllowed,
        mutated: false,
        contested: false,
    });
    let how = match how {
        Action::Delete(guard) => How::Deleted(guard),
        Action::Release(guard, how) => How::Released(guard, how),
        _ => return None,
    };
    Some(Copy { namespace, source, how })
}

/// Whether it may begin: `--yes`, or a person who says so. `at` is the cluster that our kubeconfig leads to.
///
/// # Errors
/// If nobody can be asked, with what to do, or the terminal cannot be read.
pub fn confirmed(args: &PurgeArgs, at: &impl std::fmt::Display, out: &mut impl Write) -> io::Result<bool> {
    if args.yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        writeln!(io::stderr(), "error: nobody can be asked: add --yes, if all of that shall go")?;
        return Ok(false);
    }
    write!(out, "Shall all of that go, by {at}? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests_support::{client, json_response};
    use crate::contract::rules::Role;
    use crate::contract::strip::StripList;
    use serde_json::{Value, json};

    const UID: &str = "11111111-0000-4000-8000-000000000001";

    fn rules(role: Role) -> Rules {
        Rules::new(role, "operator", (role == Role::Master).then_some("eu"), StripList::with::<&str>(&[]).unwrap())
    }

    fn object(name: &str, origin: &str, more: &Value) -> Value {
        let mut annotations = json!({ "mw-sync.io/origin": origin, "mw-sync.io/origin-uid": UID });
        for (key, value) in more.as_object().unwrap() {
            annotations[key] = value.clone();
        }
        let metadata = json!({
            "name": name, "namespace": "app", "uid": UID, "resourceVersion": "7", "annotations": annotations,
            "labels": { "mw-sync.io/managed-by": "agent" },
        });
        json!({ "metadata": metadata, "type": "Opaque", "data": { "a": "MQ==" } })
    }

    #[tokio::test]
    async fn only_ours_goes_and_each_as_it_remembers() {
        let items = json!([
            object("a", "operator/a", &json!({})),
            object(
                "stranded",
                "operator/stranded",
                &json!({ "mw-sync.io/origin-uid": "0a1b2c3d-0000-4abc-8def-00000000000f" })
            ),
            object("unmarked", "operator/unmarked", &json!({ "mw-sync.io/origin-uid": "?" })),
            object("kept", "operator/kept", &json!({ "mw-sync.io/on-delete": "retain" })),
            object("adopted", "operator/adopted", &json!({ "mw-sync.io/adopted": "adopt" })),
            object("theirs", "elsewhere/theirs", &json!({})),
            object("renamed", "operator/other", &json!({})),
        ]);
        let list = move |_| {
            std::future::ready(json_response(200, &json!({ "metadata": { "resourceVersion": "9" }, "items": items })))
        };
        let client = client(list);
        let connection = Connection { watch: client.clone(), write: client };
        let rules = rules(Role::Agent);
        let only = |names: &[&str]| PurgeArgs {
            sources: names.iter().map(|name| name.parse().unwrap()).collect(),
            ..PurgeArgs::default()
        };
        let found = copies(&connection, &rules, None, &only(&["secret/a", "secret/kept", "secret/theirs"]), None)
            .await
            .unwrap();
        let names: Vec<_> = found.copies.iter().map(|copy| &*copy.source.name).collect();
        assert_eq!(names, ["a", "kept"]);
        // Where another controller may have the same name, what is of another incarnation stays.
        let known = [Uid::parse(UID).unwrap()];
        let some = copies(&connection, &rules, None, &only(&[]), Some(&known)).await.unwrap();
        let stranger = Uid::parse("0a1b2c3d-0000-4abc-8def-00000000000f").unwrap();
        // In either kind.
        assert_eq!(some.strange, BTreeMap::from([(stranger, 2)]));
        assert!(some.copies.iter().all(|copy| &*copy.source.name != "stranded"));
        let all = copies(&connection, &rules, None, &only(&[]), None).await.unwrap().copies;
        let of = |released: bool| {
            let is =
                |copy: &&Copy| copy.source.kind == Kind::Secret && matches!(copy.how, How::Released(..)) == released;
            all.iter().filter(is).map(|copy| &*copy.source.name).collect::<Vec<_>>()
        };
        assert_eq!((of(false), of(true)), (vec!["a", "stranded", "unmarked"], vec!["kept", "adopted"]));
    }
}
