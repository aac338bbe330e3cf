//! What was asked of an API server: its audit log.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;

/// A line when a request is answered; for a watch, one when it begins and one when it ends.
pub(crate) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// The same, with the bodies of what changes Secrets, ConfigMaps and ServiceAccounts: who wrote which version of what.
pub(crate) const POLICY_WITH_BODIES: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: RequestResponse
  verbs: [create, update, patch, delete, deletecollection]
  resources:
  - resources: [secrets, configmaps, serviceaccounts]
- level: Metadata
";

const MARKER: &str = "testbed-marker";
const DEADLINE: Duration = Duration::from_secs(30);
/// A line is written just after its answer is sent: the answer to one request may be here before the line of another.
const SETTLE: Duration = Duration::from_millis(250);

/// The audit log of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct AuditLog<'c> {
    cluster: &'c Cluster,
}

/// A place in an audit log: between the requests answered before and after.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// When a line was written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub enum Stage {
    /// The head of a watch's answer was sent.
    ResponseStarted,
    /// The answer was sent; the watch has ended.
    ResponseComplete,
    /// The API server panicked over it.
    Panic,
}

/// A line of the log. Texts are empty where the request has no such thing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The request's id, the same in each of its lines.
    pub id: String,
    /// When the line was written.
    pub stage: Stage,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural, e.g. `secrets`.
    pub resource: String,
    /// E.g. `status`.
    pub subresource: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name; of a create it is empty unless the server knew it from the path.
    pub name: String,
    /// User agent of the request.
    pub user_agent: String,
    /// E.g. `system:serviceaccount:operator:agent`.
    pub username: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// Path and query.
    pub request_uri: String,
    /// When the request came, RFC 3339 with microseconds, UTC.
    pub received: String,
    /// When this stage was reached, likewise.
    pub at: String,
    /// The id of the token that was shown, as in [`Kubeconfig::token_id`](crate::Kubeconfig::token_id).
    pub token_id: String,
    /// The request's body; null unless the cluster was started
    /// [`with_bodies_in_audit`](crate::ClusterOptions::with_bodies_in_audit).
    pub request: Value,
    /// The answer's body, likewise.
    pub response: Value,
}

/// Requests out of an audit log. Each filter keeps the matching ones.
#[derive(Clone, Debug)]
#[must_use]
pub struct Requests(Vec<Entry>);

impl Entry {
    /// How many seconds after `earlier` this request came; less than a day.
    #[must_use]
    pub fn seconds_after(&self, earlier: &Self) -> f64 {
        const DAY: f64 = 86_400.0;
        (second_of_the_day(&self.received) - second_of_the_day(&earlier.received)).rem_euclid(DAY)
    }
}

/// Of an RFC 3339 time in UTC.
fn second_of_the_day(time: &str) -> f64 {
    let clock = time.split_once('T').map_or("", |(_, clock)| clock).trim_end_matches('Z');
    clock.split(':').fold(0.0_f64, |sum, part| sum.mul_add(60.0, part.parse::<f64>().expect("a number")))
}

impl<'c> AuditLog<'c> {
    pub(crate) fn new(cluster: &'c Cluster) -> Self {
        Self { cluster }
    }

    /// The present end of the log, all requests that were answered before included.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn mark(&self) -> Result<Mark> {
        self.flush().await.map(Mark)
    }

    /// All requests, up to now.
    ///
    /// # Errors
    /// As [`AuditLog::since`].
    pub async fn all(&self) -> Result<Requests> {
        self.since(Mark(0)).await
    }

    /// The requests that were answered since, up to now. While the API server is stopped, up to its end.
    ///
    /// # Errors
    /// If the API server does not answer, or the log cannot be read.
    pub async fn since(&self, mark: Mark) -> Result<Requests> {
        let end = self.flush().await?;
        let text = self.read(mark.0, end)?;
        let entries = text.lines().map(|line| serde_json::from_str::<Line>(line).map(Entry::from));
        let entries = entries.filter(|entry| !matches!(entry, Ok(entry) if entry.user_agent == MARKER));
        Ok(Requests(entries.collect::<Result<_, _>>().context("the audit log is not what was expected")?))
    }

    /// Sends requests of ours and waits for their lines; returns where the last one ends.
    async fn flush(&self) -> Result<u64> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !self.cluster.api_server_runs() {
            return self.length();
        }
        let client = self.cluster.client_of(&self.cluster.admin(), MARKER);
        let mut place = self.length()?;
        for round in 0..2 {
            if round > 0 {
                sleep(SETTLE).await;
            }
            let uri = format!("/version?{MARKER}={}.", COUNT.fetch_add(1, Ordering::Relaxed));
            let marker = client.request_text(http::Request::get(&uri).body(Vec::new())?);
            let answer = timeout(DEADLINE, marker).await;
            answer.context("the API server does not answer")?.context("the API server refuses a marker")?;
            place = self.find(&uri, place).await?;
        }
        Ok(place)
    }

    async fn find(&self, uri: &str, from: u64) -> Result<u64> {
        let end = Instant::now() + DEADLINE;
        loop {
            let text = self.read(from, u64::MAX)?;
            let line_end = text.find(uri).and_then(|found| Some(found + text.get(found..)?.find('\n')? + 1));
            if let Some(line_end) = line_end {
                return Ok(from + u64::try_from(line_end)?);
            }
            if Instant::now() >= end {
                bail!("a request is not in the audit log {DEADLINE:?} after its answer");
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn length(&self) -> Result<u64> {
        Ok(std::fs::metadata(self.cluster.audit_path()).context("no audit log")?.len())
    }

    fn read(&self, from: u64, to: u64) -> Result<String> {
        let mut file = File::open(self.cluster.audit_path()).context("no audit log")?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(to.saturating_sub(from)).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Requests {
    /// Those for which `keep` is true.
    pub fn filter(mut self, keep: impl FnMut(&Entry) -> bool) -> Self {
        self.0.retain(keep);
        self
    }

    /// Those of a user, by full name.
    pub fn user(self, username: &str) -> Self {
        self.filter(|entry| entry.username == username)
    }

    /// Those with a user agent that begins so.
    pub fn user_agent(self, prefix: &str) -> Self {
        self.filter(|entry| entry.user_agent.starts_with(prefix))
    }

    /// Those on a resource (plural).
    pub fn resource(self, resource: &str) -> Self {
        self.filter(|entry| entry.resource == resource)
    }

    /// Those in a namespace.
    pub fn namespace(self, namespace: &str) -> Self {
        self.filter(|entry| entry.namespace == namespace)
    }

    /// Those with a verb.
    pub fn verb(self, verb: &str) -> Self {
        self.filter(|entry| entry.verb == verb)
    }

    /// Those that change an object which is there: a controller's updates are PATCH or PUT, as it sees fit.
    pub fn updates(self) -> Self {
        self.filter(|entry| matches!(entry.verb.as_str(), "patch" | "update"))
    }

    /// Those that would change something; refused ones and dry runs too.
    pub fn writes(self) -> Self {
        self.filter(|entry| !matches!(entry.verb.as_str(), "get" | "list" | "watch"))
    }

    /// How many requests these are: each counts once, a watch when it begins.
    #[must_use]
    pub fn count(&self) -> usize {
        self.each().count()
    }

    /// How many requests there are of each user agent, verb and resource.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(&str, &str, &str), usize> {
        let mut counts = BTreeMap::new();
        for entry in self.each() {
            *counts.entry((&*entry.user_agent, &*entry.verb, &*entry.resource)).or_default() += 1;
        }
        counts
    }

    /// All lines, in the order of the log: of a watch, beginning and end.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// One line per request.
    pub fn each(&self) -> impl Iterator<Item = &Entry> {
        let mut seen = HashSet::new();
        // The end of a watch that began before the mark is no new request; one that was refused is.
        let begins =
            |entry: &&Entry| entry.verb != "watch" || entry.stage == Stage::ResponseStarted || entry.code >= 400;
        self.0.iter().filter(begins).filter(move |entry| seen.insert(&entry.id))
    }
}

/// As the API server writes it (`audit.k8s.io/v1`, Event).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: Stage,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(default)]
    request_object: Value,
    #[serde(default)]
    response_object: Value,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// `JTI=` and the claim of a ServiceAccount's token.
    fn token_id(&mut self) -> Option<String> {
        let id = self.extra.remove("authentication.kubernetes.io/credential-id")?.pop()?;
        id.strip_prefix("JTI=").map(str::to_owned)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

impl From<Line> for Entry {
    fn from(line: Line) -> Self {
        let Line { audit_id, stage, request_uri, verb, mut user, user_agent, object_ref, response_status, .. } = line;
        let ObjectRef { api_group, resource, subresource, namespace, name } = object_ref;
        Self {
            id: audit_id,
            stage,
            verb,
            group: api_group,
            resource,
            subresource,
            namespace,
            name,
            user_agent,
            token_id: user.token_id().unwrap_or_default(),
            username: user.username,
            code: response_status.code,
            request_uri,
            received: line.request_received_timestamp,
            at: line.stage_timestamp,
            request: line.request_object,
            response: line.response_object,
        }
    }
}
