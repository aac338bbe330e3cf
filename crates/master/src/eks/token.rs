//! The token that logs in to an EKS cluster: a presigned request to STS that says who we are. The cluster sends it.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_sts::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::error::EksError;

/// STS ignores it; all clients send it, and the oldest verifiers take no more.
const EXPIRES: Duration = Duration::from_secs(60);
/// Longest token that the verifier takes.
const LONGEST: usize = 4096;

/// Where and for which cluster tokens are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// `https://sts.eu-west-1.amazonaws.com`: STS as the whole world sees it. The cluster opens it, so neither a VPC
    /// endpoint of ours nor `AWS_ENDPOINT_URL` has a say in it.
    pub sts: String,
    /// The cluster's.
    pub region: String,
    /// The cluster's name; its id, on an Outpost.
    pub cluster: String,
}

impl Audience {
    /// For a cluster of this region.
    ///
    /// # Errors
    /// If the SDK knows no STS there.
    pub async fn new(region: &str, cluster: &str, fips: bool, dual_stack: bool) -> Result<Self, EksError> {
        let params = Params::builder().region(region).use_fips(fips).use_dual_stack(dual_stack);
        let none = || EksError::BadDescription(format!("no STS is known in region {region}"));
        let params = params.use_global_endpoint(false).build().map_err(|_| none())?;
        let endpoint = DefaultResolver::new().resolve_endpoint(&params).await.map_err(|_| none())?;
        let sts = endpoint.url().trim_end_matches('/').to_owned();
        Ok(Self { sts, region: region.to_owned(), cluster: cluster.to_owned() })
    }

    /// Signs a token that is good from `now` on. Its secret part never leaves this function but in the token.
    ///
    /// # Errors
    /// If it would be longer than clusters take.
    pub fn token(&self, credentials: &Credentials, now: SystemTime) -> Result<Token, EksError> {
        // None of these can fail for a URL and headers like ours; what they say might show the URL.
        let never = |what: &str| EksError::BadDescription(format!("no token can be signed for it: {what}"));
        let url = format!("{}/?Action=GetCallerIdentity&Version=2011-06-15", self.sts);
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(EXPIRES);
        let identity = credentials.clone().into();
        let signing = v4::SigningParams::builder().identity(&identity).region(&self.region).name("sts");
        let signing = signing.time(now).settings(settings).build().map_err(|_| never("its settings"))?.into();
        // Signed, and not in the URL: the cluster adds its own name before it asks STS. Not one header more: a
        // verifier does not know it and would send a request that the signature does not fit.
        let headers = std::iter::once(("x-k8s-aws-id", self.cluster.as_str()));
        let request = SignableRequest::new("GET", url.as_str(), headers, SignableBody::empty());
        let request = request.map_err(|_| never("its request"))?;
        let (instructions, _) = sign(request, &signing).map_err(|_| never("its signature"))?.into_parts();
        let mut request = http::Request::get(&url).body(()).map_err(|_| never("its URL"))?;
        instructions.apply_to_request_http1x(&mut request);
        let text = format!("k8s-aws-v1.{}", BASE64_URL_SAFE_NO_PAD.encode(request.uri().to_string()));
        if text.len() > LONGEST { Err(EksError::TokenTooLong(text.len())) } else { Ok(Token(text)) }
    }
}

/// A bearer credential. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// What goes into the header.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
