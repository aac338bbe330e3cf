//! DESIGN section 6, "quota, webhook or policy rejects the write".

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::eventually;

use crate::support::{AGENT, Kind, SOON, annotated, shared_agent};

/// Promises 5 and 10: that place alone waits, the server's words are said, and it is mended without a restart.
#[tokio::test]
async fn a_quota_rejects_a_copy_with_the_servers_words_and_others_go_on() -> Result<()> {
    let shared = shared_agent().await?;
    let (cluster, world) = (&shared.cluster, &shared.world);
    world.namespace("rejected").await?;
    world.namespace("rejected-not").await?;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "rejected"},
        "spec": {"hard": {"count/configmaps": "1"}}
    });
    cluster.kubectl_stdin(&["apply", "-f", "-"], quota.to_string()).await?;
    eventually(SOON, "the quota is full", async || {
        let full = ["-n", "rejected", "create", "configmap", "trial", "--dry-run=server"];
        let error = cluster.kubectl(&full).await.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(error.contains("exceeded quota"), "{error}");
        Ok(())
    })
    .await;
    let mark = cluster.audit().mark().await?;
    let began = Instant::now();
    world.create(&annotated(Kind::ConfigMap, "rejected", &json!({"a": "1"}))).await?;
    world.until_there(Kind::ConfigMap, "rejected-not", "rejected").await;
    let words = ["1 of ", "rejected: Rejected", "exceeded quota: few", "limited: count/configmaps=1"];
    let said = world.until_said(Kind::ConfigMap, "rejected", "Rejected", &words).await;
    assert_eq!(said.kind, "Warning");
    // The others follow meanwhile.
    world.merge(Kind::ConfigMap, "operator", "rejected", &json!({"data": {"a": "2"}})).await?;
    world.until_data(Kind::ConfigMap, "rejected-not", "rejected", &json!({"a": "2"})).await;
    // Long enough for a storm to show. However slow the machine is: pauses from about 1 s on, doubled each time, and one try for each of the two versions.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let creates = cluster.audit().since(mark).await?.user(AGENT).namespace("rejected").verb("create");
    let (tries, elapsed) = (creates.resource("configmaps").count(), began.elapsed());
    let doublings = (2.0 * elapsed.as_secs_f64()).log2().ceil();
    ensure!(tries as f64 <= 3.0 + doublings, "{tries} tries in {elapsed:?}: it does not back off");
    cluster.kubectl(&["-n", "rejected", "delete", "resourcequota", "few"]).await?;
    world.until_data(Kind::ConfigMap, "rejected", "rejected", &json!({"a": "2"})).await;
    Ok(())
}
