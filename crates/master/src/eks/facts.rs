//! What `DescribeCluster` says of a cluster, and whether that is somewhere to go.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sync_core::cluster::access::is_authority;
use sync_core::fault::message;

use super::arn::ClusterArn;
use super::error::EksError;

/// The answer, as far as it matters. AWS promises none of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Of the cluster that is described.
    pub arn: Option<String>,
    /// `ACTIVE`, `UPDATING`, ...
    pub status: Option<String>,
    /// Kubernetes version, without the patch: `1.33`.
    pub version: Option<String>,
    /// URL of the API server; none while it is being made.
    pub endpoint: Option<String>,
    /// PEM in base64: one certificate, or two while the authority is being rotated.
    pub authority: Option<String>,
    /// In milliseconds since 1970.
    pub created: Option<i64>,
    /// Of a cluster on an Outpost, whose tokens name it.
    pub outpost_id: Option<String>,
    /// Not all the world is let in.
    pub restricted: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Where a cluster is. `Debug` is short.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// URL of the API server.
    pub endpoint: String,
    /// PEM of all certificates that may have signed the API server's.
    pub authority: Vec<u8>,
    /// When it was made: a cluster made anew under the old name is another one.
    pub created: Option<i64>,
    /// What tokens for it name.
    pub token_name: String,
    /// Not all the world is let in.
    pub restricted: bool,
    /// Kubernetes version, as AWS has it: `1.33`.
    pub version: Option<String>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("endpoint", &self.endpoint)
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}

impl Place {
    /// Whether a connection to the one is a connection to the other.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { endpoint, authority, created, token_name, restricted: _, version: _ } = self;
        (endpoint, authority, created, token_name)
            == (&other.endpoint, &other.authority, &other.created, &other.token_name)
    }
}

impl Facts {
    /// Where the cluster is, if this is the one that was asked for and it serves.
    ///
    /// # Errors
    /// If there is nowhere to go.
    pub fn place(self, asked: &ClusterArn) -> Result<Place, EksError> {
        let described = self.arn.unwrap_or_default();
        if described != asked.to_string() {
            let described = if described.is_empty() { "a cluster without an ARN" } else { &described };
            return Err(EksError::WrongCluster { asked: asked.clone(), described: message(described) });
        }
        // One that is UPDATING serves. A status that we do not know says nothing against it.
        let status = self.status.unwrap_or_default();
        if ["CREATING", "PENDING", "DELETING", "FAILED"].contains(&status.as_str()) {
            return Err(EksError::ClusterNotActive(status));
        }
        let lacks = |what: &str| EksError::BadDescription(format!("{what} (status {})", message(&status)));
        let endpoint = self.endpoint.filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint.ok_or_else(|| lacks("it has no endpoint"))?;
        if !endpoint.starts_with("https://") {
            return Err(lacks("its endpoint is no https address"));
        }
        let authority = self.authority.filter(|authority| !authority.is_empty());
        let authority = authority.ok_or_else(|| lacks("it has no certificate authority"))?;
        let authority = BASE64_STANDARD.decode(authority.trim());
        let authority = authority.map_err(|_| lacks("its certificate authority is no base64"))?;
        // In a broken one a certificate may be missing; to leave a place that works for it would be no gain.
        if !is_authority(&authority) {
            return Err(lacks("its certificate authority holds no certificate, or one that is cut short"));
        }
        let token_name = self.outpost_id.unwrap_or_else(|| asked.name().to_owned());
        let Self { created, restricted, version, .. } = self;
        Ok(Place { endpoint, authority, created, token_name, restricted, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eks::tests_support::authority;

    fn whole() -> usize {
        BASE64_STANDARD.decode(authority("one")).unwrap().len()
    }

    /// So much of two certificates.
    fn cut_off(bytes: usize) -> String {
        let one = BASE64_STANDARD.decode(authority("one")).unwrap();
        BASE64_STANDARD.encode(&[&*one, &*one].concat()[..bytes])
    }

    fn arn() -> ClusterArn {
        "arn:aws:eks:eu-west-1:111122223333:cluster/prod".parse().unwrap()
    }

    fn facts(status: &str) -> Facts {
        Facts {
            arn: Some(arn().to_string()),
            status: Some(status.to_owned()),
            endpoint: Some("https://A.gr7.eu-west-1.eks.amazonaws.com".to_owned()),
            authority: Some(authority("one")),
            created: Some(7),
            ..Facts::default()
        }
    }

    #[test]
    fn which_ones_serve() {
        for status in ["ACTIVE", "UPDATING", "SOMETHING_NEW"] {
            let place = facts(status).place(&arn()).unwrap();
            assert_eq!((BASE64_STANDARD.encode(&place.authority), &*place.token_name), (authority("one"), "prod"));
        }
        for status in ["CREATING", "PENDING", "DELETING", "FAILED"] {
            assert_eq!(facts(status).place(&arn()), Err(EksError::ClusterNotActive(status.to_owned())));
        }
        let outpost = Facts { outpost_id: Some("0a1b".to_owned()), ..facts("ACTIVE") };
        assert_eq!(outpost.place(&arn()).unwrap().token_name, "0a1b");
    }

    #[test]
    fn another_cluster_is_never_a_place() {
        for described in [
            None,
            Some("arn:aws:eks:eu-west-1:111122223333:cluster/prod2"),
            Some("arn:aws:eks:eu-west-2:111122223333:cluster/prod"),
            Some("arn:aws:eks:eu-west-1:111122223334:cluster/prod"),
        ] {
            let error = Facts { arn: described.map(str::to_owned), ..facts("ACTIVE") }.place(&arn()).unwrap_err();
            assert_eq!(error.reason(), "WrongCluster");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (facts, text) in [
            (Facts { endpoint: None, ..facts("ACTIVE") }, "no endpoint (status ACTIVE)"),
            (Facts { endpoint: Some(String::new()), ..facts("ACTIVE") }, "no endpoint"),
            (Facts { authority: None, ..facts("ACTIVE") }, "no certificate authority"),
            (Facts { endpoint: Some("http://A".to_owned()), ..facts("ACTIVE") }, "no https address"),
            (Facts { authority: Some("UEVN".to_owned()), ..facts("ACTIVE") }, "or one that is cut short"),
            (Facts { authority: Some(cut_off(10)), ..facts("ACTIVE") }, "or one that is cut short"),
            // The first of two is whole.
            (Facts { authority: Some(cut_off(20 + whole())), ..facts("ACTIVE") }, "or one that is cut short"),
            (Facts { authority: Some("%%".to_owned()), ..facts("UPDATING") }, "no base64 (status UPDATING)"),
        ] {
            let error = facts.place(&arn()).unwrap_err();
            assert!(error.reason() == "BadDescription" && error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn what_makes_it_another_place() {
        let place = facts("ACTIVE").place(&arn()).unwrap();
        assert!(place.is_same(&Place { restricted: true, version: Some("1.34".to_owned()), ..place.clone() }));
        for other in [
            Place { endpoint: "https://B".to_owned(), ..place.clone() },
            Place { authority: b"PEM PEM".to_vec(), ..place.clone() },
            Place { created: Some(8), ..place.clone() },
            Place { token_name: "x".to_owned(), ..place.clone() },
        ] {
            assert!(!place.is_same(&other), "{other:?}");
        }
    }
}
