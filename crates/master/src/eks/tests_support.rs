//! AWS for the tests of this module: answers that are set, and a log of what was asked. Time of day follows tokio's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::future::{BoxFuture, FutureExt as _};
use tokio::time::{Instant, sleep};

use super::Eks;
use super::arn::ClusterArn;
use super::aws::{Aws, Grant, SessionKey};
use super::clock::WallClock;
use super::error::EksError;
use super::facts::Facts;
use super::token::Audience;

pub(super) const ARN: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/prod";
pub(super) const ROLE: &str = "arn:aws:iam::111122223333:role/team/mw-sync";

pub(crate) type Tags = BTreeMap<String, String>;

/// See the module. Each request takes 100 ms.
#[derive(Debug)]
pub(crate) struct FakeAws {
    clock: WallClock,
    /// Life of new sessions; an error instead of one.
    pub(super) sessions: Mutex<Result<Duration, EksError>>,
    /// How many characters the tokens of new sessions have more than usual.
    pub(super) longer: Mutex<usize>,
    /// Descriptions to come; the last one stays.
    pub(super) facts: Mutex<VecDeque<Result<Facts, EksError>>>,
    /// The clusters of each region.
    pub(crate) names: Mutex<BTreeMap<String, Result<Vec<String>, EksError>>>,
    /// Tags of all clusters, by name; each then has its own ARN in the account of the caller.
    pub(crate) tags: Mutex<BTreeMap<String, Result<Tags, EksError>>>,
    /// The caller that sessions have.
    pub(super) caller: Mutex<Option<String>>,
    log: Mutex<Vec<(Instant, String)>>,
    under_way: Mutex<(usize, usize)>,
}

impl FakeAws {
    pub(crate) fn new() -> Arc<Self> {
        let caller = "arn:aws:sts::111122223333:assumed-role/mw-sync/mw-sync-management".to_owned();
        Arc::new(Self {
            clock: wall_clock(),
            sessions: Mutex::new(Ok(Duration::from_secs(3600))),
            longer: Mutex::default(),
            facts: Mutex::new(VecDeque::from([Ok(facts())])),
            names: Mutex::default(),
            tags: Mutex::default(),
            caller: Mutex::new(Some(caller)),
            log: Mutex::default(),
            under_way: Mutex::default(),
        })
    }

    pub(super) fn clock(&self) -> WallClock {
        self.clock.clone()
    }

    pub(crate) fn eks(self: &Arc<Self>) -> Eks {
        Eks::new(Arc::clone(self) as Arc<dyn Aws>, self.clock(), "management", 1)
    }

    pub(super) fn describe_as(&self, facts: Result<Facts, EksError>) {
        *self.facts.lock().unwrap() = VecDeque::from([facts]);
    }

    /// When something of this kind was asked.
    pub(crate) fn asked(&self, what: &str) -> Vec<Instant> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|(_, asked)| asked.starts_with(what)).map(|(at, _)| *at).collect()
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|(_, asked)| asked.clone()).collect()
    }

    /// Most requests that were under way at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.under_way.lock().unwrap().1
    }

    async fn take(&self, asked: String) {
        self.log.lock().unwrap().push((Instant::now(), asked));
        {
            let mut under_way = self.under_way.lock().unwrap();
            under_way.0 += 1;
            under_way.1 = under_way.1.max(under_way.0);
        }
        sleep(Duration::from_millis(100)).await;
        self.under_way.lock().unwrap().0 -= 1;
    }
}

impl Aws for FakeAws {
    fn session<'a>(&'a self, key: &'a SessionKey, name: &'a str) -> BoxFuture<'a, Result<Grant, EksError>> {
        async move {
            let role = key.role.as_ref().map_or_else(|| "own".to_owned(), ToString::to_string);
            self.take(format!("session {role} {} {name}", key.region)).await;
            let life = self.sessions.lock().unwrap().clone()?;
            let serial = self.log.lock().unwrap().len();
            let token = format!("HUNTER2{}", "x".repeat(*self.longer.lock().unwrap()));
            let end = Some(self.clock.now() + life);
            let credentials = Credentials::new(format!("AKID{serial}"), "HUNTER2", Some(token), end, "fake");
            Ok(Grant { credentials, caller: self.caller.lock().unwrap().clone() })
        }
        .boxed()
    }

    fn describe<'a>(&'a self, _: &'a Grant, arn: &'a ClusterArn) -> BoxFuture<'a, Result<Facts, EksError>> {
        async move {
            self.take(format!("describe {arn}")).await;
            if let Some(tags) = self.tags.lock().unwrap().get(arn.name()) {
                return tags.clone().map(|tags| Facts { arn: Some(arn.to_string()), tags, ..facts() });
            }
            let mut facts = self.facts.lock().unwrap();
            let next = if facts.len() > 1 { facts.pop_front() } else { facts.front().cloned() };
            next.unwrap()
        }
        .boxed()
    }

    fn clusters<'a>(&'a self, _: &'a Grant, region: &'a str) -> BoxFuture<'a, Result<Vec<String>, EksError>> {
        async move {
            self.take(format!("list {region}")).await;
            self.names.lock().unwrap().get(region).cloned().unwrap_or_else(|| Ok(Vec::new()))
        }
        .boxed()
    }

    fn audience<'a>(&'a self, region: &'a str, cluster: &'a str) -> BoxFuture<'a, Result<Audience, EksError>> {
        Audience::new(region, cluster, false, false).boxed()
    }
}

/// A time of day that goes with tokio's clock, paused or not.
pub(super) fn wall_clock() -> WallClock {
    let (start, day) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_581_000));
    WallClock::of(move || day + start.elapsed())
}

pub(crate) fn arn() -> ClusterArn {
    ARN.parse().unwrap()
}

pub(crate) fn key() -> SessionKey {
    SessionKey {
        role: Some(ROLE.parse().unwrap()),
        external_id: None,
        session_name: None,
        region: "eu-west-1".to_owned(),
    }
}

/// As AWS writes it.
pub(super) fn authority(content: &str) -> String {
    let content = BASE64_STANDARD.encode(content);
    BASE64_STANDARD.encode(format!("-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n"))
}

pub(crate) fn facts() -> Facts {
    Facts {
        arn: Some(ARN.to_owned()),
        status: Some("ACTIVE".to_owned()),
        endpoint: Some("https://A.gr7.eu-west-1.eks.amazonaws.com".to_owned()),
        authority: Some(authority("one")),
        created: Some(7),
        ..Facts::default()
    }
}
