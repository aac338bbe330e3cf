use std::collections::BTreeMap;

use super::*;

fn credentials(session: Option<&str>) -> Credentials {
    Credentials::new(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session.map(str::to_owned),
        None,
        "test",
    )
}

fn time() -> SystemTime {
    "2026-11-25T04:30:00Z".parse::<jiff::Timestamp>().unwrap().into()
}

/// Host, and parameters by name.
fn opened(token: &Token) -> (String, BTreeMap<String, String>) {
    let text = token.secret().strip_prefix("k8s-aws-v1.").unwrap();
    assert!(!text.contains(['=', '+', '/']), "{text}");
    let url = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    let (place, query) = url.split_once('?').unwrap();
    let pairs: Vec<_> = query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    let named: BTreeMap<_, _> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    assert_eq!(named.len(), pairs.len(), "a name comes twice: {url}");
    (place.to_owned(), named)
}

/// The expected URLs are from botocore 1.44.8: `SigV4QueryAuth(Credentials(..), "sts", region, expires=60).add_auth(..)`
/// of an `AWSRequest("GET", "https://HOST/?Action=GetCallerIdentity&Version=2011-06-15", {"x-k8s-aws-id": NAME})`, with
/// `botocore.auth.get_current_datetime` fixed at 2026-11-25 04:30:00 UTC.
#[tokio::test]
async fn a_token_is_what_botocore_signs() {
    for (region, cluster, session, host, signature) in [
        (
            "eu-west-1",
            "prod",
            Some(("FwoGZXIvYXdzEXAMPLE/with+odd=characters==", "FwoGZXIvYXdzEXAMPLE%2Fwith%2Bodd%3Dcharacters%3D%3D")),
            "https://sts.eu-west-1.amazonaws.com/",
            "c4df6cc6ac45da560dd58c7c7fa6938f2f3671e030cf3e0e351fb932cd6907a1",
        ),
        (
            "cn-north-1",
            "a_B-9",
            None,
            "https://sts.cn-north-1.amazonaws.com.cn/",
            "ce0c08466ec38a78206b4db7f8ef807f301244deaa1c797e239e2b25179a0556",
        ),
    ] {
        let audience = Audience::new(region, cluster, false, false).await.unwrap();
        let token = audience.token(&credentials(session.map(|(plain, _)| plain)), time()).unwrap();
        let (found_host, found) = opened(&token);
        let credential = format!("AKIDEXAMPLE%2F20261125%2F{region}%2Fsts%2Faws4_request");
        let mut expected = BTreeMap::from([
            ("Action", "GetCallerIdentity"),
            ("Version", "2011-06-15"),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", "20261125T043000Z"),
            ("X-Amz-Expires", "60"),
            ("X-Amz-SignedHeaders", "host%3Bx-k8s-aws-id"),
            ("X-Amz-Signature", signature),
        ]);
        expected.extend(session.map(|(_, encoded)| ("X-Amz-Security-Token", encoded)));
        let expected: BTreeMap<_, _> = expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        assert_eq!((found_host.as_str(), found), (host, expected));
    }
}

#[tokio::test]
async fn the_host_is_the_public_one_of_the_region() {
    for (region, fips, dual_stack, host) in [
        ("us-east-1", false, false, "https://sts.us-east-1.amazonaws.com"),
        ("us-east-1", true, false, "https://sts-fips.us-east-1.amazonaws.com"),
        ("eu-west-1", false, true, "https://sts.eu-west-1.api.aws"),
        ("us-gov-west-1", false, false, "https://sts.us-gov-west-1.amazonaws.com"),
        ("cn-northwest-1", false, false, "https://sts.cn-northwest-1.amazonaws.com.cn"),
        ("eusc-de-east-1", false, false, "https://sts.eusc-de-east-1.amazonaws.eu"),
        ("us-iso-east-1", false, false, "https://sts.us-iso-east-1.c2s.ic.gov"),
    ] {
        let audience = Audience::new(region, "prod", fips, dual_stack).await.unwrap();
        assert_eq!(audience.sts, host);
    }
}

#[tokio::test]
async fn no_token_is_longer_than_clusters_take() {
    let audience = Audience::new("eu-west-1", "prod", false, false).await.unwrap();
    // A session token of 2,500 characters makes a token of 3,855 (measured with aws-iam-authenticator).
    let fits = audience.token(&credentials(Some(&"a".repeat(2500))), time()).unwrap();
    assert!((3800..=LONGEST).contains(&fits.secret().len()), "{}", fits.secret().len());
    let long = audience.token(&credentials(Some(&"a".repeat(2700))), time()).unwrap_err();
    assert!(matches!(long, EksError::TokenTooLong(4097..)), "{long:?}");
    // The measure is of what is sent: characters that a URL escapes count three times.
    let escaped = audience.token(&credentials(Some(&"+".repeat(1000))), time());
    assert!(matches!(escaped, Err(EksError::TokenTooLong(_))), "{escaped:?}");
}

#[tokio::test]
async fn nothing_of_a_token_is_shown() {
    let audience = Audience::new("eu-west-1", "prod", false, false).await.unwrap();
    let token = audience.token(&credentials(Some("SESSION")), time()).unwrap();
    assert_eq!(format!("{token:?}"), "Token");
}
