//! One look at a remote cluster, for somebody who waits for it: the same way that an engine comes, step by step, once.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use serde_json::value::RawValue;
use sync_core::cluster::access::Access;
use sync_core::cluster::addresses::AddressRules;
use sync_core::cluster::connection::{Connection, Patience};
use sync_core::cluster::query::Query;
use sync_core::cluster::{path, read};
use sync_core::contract::object::{Kind, Uid};
use sync_core::contract::rules::Rules;
use sync_core::fault::Fault;
use tokio::sync::watch as state;

use super::crd::RemoteCluster;
use super::fleet::{remote_clusters, what};
use super::follow;
use super::identity::{self, Identity, Unknown};
use super::reach::{EksReach, Reach};
use super::secret::SecretRef;
use super::serve::{self, What};
use super::status::Outcome;
use super::way::Way;
use crate::args::Config;
use crate::eks::Eks;
use crate::eks::clock::WallClock;
use crate::eks::error::EksError;
use crate::eks::roles::Bounded;
use crate::eks::scout::Seen;
use crate::eks::sdk::SdkAws;
use crate::eks::target::Target;

/// Name of a step.
const KUBECONFIG: &str = "kubeconfig";

/// Who comes, and from where.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) rules: Rules,
    /// The management cluster.
    pub(crate) home: Connection,
    pub(crate) addresses: AddressRules,
    pub(crate) eks: Eks,
    /// The time of day, as AWS has it.
    pub(crate) clock: WallClock,
}

/// A remote cluster that has answered.
pub(crate) struct Visit {
    pub(crate) connection: Connection,
    pub(crate) reach: Reach,
    /// As the server has it.
    pub(crate) version: String,
}

impl Visit {
    /// Which destination it is, if copies belong there: it is not the management cluster's own.
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) async fn is_elsewhere(&self, home: &Connection, destination: &str) -> Result<Uid, String> {
        let why = match identity::ask(home, &self.connection, destination).await {
            Ok(Identity { is_self: false, uid }) => return Ok(uid),
            Ok(_) => Outcome::SelfReference,
            Err(Unknown::Missing) => Outcome::Unidentified,
            Err(Unknown::There(fault)) => self.reach.outcome(fault),
            Err(Unknown::Here(fault)) => return Err(format!("the management cluster does not answer: {fault}")),
        };
        Err(why.message(destination))
    }
}

/// Where a RemoteCluster leads.
enum Leads {
    /// To this EKS cluster, wherever AWS says that it is.
    Eks(Box<Target>),
    /// To where the kubeconfig in this Secret says.
    Straight(Box<Access>, SecretRef),
}

/// How far somebody came.
pub(crate) struct Stopped {
    /// Name of the step that failed.
    pub(crate) at: &'static str,
    /// What it means.
    pub(crate) outcome: Outcome,
}

/// All RemoteClusters, page by page: their statuses together may be large.
///
/// # Errors
/// If they cannot be listed.
pub(crate) async fn all(home: &Connection, namespace: &str) -> Result<Vec<RemoteCluster>, Fault> {
    let query = Query::all(remote_clusters(path::segment(namespace)?));
    // What cannot be read the master passes over too.
    let read = |item: &RawValue| serde_json::from_str::<RemoteCluster>(item.get()).ok();
    Ok(read::list(&home.watch, &query, read).await?.0)
}

impl Visitor {
    /// As the flags say, from this management cluster. Nothing is sent yet.
    pub(crate) fn new(config: Config, home: Connection) -> Self {
        let Config { common, allow_addresses, allow_roles, allow_node_role } = config;
        let clock = WallClock::system();
        let aws = Arc::new(Bounded::new(Arc::new(SdkAws::new(clock.clone(), allow_node_role)), allow_roles));
        let name = common.rules.cluster_name.as_deref().unwrap_or_default();
        let eks = Eks::new(aws, clock.clone(), name, sync_core::ops::seed());
        Self { rules: common.rules, home, addresses: allow_addresses, eks, clock }
    }

    /// Connects to a remote cluster; each step that is done is told with what it has found.
    pub(crate) async fn connect(
        &self,
        cluster: &RemoteCluster,
        done: &mut (dyn FnMut(&'static str, String) + Send),
    ) -> Result<Visit, Stopped> {
        match self.leads(cluster).await? {
            Leads::Eks(target) => self.by_aws(cluster, &target, done).await,
            Leads::Straight(access, place) => {
                done(KUBECONFIG, access.server().to_string());
                let connection = self.connection(*access, cluster);
                let connection = connection.map_err(|outcome| Stopped { at: KUBECONFIG, outcome: *outcome })?;
                arrive(connection, Reach::Kubeconfig(place), done).await
            }
        }
    }

    /// The EKS cluster that a RemoteCluster leads to, if it leads to one.
    pub(crate) async fn target(&self, cluster: &RemoteCluster) -> Option<Target> {
        match self.leads(cluster).await {
            Ok(Leads::Eks(target)) => Some(*target),
            Ok(Leads::Straight(..)) | Err(_) => None,
        }
    }

    async fn leads(&self, cluster: &RemoteCluster) -> Result<Leads, Stopped> {
        let stop = |at: &'static str, outcome: Outcome| Stopped { at, outcome };
        match self.what(cluster).await? {
            What::Only(outcome @ Outcome::Suspended) => Err(stop("RemoteCluster", outcome)),
            What::Only(outcome @ Outcome::Eks(_)) => Err(stop("spec.eks", outcome)),
            What::Only(outcome) => Err(stop(KUBECONFIG, outcome)),
            What::Eks(target) => Ok(Leads::Eks(Box::new(target))),
            What::Connect { kubeconfig, context, place } => {
                match Way::read(&kubeconfig, context.as_deref(), &self.addresses) {
                    Ok(Way::Eks(target)) => Ok(Leads::Eks(target)),
                    Ok(Way::Straight(access)) => Ok(Leads::Straight(access, place)),
                    Err(words) => Err(stop(KUBECONFIG, Outcome::KubeconfigInvalid(words))),
                }
            }
        }
    }

    fn connection(&self, access: Access, cluster: &RemoteCluster) -> Result<Connection, Box<Outcome>> {
        serve::connection(access, cluster.spec.proxy_url.as_deref(), self.rules.role, Patience::PERSON)
    }

    async fn what(&self, cluster: &RemoteCluster) -> Result<What, Stopped> {
        let namespace = &self.rules.source_namespace;
        let secret = match &cluster.spec.kubeconfig {
            Some(of) => {
                let path = path::of_object(Kind::Secret, namespace, &of.secret_name);
                let read = async { read::get_json::<Secret>(&self.home.write, &path?).await };
                match read.await {
                    Ok(secret) => Some(secret),
                    Err(Fault::NotFound) => None,
                    Err(fault) => return Err(Stopped { at: KUBECONFIG, outcome: Outcome::Fault(fault) }),
                }
            }
            None => None,
        };
        Ok(what(&cluster.spec, namespace, secret.as_ref()))
    }

    /// As whom, where, and with which token.
    async fn by_aws(
        &self,
        cluster: &RemoteCluster,
        target: &Target,
        done: &mut (dyn FnMut(&'static str, String) + Send),
    ) -> Result<Visit, Stopped> {
        let stop = |at: &'static str| move |error: EksError| Stopped { at, outcome: Outcome::Eks(error) };
        let session = self.eks.session(&target.session_key());
        let held = session.get().await.map_err(stop("role"))?;
        done("role", format!("as {}", held.grant.caller.as_deref().unwrap_or("ourselves")));
        let place = self.eks.describe(&session, &target.arn).await.map_err(stop("cluster in AWS"))?;
        done("cluster in AWS", place.endpoint.clone());
        let place = Arc::new(place);
        let login = self.eks.login(session, &target.arn, &place).await.map_err(stop("login token"))?;
        let login = Arc::new(login);
        let access = follow::access(target, &place, &login, &self.addresses);
        let connection = access.and_then(|access| self.connection(access, cluster));
        let connection = connection.map_err(|outcome| Stopped { at: "cluster in AWS", outcome: *outcome })?;
        let seen = Seen { place: Some(Arc::clone(&place)), error: None };
        let (lost, no_token) = (Arc::new(state::Sender::new(false)), login.trouble());
        let reach = EksReach { place, login, no_token, seen: state::channel(seen).1, lost };
        arrive(connection, Reach::Eks(reach), done).await
    }
}

async fn arrive(
    connection: Connection,
    reach: Reach,
    done: &mut (dyn FnMut(&'static str, String) + Send),
) -> Result<Visit, Stopped> {
    const STEP: &str = "API server";
    match connection.warm().await {
        Ok(version) => {
            done(STEP, "it answers".to_owned());
            Ok(Visit { connection, reach, version: version.git })
        }
        Err(fault) => Err(Stopped { at: STEP, outcome: reach.outcome(fault) }),
    }
}
