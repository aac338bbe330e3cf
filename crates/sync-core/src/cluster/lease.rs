//! The Lease (`coordination.k8s.io/v1`) that processes of one controller share: read it, and write it guarded.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use jiff::Timestamp;
use kube::client::Body;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::query::Query;
use super::request::{self, Limits};
use super::write::{self, JSON};
use super::{path, read};
use crate::contract::object::Rv;
use crate::contract::rules::Rules;
use crate::fault::{Fault, message};
use crate::lease::{self, LEASE, Record};
use crate::summary::since;

/// Of each request: two that hang must not cost the Lease.
const LIMITS: Limits = Limits { deadline: Duration::from_secs(3), body: 1 << 20 };

/// Who asks.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The Lease's namespace, and its name, which is that of the controller.
    pub namespace: String,
    /// `metadata.name` of the Lease, and our field manager.
    pub name: &'static str,
    /// What is written as `spec.holderIdentity`.
    pub identity: String,
}

impl Candidate {
    /// A process of this controller.
    pub fn new(rules: &Rules, identity: String) -> Self {
        Self { namespace: rules.source_namespace.clone(), name: rules.role.field_manager(), identity }
    }

    /// What is watched: the one Lease.
    ///
    /// # Errors
    /// If the namespace's name cannot be one.
    pub fn query(&self) -> Result<Query, Fault> {
        Ok(Query::all(self.collection()?).named(self.name))
    }

    fn collection(&self) -> Result<String, Fault> {
        Ok(format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", path::segment(&self.namespace)?))
    }

    /// Carries out a request. `time` is the wall clock's, as RFC 3339 with microseconds, for people to read; no two
    /// calls say the same, or the second write would be none.
    ///
    /// # Errors
    /// Any other answer. After [`Fault::NoAnswer`] it is in doubt whether a write was done.
    pub async fn execute(
        &self,
        client: &kube::Client,
        request: lease::Request,
        time: &str,
    ) -> Result<Option<Record>, Fault> {
        let collection = self.collection()?;
        let object = format!("{collection}/{}", self.name);
        let managed = |path: &str| format!("{path}?fieldManager={}", self.name);
        let spec = |transitions: u32| {
            json!({
                "holderIdentity": self.identity, "leaseDurationSeconds": LEASE.as_secs(), "leaseTransitions": transitions,
                "acquireTime": time, "renewTime": time,
            })
        };
        let set = |path: &str, value: Value| json!({ "op": "add", "path": path, "value": value });
        let (rv, changes) = match request {
            lease::Request::Read => {
                let request = build(Method::GET, &object, JSON, &Bytes::new())?;
                return match request::ask(client, request, LIMITS).await {
                    Ok(body) => read(&body).map(Some),
                    Err(refusal) if refusal.is_missing("leases", self.name) => Ok(None),
                    Err(refusal) => Err(refusal.fault),
                };
            }
            lease::Request::Create => {
                let lease = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": { "name": self.name, "namespace": self.namespace }, "spec": spec(0),
                });
                let request = build(Method::POST, &managed(&collection), JSON, &lease.to_string().into())?;
                return read(&request::send(client, request, LIMITS).await?).map(Some);
            }
            lease::Request::Take { rv, transitions } => (rv, vec![set("/spec", spec(transitions))]),
            lease::Request::Renew(rv) => (rv, vec![set("/spec/renewTime", time.into())]),
            lease::Request::Release(rv) => {
                (rv, vec![set("/spec/holderIdentity", "".into()), set("/spec/renewTime", time.into())])
            }
        };
        // A patch, for labels and annotations there are others' affair. The server tries it again itself if somebody
        // is faster, and then the test fails.
        let mut patch = vec![json!({ "op": "test", "path": "/metadata/resourceVersion", "value": rv.to_string() })];
        patch.extend(changes);
        let body = Value::from(patch).to_string();
        let request = build(Method::PATCH, &managed(&object), write::JSON_PATCH, &body.into())?;
        read(&request::send(client, request, LIMITS).await?).map(Some)
    }
}

/// Who leads the processes of a controller, as its Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leader {
    /// There is no Lease: one process alone has none.
    NoLease,
    /// It was given up, or does not say who holds it.
    Nobody,
    /// A process holds it, or has held it and gone without a word.
    Holder(Holder),
}

impl Leader {
    /// The process that has renewed the Lease lately, by this clock.
    pub fn alive(self, now: Timestamp) -> Option<Holder> {
        match self {
            Self::Holder(holder) if holder.is_alive(now) => Some(holder),
            Self::Holder(_) | Self::Nobody | Self::NoLease => None,
        }
    }
}

/// Who is written as holding the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Name of the process; cut and escaped.
    pub identity: String,
    /// When it began to lead, by its own clock.
    pub acquired: Timestamp,
    /// When it last renewed the Lease, likewise.
    pub renewed: Timestamp,
}

impl Holder {
    /// Whether it has renewed the Lease lately. Clocks may differ by some seconds; what is yet to come counts as lately.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        since(self.renewed, now) < 2 * LEASE
    }
}

/// Who leads the processes of this controller in its source namespace, for people who ask.
///
/// # Errors
/// Any answer but the Lease or that there is none.
pub async fn leader(client: &kube::Client, rules: &Rules) -> Result<Leader, Fault> {
    let candidate = Candidate::new(rules, String::new());
    let path = format!("{}/{}", candidate.collection()?, candidate.name);
    let found = read::find_json::<Lease>(client, &path, ("leases", candidate.name)).await?;
    let Some(Lease { spec: Spec { holder_identity, acquire_time, renew_time, .. }, .. }) = found else {
        return Ok(Leader::NoLease);
    };
    let identity = holder_identity.filter(|holder| !holder.is_empty());
    let time = |text: Option<String>| text.and_then(|time| time.parse().ok());
    Ok(identity.zip(time(renew_time)).map_or(Leader::Nobody, |(identity, renewed)| {
        let acquired = time(acquire_time).unwrap_or(renewed);
        Leader::Holder(Holder { identity: message(&identity), acquired, renewed })
    }))
}

fn build(method: Method, uri: &str, content: &str, body: &Bytes) -> Result<Request<Body>, Fault> {
    write::with_accept(method, uri, content, JSON, body)
}

fn read(body: &[u8]) -> Result<Record, Fault> {
    serde_json::from_slice(body).ok().and_then(Lease::into_record).ok_or(Fault::Odd(200))
}

/// What a watch shows.
pub fn decode(json: &RawValue) -> Option<Record> {
    serde_json::from_str(json.get()).ok().and_then(Lease::into_record)
}

#[derive(Deserialize)]
struct Lease {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u32>,
    lease_transitions: Option<u32>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
}

impl Lease {
    fn into_record(self) -> Option<Record> {
        let Self { metadata, spec } = self;
        Some(Record {
            rv: Rv::parse(&metadata.resource_version)?,
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            duration: Duration::from_secs(spec.lease_duration_seconds.unwrap_or_default().into()),
            transitions: spec.lease_transitions.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::cluster::tests_support::{client, json_response};
    use crate::contract::rules::Role;
    use crate::contract::strip::StripList;
    use crate::lease::Request as Ask;

    fn candidate() -> Candidate {
        let rules = Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap());
        Candidate::new(&rules, "pod_1".to_owned())
    }

    #[tokio::test]
    async fn every_write_is_guarded_by_the_version() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let client = client(move |request: Request<Body>| {
            let log = Arc::clone(&log);
            async move {
                let line = format!("{} {}", request.method(), request.uri());
                let body = request.into_body().collect_bytes().await.unwrap();
                log.lock().unwrap().push((line, String::from_utf8(body.to_vec()).unwrap()));
                let spec = json!({ "holderIdentity": "pod_1", "leaseDurationSeconds": 15, "leaseTransitions": 4 });
                json_response(200, &json!({ "metadata": { "resourceVersion": "8" }, "spec": spec }))
            }
        });
        let base = "/apis/coordination.k8s.io/v1/namespaces/operator/leases";
        let one = format!("{base}/mw-sync-agent");
        for (ask, line, parts) in [
            (Ask::Read, format!("GET {one}"), &[][..]),
            (Ask::Create, format!("POST {base}?fieldManager=mw-sync-agent"), &["\"holderIdentity\":\"pod_1\""]),
            (
                Ask::Take { rv: Rv(7), transitions: 4 },
                format!("PATCH {one}?fieldManager=mw-sync-agent"),
                &["\"value\":\"7\"", "\"leaseTransitions\":4", "\"path\":\"/spec\""],
            ),
            (
                Ask::Renew(Rv(7)),
                format!("PATCH {one}?fieldManager=mw-sync-agent"),
                &["\"value\":\"7\"", "/spec/renewTime"],
            ),
            (
                Ask::Release(Rv(7)),
                format!("PATCH {one}?fieldManager=mw-sync-agent"),
                &["\"value\":\"7\"", "/spec/holderIdentity"],
            ),
        ] {
            let record = candidate().execute(&client, ask, "2026-01-01T00:00:00.000000Z").await.unwrap().unwrap();
            assert_eq!((record.rv, record.holder.as_deref(), record.transitions), (Rv(8), Some("pod_1"), 4));
            let (sent, body) = seen.lock().unwrap().pop().unwrap();
            assert_eq!(sent, line);
            assert!(parts.iter().all(|part| body.contains(part)), "{body}");
        }
    }

    #[tokio::test]
    async fn absent_and_nobodys() {
        let status = json!({ "kind": "Status", "code": 404, "reason": "NotFound",
                             "details": { "kind": "leases", "name": "mw-sync-agent", "group": "coordination.k8s.io" } });
        let missing = client(move |_| std::future::ready(json_response(404, &status)));
        assert_eq!(candidate().execute(&missing, Ask::Read, "").await, Ok(None));
        let empty = json!({ "metadata": { "resourceVersion": "8" }, "spec": { "holderIdentity": "" } });
        let empty = client(move |_| std::future::ready(json_response(200, &empty)));
        assert_eq!(candidate().execute(&empty, Ask::Read, "").await.unwrap().unwrap().holder, None);
        let odd = client(|_| std::future::ready(json_response(200, &json!({ "metadata": {} }))));
        assert_eq!(candidate().execute(&odd, Ask::Read, "").await, Err(Fault::Odd(200)));
    }

    #[tokio::test]
    async fn whoever_renews_holds_it() {
        let rules = Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap());
        let of = async |spec: Value| {
            let lease = json!({ "metadata": { "resourceVersion": "7" }, "spec": spec });
            leader(&client(move |_| std::future::ready(json_response(200, &lease))), &rules).await.unwrap()
        };
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let held = of(json!({ "holderIdentity": "pod_1", "renewTime": "2026-01-01T00:00:00.000000Z" })).await;
        for now in ["2026-01-01T00:00:20Z", "2025-12-31T23:59:00Z"] {
            assert_eq!(held.clone().alive(at(now)).unwrap().identity, "pod_1");
        }
        assert_eq!(held.alive(at("2026-01-01T00:01:00Z")), None);
        let given_up = of(json!({ "holderIdentity": "", "renewTime": "2026-01-01T00:00:00.000000Z" })).await;
        assert_eq!(given_up, Leader::Nobody);
    }
}
