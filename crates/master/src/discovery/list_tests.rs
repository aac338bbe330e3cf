use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use sync_core::contract::keys::KUBECONFIG_TYPE;

use super::*;
use crate::eks::tests_support::FakeAws;

fn account(spec: &str) -> EksAccount {
    serde_yaml::from_str(spec).unwrap()
}

fn tags(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Clusters of these names in a region.
fn in_region(aws: &FakeAws, region: &str, names: &[&str]) {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    aws.names.lock().unwrap().insert(region.to_owned(), Ok(names));
}

fn names(listing: &Listing) -> Vec<&str> {
    let mut names: Vec<_> = listing.found.iter().map(|found| found.name.as_str()).collect();
    names.sort_unstable();
    names
}

const ROLE: &str = "arn:aws:iam::111122223333:role/team/mw-sync";

#[tokio::test(start_paused = true)]
async fn without_tags_a_list_is_all_that_is_asked() {
    let aws = FakeAws::new();
    in_region(&aws, "eu-west-1", &["a", "b"]);
    in_region(&aws, "us-east-1", &["a"]);
    let spec = account(&format!("{{roleArn: '{ROLE}', externalId: id, regions: [eu-west-1, us-east-1, eu-west-3]}}"));
    let listing = of_account(&aws.eks(), &spec).await;
    let all = ["a-eu-west-1-111122223333", "a-us-east-1-111122223333", "b-eu-west-1-111122223333"];
    assert_eq!((names(&listing), &listing.troubles[..]), (all.to_vec(), &[][..]));
    let arn = "arn:aws:eks:eu-west-1:111122223333:cluster/a".to_owned();
    let way = Way::Eks(EksCluster { arn, role_arn: Some(ROLE.to_owned()), external_id: Some("id".to_owned()) });
    assert!(listing.found.iter().any(|found| found.way == way));
    assert!(aws.asked("describe").is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_next_look_has_the_sessions_of_the_one_before() {
    let aws = FakeAws::new();
    let (eks, spec) = (aws.eks(), account("{regions: [eu-west-1, us-east-1]}"));
    let before = of_account(&eks, &spec).await.sessions;
    let _now = of_account(&eks, &spec).await;
    assert_eq!((aws.asked("list").len(), aws.asked("session").len()), (4, 2));
    drop(before);
}

#[tokio::test(start_paused = true)]
async fn tags_select_and_become_labels_and_five_are_described_at_once() {
    let aws = FakeAws::new();
    let all: Vec<_> = (0..40).map(|n| format!("c{n}")).collect();
    in_region(&aws, "eu-west-1", &all.iter().map(String::as_str).collect::<Vec<_>>());
    for (n, name) in all.iter().enumerate() {
        let env = if n % 4 == 0 { "prod-eu" } else { "dev" };
        aws.tags.lock().unwrap().insert(name.clone(), Ok(tags(&[("env", env), ("mw", "yes")])));
    }
    let spec = "{regions: [eu-west-1], tags: {env: 'prod-*', mw: 'yes'}, labelsFromTags: [env, none]}";
    let listing = of_account(&aws.eks(), &account(spec)).await;
    assert_eq!((listing.found.len(), listing.troubles.len()), (10, 0));
    assert!(listing.found.iter().all(|found| found.labels == tags(&[("env", "prod-eu")])));
    assert_eq!((aws.asked("describe").len(), aws.most_at_once()), (40, DESCRIBES));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_looked_at_is_told_and_the_rest_is_found() {
    let aws = FakeAws::new();
    in_region(&aws, "eu-west-1", &["a", "denied", "gone", "other"]);
    let denied = || EksError::DescribeDenied { caller: None, words: "no".to_owned() };
    let throttled = || EksError::Throttled(Service::Eks);
    let gone = "arn:aws:eks:eu-west-1:111122223333:cluster/gone".parse().unwrap();
    aws.names.lock().unwrap().insert("us-east-1".to_owned(), Err(throttled()));
    for (name, answer) in [
        ("a", Ok(tags(&[("env", "x")]))),
        ("denied", Err(denied())),
        ("gone", Err(EksError::ClusterNotFound { arn: gone, account: None })),
    ] {
        aws.tags.lock().unwrap().insert(name.to_owned(), answer);
    }
    let spec = account("{regions: [us-east-1, eu-west-1], tags: {env: '*'}}");
    let listing = of_account(&aws.eks(), &spec).await;
    assert_eq!(names(&listing), ["a-eu-west-1-111122223333"]);
    let reasons: Vec<_> = listing.troubles.iter().map(Trouble::reason).collect();
    // `other` is described as the cluster that all have whose tags are not said.
    assert_eq!(reasons, ["DescribeDenied", "WrongCluster", "Throttled"]);
    assert!(listing.troubles[2].to_string().starts_with("us-east-1: AWS EKS asks to slow down; wait"));
    assert!(listing.troubles[0].to_string().starts_with("arn:aws:eks:eu-west-1:111122223333:cluster/denied: AWS does"));
}

#[tokio::test(start_paused = true)]
async fn aws_that_asks_to_slow_down_is_not_asked_for_the_rest() {
    let aws = FakeAws::new();
    let all: Vec<_> = (0..100).map(|n| format!("c{n}")).collect();
    in_region(&aws, "eu-west-1", &all.iter().map(String::as_str).collect::<Vec<_>>());
    for name in all {
        aws.tags.lock().unwrap().insert(name, Err(EksError::Throttled(Service::Eks)));
    }
    let listing = of_account(&aws.eks(), &account("{regions: [eu-west-1], tags: {env: '*'}}")).await;
    assert_eq!((listing.found.len(), listing.troubles.len()), (0, 1));
    assert!(aws.asked("describe").len() <= 2 * DESCRIBES);
}

#[tokio::test(start_paused = true)]
async fn a_name_from_aws_that_cannot_be_one_goes_nowhere() {
    let aws = FakeAws::new();
    in_region(&aws, "eu-west-1", &["a", "../x"]);
    let listing = of_account(&aws.eks(), &account("{regions: [eu-west-1]}")).await;
    assert_eq!((listing.found.len(), listing.troubles[0].reason()), (0, "BadDescription"));
}

#[test]
fn whose_account_it_is() {
    let key = |role: Option<&str>| SessionKey {
        role: role.map(|role| role.parse().unwrap()),
        external_id: None,
        session_name: None,
        region: "eu-west-1".to_owned(),
    };
    let pair = |one: &str, other: &str| Some((one.to_owned(), other.to_owned()));
    assert_eq!(home(&key(Some("arn:aws-cn:iam::111122223333:role/x")), None), pair("aws-cn", "111122223333"));
    let user = Some("arn:aws-us-gov:iam::999900001111:user/ann");
    assert_eq!(home(&key(None), user), pair("aws-us-gov", "999900001111"));
    assert_eq!(home(&key(None), None), None);
}

#[test]
fn each_context_of_a_kubeconfig_is_found() {
    let file = KubeconfigFile { secret_name: "all".to_owned(), key: "kubeconfig".to_owned() };
    let found = |text: &str| {
        let mut secret = Secret { type_: Some(KUBECONFIG_TYPE.to_owned()), ..Secret::default() };
        secret.data = Some([("kubeconfig".to_owned(), ByteString(text.as_bytes().to_vec()))].into());
        of_secret("operator", Some(&secret), &file)
    };
    let arn = "arn:aws:eks:eu-west-1:111122223333:cluster/prod";
    let two = found(&format!("contexts: [{{name: north}}, {{name: '{arn}'}}, {{name: ''}}]")).unwrap();
    let names: Vec<_> = two.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["north", "prod-eu-west-1-111122223333"]);
    let Way::Kubeconfig(way) = &two[1].way else { panic!() };
    assert_eq!((way.secret_name.as_str(), way.context.as_deref()), ("all", Some(arn)));
    assert_eq!(found("contexts: []").unwrap(), []);
    let error = found("token: hunter2\n- x").unwrap_err();
    assert_eq!(error.reason(), "KubeconfigInvalid");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert_eq!(of_secret("operator", None, &file).unwrap_err().reason(), "SecretMissing");
}
