//! Engines that are wrong on purpose, as far as that can be had on the wire: see [`mutants`](crate::mutants).
//!
//! What the engine would have sent or not heard is changed before the judge sees it, and what it only believes to have
//! been answered the judge does not hear of.

use http::Method;
use serde_json::{Value, json};

use super::api::{Id, LEASES, Request, is_terminating, status, uid, version};
use super::faults::{Slot, Watched};
use super::stage::{OPERATOR, State};
use super::verdict::Deed;
use crate::contract::object::Uid;
use crate::mutants::{self, Mutant};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Updates do not test our marks.
    UnguardedUpdate,
    /// PUTs do not say which version they are meant for.
    UnguardedReplace,
    /// Deletes have no preconditions.
    UnguardedDelete,
    /// Deletes are guarded by the uid alone.
    DeleteByUid,
    /// Adoptions and releases are not guarded by a version.
    UnguardedPatch,
    /// Entries of ServiceAccounts are written to whatever list is there.
    UnguardedEntries,
    /// A master does not switch off what it deletes.
    NotSwitchedOff,
    /// A vanished source is not confirmed to be gone.
    NotConfirmed,
    /// A write that is not answered is taken for done.
    LostReplyIsDone,
    /// A watch that cannot be continued is continued from now on.
    ExpiredIgnored,
    /// That a replica is gone is not noticed.
    DeafToDeletions,
    /// That a namespace is going or gone is not noticed.
    DeafToNamespaces,
    /// A list of sources is taken for complete as it begins.
    ListCutShort,
    /// `--delete-grace 0`
    NoGrace,
    /// `--take-over` of every incarnation that there may be.
    AllTakenOver,
}

/// Whether the engine is wrong in this way.
pub(super) fn has(sabotage: Sabotage) -> bool {
    mutants::has(Mutant::OnTheWire(sabotage))
}

/// What a wrong engine sends.
pub(super) fn request(request: &mut Request) {
    if !request.is_write() || request.is_of_lease() || request.id().is_none() {
        return;
    }
    let mut body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match Deed::of(request) {
        Deed::Update if request.method == Method::PUT => {
            if !has(Sabotage::UnguardedReplace) {
                return;
            }
            body["metadata"]["resourceVersion"] = Value::Null;
        }
        Deed::List if has(Sabotage::UnguardedEntries) => drop_tests(&mut body),
        Deed::Update if has(Sabotage::UnguardedUpdate) => drop_tests(&mut body),
        Deed::Adopt | Deed::Release if has(Sabotage::UnguardedPatch) => drop_tests(&mut body),
        Deed::Delete if has(Sabotage::UnguardedDelete) => body["preconditions"] = Value::Null,
        Deed::Delete if has(Sabotage::DeleteByUid) => body["preconditions"]["resourceVersion"] = Value::Null,
        _ => return,
    }
    request.body = body.to_string().into();
}

/// Without its tests a patch may also have to make the maps that they were about.
fn drop_tests(patch: &mut Value) {
    if let Some(operations) = patch.as_array_mut() {
        operations.retain(|operation| operation["op"] != "test");
    }
}

/// What a wrong engine believes to have been answered to a request that it does not send.
pub(super) fn instead(state: &State, cluster: usize, request: &Request) -> Option<(u16, Value)> {
    let id = request.id().filter(|id| id.plural != LEASES)?;
    let truth = state.get(cluster, &id);
    let is_farewell = request.is_write() && Deed::of(request) == Deed::SwitchOff;
    if has(Sabotage::NotSwitchedOff) && is_farewell {
        return truth.map(|object| (200, (**object).clone()));
    }
    if has(Sabotage::NotConfirmed)
        && request.method == Method::GET
        && !state.scene.is_destination(cluster, &id.namespace)
    {
        let is_source = id.namespace == OPERATOR;
        return Some(match truth.filter(|_| !is_source) {
            Some(object) => (200, (**object).clone()),
            None => status::not_found(&id),
        });
    }
    None
}

/// What a wrong engine believes to have been answered to a write whose answer was lost.
pub(super) fn believed(state: &State, cluster: usize, request: &Request) -> Option<Value> {
    let id = request.id().filter(|id| has(Sabotage::LostReplyIsDone) && request.is_write() && id.plural != LEASES)?;
    if request.method == Method::DELETE {
        return Some(json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }));
    }
    let truth = state.get(cluster, &id);
    let own = truth.map_or("ffffffff-0000-4000-8000-000000000000", |object| uid(object));
    let version = truth.map_or(state.servers[cluster].store.rv, |object| version(object));
    Some(json!({ "metadata": { "name": id.name, "uid": own, "resourceVersion": version.to_string() } }))
}

/// Whether a wrong engine makes nothing of this line.
pub(super) fn is_deaf(slot: Slot, kind: &str, object: &Value) -> bool {
    match slot.what {
        Watched::Secrets | Watched::ConfigMaps => kind == "DELETED" && has(Sabotage::DeafToDeletions),
        Watched::Namespaces => (kind == "DELETED" || is_terminating(object)) && has(Sabotage::DeafToNamespaces),
        Watched::SourceSecrets
        | Watched::SourceConfigMaps
        | Watched::SourceNamespace
        | Watched::Accounts
        | Watched::Lease
        | Watched::Name(..) => false,
    }
}

/// Whether a wrong engine takes this list for complete as it begins.
pub(super) fn is_impatient(slot: Slot) -> bool {
    matches!(slot.what, Watched::SourceSecrets | Watched::SourceConfigMaps) && has(Sabotage::ListCutShort)
}

/// The uids that the first objects of the first server have.
pub(super) fn first_uids() -> Vec<Uid> {
    (1..200).filter_map(|n| Uid::parse(&format!("00000001-0000-4000-8000-{n:012x}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_are_taken_off() {
        mutants::put(Some(Mutant::OnTheWire(Sabotage::UnguardedUpdate)));
        let patch = json!([{ "op": "test", "path": "/metadata/labels/x", "value": "y" }, { "op": "add", "path": "/data", "value": {} }]);
        let mut sent = Request::new(Method::PATCH, "/api/v1/namespaces/a/secrets/b", "", patch.to_string().into());
        request(&mut sent);
        mutants::put(None);
        assert_eq!(sent.id(), Some(Id::new("secrets", "a", "b")));
        assert_eq!(serde_json::from_slice::<Value>(&sent.body).unwrap(), json!([patch[1]]));
    }
}
