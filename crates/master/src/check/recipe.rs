//! Commands that mend the way to a remote cluster, ready to be pasted.

use serde_json::json;

use crate::eks::arn::{ClusterArn, RoleArn};
use crate::eks::error::EksError;
use crate::remote::crd::RemoteCluster;

/// What `deploy/remote-access.yaml` gives its Role to.
const GROUP: &str = "mw-sync-master";

/// For what AWS has refused, or a cluster of AWS's, where the ARNs in `spec.eks` are all it takes.
pub(super) fn aws(error: &EksError, cluster: &RemoteCluster) -> Option<String> {
    let (arn, role) = named(cluster)?;
    let of_cluster = format!("--region {} --name {}", arn.region(), arn.name());
    let command = match error {
        EksError::AssumeRoleDenied { role, .. } => {
            format!("aws iam get-role --role-name {} --query Role.AssumeRolePolicyDocument", base(role))
        }
        EksError::DescribeDenied { .. } => {
            let statement = json!({ "Effect": "Allow", "Action": "eks:DescribeCluster", "Resource": arn.to_string() });
            let policy = json!({ "Version": "2012-10-17", "Statement": [statement] });
            let to = format!("--role-name {} --policy-name mw-sync", base(&role?));
            format!("aws iam put-role-policy {to} --policy-document '{policy}'")
        }
        EksError::ClusterNotFound { .. } => format!("aws eks list-clusters --region {}", arn.region()),
        EksError::ClusterNotActive(_) => format!("aws eks wait cluster-active {of_cluster}"),
        EksError::NotReachable { restricted: true, .. } => {
            format!("aws eks describe-cluster {of_cluster} --query cluster.resourcesVpcConfig")
        }
        EksError::Unauthorised { role: Some(role), .. } => entry("create", &arn, role),
        _ => return None,
    };
    Some(format!("in account {}: {command}", arn.account()))
}

/// Binds whom we come as to the Role that we need there, in that cluster.
pub(super) fn rights(cluster: &RemoteCluster, user: Option<&str>, destination: &str) -> String {
    let place =
        if destination == "operator" { String::new() } else { format!(", with {destination} for operator in both") };
    let role = format!(
        "if there is no such Role in the cluster: kubectl apply -f deploy/namespace.yaml -f deploy/remote-access.yaml{place}"
    );
    let bind = match (named(cluster), user) {
        (Some((arn, Some(role))), _) => format!("{}; in account {}", entry("update", &arn, &role), arn.account()),
        (_, Some(user)) if user.starts_with("arn:") => {
            format!("give {user} an access entry with Kubernetes group {GROUP}")
        }
        (_, user) => {
            let user = user.unwrap_or("USER");
            format!("kubectl -n {destination} create rolebinding {GROUP}-user --role=mw-sync-remote --user={user}")
        }
    };
    format!("{bind}; {role}")
}

/// The cluster and the role in `spec.eks`.
fn named(cluster: &RemoteCluster) -> Option<(ClusterArn, Option<RoleArn>)> {
    let eks = cluster.spec.eks.as_ref()?;
    Some((eks.arn.parse().ok()?, eks.role_arn.as_ref().and_then(|role| role.parse().ok())))
}

fn entry(verb: &str, arn: &ClusterArn, role: &RoleArn) -> String {
    let of = format!("--region {} --cluster-name {}", arn.region(), arn.name());
    format!("aws eks {verb}-access-entry {of} --principal-arn {role} --kubernetes-groups {GROUP}")
}

/// A role's name, without its path.
fn base(role: &RoleArn) -> String {
    let role = role.without_path().to_string();
    role.rsplit('/').next().unwrap_or_default().to_owned()
}
