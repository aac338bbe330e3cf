//! EKS clusters: whom AWS takes us for, what it lets us do, and whom the cluster lets in.

use anyhow::Result;
use testbed::{AccessEntry, AwsFault, Role};

use super::{Told, Who, check, no_writes};
use crate::eks::stage::{EksStage, Site, management};

/// What `master check` says of all that a scenario has.
pub(crate) async fn told(stage: &EksStage<'_>, env: &[(String, String)]) -> Result<Told> {
    let namespace = format!("--source-namespace={}", stage.stage.name);
    let flags = [namespace.as_str(), "--allow-addresses=127.0.0.1,localhost"];
    check(Who::Master, stage.kubeconfig_file(), &flags, env).await
}

#[tokio::test]
async fn each_refusal_of_aws_or_of_a_cluster_is_named() -> Result<()> {
    let management = management().await?;
    let north = Site::north().await?;
    let stage = EksStage::new(&management, "c-aws").await?;
    for what in ["good", "no-trust", "no-describe", "creating", "gone", "unmapped", "powerless", "other-ca"] {
        let mut target = stage.target_named(&north, &format!("c-aws-{what}")).await?;
        stage.add(what, &target).await?;
        match what {
            "no-trust" => target.role.trusts.clear(),
            "no-describe" => target.role.allows.clear(),
            "creating" => target.eks.status = Some("CREATING".to_owned()),
            "powerless" => target.entry.groups = vec!["nobody".to_owned()],
            "unmapped" => {
                target.entry = AccessEntry { role: "arn:aws:iam::000000000000:role/x".to_owned(), ..target.entry }
            }
            "other-ca" => target.eks.authority = Some(management.ca_pem().to_owned()),
            _ => {}
        }
        stage.aws.cluster(&target.eks).await?;
        stage.aws.role(&target.role).await?;
        stage.let_in(&target, 0).await?;
        if what == "gone" {
            stage.aws.delete_cluster(&target.eks).await?;
        }
    }
    let env = stage.aws.irsa(&stage.own)?;
    let mark = north.server.audit().mark().await?;
    let all = told(&stage, &env).await?;
    all.find("AWS", "identity", "ok", &["assumed-role/c-aws/"])?;
    all.find("AWS", "clock", "ok", &[])?;
    for (name, line, state, words) in [
        ("good", "role", "ok", &["assumed-role/c-aws-good/"][..]),
        ("good", "cluster in AWS", "ok", &["https://"]),
        ("good", "API server", "ok", &[]),
        ("good", "rights", "ok", &[]),
        ("good", "namespace", "ok", &["c-aws-good"]),
        (
            "no-trust",
            "role",
            "failed",
            &[
                "let the trust policy of arn:aws:iam::111122223333:role/team/c-aws-no-trust",
                "in account 111122223333: aws iam get-role --role-name c-aws-no-trust ",
            ],
        ),
        (
            "no-describe",
            "cluster in AWS",
            "failed",
            &["aws iam put-role-policy --role-name c-aws-no-describe ", "eks:DescribeCluster"],
        ),
        (
            "creating",
            "cluster in AWS",
            "failed",
            &["the cluster is CREATING", "aws eks wait cluster-active --region eu-west-1 --name c-aws-creating"],
        ),
        (
            "gone",
            "cluster in AWS",
            "failed",
            &[
                "there is no cluster c-aws-gone in eu-west-1 of account 111122223333",
                "aws eks list-clusters --region eu-west-1",
            ],
        ),
        (
            "unmapped",
            "API server",
            "failed",
            &[
                "does not accept us as",
                "role/team/c-aws-unmapped an access entry",
                "aws eks create-access-entry --region eu-west-1 --cluster-name c-aws-unmapped --principal-arn \
                 arn:aws:iam::111122223333:role/team/c-aws-unmapped --kubernetes-groups mw-sync-master",
            ],
        ),
        (
            "powerless",
            "rights",
            "failed",
            &["may not", "aws eks update-access-entry --region eu-west-1 --cluster-name c-aws-powerless "],
        ),
        ("other-ca", "API server", "failed", &["no TLS connection", "a proxy between that ends TLS"]),
    ] {
        all.find(&format!("remote cluster {name}"), line, state, words)?;
    }
    no_writes(
        &north
            .server
            .audit()
            .since(mark)
            .await?
            .user("arn:aws:sts::111122223333:assumed-role/c-aws-good/mw-sync-management"),
    );
    Ok(())
}

#[tokio::test]
async fn no_identity_no_way_to_aws_and_a_clock_that_is_off_are_named() -> Result<()> {
    let management = management().await?;
    let north = Site::north().await?;
    let stage = EksStage::new(&management, "c-aws-home").await?;
    let target = stage.target(&north).await?;
    stage.add("north", &target).await?;
    let env = stage.aws.irsa(&stage.own)?;

    let nobody: Vec<_> =
        env.iter().filter(|(name, _)| !name.starts_with("AWS_WEB") && !name.starts_with("AWS_ROLE")).cloned().collect();
    let told_nobody = told(&stage, &nobody).await?;
    told_nobody.find("AWS", "identity", "failed", &["no AWS credentials of our own", "eks.amazonaws.com/role-arn"])?;
    told_nobody.find("remote cluster north", "role", "failed", &["no AWS credentials of our own"])?;

    let refused = AwsFault::new("AssumeRole", target.role.arn.clone(), "Throttling", 400);
    let fault = stage.aws.fault(&refused).await?;
    told(&stage, &env).await?.find("remote cluster north", "role", "failed", &["AWS STS asks to slow down"])?;
    stage.aws.end_fault(fault).await?;

    let ahead = 20 * 60;
    stage.aws.role(&Role { clock_ahead: ahead, ..stage.own.clone() }).await?;
    stage.aws.role(&Role { clock_ahead: ahead, ..target.role.clone() }).await?;
    let off = told(&stage, &env).await?;
    off.find("AWS", "clock", "warning", &["behind AWS's", "timedatectl"])?;
    Ok(())
}
