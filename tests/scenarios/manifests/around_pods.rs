//! What stands beside a Deployment and must mean its pods.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use testbed::SharedCluster;

use super::installed;

/// Reads one object of namespace `operator`.
async fn read(cluster: &SharedCluster, object: &str) -> Result<Value> {
    let read = cluster.kubectl(&["-n", "operator", "get", object, "-o", "json"]).await?;
    Ok(serde_json::from_str(&read)?)
}

/// Whether these labels, of which there are some, are among those of the pods.
fn selects(labels: &Value, pods: &Map<String, Value>) -> Result<()> {
    let labels = labels.as_object().filter(|labels| !labels.is_empty()).context("selects no labels")?;
    ensure!(labels.iter().all(|(key, value)| pods.get(key) == Some(value)), "{labels:?} are not those of {pods:?}");
    Ok(())
}

#[tokio::test]
async fn what_stands_beside_a_deployment_means_its_pods() -> Result<()> {
    let cluster = installed().await?;
    for name in ["agent", "master"] {
        let of = async |kind: &str| read(&cluster, &format!("{kind}/mw-sync-{name}")).await;
        let deployment = of("deployment").await?;
        let pods = &deployment["spec"]["template"];
        let labels = pods["metadata"]["labels"].as_object().context("no labels")?;
        let ports = pods["spec"]["containers"][0]["ports"].as_array().context("no ports")?;
        let [port] = &ports[..] else { anyhow::bail!("one port, not {ports:?}") };
        // Where the program listens that has been told nothing else, and what it answers there.
        assert_eq!(port["containerPort"], 8080);
        for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
            let asked = &pods["spec"]["containers"][0][probe]["httpGet"];
            assert_eq!((&asked["path"], &asked["port"]), (&json!(path), &port["name"]), "{probe}");
        }

        let service = of("service").await?["spec"].take();
        selects(&service["selector"], labels).context("Service")?;
        let served = (&service["ports"][0]["targetPort"], &service["ports"][0]["port"]);
        assert_eq!(served, (&port["name"], &port["containerPort"]));
        // Both are asked: a standby and one that is not ready have metrics too.
        assert_eq!((&service["clusterIP"], &service["publishNotReadyAddresses"]), (&json!("None"), &json!(true)));

        // A node can always be drained, and never takes both.
        let budget = of("poddisruptionbudget").await?["spec"].take();
        selects(&budget["selector"]["matchLabels"], labels).context("PodDisruptionBudget")?;
        let replicas = deployment["spec"]["replicas"].as_u64().context("replicas")?;
        let going = budget["maxUnavailable"].as_u64().context("maxUnavailable")?;
        assert!(0 < going && going < replicas, "{going} of {replicas}");

        // Nobody gets in but by that port, and the way out is bounded.
        let policy = of("networkpolicy").await?["spec"].take();
        selects(&policy["podSelector"]["matchLabels"], labels).context("NetworkPolicy")?;
        assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
        let open = json!([{"ports": [{"port": port["containerPort"], "protocol": "TCP"}]}]);
        assert_eq!(policy["ingress"], open);
        let ways = policy["egress"].as_array().context("no egress")?;
        let bounded = |way: &Value| way["ports"].as_array().is_some_and(|ports| !ports.is_empty());
        assert!(!ways.is_empty() && ways.iter().all(bounded), "{ways:#?}");
        let to = |number: u16| {
            ways.iter()
                .filter(move |way| way["ports"].as_array().is_some_and(|p| p.iter().any(|p| p["port"] == number)))
        };
        // API servers, but for what a node tells of itself.
        let blocks: Vec<_> = to(443).flat_map(|way| way["to"].as_array().into_iter().flatten()).collect();
        let metadata = |address: &str| blocks.iter().any(|block| block["ipBlock"]["except"] == json!([address]));
        assert!(metadata("169.254.169.254/32") && metadata("fd00:ec2::254/128"), "{blocks:#?}");
        assert!(to(6443).count() == 1 && to(53).count() == 1, "{ways:#?}");

        let monitor = of("podmonitor").await?["spec"].take();
        selects(&monitor["selector"]["matchLabels"], labels).context("PodMonitor")?;
        assert_eq!(monitor["podMetricsEndpoints"][0]["port"], port["name"]);
    }
    Ok(())
}
