use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::time::{Instant, advance};

use super::*;
use crate::eks::Eks;
use crate::eks::tests_support::{FakeAws, ROLE, arn, facts, key};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn login(eks: &Eks) -> Arc<Login> {
    let place = facts().place(&arn()).unwrap();
    Arc::new(eks.login(eks.session(&key()), &arn(), &place).await.unwrap())
}

/// The URL in the header.
fn url(login: &Login) -> String {
    let header = login.header().current();
    let text = header.to_str().unwrap();
    let token = text.strip_prefix("Bearer k8s-aws-v1.").unwrap();
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap()
}

/// So many requests were refused at once.
async fn refuse(login: &Login, times: usize) {
    let refused = login.header().current();
    futures::future::join_all((0..times).map(|_| login.renew(&refused))).await;
}

/// When it was signed.
fn signed_at(login: &Login) -> SystemTime {
    let url = url(login);
    let date = url.split_once("X-Amz-Date=").unwrap().1.split('&').next().unwrap();
    let (date, time) = (&date[..8], &date[9..15]);
    let text = format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..], &time[..2], &time[2..4], &time[4..]);
    text.parse::<jiff::Timestamp>().unwrap().into()
}

#[tokio::test(start_paused = true)]
async fn the_header_has_a_good_token_at_any_time_of_a_day() {
    let aws = FakeAws::new();
    let eks = aws.eks();
    let login = login(&eks).await;
    let keeping = tokio::spawn({
        let login = Arc::clone(&login);
        async move { login.keep().await }
    });
    let session = eks.session(&key());
    let (start, mut tokens) = (Instant::now(), std::collections::BTreeSet::new());
    while start.elapsed() < 24 * 60 * MINUTE {
        sleep(20 * SECOND).await;
        let (now, at) = (aws.clock().now(), signed_at(&login));
        // STS takes it for 15 minutes, and until the session ends.
        assert!(now.duration_since(at).unwrap() <= LIFE + 2 * SECOND, "{:?}", now.duration_since(at));
        assert!(now < session.get().await.unwrap().end);
        tokens.insert(at.duration_since(UNIX_EPOCH).unwrap());
    }
    // One each 10 minutes; sessions as many as they are without tokens.
    let sessions = aws.asked("session").len();
    assert!((34..=48).contains(&sessions), "{sessions}");
    assert!((144..=150).contains(&tokens.len()), "{}", tokens.len());
    assert_eq!(*login.trouble().borrow(), None);
    keeping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_renewed_is_used_to_its_end_and_then_told() {
    let aws = FakeAws::new();
    let eks = aws.eks();
    let login = login(&eks).await;
    let mut trouble = login.trouble();
    let end = eks.session(&key()).get().await.unwrap().end;
    *aws.sessions.lock().unwrap() = Err(EksError::NoCredentials("gone".to_owned()));
    let keeping = tokio::spawn({
        let login = Arc::clone(&login);
        async move { login.keep().await }
    });
    trouble.changed().await.unwrap();
    assert_eq!(trouble.borrow_and_update().as_ref().unwrap().reason(), "NoCredentials");
    let late = aws.clock().now().duration_since(end).unwrap();
    assert!(late <= 2 * PAUSE, "{late:?}");
    // Tokens of the last minutes end with the session.
    let age = end.duration_since(signed_at(&login)).unwrap();
    assert!(age <= LIFE + SECOND, "{age:?}");
    *aws.sessions.lock().unwrap() = Ok(Duration::from_secs(3600));
    trouble.changed().await.unwrap();
    assert_eq!(*trouble.borrow(), None);
    assert!(aws.clock().now().duration_since(signed_at(&login)).unwrap() <= 2 * SECOND);
    keeping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once_for_all_who_were_refused() {
    let aws = FakeAws::new();
    let eks = aws.eks();
    let login = login(&eks).await;
    let first = url(&login);
    // One that is fresh would fare no better.
    refuse(&login, 1).await;
    assert_eq!(url(&login), first);
    advance(FRESH + SECOND).await;
    refuse(&login, 20).await;
    let second = url(&login);
    assert!(second != first && aws.clock().now().duration_since(signed_at(&login)).unwrap() < SECOND);
    // The session was young: AWS was not asked.
    assert_eq!(aws.asked("session").len(), 1);
}

/// The role was deleted and made again: every token of the old session is refused.
#[tokio::test(start_paused = true)]
async fn an_old_session_is_replaced_if_its_fresh_tokens_are_refused() {
    let aws = FakeAws::new();
    let eks = aws.eks();
    let login = login(&eks).await;
    advance(6 * MINUTE).await;
    // All who were refused at once; the token was old, so the session is not to blame yet.
    refuse(&login, 20).await;
    assert!(url(&login).contains("AKID1%2F") && aws.asked("session").len() == 1, "{}", url(&login));
    refuse(&login, 1).await;
    assert!(url(&login).contains("AKID2%2F") && aws.asked("session").len() == 2, "{}", url(&login));
    // Not again and again.
    for _ in 0..10 {
        refuse(&login, 1).await;
    }
    assert_eq!(aws.asked("session").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_to_be_mapped() {
    let aws = FakeAws::new();
    let eks = aws.eks();
    let EksError::Unauthorised { role, caller, ahead } = login(&eks).await.unauthorised() else { panic!() };
    assert_eq!((role.unwrap().to_string().as_str(), ahead), (ROLE, 0));
    assert_eq!(caller.unwrap(), "arn:aws:sts::111122223333:assumed-role/mw-sync/mw-sync-management");
    // As ourselves.
    let session = eks.session(&super::super::aws::SessionKey { role: None, ..key() });
    let own = eks.login(session, &arn(), &facts().place(&arn()).unwrap()).await.unwrap();
    let EksError::Unauthorised { role, .. } = own.unauthorised() else { panic!() };
    assert_eq!(role.unwrap().to_string(), "arn:aws:iam::111122223333:role/mw-sync");
    assert!(!format!("{own:?}").contains("HUNTER2"));
}

#[tokio::test(start_paused = true)]
async fn tokens_are_dated_as_aws_has_it() {
    let aws = FakeAws::new();
    let real = aws.clock().now() + 600 * SECOND;
    aws.clock().learn(real);
    let login = login(&aws.eks()).await;
    assert!(signed_at(&login).duration_since(real).unwrap() < 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_too_long_is_tried_with_a_newer_session() {
    let aws = FakeAws::new();
    let eks = aws.eks();
    let (session, place) = (eks.session(&key()), facts().place(&arn()).unwrap());
    *aws.longer.lock().unwrap() = 4000;
    let attempt = async || eks.login(Arc::clone(&session), &arn(), &place).await.map(drop);
    assert!(matches!(attempt().await, Err(EksError::TokenTooLong(_))));
    // Somebody sees to it. Sessions are not asked for all the time, so it takes a while to show.
    *aws.longer.lock().unwrap() = 0;
    advance(4 * MINUTE).await;
    assert!(matches!(attempt().await, Err(EksError::TokenTooLong(_))));
    assert_eq!(aws.asked("session").len(), 1);
    advance(MINUTE).await;
    assert!(matches!(attempt().await, Err(EksError::TokenTooLong(_))));
    assert_eq!(attempt().await, Ok(()));
    assert_eq!(aws.asked("session").len(), 2);
}
