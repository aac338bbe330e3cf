//! What `deploy/` grants, one verb at a time.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;
use sync_core::ops::rights;
use testbed::Entry;

/// One verb on one resource, granted to one user.
#[derive(Clone, Debug)]
pub(crate) struct Right {
    pub(crate) user: String,
    /// Of a Role; a ClusterRole's right holds in all.
    namespace: Option<String>,
    group: String,
    resource: String,
    subresource: String,
    verb: String,
    /// The names that it is for; none are all.
    names: Vec<String>,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, namespace, group, resource, subresource, verb, names } = self;
        let place = namespace.as_deref().unwrap_or("all namespaces");
        write!(f, "{user} in {place}: {verb} {group}/{resource}/{subresource} {names:?}")
    }
}

impl Right {
    /// Whether a request needed it and had it, whatever came of it then. What is granted in all namespaces must be needed in another
    /// than `operator`, or a Role would do.
    pub(crate) fn is_used_by(&self, entry: &Entry) -> bool {
        let at_home = entry.namespace == "operator";
        let place = match &self.namespace {
            Some(namespace) => entry.namespace == *namespace,
            None => !at_home || !self.names.is_empty(),
        };
        place
            && !is_denied(entry)
            && entry.username == self.user
            && (&entry.verb, &entry.group) == (&self.verb, &self.group)
            && (&entry.resource, &entry.subresource) == (&self.resource, &self.subresource)
            && (self.names.is_empty() || self.names.contains(&entry.name))
    }
}

/// What the controllers' own list says, in the words of [`Right`].
pub(crate) fn listed(user: &str, rights: &[rights::Right]) -> Vec<String> {
    let one = |right: &rights::Right, verb: &str| {
        let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
        let names = match right.name {
            rights::Name::Any => Vec::new(),
            rights::Name::Is(name) => vec![name.to_owned()],
            rights::Name::SourceNamespace => vec!["operator".to_owned()],
        };
        Right {
            user: user.to_owned(),
            namespace: (right.place == rights::Place::Namespace).then(|| "operator".to_owned()),
            group: right.group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            verb: verb.to_owned(),
            names,
        }
    };
    let verbs = rights.iter().flat_map(|right| right.verbs.iter().map(move |verb| one(right, verb).to_string()));
    verbs.collect()
}

/// Whether a request was refused for want of a right.
pub(crate) fn is_denied(entry: &Entry) -> bool {
    [401, 403].contains(&entry.code)
}

#[derive(Deserialize)]
struct Document {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(rename = "roleRef")]
    role: Option<Reference>,
    #[serde(default)]
    subjects: Vec<Reference>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct Reference {
    kind: String,
    name: String,
    namespace: Option<String>,
}

impl Reference {
    /// The user that it binds. The group stands for the ServiceAccount that `remote-access.yaml` tells how to make.
    fn user(&self) -> String {
        match (&*self.kind, &self.namespace) {
            ("ServiceAccount", Some(namespace)) => format!("system:serviceaccount:{namespace}:{}", self.name),
            _ => {
                assert_eq!((&*self.kind, &*self.name), ("Group", "mw-sync-master"), "no other group is known here");
                "system:serviceaccount:operator:mw-sync-remote".to_owned()
            }
        }
    }
}

/// The rights in one file of `deploy/`.
///
/// # Errors
/// If it cannot be read, or grants what this does not understand.
pub(crate) fn granted(file: &str) -> Result<Vec<Right>> {
    let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).context(path)?;
    let (mut roles, mut bindings) = (BTreeMap::new(), Vec::new());
    for document in serde_yaml::Deserializer::from_str(&text) {
        let document = Value::deserialize(document)?;
        if document["apiVersion"] != "rbac.authorization.k8s.io/v1" {
            continue;
        }
        let document: Document = serde_json::from_value(document).context("a role of another form")?;
        match &*document.kind {
            "Role" | "ClusterRole" => {
                roles.insert((document.kind, document.metadata.name), document.rules);
            }
            _ => bindings.push(document),
        }
    }
    let mut rights = Vec::new();
    for Document { metadata, role, subjects, .. } in bindings {
        let role = role.context("a binding without a role")?;
        let rules = roles.get(&(role.kind, role.name)).context("a role of another file")?;
        for (subject, rule) in subjects.iter().flat_map(|subject| rules.iter().map(move |rule| (subject, rule))) {
            rights.extend(rule.rights(&subject.user(), metadata.namespace.as_deref()));
        }
    }
    Ok(rights)
}

impl Rule {
    fn rights(&self, user: &str, namespace: Option<&str>) -> Vec<Right> {
        let mut rights = Vec::new();
        for (group, resource) in self.api_groups.iter().flat_map(|g| self.resources.iter().map(move |r| (g, r))) {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            for verb in &self.verbs {
                assert!(![group.as_str(), resource, verb].contains(&"*"), "everything is never needed");
                rights.push(Right {
                    user: user.to_owned(),
                    namespace: namespace.map(str::to_owned),
                    group: group.clone(),
                    resource: resource.to_owned(),
                    subresource: subresource.to_owned(),
                    verb: verb.clone(),
                    names: self.resource_names.clone(),
                });
            }
        }
        rights
    }
}
