//! The Secret that a RemoteCluster names.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use sync_core::cluster::query::Query;
use sync_core::cluster::watch::{News, watch};
use sync_core::cluster::{path, read};
use sync_core::contract::keys::KUBECONFIG_TYPE;
use sync_core::contract::object::Kind;
use sync_core::fault::message;
use sync_core::index::feed::Feed;
use tokio::sync::mpsc;

use super::objects::decode;

/// How much the watch on one name may be ahead, in events.
const AHEAD: usize = 4;

/// Where a kubeconfig should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

impl SecretRef {
    /// How a person makes it.
    fn recipe(&self) -> String {
        let Self { namespace, name, key } = self;
        format!("kubectl -n {namespace} create secret generic {name} --type={KUBECONFIG_TYPE} --from-file={key}=FILE")
    }

    /// How a person puts another kubeconfig into it.
    pub(super) fn renewal(&self) -> String {
        format!("{} --dry-run=client -o yaml | kubectl apply -f -", self.recipe())
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {}/{}", self.namespace, self.name)
    }
}

/// Why there is no kubeconfig. The texts say what to do and show nothing of the Secret but its name and type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is no such Secret.
    #[error("{0} does not exist; make it: {recipe}", recipe = .0.recipe())]
    Missing(SecretRef),
    /// Its type is the given one, not ours. Only ours is never replicated.
    #[error(
        "{0} is of type {1}, and only {KUBECONFIG_TYPE} is read, which is never copied anywhere; a type cannot be \
         changed, so delete the Secret and make it anew: {recipe}", recipe = .0.recipe()
    )]
    WrongType(SecretRef, String),
    /// It has nothing under the key.
    #[error("{0} has nothing under the key {key}; correct spec.kubeconfig.key or the Secret", key = .0.key)]
    KeyMissing(SecretRef),
}

impl SecretError {
    /// The word for the condition.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) => "SecretMissing",
            Self::WrongType(..) => "SecretWrongType",
            Self::KeyMissing(_) => "SecretKeyMissing",
        }
    }
}

/// The bytes of the kubeconfig in a Secret. They are credentials: nothing may show them.
///
/// # Errors
/// If the Secret is not of our type or has nothing under `key`.
pub fn kubeconfig_of<'s>(secret: &'s Secret, key: &str) -> Result<&'s [u8], SecretError> {
    let place = || SecretRef {
        namespace: secret.metadata.namespace.clone().unwrap_or_default(),
        name: secret.metadata.name.clone().unwrap_or_default(),
        key: key.to_owned(),
    };
    let found = type_of(secret.type_.as_deref());
    if found != KUBECONFIG_TYPE {
        return Err(SecretError::WrongType(place(), message(found)));
    }
    let bytes = secret.data.as_ref().and_then(|data| data.get(key)).filter(|bytes| !bytes.0.is_empty());
    bytes.map(|bytes| bytes.0.as_slice()).ok_or_else(|| SecretError::KeyMissing(place()))
}

/// The same of a Secret that the watch shows, or does not show: it shows those of our type only, so one of another type is
/// missing here.
///
/// # Errors
/// As [`kubeconfig_of`], and if there is none.
pub fn kubeconfig_in(secret: Option<&Secret>, place: SecretRef) -> Result<&[u8], SecretError> {
    match secret {
        Some(secret) => kubeconfig_of(secret, &place.key),
        None => Err(SecretError::Missing(place)),
    }
}

/// A Secret that the fleet's watch does not show may be there, of another type.
pub(crate) async fn explain(client: &kube::Client, error: SecretError) -> SecretError {
    let SecretError::Missing(place) = &error else { return error };
    let found = read::get_object(client, Kind::Secret, &place.namespace, &place.name).await;
    let found = found.ok().flatten().and_then(|secret| secret.content.secret_type);
    not_shown(place, found.as_deref()).unwrap_or(error)
}

/// The same for as long as it is polled, told as often as it changes: the Secret may be made, or go, at any time. A watch
/// on that one name; what it cannot see, the fleet's watch cannot either, and tells of it.
pub(crate) async fn keep_explaining(client: kube::Client, seed: u64, place: &SecretRef, tell: impl Fn(SecretError)) {
    let Ok(path) = path::of_kind(Kind::Secret, &place.namespace) else {
        return tell(SecretError::Missing(place.clone()));
    };
    let query = Query::all(path).named(&place.name);
    let (sender, mut news) = mpsc::channel(AHEAD);
    let follow = async {
        let mut listed = None;
        while let Some(news) = news.recv().await {
            let now = match news {
                News::Feed(Feed::Init) => {
                    listed = None;
                    continue;
                }
                News::Feed(Feed::Listed(secret)) => {
                    listed = Some(secret);
                    continue;
                }
                News::Feed(Feed::InitDone(_)) => listed.take(),
                News::Feed(Feed::Applied(secret)) => Some(secret),
                News::Feed(Feed::Gone(_)) => None,
                News::Trouble(_) | News::Well => continue,
            };
            if let Some(error) = not_shown(place, now.as_ref().map(Typed::type_)) {
                tell(error);
            }
        }
    };
    tokio::join!(watch(client, query, seed, decode::<Typed>, |news| news, sender), follow);
}

/// What is wrong with a Secret that the fleet's watch does not show, of this type if it stands there.
fn not_shown(place: &SecretRef, found: Option<&str>) -> Option<SecretError> {
    match found {
        None => Some(SecretError::Missing(place.clone())),
        // The fleet's watch is about to show it.
        Some(KUBECONFIG_TYPE) => None,
        Some(other) => Some(SecretError::WrongType(place.clone(), message(other))),
    }
}

/// A Secret, of which nothing but the type is kept.
#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    type_: Option<String>,
}

impl Typed {
    fn type_(&self) -> &str {
        type_of(self.type_.as_deref())
    }
}

/// An API server fills the type in; without one it is Opaque by definition.
fn type_of(written: Option<&str>) -> &str {
    written.unwrap_or("Opaque")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(type_: Option<&str>, key: &str, bytes: &[u8]) -> Secret {
        let mut secret = Secret { type_: type_.map(str::to_owned), ..Secret::default() };
        secret.metadata.namespace = Some("operator".to_owned());
        secret.metadata.name = Some("prod".to_owned());
        secret.data = Some([(key.to_owned(), ByteString(bytes.to_vec()))].into());
        secret
    }

    #[test]
    fn only_our_type_is_read() {
        assert_eq!(kubeconfig_of(&secret(Some(KUBECONFIG_TYPE), "a", b"text"), "a"), Ok(&b"text"[..]));
        for type_ in [None, Some("Opaque"), Some("kubernetes.io/service-account-token")] {
            let error = kubeconfig_of(&secret(type_, "kubeconfig", b"hunter2"), "kubeconfig").unwrap_err();
            assert_eq!(error.reason(), "SecretWrongType");
            let text = error.to_string();
            assert!(
                text.contains(
                    "kubectl -n operator create secret generic prod --type=mw-sync.io/kubeconfig \
                     --from-file=kubeconfig=FILE"
                ) && text.contains(type_.unwrap_or("Opaque")),
                "{text}"
            );
            assert!(!format!("{text}{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn an_absent_or_empty_key_is_named() {
        for (secret, key) in
            [(secret(Some(KUBECONFIG_TYPE), "a", b"x"), "b"), (secret(Some(KUBECONFIG_TYPE), "b", b""), "b")]
        {
            let error = kubeconfig_of(&secret, key).unwrap_err();
            assert_eq!(error.reason(), "SecretKeyMissing");
            assert!(error.to_string().contains("under the key b"), "{error}");
        }
    }
}
