//! A replica reduced to what a comparison needs: two digests and three small facts, without the bytes.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::keys;
use super::object::Content;

/// The first 128 bits of a SHA-256 over length-framed parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 16]);

/// The label and annotation keys of a replica that came from its source. Equal ones are one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// Label keys.
    pub labels: Vec<String>,
    /// Annotation keys.
    pub annotations: Vec<String>,
}

impl Shape {
    /// The value of [`keys::COPIED`]: `label:KEY` and `annotation:KEY`, comma separated, sorted.
    pub fn to_annotation(&self) -> String {
        let labels = self.labels.iter().map(|key| format!("label:{key}"));
        let annotations = self.annotations.iter().map(|key| format!("annotation:{key}"));
        labels.chain(annotations).collect::<Vec<_>>().join(",")
    }

    /// The keys of both.
    pub fn and(&self, other: &Self) -> Self {
        let both = |a: &[String], b: &[String]| {
            let mut keys = [a, b].concat();
            keys.sort_unstable();
            keys.dedup();
            keys
        };
        Self { labels: both(&self.labels, &other.labels), annotations: both(&self.annotations, &other.annotations) }
    }

    /// Reads that value. What is neither form is passed over: a value that somebody edited differs from ours, so
    /// the replica is repaired, and a key we cannot read is one we do not remove.
    pub fn from_annotation(value: &str) -> Self {
        let mut shape = Self::default();
        for entry in value.split(',') {
            if let Some(key) = entry.strip_prefix("label:") {
                shape.labels.push(key.to_owned());
            } else if let Some(key) = entry.strip_prefix("annotation:") {
                shape.annotations.push(key.to_owned());
            }
        }
        shape.labels.sort_unstable();
        shape.annotations.sort_unstable();
        shape
    }
}

/// All that decides whether a replica equals what its source wants. Labels and annotations that others add are
/// not in it. Equal ones are one allocation where there are many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    /// Over `data` and `binaryData`.
    pub payload: Digest,
    /// Over our marks and the copied labels and annotations, keys and values.
    pub metadata: Digest,
    /// Over `type`.
    pub secret_type: Digest,
    /// `immutable`.
    pub immutable: bool,
}

impl Fingerprint {
    /// The fingerprint of an object that carries these labels, annotations and content. `payload` is
    /// [`payload_digest`] of the content, which a source computes once for all its versions of metadata.
    pub fn of(
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
        content: &Content,
        payload: Digest,
        shape: &Shape,
    ) -> Self {
        let mut hash = Framed::default();
        let marks = [keys::MANAGED_BY, keys::SOURCE];
        for key in marks.into_iter().chain(shape.labels.iter().map(String::as_str)) {
            hash.entry(key, labels.get(key));
        }
        hash.end_of_part();
        let marks = [keys::ORIGIN, keys::ORIGIN_UID, keys::COPIED];
        for key in marks.into_iter().chain(shape.annotations.iter().map(String::as_str)) {
            hash.entry(key, annotations.get(key));
        }
        let secret_type = type_digest(content);
        Self { payload, metadata: hash.finish(), secret_type, immutable: content.immutable }
    }
}

/// The digest over `type`.
pub fn type_digest(content: &Content) -> Digest {
    let mut hash = Framed::default();
    hash.entry("type", content.secret_type.as_ref());
    hash.finish()
}

/// The digest over `data` and `binaryData`; absent and empty are the same.
pub fn payload_digest(content: &Content) -> Digest {
    let mut hash = Framed::default();
    for part in [&content.data, &content.binary_data] {
        for (key, value) in part {
            hash.entry(key, Some(value));
        }
        hash.end_of_part();
    }
    hash.finish()
}

/// SHA-256 over parts whose lengths are hashed with them, so that no two different inputs read the same.
#[derive(Default)]
struct Framed(Sha256);

impl Framed {
    fn entry(&mut self, key: &str, value: Option<&String>) {
        self.bytes(key.as_bytes());
        match value {
            Some(value) => self.bytes(value.as_bytes()),
            None => self.0.update([0xff; 8]),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn end_of_part(&mut self) {
        self.0.update([0xfe; 8]);
    }

    fn finish(self) -> Digest {
        let full = self.0.finalize();
        let mut short = [0; 16];
        short.iter_mut().zip(full.iter()).for_each(|(to, from)| *to = *from);
        Digest(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(data: &[(&str, &str)], binary: &[(&str, &str)]) -> Content {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Content { data: map(data), binary_data: map(binary), ..Content::default() }
    }

    #[test]
    fn payloads_that_differ_anywhere_have_different_digests() {
        let all = [
            content(&[], &[]),
            content(&[("a", "")], &[]),
            content(&[], &[("a", "")]),
            content(&[("a", "b")], &[]),
            content(&[("ab", "")], &[]),
            content(&[("a", "b"), ("c", "d")], &[]),
            content(&[("a", "b")], &[("c", "d")]),
        ];
        for (i, x) in all.iter().enumerate() {
            for (j, y) in all.iter().enumerate() {
                assert_eq!(payload_digest(x) == payload_digest(y), i == j, "{i} {j}");
            }
        }
    }

    #[test]
    fn foreign_labels_do_not_count_and_copied_ones_do() {
        let content = Content::default();
        let payload = payload_digest(&content);
        let shape = Shape { labels: vec!["team".into()], annotations: vec![] };
        let of = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Fingerprint::of(&labels, &BTreeMap::new(), &content, payload, &shape)
        };
        assert_eq!(of(&[("team", "a")]), of(&[("team", "a"), ("theirs", "x")]));
        assert_ne!(of(&[("team", "a")]), of(&[("team", "b")]));
        assert_ne!(of(&[("team", "a")]), of(&[]));
        assert_ne!(of(&[("team", "")]), of(&[]));
    }

    #[test]
    fn copied_reads_back_and_passes_over_rubbish() {
        let shape = Shape { labels: vec!["a/b".into(), "c".into()], annotations: vec!["mw-sync.io/sync".into()] };
        assert_eq!(Shape::from_annotation(&shape.to_annotation()), shape);
        assert_eq!(Shape::from_annotation(""), Shape::default());
        assert_eq!(
            Shape::from_annotation("x,label,;;,label:a"),
            Shape { labels: vec!["a".into()], annotations: vec![] }
        );
    }
}
