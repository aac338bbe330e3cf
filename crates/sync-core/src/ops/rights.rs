//! The rights that the controllers need, and the questions whether somebody has them.
//!
//! `deploy/` grants exactly these: a scenario compares.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;

use crate::cluster::read;
use crate::fault::Fault;

/// Questions at once.
const AT_ONCE: usize = 8;

/// Where a right holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the source namespace, or the destination there.
    Namespace,
    /// In the whole cluster.
    Everywhere,
}

/// Which objects a right is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// All.
    Any,
    /// The one that is called so.
    Is(&'static str),
    /// The one that is called as the source namespace.
    SourceNamespace,
}

/// Some verbs on one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// Where.
    pub place: Place,
    /// API group; empty for the core.
    pub group: &'static str,
    /// Plural, perhaps with `/` and a subresource.
    pub resource: &'static str,
    /// Which objects.
    pub name: Name,
    /// What may be done.
    pub verbs: &'static [&'static str],
}

const fn right(
    place: Place,
    group: &'static str,
    resource: &'static str,
    name: Name,
    verbs: &'static [&'static str],
) -> Right {
    Right { place, group, resource, name, verbs }
}

const REPLICAS: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete"];
const REMOTE_CLUSTERS: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
const READ: &[&str] = &["get", "list", "watch"];
const LEASE: &[&str] = &["get", "list", "watch", "patch"];
const EVENTS: Right = right(Place::Namespace, "events.k8s.io", "events", Name::Any, &["create"]);
const NEW_LEASE: Right = right(Place::Namespace, "coordination.k8s.io", "leases", Name::Any, &["create"]);
const POLICY: Name = Name::Is(super::preflight::POLICY);

/// Of an agent: `deploy/agent.yaml`.
pub const AGENT: &[Right] = &[
    right(Place::Everywhere, "", "namespaces", Name::Any, &["list", "watch"]),
    right(Place::Everywhere, "", "namespaces", Name::SourceNamespace, &["get"]),
    right(Place::Everywhere, "", "secrets", Name::Any, REPLICAS),
    right(Place::Everywhere, "", "configmaps", Name::Any, REPLICAS),
    EVENTS,
    NEW_LEASE,
    right(Place::Namespace, "coordination.k8s.io", "leases", Name::Is("mw-sync-agent"), LEASE),
];

/// Of an agent with sources that ask for `image-pull-secret`: `deploy/agent-service-accounts.yaml`.
pub const AGENT_SERVICE_ACCOUNTS: &[Right] =
    &[right(Place::Everywhere, "", "serviceaccounts", Name::Any, &["list", "watch", "patch"])];

/// Of a master in its own cluster: `deploy/master.yaml`.
pub const MASTER: &[Right] = &[
    right(Place::Namespace, "", "secrets", Name::Any, READ),
    right(Place::Namespace, "", "configmaps", Name::Any, READ),
    right(Place::Namespace, "mw-sync.io", "remoteclusters", Name::Any, REMOTE_CLUSTERS),
    right(Place::Namespace, "mw-sync.io", "clusterdiscoveries", Name::Any, &["list", "watch"]),
    right(Place::Namespace, "mw-sync.io", "remoteclusters/status", Name::Any, &["patch"]),
    right(Place::Namespace, "mw-sync.io", "clusterdiscoveries/status", Name::Any, &["patch"]),
    EVENTS,
    NEW_LEASE,
    right(Place::Namespace, "coordination.k8s.io", "leases", Name::Is("mw-sync-master"), LEASE),
    right(Place::Everywhere, "", "namespaces", Name::SourceNamespace, READ),
    right(Place::Everywhere, "", "configmaps", Name::Is("kube-root-ca.crt"), &["get"]),
    right(
        Place::Everywhere,
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        Name::Is("remoteclusters.mw-sync.io"),
        &["get"],
    ),
    right(Place::Everywhere, "admissionregistration.k8s.io", "mutatingadmissionpolicies", POLICY, &["get"]),
    right(Place::Everywhere, "admissionregistration.k8s.io", "mutatingadmissionpolicybindings", POLICY, &["get"]),
];

/// Of a master in a remote cluster: `deploy/remote-access.yaml`.
pub const REMOTE: &[Right] = &[
    right(Place::Namespace, "", "secrets", Name::Any, REPLICAS),
    right(Place::Namespace, "", "configmaps", Name::Any, REPLICAS),
];

/// Whose rights are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of whoever asks.
    Ours,
    /// Those of the ServiceAccount of this name in the source namespace. Few may ask that.
    Account(String),
}

/// One verb on one resource, asked about.
#[derive(Clone, Copy, Debug)]
struct Question<'a> {
    whose: &'a Whose,
    namespace: &'a str,
    right: &'a Right,
    verb: &'static str,
}

impl Right {
    /// In words, with these verbs of it.
    pub fn words(&self, verbs: &[&str], namespace: &str) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let name = match self.name {
            Name::Any => String::new(),
            Name::Is(name) => format!(" {name}"),
            Name::SourceNamespace => format!(" {namespace}"),
        };
        let place = match self.place {
            Place::Namespace => format!("namespace {namespace}"),
            Place::Everywhere => "all namespaces".to_owned(),
        };
        format!("{} {}{group}{name} in {place}", verbs.join(", "), self.resource)
    }
}

/// Which of these rights are missing in this cluster, and which verbs of each. One question per verb, as a
/// SelfSubjectAccessReview (or a SubjectAccessReview): nothing is stored.
///
/// # Errors
/// If one of them is not answered.
pub async fn missing<'r>(
    client: &kube::Client,
    whose: &Whose,
    namespace: &str,
    rights: &'r [Right],
) -> Result<Vec<(&'r Right, Vec<&'static str>)>, Fault> {
    let questions = rights.iter().flat_map(|right| {
        right.verbs.iter().map(move |&verb| async move {
            let question = Question { whose, namespace, right, verb };
            ask(client, question).await.map(|allowed| (right, verb, allowed))
        })
    });
    // Boxed: a stream over many of these futures would be a type without an end.
    let questions: Vec<_> = questions.map(Box::pin).collect();
    let answers: Vec<_> = stream::iter(questions).buffered(AT_ONCE).try_collect().await?;
    let mut missing: Vec<(&Right, Vec<&'static str>)> = Vec::new();
    for (right, verb, allowed) in answers {
        match missing.last_mut() {
            _ if allowed => {}
            Some((last, verbs)) if std::ptr::eq(*last, right) => verbs.push(verb),
            _ => missing.push((right, vec![verb])),
        }
    }
    Ok(missing)
}

/// Whether we have all of these rights.
///
/// # Errors
/// As [`missing`].
pub async fn may(client: &kube::Client, namespace: &str, rights: &[Right]) -> Result<bool, Fault> {
    Ok(missing(client, &Whose::Ours, namespace, rights).await?.is_empty())
}

async fn ask(client: &kube::Client, question: Question<'_>) -> Result<bool, Fault> {
    #[derive(Deserialize)]
    struct Review {
        status: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        allowed: bool,
    }
    let Question { whose, namespace, right, verb } = question;
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
    // Empty is everywhere, and any.
    let place = if right.place == Place::Namespace { namespace } else { "" };
    let name = match right.name {
        Name::Any => "",
        Name::Is(name) => name,
        Name::SourceNamespace => namespace,
    };
    let attributes = json!({
        "namespace": place, "verb": verb, "group": right.group, "resource": resource, "subresource": subresource,
        "name": name,
    });
    let (kind, path, spec) = match whose {
        Whose::Ours => {
            ("SelfSubjectAccessReview", "selfsubjectaccessreviews", json!({ "resourceAttributes": attributes }))
        }
        Whose::Account(name) => {
            let of_namespace = format!("system:serviceaccounts:{namespace}");
            let spec = json!({
                "user": format!("system:serviceaccount:{namespace}:{name}"),
                "groups": ["system:serviceaccounts", of_namespace, "system:authenticated"],
                "resourceAttributes": attributes,
            });
            ("SubjectAccessReview", "subjectaccessreviews", spec)
        }
    };
    let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec });
    let path = format!("/apis/authorization.k8s.io/v1/{path}");
    Ok(read::ask::<Review>(client, &path, &review).await?.status.allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests_support::{client, json_response};
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn what_is_missing_is_named_verb_by_verb() {
        let client = client(|request| async {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let review: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let asked = &review["spec"]["resourceAttributes"];
            let named = asked["resource"] != "leases" || asked["verb"] == "create" || asked["name"] == "mw-sync-agent";
            assert!(named && review["spec"]["user"].is_null(), "{review}");
            let denied = asked["resource"] == "secrets"
                && ["create", "patch"].iter().any(|verb| asked["verb"] == *verb)
                || asked["resource"] == "namespaces" && asked["name"] == "ops";
            json_response(201, &json!({ "status": { "allowed": !denied } }))
        });
        let missing = missing(&client, &Whose::Ours, "ops", AGENT).await.unwrap();
        let words: Vec<_> = missing.iter().map(|(right, verbs)| right.words(verbs, "ops")).collect();
        assert_eq!(words, ["get namespaces ops in all namespaces", "create, patch secrets in all namespaces"]);
        assert!(!may(&client, "ops", AGENT).await.unwrap());
        assert!(may(&client, "ops", AGENT_SERVICE_ACCOUNTS).await.unwrap());
    }

    #[test]
    fn words_say_where() {
        let lease = AGENT.last().unwrap();
        assert_eq!(
            lease.words(&["get"], "operator"),
            "get leases.coordination.k8s.io mw-sync-agent in namespace operator"
        );
    }
}
