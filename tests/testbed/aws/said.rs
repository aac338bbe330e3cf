//! What a test tells the stand-in, and what that tells a test.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::control_plane;

/// A role. There are none but those that a test defines.
#[derive(Clone, Debug, Serialize)]
pub struct Role {
    /// `arn:aws:iam::111122223333:role/path/name`
    pub arn: String,
    /// ARNs of the roles whose sessions may assume it.
    pub trusts: Vec<String>,
    /// What they have to know.
    pub external_id: Option<String>,
    /// Whether the trust allows `sts:TagSession` too, without which no session that has tags may assume it.
    pub tag_session: bool,
    /// Token of the ServiceAccount that has this role in the management cluster.
    pub service_account: Option<String>,
    /// Its sessions live so long, however long a life was asked for. AWS itself never gives less than was asked for.
    pub session_seconds: u32,
    /// How long its sessions' tokens are, in characters.
    pub token_length: u32,
    /// What its sessions may do in EKS: `DescribeCluster`, `ListClusters`.
    pub allows: Vec<&'static str>,
    /// To its sessions the clock of AWS is so many seconds ahead of ours.
    pub clock_ahead: i32,
}

impl Role {
    /// A role that nobody may assume yet, with sessions as usual.
    #[must_use]
    pub fn new(arn: impl Into<String>) -> Self {
        Self {
            arn: arn.into(),
            trusts: Vec::new(),
            external_id: None,
            tag_session: true,
            service_account: None,
            session_seconds: 3600,
            token_length: 356,
            allows: vec!["DescribeCluster", "ListClusters"],
            clock_ahead: 0,
        }
    }
}

/// A cluster as EKS describes it. What is `None` stays as it is, or as moto makes it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EksCluster {
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Its name.
    pub name: String,
    /// URL of its API server.
    pub endpoint: Option<String>,
    /// PEM of one certificate authority or more.
    #[serde(serialize_with = "base64")]
    pub authority: Option<String>,
    /// `ACTIVE`, `UPDATING`, ...
    pub status: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// Its Kubernetes version.
    pub version: Option<String>,
    /// Its tags.
    pub tags: Option<BTreeMap<String, String>>,
    /// Whether only its network can reach it.
    pub private: Option<bool>,
    /// Another ARN than it should have.
    #[serde(rename = "arn")]
    pub wrong_arn: Option<String>,
}

impl EksCluster {
    /// A cluster whose endpoint is this API server.
    #[must_use]
    pub fn of(account: &str, region: &str, name: &str, server: &Cluster) -> Self {
        Self {
            account: account.to_owned(),
            region: region.to_owned(),
            name: name.to_owned(),
            endpoint: Some(server.server_url()),
            authority: Some(server.ca_pem().to_owned()),
            version: control_plane::minor().map(str::to_owned),
            ..Self::default()
        }
    }

    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:eks:{}:{}:cluster/{}", self.region, self.account, self.name)
    }
}

fn base64<S: serde::Serializer>(text: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    text.as_ref().map(|text| ByteString(text.clone().into_bytes())).serialize(to)
}

/// Who is let into an EKS cluster: an access entry.
#[derive(Clone, Debug, Serialize)]
pub struct AccessEntry {
    /// ARN of the role, without its path.
    pub role: String,
    /// May have `{{AccountID}}` and `{{SessionName}}` in it.
    pub username: String,
    /// Kubernetes groups.
    pub groups: Vec<String>,
}

/// Something that goes wrong in AWS.
#[derive(Clone, Debug, Serialize)]
pub struct AwsFault {
    /// `AssumeRole`, `DescribeCluster`, ..., `PresignedGetCallerIdentity` for what clusters ask of STS.
    pub operation: &'static str,
    /// ARN of the caller's role, of the role that is to be assumed, or name of the cluster that is asked about; any,
    /// if this is empty.
    pub of: String,
    /// AWS's code; empty: the call goes on after the delay.
    pub code: &'static str,
    /// Words beside the code.
    pub message: &'static str,
    /// HTTP status.
    pub status: u16,
    /// How often; for ever, if this is `None`.
    pub times: Option<u32>,
    /// Seconds before the answer.
    pub delay: f64,
    /// A body that is none of AWS's, instead of code and words.
    pub body: Option<&'static str>,
    /// Of that body.
    pub content_type: &'static str,
}

impl AwsFault {
    /// An operation fails with this code until told otherwise.
    #[must_use]
    pub fn new(operation: &'static str, of: impl Into<String>, code: &'static str, status: u16) -> Self {
        let (of, content_type) = (of.into(), "text/html");
        Self { operation, of, code, message: "a fault", status, times: None, delay: 0.0, body: None, content_type }
    }
}

/// A call of AWS.
#[derive(Clone, Debug, Deserialize)]
pub struct AwsCall {
    /// When it came, in seconds since 1970.
    pub at: f64,
    /// As in [`AwsFault`].
    pub operation: String,
    /// ARN of the role whose session called; empty for one that has none yet.
    pub role: String,
    /// The role to assume, or the cluster.
    pub target: String,
    /// Region that was asked; empty where no signature says it.
    pub region: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// AWS's code, if the stand-in refused.
    pub code: String,
    /// Whether it met a fault.
    pub fault: bool,
    /// Seconds that the caller's session had left when it was answered, if it had one.
    pub left: Option<f64>,
}

/// What became of a token in the webhook of an API server.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// When the token was signed: `20261126T193204Z`.
    pub signed: String,
    /// Which headers the signature covers.
    pub signed_headers: String,
    /// The STS that the token is for.
    pub host: String,
    /// The id of the access key that it is signed with, which is that of a session.
    pub key: String,
    /// The EKS cluster that it is for; empty if that is not known.
    pub cluster: String,
    /// Whose it is; empty if that is not known.
    pub arn: String,
    /// Why it was refused; empty if it was not.
    pub error: String,
}
