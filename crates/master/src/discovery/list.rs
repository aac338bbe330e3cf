//! Lists: the clusters of an account, the contexts of a kubeconfig.

use std::fmt;
use std::sync::Arc;

use futures::future::{FutureExt as _, join_all};
use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use sync_core::cluster::kubeconfig::Kubeconfig;
use sync_core::contract::patterns::glob_matches;
use sync_core::fault::message;

use super::crd::{ClusterDiscovery, EksAccount, KubeconfigFile};
use super::found::{self, Found, Way};
use crate::eks::arn::{ClusterArn, RoleArn, account_of};
use crate::eks::aws::SessionKey;
use crate::eks::error::{EksError, Service};
use crate::eks::facts::Facts;
use crate::eks::session::Session;
use crate::eks::{DESCRIBES, Eks};
use crate::remote::crd::{EksCluster, KubeconfigRef};
use crate::remote::fleet::Shared;
use crate::remote::secret::{SecretError, SecretRef, kubeconfig_in};

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// With which AWS was asked: whoever has them when he looks again asks with the same.
    pub(super) sessions: Vec<Arc<Session>>,
    /// In the order of names.
    pub(super) found: Vec<Found>,
    /// With any of these, more may be there than was found.
    pub(super) troubles: Vec<Trouble>,
}

impl Listing {
    fn failed(trouble: Trouble) -> Self {
        Self { troubles: vec![trouble], ..Self::default() }
    }
}

/// Why something could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A region, or a cluster.
    Eks(String, Box<EksError>),
    /// There is no kubeconfig.
    Secret(SecretError),
    /// It cannot be read. The text is the reader's, which quotes nothing from it.
    Kubeconfig(String),
}

impl Trouble {
    pub(super) fn eks(place: impl Into<String>, error: EksError) -> Self {
        Self::Eks(place.into(), Box::new(error))
    }

    /// The word for the condition.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Eks(_, error) => error.reason(),
            Self::Secret(error) => error.reason(),
            Self::Kubeconfig(_) => "KubeconfigInvalid",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eks(place, error) => write!(f, "{place}: {error}; {}", error.what_to_do()),
            Self::Secret(error) => error.fmt(f),
            Self::Kubeconfig(text) => write!(f, "the kubeconfig cannot be used: {}", message(text)),
        }
    }
}

/// Looks at all that a ClusterDiscovery names.
pub(super) async fn list(shared: &Shared, discovery: &ClusterDiscovery) -> Listing {
    let mut listing = match (&discovery.spec.eks, &discovery.spec.kubeconfig) {
        (Some(account), None) => of_account(&shared.eks, account).await,
        (None, Some(file)) => of_kubeconfig(shared, file),
        // The CRD's rules let no such object in.
        _ => {
            let error = EksError::BadSpec("write exactly one of eks and kubeconfig".to_owned());
            Listing::failed(Trouble::eks("spec", error))
        }
    };
    // Whatever the order in which answers came: of two with one name it is always the same that has it.
    listing.found.sort_by_cached_key(|found| (found.name.clone(), found.way.cluster()));
    listing
}

async fn of_account(eks: &Eks, account: &EksAccount) -> Listing {
    let role = account.role_arn.as_deref().map(str::parse::<RoleArn>).transpose();
    let role = match role {
        Ok(role) => role,
        Err(why) => {
            let error = EksError::BadSpec(format!("roleArn: {why}"));
            return Listing::failed(Trouble::eks("spec", error));
        }
    };
    let session = |region: &String| {
        let (role, external_id, region) = (role.clone(), account.external_id.clone(), region.clone());
        eks.session(&SessionKey { role, external_id, session_name: None, region })
    };
    let sessions: Vec<_> = account.regions.iter().map(session).collect();
    let regions: Vec<_> = sessions.iter().map(|session| of_region(eks, account, session)).collect();
    let mut listing = Listing::default();
    for region in join_all(regions).await {
        listing.found.extend(region.found);
        listing.troubles.extend(region.troubles);
    }
    listing.sessions = sessions;
    // They come as they come, and the first is told: another one each time would be news each time.
    listing.troubles.sort_by_cached_key(ToString::to_string);
    listing
}

async fn of_region(eks: &Eks, account: &EksAccount, session: &Session) -> Listing {
    let mut listing = Listing::default();
    let arns = match arns(eks, session).await {
        Ok(arns) => arns,
        Err(error) => return Listing::failed(Trouble::eks(session.key().region.clone(), error)),
    };
    let needs_tags = !account.tags.is_empty() || !account.labels_from_tags.is_empty();
    if !needs_tags {
        listing.found.extend(arns.iter().map(|arn| of_cluster(account, arn, &Facts::default())));
        return listing;
    }
    // No more futures than can be under way.
    let describe = |arn| described(eks, session, arn).boxed();
    let mut described = stream::iter(arns).map(describe).buffer_unordered(DESCRIBES);
    while let Some((arn, answer)) = described.next().await {
        match answer.and_then(|facts| checked(&arn, facts)) {
            Ok(facts) if is_meant(account, &facts) => listing.found.push(of_cluster(account, &arn, &facts)),
            // It has gone since it was listed.
            Ok(_) | Err(EksError::ClusterNotFound { .. }) => {}
            Err(error) => {
                let ends = matches!(error, EksError::Throttled(_) | EksError::AwsUnreachable { .. });
                listing.troubles.push(Trouble::eks(arn.to_string(), error));
                // The others would fare no better, and AWS is to be spared.
                if ends {
                    break;
                }
            }
        }
    }
    listing
}

async fn described(eks: &Eks, session: &Session, arn: ClusterArn) -> (ClusterArn, Result<Facts, EksError>) {
    let facts = eks.facts(session, &arn).await;
    (arn, facts)
}

/// All clusters of the session's account and region.
async fn arns(eks: &Eks, session: &Session) -> Result<Vec<ClusterArn>, EksError> {
    let (names, caller) = eks.clusters(session).await?;
    let (partition, account) = home(session.key(), caller.as_deref()).ok_or_else(|| EksError::AwsRefused {
        service: Service::Sts,
        code: "it does not say which account we are of".to_owned(),
    })?;
    let region = &session.key().region;
    let arn = |name: &String| format!("arn:{partition}:eks:{region}:{account}:cluster/{name}").parse();
    let bad = |name: &String| EksError::BadDescription(message(&format!("no cluster can be called {name:?}")));
    names.iter().map(|name| arn(name).map_err(|_| bad(name))).collect()
}

/// Partition and account that the session is of.
fn home(key: &SessionKey, caller: Option<&str>) -> Option<(String, String)> {
    if let Some(role) = &key.role {
        return Some((role.partition().to_owned(), role.account().to_owned()));
    }
    Some((caller?.split(':').nth(1)?.to_owned(), account_of(caller?)?.to_owned()))
}

fn checked(asked: &ClusterArn, facts: Facts) -> Result<Facts, EksError> {
    if facts.arn.as_deref() == Some(asked.to_string().as_str()) {
        return Ok(facts);
    }
    let described = message(&facts.arn.unwrap_or_else(|| "a cluster without an ARN".to_owned()));
    Err(EksError::WrongCluster { asked: asked.clone(), described })
}

fn is_meant(account: &EksAccount, facts: &Facts) -> bool {
    account.tags.iter().all(|(key, glob)| facts.tags.get(key).is_some_and(|value| glob_matches(glob, value)))
}

fn of_cluster(account: &EksAccount, arn: &ClusterArn, facts: &Facts) -> Found {
    let (role_arn, external_id) = (account.role_arn.clone(), account.external_id.clone());
    Found {
        name: found::name_of_cluster(arn),
        way: Way::Eks(EksCluster { arn: arn.to_string(), role_arn, external_id }),
        labels: found::labels(&account.labels_from_tags, &facts.tags),
    }
}

fn of_kubeconfig(shared: &Shared, file: &KubeconfigFile) -> Listing {
    let secret = shared.known.secrets.borrow().by_name.get(&file.secret_name).cloned();
    match of_secret(&shared.rules.source_namespace, secret.as_deref(), file) {
        Ok(found) => Listing { found, ..Listing::default() },
        Err(trouble) => Listing::failed(trouble),
    }
}

fn of_secret(namespace: &str, secret: Option<&Secret>, file: &KubeconfigFile) -> Result<Vec<Found>, Trouble> {
    let KubeconfigFile { secret_name, key } = file;
    let place = SecretRef { namespace: namespace.to_owned(), name: secret_name.clone(), key: key.clone() };
    let bytes = kubeconfig_in(secret, place).map_err(Trouble::Secret)?;
    let kubeconfig = Kubeconfig::parse(bytes).map_err(|error| Trouble::Kubeconfig(error.to_string()))?;
    let way = |context: &str| {
        let context = Some(context.to_owned());
        Way::Kubeconfig(KubeconfigRef { secret_name: secret_name.clone(), key: key.clone(), context })
    };
    // Without a name, or with a longer one than a RemoteCluster can say, no context is meant.
    let contexts = kubeconfig.contexts().filter(|name| !name.is_empty() && name.len() <= 253);
    let found =
        |context| Found { name: found::name_of_context(context), way: way(context), labels: Default::default() };
    Ok(contexts.map(found).collect())
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
