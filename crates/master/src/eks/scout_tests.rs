use futures::future::join_all;

use super::*;
use crate::eks::error::Service;
use crate::eks::facts::Facts;
use crate::eks::tests_support::{FakeAws, arn, authority, facts, key};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A scout that runs, what it sees, and the switch for trouble.
fn start(aws: &Arc<FakeAws>) -> (watch::Receiver<Seen>, watch::Sender<bool>) {
    let (sender, seen) = watch::channel(Seen::default());
    let (trouble, troubles) = watch::channel(false);
    let eks = aws.eks();
    tokio::spawn(async move {
        let session = eks.session(&key());
        scout(&eks, &session, &arn(), &sender, troubles, Rng::new(1)).await;
    });
    (seen, trouble)
}

fn gaps(aws: &FakeAws) -> Vec<Duration> {
    aws.asked("describe").windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn throttled() -> EksError {
    EksError::Throttled(Service::Eks)
}

#[tokio::test(start_paused = true)]
async fn it_looks_every_five_to_ten_minutes_and_tells_only_news() {
    let aws = FakeAws::new();
    let (mut seen, _trouble) = start(&aws);
    seen.changed().await.unwrap();
    let place = seen.borrow_and_update().place.clone().unwrap();
    tokio::time::sleep(3 * 60 * MINUTE).await;
    assert!(!seen.has_changed().unwrap());
    let gaps = gaps(&aws);
    assert!(gaps.iter().all(|gap| (EVERY / 2..=EVERY + SECOND).contains(gap)), "{gaps:?}");
    assert!((18..=36).contains(&gaps.len()) && gaps.iter().any(|gap| *gap != gaps[0]), "{gaps:?}");
    // Another authority is another place.
    aws.describe_as(Ok(Facts { authority: Some(authority("two")), ..facts() }));
    seen.changed().await.unwrap();
    assert!(!seen.borrow().place.as_ref().unwrap().is_same(&place));
}

#[tokio::test(start_paused = true)]
async fn in_trouble_it_looks_at_once_and_then_less_and_less_often() {
    let aws = FakeAws::new();
    let (mut seen, trouble) = start(&aws);
    seen.changed().await.unwrap();
    tokio::time::sleep(2 * MINUTE).await;
    trouble.send_replace(true);
    tokio::time::sleep(SECOND).await;
    assert_eq!(aws.asked("describe").len(), 2, "at once");
    // It comes and goes.
    for _ in 0..20 {
        trouble.send_replace(false);
        tokio::time::sleep(SECOND / 4).await;
        trouble.send_replace(true);
        tokio::time::sleep(SECOND / 4).await;
    }
    assert_eq!(aws.asked("describe").len(), 2, "not before the gap");
    tokio::time::sleep(60 * MINUTE).await;
    let gaps = gaps(&aws);
    assert!(gaps[1..].iter().all(|gap| *gap >= GAP), "{gaps:?}");
    assert!((7..=20).contains(&gaps.len()), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn what_aws_does_not_say_changes_no_place() {
    let aws = FakeAws::new();
    let (mut seen, trouble) = start(&aws);
    seen.changed().await.unwrap();
    let place = seen.borrow_and_update().place.clone().unwrap();
    trouble.send_replace(true);
    for error in [
        throttled(),
        EksError::AwsUnreachable { service: Service::Eks, words: "refused".to_owned() },
        EksError::ClusterNotFound { arn: arn(), account: None },
        EksError::DescribeDenied { caller: None, words: "no".to_owned() },
        EksError::BadDescription(
            "its certificate authority holds no certificate, or one that is cut short (status ACTIVE)".to_owned(),
        ),
    ] {
        aws.describe_as(match error {
            EksError::BadDescription(_) => Ok(Facts { authority: Some("UEVN".to_owned()), ..facts() }),
            _ => Err(error.clone()),
        });
        seen.changed().await.unwrap();
        let now = seen.borrow_and_update().clone();
        assert_eq!(now.error, Some(error));
        assert!(Arc::ptr_eq(&now.place.unwrap(), &place));
    }
    aws.describe_as(Ok(facts()));
    seen.changed().await.unwrap();
    assert_eq!(*seen.borrow_and_update(), Seen { place: Some(place), error: None });
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_goes_or_is_another_one_is_no_place() {
    for (other, reason) in [
        (Facts { status: Some("DELETING".to_owned()), ..facts() }, "ClusterNotActive"),
        (Facts { arn: Some("arn:aws:eks:eu-west-1:999900001111:cluster/prod".to_owned()), ..facts() }, "WrongCluster"),
    ] {
        let aws = FakeAws::new();
        let (mut seen, _trouble) = start(&aws);
        seen.changed().await.unwrap();
        assert!(seen.borrow_and_update().place.is_some());
        aws.describe_as(Ok(other));
        seen.changed().await.unwrap();
        let now = seen.borrow_and_update().clone();
        assert_eq!((now.place, now.error.unwrap().reason()), (None, reason));
        // Made anew under the old name.
        aws.describe_as(Ok(Facts { created: Some(8), ..facts() }));
        seen.changed().await.unwrap();
        assert_eq!(seen.borrow().place.as_ref().unwrap().created, Some(8));
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_asked_about_more_and_more_slowly() {
    let aws = FakeAws::new();
    aws.describe_as(Err(throttled()));
    let (_seen, trouble) = start(&aws);
    tokio::time::sleep(MINUTE).await;
    // AWS itself is the trouble: no hurry helps.
    trouble.send_replace(true);
    tokio::time::sleep(2 * 60 * MINUTE).await;
    let asked = aws.asked("describe").len();
    assert!((28..=65).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_session_of_another_account_describes_nothing() {
    let aws = FakeAws::new();
    *aws.caller.lock().unwrap() = Some("arn:aws:sts::999900001111:assumed-role/mw-sync/x".to_owned());
    let eks = aws.eks();
    let error = eks.describe(&eks.session(&key()), &arn()).await.unwrap_err();
    assert_eq!(error, EksError::ClusterNotFound { arn: arn(), account: Some("999900001111".to_owned()) });
    assert!(aws.asked("describe").is_empty());
}

#[tokio::test(start_paused = true)]
async fn at_most_five_descriptions_per_account_and_region_at_once() {
    let aws = FakeAws::new();
    let eks = aws.eks();
    let session = eks.session(&key());
    let one = arn();
    let looks = join_all((0..40).map(|_| eks.describe(&session, &one))).await;
    assert!(looks.iter().all(Result::is_ok));
    assert_eq!(aws.most_at_once(), crate::eks::DESCRIBES);
}
