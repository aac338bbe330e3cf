//! A Secret or ConfigMap as it was read, and the small types that name one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The two kinds that are replicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1/Secret`
    Secret,
    /// `v1/ConfigMap`
    ConfigMap,
}

impl Kind {
    /// Both, in a fixed order.
    pub const ALL: [Self; 2] = [Self::Secret, Self::ConfigMap];

    /// As in `kind:` of a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }

    /// As in the path of an API request.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
        }
    }
}

/// One of something for each kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct PerKind<T> {
    secrets: T,
    config_maps: T,
}

impl<T> PerKind<T> {
    /// That of this kind.
    pub const fn of(&self, kind: Kind) -> &T {
        match kind {
            Kind::Secret => &self.secrets,
            Kind::ConfigMap => &self.config_maps,
        }
    }

    /// That of this kind, to change it.
    pub const fn of_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Secret => &mut self.secrets,
            Kind::ConfigMap => &mut self.config_maps,
        }
    }

    /// Whether it is so for both.
    pub fn all(&self, is: impl Fn(&T) -> bool) -> bool {
        is(&self.secrets) && is(&self.config_maps)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What names a source inside the source namespace. A Secret and a ConfigMap of one name do not clash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey {
    /// Secret or ConfigMap.
    pub kind: Kind,
    /// `metadata.name`, up to 253 characters.
    pub name: Arc<str>,
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// `metadata.uid`. API servers make UUIDs; anything else is refused at the door.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid([u8; 16]);

impl Uid {
    /// Reads the canonical form (lower case, hyphens), which is the only one that [`fmt::Display`] gives back.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.split('-').collect();
        let uid = Self(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes());
        (uid.to_string() == text).then_some(uid)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = u128::from_be_bytes(self.0);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            n >> 96,
            (n >> 80) & 0xffff,
            (n >> 64) & 0xffff,
            (n >> 48) & 0xffff,
            n & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `metadata.resourceVersion`: a number that grows with every write, comparable between objects of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rv(pub u64);

impl Rv {
    /// Reads the decimal form.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for Rv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One version of an object: which one it is, and which write to it was the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.resourceVersion`
    pub rv: Rv,
}

/// What is replicated of an object: the part that must be equal, exactly. `Debug` shows no payload.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// `type` of a Secret; `None` for a ConfigMap.
    pub secret_type: Option<String>,
    /// `immutable`; absent is `false`.
    pub immutable: bool,
    /// `data`: base64 in a Secret, text in a ConfigMap.
    pub data: BTreeMap<String, String>,
    /// `binaryData` of a ConfigMap: base64.
    pub binary_data: BTreeMap<String, String>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("secret_type", &self.secret_type)
            .field("immutable", &self.immutable)
            .field("keys", &(self.data.len() + self.binary_data.len()))
            .finish_non_exhaustive()
    }
}

/// Annotations for a `Debug`: their keys alone, for kubectl keeps whole objects in one of them, with the payload.
pub(crate) struct Keys<'a>(pub(crate) &'a BTreeMap<String, String>);

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A Secret or ConfigMap as a list or watch showed it. `Debug` shows no payload.
#[derive(Clone)]
pub struct Object {
    /// Which of the two.
    pub kind: Kind,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.resourceVersion`
    pub rv: Rv,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
    /// Payload, type, `immutable`.
    pub content: Content,
    /// It has fields besides these and those that every object has, such as `metadata.finalizers`.
    pub more: bool,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, uid, rv, labels, annotations, content, more } = self;
        f.debug_struct("Object")
            .field("kind", kind)
            .field("namespace", namespace)
            .field("name", name)
            .field("uid", uid)
            .field("rv", rv)
            .field("labels", labels)
            .field("annotations", &Keys(annotations))
            .field("content", content)
            .field("more", more)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Metadata;

    #[test]
    fn a_uid_reads_its_own_form_and_nothing_else() {
        let text = "0a1b2c3d-0000-4abc-8def-00000000000f";
        assert_eq!(Uid::parse(text).unwrap().to_string(), text);
        for bad in ["", "x", "0A1B2C3D-0000-4abc-8def-00000000000f", "0a1b2c3d00004abc8def00000000000f"] {
            assert_eq!(Uid::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_payload() {
        let content = Content { data: [("password".into(), "aHVudGVyMg==".into())].into(), ..Content::default() };
        let applied = [("kubectl.kubernetes.io/last-applied-configuration", r#"{"data":{"password":"aHVudGVyMg=="}}"#)];
        let object = Object { content, ..tests_support::object(Kind::Secret, "operator", "regcred", &[], &applied) };
        let Object { uid, rv, labels, annotations, content, .. } = object.clone();
        let looked = Metadata { uid, rv, labels, annotations };
        let shown = format!("{content:?} {content:#?} {object:?} {object:#?} {looked:?} {looked:#?}");
        assert!(shown.contains("last-applied-configuration"), "{shown}");
        assert!(!shown.contains("aHVudGVyMg") && !shown.contains("password"), "{shown}");
    }
}

/// An object for the tests of this crate.
#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;

    /// A Secret or ConfigMap with one key, `data: {k: dg==}`.
    pub(crate) fn object(
        kind: Kind,
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
        annotations: &[(&str, &str)],
    ) -> Object {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Object {
            kind,
            namespace: namespace.into(),
            name: name.into(),
            uid: Uid::parse("11111111-0000-4000-8000-000000000001").unwrap(),
            rv: Rv(1),
            labels: map(labels),
            annotations: map(annotations),
            content: Content {
                secret_type: (kind == Kind::Secret).then(|| "Opaque".to_owned()),
                data: map(&[("k", "dg==")]),
                ..Content::default()
            },
            more: false,
        }
    }
}
