//! Labels that are never copied: their owners would prune the copies or take them for their own.

use super::keys;

/// What one entry of the strip list matches.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// This key.
    Key(String),
    /// Every key that begins so.
    Begins(String),
    /// Every key whose prefix (the part before `/`) is this domain or one below it.
    Domain(String),
}

/// The default strip list: Argo CD, Flux, Helm, kapp, Rancher, OLM, Strimzi, ESO, cert-manager, Kyverno, ApplySets.
pub const DEFAULT: &[&str] = &[
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "argocd.argoproj.io/instance",
    "helm.sh/",
    "meta.helm.sh/",
    "*.toolkit.fluxcd.io/",
    "applyset.kubernetes.io/",
    "kapp.k14s.io/",
    "objectset.rio.cattle.io/",
    "olm.owner*",
    "strimzi.io/",
    "*.external-secrets.io/",
    "*.cert-manager.io/",
    "*.kyverno.io/",
];

/// An entry of `--strip-labels` that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no label key, `prefix/`, `*.domain/` or `text*`")]
pub struct StripError(pub String);

/// The labels that copies do not carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripList(Vec<Entry>);

impl StripList {
    /// The default list and `more`, each `key`, `prefix/`, `*.domain/` (the domain and those below) or `text*`.
    ///
    /// # Errors
    /// The first entry that is none of these.
    pub fn with<S: AsRef<str>>(more: &[S]) -> Result<Self, StripError> {
        let entries = DEFAULT.iter().copied().chain(more.iter().map(AsRef::as_ref));
        entries.map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a label of a source stays off its copies. Ours never come from a source.
    pub fn strips(&self, key: &str) -> bool {
        key.starts_with(keys::PREFIX)
            || self.0.iter().any(|entry| match entry {
                Entry::Key(k) => k == key,
                Entry::Begins(k) => key.starts_with(k.as_str()),
                Entry::Domain(domain) => key.split_once('/').is_some_and(|(prefix, _)| {
                    prefix.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                }),
            })
    }
}

fn parse(text: &str) -> Result<Entry, StripError> {
    let plain =
        |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
    let entry = if let Some(domain) = text.strip_prefix("*.").and_then(|t| t.strip_suffix('/')) {
        (plain(domain) && !domain.contains('/')).then(|| Entry::Domain(domain.to_owned()))
    } else if let Some(start) = text.strip_suffix('*') {
        plain(start).then(|| Entry::Begins(start.to_owned()))
    } else if text.ends_with('/') {
        plain(text).then(|| Entry::Begins(text.to_owned()))
    } else {
        plain(text).then(|| Entry::Key(text.to_owned()))
    };
    entry.ok_or_else(|| StripError(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_list_strips_what_owners_act_on_and_keeps_the_rest() {
        let list = StripList::with::<&str>(&[]).unwrap();
        for gone in [
            "app.kubernetes.io/instance",
            "app.kubernetes.io/managed-by",
            "argocd.argoproj.io/instance",
            "helm.sh/chart",
            "kustomize.toolkit.fluxcd.io/name",
            "toolkit.fluxcd.io/x",
            "olm.owner",
            "olm.owner.namespace",
            "reconcile.external-secrets.io/managed",
            "mw-sync.io/source",
        ] {
            assert!(list.strips(gone), "{gone}");
        }
        for kept in
            ["app", "app.kubernetes.io/name", "argocd.argoproj.io/secret-type", "nothelm.sh/x", "notcert-manager.io/x"]
        {
            assert!(!list.strips(kept), "{kept}");
        }
    }

    #[test]
    fn more_entries_add_and_bad_ones_are_named() {
        let list = StripList::with(&["team", "*.corp.example/"]).unwrap();
        assert!(list.strips("team") && list.strips("a.corp.example/x") && list.strips("corp.example/x"));
        assert!(!list.strips("teams") && !list.strips("acorp.example/x"));
        for bad in ["", "*", "*./", "a b", "*.a/b/", "ä"] {
            assert_eq!(StripList::with(&[bad]), Err(StripError(bad.to_owned())));
        }
    }
}
