use futures::future::join_all;
use tokio::time::{advance, sleep};

use super::*;
use crate::eks::tests_support::{FakeAws, arn, facts, key};

const MINUTE: Duration = Duration::from_secs(60);

fn down() -> EksError {
    EksError::AwsUnreachable { service: Service::Sts, words: "refused".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn many_callers_are_one_request() {
    let aws = FakeAws::new();
    let eks = aws.eks();
    let sessions: Vec<_> = (0..50).map(|_| eks.session(&key())).collect();
    let held = join_all(sessions.iter().map(|session| session.get())).await;
    let first = Arc::clone(&held[0].as_ref().unwrap().grant);
    assert!(held.iter().all(|held| Arc::ptr_eq(&held.as_ref().unwrap().grant, &first)));
    assert_eq!(aws.log(), ["session arn:aws:iam::111122223333:role/team/mw-sync eu-west-1 mw-sync-management"]);
    // Another region, role or external id is another session.
    for other in [
        SessionKey { region: "us-east-1".to_owned(), ..key() },
        SessionKey { role: None, ..key() },
        SessionKey { external_id: Some("id".to_owned()), ..key() },
    ] {
        eks.session(&other).get().await.unwrap();
    }
    assert_eq!(aws.log().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_renewed_at_least_20_minutes_before_its_end() {
    let aws = FakeAws::new();
    let session = aws.eks().session(&key());
    let start = Instant::now();
    // A day, looked at every minute.
    for _ in 0..24 * 60 {
        let held = session.get().await.unwrap();
        let left = held.grant.credentials.expiry().unwrap().duration_since(aws.clock().now()).unwrap();
        assert!(left + MINUTE >= EARLY, "{left:?}");
        sleep(MINUTE).await;
    }
    let asked = aws.asked("session");
    let gaps: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (30 * MINUTE..=42 * MINUTE).contains(gap)), "{gaps:?}");
    // They are not in step.
    assert!(gaps.iter().any(|gap| *gap < 34 * MINUTE) && gaps.iter().any(|gap| *gap > 36 * MINUTE), "{gaps:?}");
    assert!((34..=48).contains(&asked.len()), "{}", asked.len());
    assert!(start.elapsed() > 24 * 60 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_survived_until_the_end_and_not_hammered() {
    let aws = FakeAws::new();
    let session = aws.eks().session(&key());
    session.get().await.unwrap();
    *aws.sessions.lock().unwrap() = Err(down());
    let mut ended = None;
    for second in 0..3 * 3600_u64 {
        match session.get().await {
            Ok(held) => assert!(ended.is_none() && aws.clock().now() < held.end),
            Err(error) => {
                assert_eq!(error, down());
                ended.get_or_insert(second);
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
    let ended = Duration::from_secs(ended.unwrap());
    assert!((57 * MINUTE..=60 * MINUTE).contains(&ended), "{ended:?}");
    // Two and a half hours, an attempt each 2.5 to 5 minutes.
    let asked = aws.asked("session").len();
    assert!((28..=75).contains(&asked), "{asked}");
    // It comes back by itself.
    *aws.sessions.lock().unwrap() = Ok(Duration::from_secs(3600));
    sleep(BACKOFF_MOST).await;
    session.get().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_spoils_nothing() {
    let aws = FakeAws::new();
    let session = aws.eks().session(&key());
    assert!(timeout(Duration::from_millis(50), session.get()).await.is_err());
    session.get().await.unwrap();
    session.get().await.unwrap();
    assert_eq!(aws.log().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_an_old_session_is_replaced_on_demand() {
    let aws = FakeAws::new();
    let session = aws.eks().session(&key());
    let first = session.get().await.unwrap();
    advance(4 * MINUTE).await;
    assert!(Arc::ptr_eq(&session.get_newer().await.unwrap().grant, &first.grant));
    advance(2 * MINUTE).await;
    let second = session.get_newer().await.unwrap();
    assert!(!Arc::ptr_eq(&second.grant, &first.grant));
    assert!(Arc::ptr_eq(&session.get().await.unwrap().grant, &second.grant));
}

/// A role that was deleted and made again.
#[tokio::test(start_paused = true)]
async fn a_session_that_aws_refuses_is_replaced() {
    let aws = FakeAws::new();
    let eks = aws.eks();
    let session = eks.session(&key());
    eks.facts(&session, &arn()).await.unwrap();
    advance(6 * MINUTE).await;
    let refused = EksError::NoCredentials("EKS does not take those that we have (ExpiredToken)".into());
    let refuses = |answers| aws.facts.lock().unwrap().extend(answers);
    aws.facts.lock().unwrap().clear();
    refuses(vec![Err(refused.clone()), Ok(facts())]);
    eks.facts(&session, &arn()).await.unwrap();
    assert_eq!((aws.asked("session").len(), aws.asked("describe").len()), (2, 3));
    // A young one is not at fault.
    aws.facts.lock().unwrap().clear();
    refuses(vec![Err(refused.clone())]);
    assert_eq!(eks.facts(&session, &arn()).await.unwrap_err(), refused);
    assert_eq!((aws.asked("session").len(), aws.asked("describe").len()), (2, 4));
}

/// Sources in a pod give the same credentials until shortly before they end, and testbeds short ones.
#[tokio::test(start_paused = true)]
async fn short_sessions_are_used_and_not_asked_for_all_the_time() {
    for life in [6, 90, 900] {
        let aws = FakeAws::new();
        let life = Duration::from_secs(life);
        *aws.sessions.lock().unwrap() = Ok(life);
        let session = aws.eks().session(&key());
        let start = Instant::now();
        while start.elapsed() < 30 * life {
            let held = session.get().await.unwrap();
            let now = aws.clock().now();
            assert!(now < held.end && held.end < held.grant.credentials.expiry().unwrap());
            sleep(life / 100).await;
        }
        let asked = aws.asked("session").len();
        assert!((40..=65).contains(&asked), "{life:?}: {asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_region_is_not_asked_for_all_sessions_at_once() {
    let aws = FakeAws::new();
    let eks = aws.eks();
    let roles = (0..100).map(|n| format!("arn:aws:iam::111122223333:role/r{n}").parse().unwrap());
    let sessions: Vec<_> = roles.map(|role| eks.session(&SessionKey { role: Some(role), ..key() })).collect();
    let held = join_all(sessions.iter().map(|session| session.get())).await;
    assert!(held.iter().all(Result::is_ok));
    assert_eq!((aws.log().len(), aws.most_at_once()), (100, crate::eks::SESSIONS));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_session_is_shown() {
    let aws = FakeAws::new();
    let session = aws.eks().session(&key());
    let held = session.get().await.unwrap();
    let shown = format!("{session:?} {held:?} {aws:?}");
    assert!(shown.contains("role/team/mw-sync") || shown.contains("mw-sync"), "{shown}");
    assert!(!shown.contains("HUNTER2") && !shown.contains("AKID"), "{shown}");
}

#[test]
fn names_that_aws_takes() {
    assert_eq!(session_name("management"), "mw-sync-management");
    assert_eq!(session_name("a b/ü"), "mw-sync-a-b--");
    assert_eq!(session_name(&"x".repeat(100)).len(), 64);
}
