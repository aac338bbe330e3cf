use std::sync::Arc;
use std::time::SystemTime;

use aws_config::retry::RetryConfig;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_sdk_sts::config::http::HttpRequest;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::*;
use crate::eks::tests_support::{ARN, ROLE, arn, key};

const CALLER: &str = "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::999900001111:assumed-role/mw/x</Arn>\
    <Account>999900001111</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
const ASSUMED: &str = "<AssumeRoleResponse><AssumeRoleResult><AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId>\
    <Arn>arn:aws:sts::111122223333:assumed-role/mw-sync/mw-sync-management</Arn></AssumedRoleUser><Credentials>\
    <AccessKeyId>ASIAHUNTER2</AccessKeyId><SecretAccessKey>HUNTER2</SecretAccessKey><SessionToken>HUNTER2</SessionToken>\
    <Expiration>2026-11-25T05:30:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";

type Answers = dyn Fn(&str) -> (u16, String) + Send + Sync;

/// Answers each request by its first line and its body, and keeps them.
#[derive(Clone)]
struct Replies(Arc<(Box<Answers>, Mutex<Vec<String>>)>);

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replies")
    }
}

impl HttpConnector for Replies {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let asked = format!("{} {} {body}", request.method(), request.uri());
        let (code, body) = self.0.0(&asked);
        self.0.1.lock().unwrap().push(asked);
        let mut response = HttpResponse::new(code.try_into().unwrap(), body.into());
        response.headers_mut().insert("date", "Wed, 25 Nov 2026 04:30:00 GMT");
        HttpConnectorFuture::ready(Ok(response))
    }
}

/// Has nothing.
#[derive(Debug)]
struct Nobody;

impl aws_credential_types::provider::ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::ready(Err(CredentialsError::not_loaded("none")))
    }
}

fn day() -> SystemTime {
    "2026-11-25T04:30:00Z".parse::<jiff::Timestamp>().unwrap().into()
}

fn aws(answers: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> (SdkAws, Replies) {
    let replies = Replies(Arc::new((Box::new(answers), Mutex::default())));
    let connector = SharedHttpConnector::new(replies.clone());
    let own = Credentials::new("AKID", "HUNTER2", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .retry_config(RetryConfig::disabled())
        .credentials_provider(SharedCredentialsProvider::new(own))
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .build();
    // Ten minutes behind.
    let clock = WallClock::of(|| day() - Duration::from_secs(600));
    let mut aws = SdkAws::new(clock, false);
    aws.base = OnceCell::new_with(Some(config));
    (aws, replies)
}

fn refused(code: &str, words: &str) -> (u16, String) {
    let words = format!("<Code>{code}</Code><Message>{words}</Message>");
    (403, format!("<ErrorResponse><Error><Type>Sender</Type>{words}</Error><RequestId>r</RequestId></ErrorResponse>"))
}

/// STS, and this answer of EKS.
fn eks(code: u16, body: &'static str) -> (SdkAws, Replies) {
    aws(move |asked| match asked {
        asked if asked.contains("Action=GetCallerIdentity") => (200, CALLER.to_owned()),
        asked if asked.contains("Action=AssumeRole&") => (200, ASSUMED.to_owned()),
        _ => (code, body.to_owned()),
    })
}

#[tokio::test]
async fn a_role_is_assumed_for_an_hour_under_our_name() {
    let (aws, replies) = eks(200, "{}");
    let key = SessionKey { external_id: Some("a/b".to_owned()), ..key() };
    let grant = aws.session(&key, "mw-sync-management").await.unwrap();
    assert_eq!(grant.account(), Some("111122223333"));
    assert_eq!(grant.credentials.expiry().unwrap(), day() + DURATION);
    assert_eq!(grant.credentials.session_token(), Some("HUNTER2"));
    aws.session(&key, "mw-sync-management").await.unwrap();
    let asked = replies.0.1.lock().unwrap().clone();
    // Who we are is asked once.
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked.iter().all(|asked| asked.starts_with("POST https://sts.eu-west-1.amazonaws.com/ ")), "{asked:?}");
    for part in [
        "Action=AssumeRole&",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fteam%2Fmw-sync",
        "RoleSessionName=mw-sync-management",
        "DurationSeconds=3600",
        "ExternalId=a%2Fb",
    ] {
        assert!(asked[1].contains(part), "{part}: {}", asked[1]);
    }
    // And the time of day is AWS's.
    assert_eq!(aws.clock.ahead(), 600);
}

#[tokio::test]
async fn refusals_of_sts() {
    let quoting = "The Canonical String for this request should have been 'x-amz-security-token:HUNTER2'";
    for (code, words, reason, text) in [
        (
            "AccessDenied",
            "User: u is not authorized to perform: sts:AssumeRole on resource: r",
            "AssumeRoleDenied",
            "let arn:aws:sts::999900001111:assumed-role/mw/x assume arn:aws:iam::111122223333:role/team/mw-sync: User: u is",
        ),
        ("SignatureDoesNotMatch", quoting, "AwsRefused", "SignatureDoesNotMatch"),
        ("SignatureDoesNotMatch", "Signature expired: 1 is now earlier than 2", "ClockSkew", "clock"),
        ("ExpiredToken", "HUNTER2", "NoCredentials", "ExpiredToken"),
        ("Throttling", "Rate exceeded", "Throttled", "AWS STS asks to slow down"),
    ] {
        let (code, words) = (code.to_owned(), words.to_owned());
        let (aws, _) = aws(move |asked| match asked {
            asked if asked.contains("Action=GetCallerIdentity") => (200, CALLER.to_owned()),
            _ => refused(&code, &words),
        });
        let error = aws.session(&key(), "x").await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(error.reason() == reason && shown.contains(text) && !shown.contains("HUNTER2"), "{reason}: {shown}");
    }
}

#[tokio::test]
async fn nobody_is_nobody() {
    let (mut aws, replies) = eks(200, "{}");
    let config = aws.base.take().unwrap().into_builder().credentials_provider(SharedCredentialsProvider::new(Nobody));
    aws.base = OnceCell::new_with(Some(config.build()));
    for key in [key(), SessionKey { role: None, ..key() }] {
        let error = aws.session(&key, "x").await.unwrap_err();
        assert!(error.reason() == "NoCredentials" && error.to_string().contains("Pod Identity"), "{error}");
    }
    assert!(replies.0.1.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_description_says() {
    let whole = r#"{"cluster": {"arn": "arn:aws:eks:eu-west-1:111122223333:cluster/prod", "name": "prod", "tags": {"team": "a"}, "status": "UPDATING", "version": "1.33",
        "createdAt": 1500000000.25, "endpoint": "https://A", "certificateAuthority": {"data": "UEVN"}, "id": "0a1b",
        "resourcesVpcConfig": {"endpointPublicAccess": true, "publicAccessCidrs": ["10.0.0.0/8"]}}}"#;
    let (aws, replies) = eks(200, whole);
    let grant = aws.session(&key(), "x").await.unwrap();
    let facts = aws.describe(&grant, &arn()).await.unwrap();
    let expected = Facts {
        tags: [("team".to_owned(), "a".to_owned())].into(),
        arn: Some(ARN.to_owned()),
        status: Some("UPDATING".to_owned()),
        version: Some("1.33".to_owned()),
        endpoint: Some("https://A".to_owned()),
        authority: Some("UEVN".to_owned()),
        created: Some(1_500_000_000_250),
        outpost_id: None,
        restricted: true,
    };
    assert_eq!(facts, expected);
    let asked = replies.0.1.lock().unwrap().last().unwrap().clone();
    assert!(asked.starts_with("GET https://eks.eu-west-1.amazonaws.com/clusters/prod"), "{asked}");
    // What is not said.
    for (body, restricted) in [
        (r#"{"cluster": {}}"#, false),
        (
            r#"{"cluster": {"resourcesVpcConfig": {"endpointPublicAccess": false, "publicAccessCidrs": ["0.0.0.0/0"]}}}"#,
            true,
        ),
        (
            r#"{"cluster": {"resourcesVpcConfig": {"endpointPublicAccess": true, "publicAccessCidrs": ["0.0.0.0/0"]}}}"#,
            false,
        ),
    ] {
        let facts = eks(200, body).0.describe(&grant, &arn()).await.unwrap();
        assert_eq!(facts, Facts { restricted, ..Facts::default() });
    }
    let outpost =
        r#"{"cluster": {"id": "0a1b", "outpostConfig": {"outpostArns": [], "controlPlaneInstanceType": "m5.large"}}}"#;
    assert_eq!(eks(200, outpost).0.describe(&grant, &arn()).await.unwrap().outpost_id.as_deref(), Some("0a1b"));
}

#[tokio::test]
async fn refusals_of_eks() {
    let grant = eks(200, "{}").0.session(&key(), "x").await.unwrap();
    for (code, body, reason, text) in [
        (
            404,
            r#"{"__type": "ResourceNotFoundException", "message": "No cluster found"}"#,
            "ClusterNotFound",
            "no cluster prod",
        ),
        (
            403,
            r#"{"__type": "AccessDeniedException", "message": "is not authorized"}"#,
            "DescribeDenied",
            "is not authorized",
        ),
        (429, r#"{"__type": "TooManyRequestsException", "message": "x"}"#, "Throttled", "AWS EKS asks"),
        (403, r#"{"__type": "ExpiredTokenException", "message": "x"}"#, "NoCredentials", "ExpiredTokenException"),
        (500, "<html>HUNTER2", "AwsUnreachable", "HTTP 500 without"),
        (200, "<html>HUNTER2", "AwsUnreachable", "HTTP 200 without"),
        (200, "{}", "BadDescription", "nothing"),
    ] {
        let error = eks(code, body).0.describe(&grant, &arn()).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(error.reason() == reason && shown.contains(text) && !shown.contains("HUNTER2"), "{reason}: {shown}");
    }
    assert!(!format!("{grant:?}").contains("HUNTER2") && ROLE.contains("mw-sync"));
}

#[tokio::test]
async fn all_pages_of_a_list_are_read_or_none() {
    let listed = |broken: bool| {
        aws(move |asked| match asked {
            asked if asked.contains("Action=GetCallerIdentity") => (200, CALLER.to_owned()),
            asked if asked.contains("nextToken=two") && broken => {
                (403, r#"{"__type":"AccessDeniedException"}"#.to_owned())
            }
            asked if asked.contains("nextToken=two") => (200, r#"{"clusters":["c"]}"#.to_owned()),
            _ => (200, r#"{"clusters":["a","b"],"nextToken":"two"}"#.to_owned()),
        })
    };
    let own = SessionKey { role: None, ..key() };
    let (aws, replies) = listed(false);
    let grant = aws.session(&own, "x").await.unwrap();
    assert_eq!(aws.clusters(&grant, "us-east-1").await.unwrap(), ["a", "b", "c"]);
    let asked = replies.0.1.lock().unwrap().clone();
    assert!(asked[1].starts_with("GET https://eks.us-east-1.amazonaws.com/clusters"), "{asked:?}");
    let (aws, _) = listed(true);
    let grant = aws.session(&own, "x").await.unwrap();
    assert_eq!(aws.clusters(&grant, "us-east-1").await.unwrap_err().reason(), "ListDenied");
}
