//! The Secret that a RemoteCluster names.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::value::RawValue;
use sync_core::contract::keys::KUBECONFIG_TYPE;
use sync_core::fault::message;

use super::objects;

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
    // An API server fills the type in; without one it is Opaque by definition.
    let found = secret.type_.as_deref().unwrap_or("Opaque");
    if found != KUBECONFIG_TYPE {
        return Err(SecretError::WrongType(place(), message(found)));
    }
    let bytes = secret.data.as_ref().and_then(|data| data.get(key)).filter(|bytes| !bytes.0.is_empty());
    bytes.map(|bytes| bytes.0.as_slice()).ok_or_else(|| SecretError::KeyMissing(place()))
}

/// The same of a Secret that is there, or is not.
///
/// # Errors
/// As [`kubeconfig_of`], and if there is none.
pub fn kubeconfig_in(secret: Option<&Secret>, place: SecretRef) -> Result<&[u8], SecretError> {
    match secret {
        Some(secret) => kubeconfig_of(secret, &place.key),
        None => Err(SecretError::Missing(place)),
    }
}

/// What is kept of a Secret: of one that is no kubeconfig what tells that.
pub(super) fn decode(json: &RawValue) -> Option<Secret> {
    let Secret { metadata, type_, .. } = match objects::decode::<Secret>(json)? {
        ours if ours.type_.as_deref() == Some(KUBECONFIG_TYPE) => return Some(ours),
        other => other,
    };
    let ObjectMeta { name, namespace, uid, resource_version, .. } = metadata;
    let metadata = ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
    Some(Secret { metadata, type_, ..Secret::default() })
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
    fn of_another_secret_nothing_is_kept_but_what_it_is() {
        for (type_, kept) in [(Some(KUBECONFIG_TYPE), true), (Some("Opaque"), false), (None, false)] {
            let mut given = secret(type_, "kubeconfig", b"hunter2");
            given.metadata.annotations = Some([("long".to_owned(), "x".repeat(1000))].into());
            let json = serde_json::value::to_raw_value(&given).unwrap();
            let read = decode(&json).unwrap();
            assert_eq!(read.data.is_some(), kept, "{type_:?}");
            assert_eq!((read.metadata.name.as_deref(), read.type_.as_deref()), (Some("prod"), type_));
            assert_eq!(read.metadata.annotations.is_some(), kept);
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
