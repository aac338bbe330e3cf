//! The options of a source: annotations below our prefix, parsed once into what cannot be nonsense.

use std::collections::{BTreeMap, BTreeSet};

use super::keys;
use super::object::Kind;
use super::patterns::Patterns;
use super::selector::{Selector, is_qualified_name};

/// What a source asks for beside being copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which remote clusters: names and labels of RemoteClusters.
    pub clusters: Selection,
    /// Which namespaces of a cluster.
    pub namespaces: Selection,
    /// What to do where an object of that name stands and is not ours.
    pub on_conflict: OnConflict,
    /// What becomes of the replicas when the source goes.
    pub on_delete: OnDelete,
    /// Annotations of the source that replicas carry.
    pub copy_annotations: BTreeSet<String>,
    /// The ServiceAccounts that list it in their `imagePullSecrets`.
    pub image_pull_secret: Option<Patterns>,
}

/// Which destinations: by name and by labels, and both must hold. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// By name.
    pub names: Option<Patterns>,
    /// By labels.
    pub labels: Option<Selector>,
}

impl Selection {
    /// Whether a destination of this name with these labels is one.
    pub fn selects(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.names.as_ref().is_none_or(|names| names.matches(name))
            && self.labels.as_ref().is_none_or(|selector| selector.matches(labels))
    }
}

/// What to do with an object that stands where a replica belongs and is not ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Leave it.
    #[default]
    Refuse,
    /// Take it over if type and data are equal.
    AdoptEqual,
    /// Take it over also if data differ, where the controller runs with `--allow-adopt`.
    Adopt,
}

/// What becomes of replicas that are wanted no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// They are deleted.
    #[default]
    Delete,
    /// They lose our marks and stay.
    Retain,
}

/// Why an option cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation {key} is {value:?}: {why}")]
pub struct BadOption {
    /// The annotation.
    pub key: &'static str,
    /// Its value, cut to 64 characters.
    pub value: String,
    /// What is wrong, and what should stand there.
    pub why: String,
}

const NAMES: &str = "write names or globs, separated by commas, with ! before what to leave out, like team-*,!team-x";
const SELECTOR: &str = "write a label selector as kubectl takes it, like env=prod,tier in (a,b),!legacy";

impl Options {
    /// Reads the options among these annotations of an object of this kind and type. What cannot be read has its
    /// default, but for `on-delete`: then nothing is deleted. The first of them is the error.
    pub fn read(
        kind: Kind,
        secret_type: Option<&str>,
        annotations: &BTreeMap<String, String>,
    ) -> (Self, Option<BadOption>) {
        let mut reader = Reader { annotations, bad: None };
        let image_pull_secret = reader.read(keys::IMAGE_PULL_SECRET, None, |text| {
            if kind != Kind::Secret || !secret_type.is_some_and(|of| keys::PULL_SECRET_TYPES.contains(&of)) {
                return Err(format!("only a Secret of type {} pulls images", keys::PULL_SECRET_TYPES.join(" or ")));
            }
            patterns(text)
        });
        let options = Self {
            clusters: Selection {
                names: reader.read(keys::CLUSTERS, None, patterns),
                labels: reader.read(keys::CLUSTER_SELECTOR, None, selector),
            },
            namespaces: Selection {
                names: reader.read(keys::NAMESPACES, None, patterns),
                labels: reader.read(keys::NAMESPACE_SELECTOR, None, selector),
            },
            on_conflict: reader.read(keys::ON_CONFLICT, OnConflict::Refuse, |text| match text {
                "refuse" => Ok(OnConflict::Refuse),
                "adopt-equal" => Ok(OnConflict::AdoptEqual),
                "adopt" => Ok(OnConflict::Adopt),
                _ => Err("write refuse, adopt-equal or adopt".to_owned()),
            }),
            on_delete: reader.on_delete(),
            copy_annotations: reader.read(keys::COPY_ANNOTATIONS, BTreeSet::new(), annotation_keys),
            image_pull_secret,
        };
        (options, reader.bad)
    }

    /// Reads `on-delete` alone: all that matters of a source that is switched off.
    ///
    /// # Errors
    /// If it is none of the known words.
    pub fn on_delete(annotations: &BTreeMap<String, String>) -> Result<OnDelete, BadOption> {
        let mut reader = Reader { annotations, bad: None };
        let on_delete = reader.on_delete();
        reader.bad.map_or(Ok(on_delete), Err)
    }
}

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    bad: Option<BadOption>,
}

impl Reader<'_> {
    /// The value of an annotation; `otherwise` if it is not there, or cannot be read, which is noted.
    fn read<T: From<V>, V>(
        &mut self,
        key: &'static str,
        otherwise: T,
        parse: impl FnOnce(&str) -> Result<V, String>,
    ) -> T {
        let Some(value) = self.annotations.get(key) else { return otherwise };
        match parse(value.trim()) {
            Ok(read) => read.into(),
            Err(why) => {
                let value = value.chars().take(64).collect();
                self.bad.get_or_insert(BadOption { key, value, why });
                otherwise
            }
        }
    }

    fn on_delete(&mut self) -> OnDelete {
        let stands = self.annotations.contains_key(keys::ON_DELETE);
        let otherwise = if stands { OnDelete::Retain } else { OnDelete::Delete };
        self.read(keys::ON_DELETE, otherwise, |text| match text {
            "delete" => Ok(OnDelete::Delete),
            "retain" => Ok(OnDelete::Retain),
            _ => Err("write delete or retain".to_owned()),
        })
    }
}

/// Reads a list of names, of an option or a flag.
///
/// # Errors
/// With what is wrong, and what should stand there.
pub fn patterns(text: &str) -> Result<Patterns, String> {
    Patterns::parse(text).map_err(|error| format!("{error}; {NAMES}"))
}

fn selector(text: &str) -> Result<Selector, String> {
    Selector::parse(text).map_err(|error| format!("{error}; {SELECTOR}"))
}

fn annotation_keys(text: &str) -> Result<BTreeSet<String>, String> {
    let mut keys = BTreeSet::new();
    for key in text.split(',').map(str::trim) {
        if !is_qualified_name(key) {
            let key: String = key.chars().take(64).collect();
            return Err(format!("{key:?} is no annotation key; write keys, separated by commas"));
        }
        if key.starts_with(keys::PREFIX) || key == keys::SYNC_SHORT {
            return Err(format!("{key} is ours and is never copied; write keys of other annotations"));
        }
        if key == keys::LAST_APPLIED {
            return Err(format!("{key} holds the whole object, for kubectl, and is never copied"));
        }
        keys.insert(key.to_owned());
    }
    Ok(keys)
}

/// The key that was probably meant, if one is near enough to be a slip: at most a third of its letters are wrong.
pub fn nearest(key: &str) -> Option<&'static str> {
    let distance = |known: &str| strsim::damerau_levenshtein(key, known);
    let own = |known: &'static str| known.strip_prefix(keys::PREFIX).unwrap_or(known).len();
    let (distance, known) = keys::OPTIONS.iter().map(|known| (distance(known), *known)).min()?;
    (distance * 3 <= own(known)).then_some(known)
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
