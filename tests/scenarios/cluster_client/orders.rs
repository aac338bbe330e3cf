//! Orders with real bodies.

use super::*;
use sync_core::cluster::write::execute;
use sync_core::order::{Looked, Metadata, Reply};
use sync_core::plan::Guard;
use testbed::eventually;

fn written(reply: &Reply) -> (Uid, Rv) {
    let Reply::Written { uid, rv } = reply else { panic!("{reply:?}") };
    (*uid, *rv)
}

fn update(namespace: &str, to: &Desired, from: &Desired) -> Order {
    order(namespace, &to.key.name, Step::Update(Bytes::from(body::update(to, &from.shape))))
}

fn replace(namespace: &str, to: &Desired, uid: Uid, rv: Rv) -> Order {
    order(namespace, &to.key.name, Step::Replace(body::replace(&body::create(to).into(), Guard { uid, rv })))
}

fn delete(namespace: &str, name: &str, uid: Uid, rv: Rv) -> Order {
    order(namespace, name, Step::Delete(Bytes::from(body::delete(Guard { uid, rv }))))
}

#[tokio::test]
async fn cluster_client_orders_do_what_they_say() -> Result<()> {
    let cluster = shared("client").await?;
    namespaces(&cluster, &["client-orders"]).await?;
    let (client, bodies) = recorded(connection(&cluster)?.write);
    let run = async |order: Order| execute(&client, MANAGER, &order).await;
    let (one, two) = (desired("a", "aHVudGVyMg==", false), desired("a", "aHVudGVyMw==", false));
    let look = || order("client-orders", "a", Step::Look);

    assert!(matches!(run(look()).await?, Reply::Looked(None)));
    let (uid, first) = written(&run(create("client-orders", &one)).await?);
    assert_eq!(run(create("client-orders", &one)).await.unwrap_err(), Fault::AlreadyExists);
    let (same, second) = written(&run(update("client-orders", &two, &one)).await?);
    assert!(same == uid && second > first);
    let Reply::Looked(Some(Looked { metadata: Metadata { rv, labels, annotations, .. }, .. })) = run(look()).await?
    else {
        panic!("it is there")
    };
    assert_eq!((rv, &labels, &annotations), (second, &two.labels, &two.annotations));
    let whole = read::get_object(&connection(&cluster)?.watch, Kind::Secret, "client-orders", "a").await?;
    assert_eq!(whole.context("it is there")?.content, *two.content);

    // Exactly this object in exactly this version.
    let other = super::uid("99999999-0000-4000-8000-000000000009");
    assert_eq!(run(delete("client-orders", "a", uid, first)).await.unwrap_err(), Fault::Conflict);
    assert_eq!(run(delete("client-orders", "a", other, second)).await.unwrap_err(), Fault::Conflict);

    // Without our marks it is not ours.
    cluster.kubectl(&["-n", "client-orders", "label", "secret", "a", "mw-sync.io/managed-by-"]).await?;
    assert_eq!(run(update("client-orders", &two, &one)).await.unwrap_err(), Fault::LostRace);
    let off = order("client-orders", "a", Step::SwitchOff(Bytes::from(body::switch_off(Guard { uid, rv: second }))));
    assert_eq!(run(off).await.unwrap_err(), Fault::LostRace);
    assert_eq!(run(delete("client-orders", "a", uid, second)).await.unwrap_err(), Fault::Conflict);

    let Reply::Looked(Some(now)) = run(look()).await? else { panic!("it is there") };
    let off =
        order("client-orders", "a", Step::SwitchOff(Bytes::from(body::switch_off(Guard { uid, rv: now.metadata.rv }))));
    let (_, third) = written(&run(off).await?);
    assert!(matches!(run(delete("client-orders", "a", uid, third)).await?, Reply::Deleted));
    assert!(matches!(run(delete("client-orders", "a", uid, third)).await?, Reply::Deleted), "it was gone already");
    assert_eq!(run(update("client-orders", &two, &one)).await.unwrap_err(), Fault::NotFound);

    // As large as they come.
    let large = desired("large", &"QUFB".repeat(340_000), false);
    written(&run(create("client-orders", &large)).await?);
    let whole = read::get_object(&connection(&cluster)?.watch, Kind::Secret, "client-orders", "large").await?;
    assert_eq!(whole.context("it is there")?.content, *large.content);

    let bodies = bodies.lock().expect("bodies");
    assert_eq!(bodies.len(), 16, "one request each");
    let payload = bodies.iter().find(|body| body.windows(8).any(|part| part == b"aHVudGVy"));
    assert_eq!(payload, None, "replies carry no payload");
    Ok(())
}

/// Promise 1, in a race too: a PUT is for the version that it names.
#[tokio::test]
async fn cluster_client_replaces_one_version_and_no_other() -> Result<()> {
    let cluster = shared("client").await?;
    namespaces(&cluster, &["client-replaces"]).await?;
    let client = connection(&cluster)?.write;
    let run = async |order: Order| execute(&client, MANAGER, &order).await;
    let all = [desired("a", "dg==", false), desired("a", "dw==", false), desired("a", "eA==", false)];
    let (_, first) = written(&run(create("client-replaces", &all[0])).await?);
    let whole = async || -> Result<Object> {
        let read = read::get_object(&connection(&cluster)?.watch, Kind::Secret, "client-replaces", "a").await?;
        read.context("it is there")
    };
    let uid = whole().await?.uid;
    let (same, second) = written(&run(replace("client-replaces", &all[1], uid, first)).await?);
    assert!(same == uid && second > first);
    let now = whole().await?;
    assert_eq!((&now.content, &now.labels, &now.annotations), (&*all[1].content, &all[1].labels, &all[1].annotations));
    assert!(!now.more, "the server adds nothing that would have to be kept");

    // Somebody has added a label meanwhile; it stays, and a JSON Patch leaves it there too.
    cluster.kubectl(&["-n", "client-replaces", "label", "secret", "a", "theirs=x"]).await?;
    assert_eq!(run(replace("client-replaces", &all[2], uid, second)).await.unwrap_err(), Fault::Conflict);
    let other = super::uid("99999999-0000-4000-8000-000000000009");
    let third = whole().await?.rv;
    assert_eq!(run(replace("client-replaces", &all[2], other, third)).await.unwrap_err(), Fault::Conflict);
    written(&run(update("client-replaces", &all[2], &all[1])).await?);
    let now = whole().await?;
    assert_eq!((&now.content, &*now.labels["theirs"]), (&*all[2].content, "x"));
    // What is in no label is known to be there.
    let owned = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
    cluster.kubectl(&["-n", "client-replaces", "patch", "secret", "a", "--type=merge", "-p", owned]).await?;
    assert!(whole().await?.more);
    cluster
        .kubectl(&[
            "-n",
            "client-replaces",
            "patch",
            "secret",
            "a",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .await?;
    Ok(())
}

#[tokio::test]
async fn cluster_client_orders_fail_for_the_reason_that_is() -> Result<()> {
    let cluster = shared("client").await?;
    namespaces(&cluster, &["client-quota", "client-ends", "client-fixed", "client-policy"]).await?;
    let client = connection(&cluster)?.write;
    let run = async |order: Order| execute(&client, MANAGER, &order).await;
    let (one, two) = (desired("a", "dg==", false), desired("a", "dw==", false));

    assert_eq!(run(create("client-nowhere", &one)).await.unwrap_err(), Fault::NamespaceMissing);
    assert_eq!(run(update("client-nowhere", &two, &one)).await.unwrap_err(), Fault::NotFound);

    // No quota controller here: its part is done by hand.
    let quota = ["-n", "client-quota", "create", "quota", "q", "--hard=count/secrets=0"];
    cluster.kubectl(&quota).await?;
    let status = r#"{"status":{"hard":{"count/secrets":"0"},"used":{"count/secrets":"0"}}}"#;
    let patch = ["-n", "client-quota", "patch", "quota", "q", "--subresource=status", "--type=merge", "-p", status];
    cluster.kubectl(&patch).await?;
    eventually(SOON, "the quota holds", async || match run(create("client-quota", &one)).await {
        Err(Fault::Rejected(text)) if text.contains("exceeded quota: q") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;

    let fixed = desired("a", "dg==", true);
    run(create("client-fixed", &fixed)).await?;
    let Err(Fault::Rejected(text)) = run(update("client-fixed", &two, &fixed)).await else { panic!("immutable") };
    assert!(text.contains("immutable"), "{text}");

    let pinned = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"pin","finalizers":["example.com/pin"]}}"#;
    cluster.kubectl_stdin(&["-n", "client-ends", "apply", "-f", "-"], pinned).await?;
    cluster.kubectl(&["delete", "namespace", "client-ends", "--wait=false"]).await?;
    assert_eq!(run(create("client-ends", &one)).await.unwrap_err(), Fault::NamespaceTerminating);
    let seen = read::get_namespace(&client, "client-ends").await?.context("still there")?;
    assert!(seen.terminating);
    let free =
        ["-n", "client-ends", "patch", "configmap", "pin", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
    cluster.kubectl(&free).await?;

    let policy = "\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: client-policy}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: client-policy}}
    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [secrets]}]
  validations: [{expression: 'false', message: not here}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: client-policy}
spec: {policyName: client-policy, validationActions: [Deny]}
";
    cluster.kubectl_stdin(&["apply", "-f", "-"], policy).await?;
    let (tries, one) = (std::cell::Cell::new(0), &one);
    eventually(SOON, "the policy denies", async || {
        tries.set(tries.get() + 1);
        let own = desired(&format!("a-{}", tries.get()), "dg==", false);
        match run(create("client-policy", &own)).await {
            Err(Fault::Rejected(text)) if text.contains("client-policy") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(matches!(run(create("client-policy", one)).await, Err(Fault::Rejected(_))));
    cluster.kubectl(&["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "client-policy"]).await?;
    Ok(())
}
