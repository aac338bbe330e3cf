//! AWS by its SDK.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_eks::types::Cluster;
use aws_sdk_sts::types::Credentials as StsCredentials;
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tracing::{debug, info};

use super::answer::{Answer, answer, no_credentials};
use super::arn::{ClusterArn, RoleArn};
use super::aws::{Aws, Grant, SessionKey};
use super::clock::WallClock;
use super::error::{EksError, Service};
use super::facts::Facts;
use super::session::DURATION;
use super::token::Audience;

/// For one request with its repetitions; the SDK has no limit of its own.
const OPERATION: Duration = Duration::from_secs(20);
/// For one of them.
const ATTEMPT: Duration = Duration::from_secs(8);

/// Most pages of a list: AWS allows a hundred clusters per account and region, and more on request.
const PAGES: usize = 1000;

/// The real AWS, or what `AWS_ENDPOINT_URL` names. Nothing is read or sent before it is asked for something.
pub struct SdkAws {
    clock: WallClock,
    allow_node_role: bool,
    base: OnceCell<SdkConfig>,
    sts: Mutex<BTreeMap<String, aws_sdk_sts::Client>>,
    caller: OnceCell<String>,
}

impl SdkAws {
    /// `allow_node_role`: the instance metadata service counts too. Without it a pod whose own role is missing would
    /// silently be its node.
    pub fn new(clock: WallClock, allow_node_role: bool) -> Self {
        let (base, sts, caller) = (OnceCell::new(), Mutex::default(), OnceCell::new());
        Self { clock, allow_node_role, base, sts, caller }
    }

    /// What all clients have in common. The region is only for the chain's own calls; clients have that of a cluster.
    async fn base(&self, region: &str) -> &SdkConfig {
        self.base.get_or_init(|| self.load(region.to_owned())).await
    }

    async fn load(&self, region: String) -> SdkConfig {
        let regions = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new());
        let regions = regions.or_else(ProfileFileRegionProvider::new()).or_else(Region::new(region));
        let timeouts = TimeoutConfig::builder().operation_timeout(OPERATION).operation_attempt_timeout(ATTEMPT).build();
        // Said here, so that nobody reads them from the environment, where a wrong value is a panic.
        let retries = RetryConfig::standard();
        let region = regions.region().await;
        let provider = ProviderConfig::default()
            .with_region(region.clone())
            .with_retry_config(retries.clone())
            .with_timeout_config(timeouts.clone());
        // The SDK's own chain, in its order, without its last link.
        let chain = CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
            .or_else("Profile", ProfileFileCredentialsProvider::builder().configure(&provider).build())
            .or_else("WebIdentityToken", WebIdentityTokenCredentialsProvider::builder().configure(&provider).build())
            .or_else("Container", EcsCredentialsProvider::builder().configure(&provider).build());
        let chain = if self.allow_node_role {
            chain.or_else("Node", ImdsCredentialsProvider::builder().configure(&provider).build())
        } else {
            chain
        };
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(region)
            .retry_config(retries)
            .timeout_config(timeouts)
            .credentials_provider(chain);
        match AppName::new("mw-sync-master") {
            Ok(name) => config.app_name(name).load().await,
            Err(_) => config.load().await,
        }
    }

    async fn sts(&self, region: &str) -> aws_sdk_sts::Client {
        let base = self.base(region).await;
        let mut clients = self.sts.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let config = aws_sdk_sts::config::Builder::from(base).region(Region::new(region.to_owned()));
            aws_sdk_sts::Client::from_conf(config.interceptor(self.clock.clone()).build())
        };
        clients.entry(region.to_owned()).or_insert_with(make).clone()
    }

    /// Logs who we are, if that can be known before a cluster says where it is: with a region and credentials from the
    /// environment or a profile, as a pod with a role has them. Whoever has none needs none unless for EKS.
    pub async fn introduce(&self) {
        let regions = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new());
        let Some(region) = regions.or_else(ProfileFileRegionProvider::new()).region().await else {
            return debug!("no AWS region in the environment; who we are is asked when a cluster names one");
        };
        if let Err(error) = self.caller(region.as_ref()).await {
            debug!(%error, "no AWS identity; only EKS clusters need one");
        }
    }

    /// Who we are, asked once and logged. That we may not know it is no reason to stop.
    async fn caller(&self, region: &str) -> Result<Option<String>, EksError> {
        let ask = || async {
            let answered = self.sts(region).await.get_caller_identity().send().await;
            let identity = answered.map_err(|error| answer(Service::Sts, &error))?;
            let arn = identity.arn.unwrap_or_default();
            info!(caller = arn, "logged in to AWS");
            Ok(arn)
        };
        match self.caller.get_or_try_init(ask).await {
            Ok(arn) => Ok(Some(arn.clone()).filter(|arn| !arn.is_empty())),
            Err(Answer::Other(error @ EksError::NoCredentials(_))) => Err(error),
            Err(other) => {
                debug!(?other, "AWS does not say who we are");
                Ok(None)
            }
        }
    }

    async fn own(&self, region: &str) -> Result<Grant, EksError> {
        let caller = self.caller(region).await?;
        let base = self.base(region).await;
        let none = || EksError::NoCredentials("there is no source of them".to_owned());
        let provider = base.credentials_provider().ok_or_else(none)?;
        let late = |_| EksError::NoCredentials("their source does not answer".to_owned());
        let credentials = timeout(OPERATION, provider.provide_credentials()).await.map_err(late)?;
        Ok(Grant { credentials: credentials.map_err(|error| no_credentials(&error))?, caller })
    }

    async fn assume(&self, role: &RoleArn, key: &SessionKey, name: &str) -> Result<Grant, EksError> {
        let caller = self.caller(&key.region).await?;
        let request = self.sts(&key.region).await.assume_role().role_arn(role.to_string()).role_session_name(name);
        let seconds = i32::try_from(DURATION.as_secs()).unwrap_or(3600);
        let request = request.set_external_id(key.external_id.clone()).duration_seconds(seconds);
        let answered = request.send().await.map_err(|error| match answer(Service::Sts, &error) {
            Answer::Denied(words) => EksError::AssumeRoleDenied { role: role.clone(), caller: caller.clone(), words },
            other => other.into_error(Service::Sts),
        })?;
        let nothing =
            || EksError::AwsRefused { service: Service::Sts, code: "an answer without credentials".to_owned() };
        let credentials = answered.credentials.and_then(credentials).ok_or_else(nothing)?;
        Ok(Grant { credentials, caller: answered.assumed_role_user.map(|user| user.arn) })
    }

    async fn eks(&self, grant: &Grant, region: &str) -> aws_sdk_eks::Client {
        let config = aws_sdk_eks::config::Builder::from(self.base(region).await)
            .region(Region::new(region.to_owned()))
            .credentials_provider(grant.credentials.clone())
            .identity_cache(aws_sdk_eks::config::IdentityCache::no_cache())
            .interceptor(self.clock.clone());
        aws_sdk_eks::Client::from_conf(config.build())
    }

    async fn listed(&self, grant: &Grant, region: &str) -> Result<Vec<String>, EksError> {
        // Pages of a hundred. The SDK ends a list whose next page is the one that it has just had.
        let mut pages = self.eks(grant, region).await.list_clusters().into_paginator().send();
        let mut names = Vec::new();
        for _ in 0..PAGES {
            let Some(page) = pages.next().await else { return Ok(names) };
            let page = page.map_err(|error| match answer(Service::Eks, &error) {
                Answer::Denied(words) => EksError::ListDenied { caller: grant.caller.clone(), words },
                other => other.into_error(Service::Eks),
            })?;
            names.extend(page.clusters.unwrap_or_default());
        }
        Err(EksError::AwsRefused { service: Service::Eks, code: "a list of clusters without an end".to_owned() })
    }

    async fn described(&self, grant: &Grant, arn: &ClusterArn) -> Result<Facts, EksError> {
        let request = self.eks(grant, arn.region()).await.describe_cluster().name(arn.name());
        let account = || grant.account().map(str::to_owned);
        let answered = request.send().await.map_err(|error| match answer(Service::Eks, &error) {
            Answer::Denied(words) => EksError::DescribeDenied { caller: grant.caller.clone(), words },
            Answer::NotFound => EksError::ClusterNotFound { arn: arn.clone(), account: account() },
            Answer::Other(error) => error,
        })?;
        let nothing = || EksError::BadDescription("AWS describes nothing".to_owned());
        answered.cluster.map(facts).ok_or_else(nothing)
    }
}

fn credentials(from: StsCredentials) -> Option<Credentials> {
    let end = from.expiration.try_into().ok();
    let StsCredentials { access_key_id, secret_access_key, session_token, .. } = from;
    let whole = ![&access_key_id, &secret_access_key, &session_token].iter().any(|part| part.is_empty());
    whole.then(|| Credentials::new(access_key_id, secret_access_key, Some(session_token), end, "AssumeRole"))
}

fn facts(cluster: Cluster) -> Facts {
    let network = cluster.resources_vpc_config.as_ref();
    let world = ["0.0.0.0/0", "::/0"];
    let restricted = network.is_some_and(|network| {
        let open = network.public_access_cidrs().iter().any(|range| world.contains(&range.as_str()));
        !network.endpoint_public_access || !(open || network.public_access_cidrs().is_empty())
    });
    Facts {
        restricted,
        arn: cluster.arn,
        status: cluster.status.map(|status| status.as_str().to_owned()),
        version: cluster.version,
        endpoint: cluster.endpoint,
        authority: cluster.certificate_authority.and_then(|authority| authority.data),
        created: cluster.created_at.and_then(|time| time.to_millis().ok()),
        outpost_id: cluster.outpost_config.and(cluster.id),
        tags: cluster.tags.unwrap_or_default().into_iter().collect(),
    }
}

impl Aws for SdkAws {
    fn session<'a>(&'a self, key: &'a SessionKey, name: &'a str) -> BoxFuture<'a, Result<Grant, EksError>> {
        match &key.role {
            Some(role) => self.assume(role, key, name).boxed(),
            None => self.own(&key.region).boxed(),
        }
    }

    fn describe<'a>(&'a self, grant: &'a Grant, arn: &'a ClusterArn) -> BoxFuture<'a, Result<Facts, EksError>> {
        self.described(grant, arn).boxed()
    }

    fn clusters<'a>(&'a self, grant: &'a Grant, region: &'a str) -> BoxFuture<'a, Result<Vec<String>, EksError>> {
        self.listed(grant, region).boxed()
    }

    fn audience<'a>(&'a self, region: &'a str, cluster: &'a str) -> BoxFuture<'a, Result<Audience, EksError>> {
        async move {
            let base = self.base(region).await;
            let (fips, dual_stack) = (base.use_fips().unwrap_or(false), base.use_dual_stack().unwrap_or(false));
            Audience::new(region, cluster, fips, dual_stack).await
        }
        .boxed()
    }
}

impl fmt::Debug for SdkAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdkAws").field("allow_node_role", &self.allow_node_role).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "sdk_tests.rs"]
mod tests;
