//! Tokens and sessions end all the time, and nobody notices.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testbed::{Cluster, Mark, Process, eventually};
use tokio::time::sleep;

use super::stage::{EksStage, Site, Target, management};
use crate::agent::port::{address, fetch, samples};
use crate::master::api;
use crate::master::stage::SOON;

/// A token that is refused while it is younger than this is not refused for its age, thinks the master.
const FRESH: Duration = Duration::from_secs(31);

/// How a write of the copies in a namespace was answered, for each that was not accepted.
async fn refused(server: &Cluster, namespace: &str, since: Mark) -> Result<Vec<(u16, String)>> {
    // A request without a good token has no user in the log.
    let inside = format!("/namespaces/{namespace}/");
    let requests = server.audit().since(since).await?.filter(|entry| entry.request_uri.contains(&inside));
    Ok(requests.each().filter(|entry| entry.code >= 400).map(|entry| (entry.code, entry.verb.clone())).collect())
}

fn now() -> Result<i64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs().try_into()?)
}

/// What the master's metrics say of the age of its only token, in seconds.
async fn age(master: &Process) -> Result<f64> {
    let samples = samples(&fetch(address(master).await, "/metrics").await?.1)?;
    let of = samples.iter().find(|(name, _)| name.starts_with("mw_sync_token_age_seconds{remote_cluster=\"north\""));
    of.map(|(_, age)| *age).with_context(|| format!("{samples:#?}"))
}

/// The cluster is served, and at no time was it said not to let us in. That it was slow may have been said: the machine is
/// shared.
async fn never_locked_out(stage: &EksStage<'_>, master: &Process, name: &str) {
    stage.is(name, "Connected").await;
    assert!(!master.stderr().contains("Unauthorised"), "{}", master.log_tail(40));
}

/// The frozen token of so many tools (401 after 15 minutes), and the one 401 at each expiry of the others: a write that
/// meets it is sent once more with a new token, open watches stay, and nothing is noticed.
pub(super) async fn a_token_that_has_ended_costs_one_retry_and_is_no_failure() -> Result<()> {
    let management = management().await?;
    let north = Site::north().await?;
    let stage = EksStage::new(&management, "e-ended").await?;
    let target = stage.target(&north).await?;
    stage.source("one", "0").await?;
    stage.add("north", &target).await?;
    let mark = stage.aws.mark().await?;
    let master = stage.master().await?;
    stage.is("north", "Connected").await;
    stage.copy(&north, &target, "one", "0").await;
    for round in ["1", "2"] {
        sleep(FRESH).await;
        let old = age(&master).await?;
        ensure!(old >= FRESH.as_secs_f64(), "{old} s");
        let audit = north.server.audit().mark().await?;
        stage.let_in(&target, now()?).await?;
        stage.set("one", round).await?;
        stage.copy(&north, &target, "one", round).await;
        assert_eq!(refused(&north.server, "e-ended", audit).await?, [(401, "update".to_owned())], "round {round}");
        let new = age(&master).await?;
        ensure!(new < old, "{old} s, then {new} s");
    }
    // The session was good all the while: no call was needed for another token.
    let mut asked: Vec<_> = stage.needed_calls(mark, &master).await?.into_iter().map(|call| call.operation).collect();
    asked.retain(|operation| operation != "PresignedGetCallerIdentity");
    asked.sort();
    assert_eq!(asked, ["AssumeRole", "AssumeRoleWithWebIdentity", "DescribeCluster", "GetCallerIdentity"]);
    never_locked_out(&stage, &master, "north").await;
    stage.end(&master).await
}

/// How long a session lives here, in seconds, instead of an hour. A token is used until a quarter of that is left: as long
/// has a busy machine for a request, the question of the API server, and its answer: at ten times the load that it is made
/// for, these were seen to take 2.5 s.
const LIFE: u32 = 40;
/// Of one role, in each site, so that sessions are shared.
const CLUSTERS: [&str; 9] =
    ["e-day", "e-day-2", "e-day-3", "e-day-4", "e-day-5", "e-day-6", "e-day-7", "e-day-8", "e-day-9"];
const REFRESHES: usize = 100;
/// Each second one of so many parts of the clusters gets a source: several writes meet each token.
const PARTS: usize = 3;

/// Two roles, each for several clusters; writes all the time. What AWS is asked for is what these lives make necessary, and
/// no token was shown after its session's end.
pub(super) async fn a_day_of_tokens_and_sessions_under_continuous_writes() -> Result<()> {
    let management = management().await?;
    let sites = [Site::north().await?, Site::south().await?];
    let stage = EksStage::new(&management, CLUSTERS[0]).await?;
    let (mut places, mut roles): (Vec<(&Site, Target)>, _) = (Vec::new(), Vec::new());
    for site in &sites {
        let mut first = stage.target(site).await?;
        first.role.session_seconds = LIFE;
        stage.aws.role(&first.role).await?;
        for name in &CLUSTERS[1..] {
            let mut next = stage.target_named(site, name).await?;
            // The same role is mapped in all.
            next.role = first.role.clone();
            next.entry.role.clone_from(&first.entry.role);
            stage.let_in(&next, 0).await?;
            places.push((site, next));
        }
        roles.push(first.role.arn.clone());
        places.push((site, first));
    }
    let mut marks = Vec::new();
    for site in &sites {
        marks.push(site.server.audit().mark().await?);
    }
    let mark = stage.aws.mark().await?;
    let master = stage.master().await?;
    let name = |site: &Site, target: &Target| format!("{}-{}", site.name, target.eks.name);
    for (site, target) in &places {
        stage.add(&name(site, target), target).await?;
    }
    for (site, target) in &places {
        stage.is(&name(site, target), "Connected").await;
    }

    let began = Instant::now();
    let tokens = || master.stderr().lines().filter(|line| line.contains("a new token")).count();
    let mut written = 0;
    while tokens() < REFRESHES {
        ensure!(began.elapsed() < Duration::from_secs(400), "{} tokens only\n{}", tokens(), master.log_tail(20));
        let part = places.iter().skip(written % PARTS).step_by(PARTS).map(|(site, target)| name(site, target));
        let clusters = part.collect::<Vec<_>>().join(",");
        stage.asking(&format!("s-{written}"), "x", json!({ "mw-sync.io/clusters": clusters })).await?;
        written += 1;
        sleep(Duration::from_secs(1)).await;
    }
    let calls = stage.needed_calls(mark, &master).await?;
    let took = began.elapsed().as_secs_f64();
    let writes = written * places.len() / PARTS;
    ensure!(writes >= 3 * tokens(), "{writes} writes by {} tokens", tokens());
    for (n, (site, target)) in places.iter().enumerate() {
        let path = api::secret(&target.eks.name, "");
        let wanted = (0..written).filter(|nth| nth % PARTS == n % PARTS).count();
        eventually(SOON, format!("all copies are in {} of {}", target.eks.name, site.name), async || {
            let all = api::get(&site.server, &path).await?.context("no list")?;
            let copies = all["items"].as_array().map_or(0, Vec::len);
            ensure!(copies == wanted, "{copies} of {wanted}");
            Ok(())
        })
        .await;
        never_locked_out(&stage, &master, &name(site, target)).await;
    }

    // Zero failed writes: whoever checks tokens has refused none. That he was not heard in time, for which a server answers
    // 401 as well, is for the machine; and so is what was done and not answered in time, and found there the next time.
    for (site, mark) in sites.iter().zip(marks) {
        for namespace in CLUSTERS {
            let refused = refused(&site.server, namespace, mark).await?;
            let of = |code| refused.iter().filter(|(of, _)| *of == code).count();
            let excused = of(401) + of(504).min(3) + of(409).min(of(504));
            assert_eq!(refused.len(), excused, "{namespace} of {}: {refused:?}", site.name);
        }
    }
    let reviews = [stage.aws.reviews("eks-north").await?, stage.aws.reviews("eks-south").await?].concat();
    let users: BTreeSet<_> = places.iter().map(|(_, target)| target.user()).collect();
    // Of a token that was refused nobody says whose it was; but others of its session were accepted.
    let accepted = reviews.iter().filter(|review| users.contains(&review.arn) && review.error.is_empty());
    let keys: BTreeSet<_> = accepted.map(|review| &review.key).collect();
    assert!(keys.len() >= 2 && !keys.iter().any(|key| key.is_empty()), "{keys:?}");
    let bad = reviews.iter().find(|review| keys.contains(&review.key) && !review.error.is_empty());
    assert!(bad.is_none(), "{bad:?}");
    let ended: Vec<_> = calls.iter().filter(|call| call.code == "ExpiredToken").collect();
    assert!(ended.is_empty(), "{ended:?}");
    let shown = calls.iter().filter(|call| call.operation == "PresignedGetCallerIdentity");
    let mut left: Vec<_> = shown.filter_map(|call| call.left).filter(|left| *left < 3000.0).collect();
    left.sort_by(f64::total_cmp);
    println!("{} tokens in {took:.0} s, asked about {} times; left {:.2?}", tokens(), left.len(), left.get(..5));

    // AWS's calls. A session is got anew between a half and two thirds of its life, which has up to a second less.
    let count = |operation: &str| calls.iter().filter(|call| call.operation == operation).count();
    let own = (count("AssumeRoleWithWebIdentity"), count("GetCallerIdentity"), count("DescribeCluster"));
    assert_eq!(own, (1, 1, places.len()));
    let life = f64::from(LIFE);
    // A busy machine is late, never early.
    let (fewest, most) = (took / life, took / ((life - 1.0) / 2.0) + 2.0);
    for role in roles {
        let sessions = calls.iter().filter(|call| call.operation == "AssumeRole" && call.target == role);
        let sessions = f64::from(u32::try_from(sessions.count())?);
        assert!((fewest..=most).contains(&sessions), "{sessions} sessions in {took} s, not {fewest} to {most}");
    }
    stage.end(&master).await
}
