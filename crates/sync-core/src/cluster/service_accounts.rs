//! Orders on ServiceAccounts, and the note about them in our own ConfigMap; each is one request.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::query::Query;
use super::request::{self, Limits};
use super::wire::Item;
use super::{path, read, wire, write};
use crate::contract::keys;
use crate::contract::object::{Kind, Rv};
use crate::contract::rules::Rules;
use crate::fault::Fault;
use crate::order::Metadata;
use crate::service_accounts::plan::Account;
use crate::service_accounts::{Reply, Step};

/// Field manager of the note: what else we write into that ConfigMap is another's.
const NOTE_MANAGER: &str = "mw-sync-agent-pull-secrets";

/// Carries out an order.
///
/// # Errors
/// Any other answer. After [`Fault::NoAnswer`] and [`Fault::Odd`] it is in doubt whether a write was done.
pub async fn execute(client: &kube::Client, rules: &Rules, step: &Step, deadline: Duration) -> Result<Reply, Fault> {
    let namespace = &rules.source_namespace;
    match step {
        Step::Recall => {
            let found = read::get_object(client, Kind::ConfigMap, namespace, keys::AGENT_CONFIG_MAP).await?;
            Ok(Reply::Recalled(found.is_some_and(|map| map.content.data.contains_key(keys::PULL_SECRETS_LISTED))))
        }
        Step::Remember(noted) => {
            let path = path::of_object(Kind::ConfigMap, namespace, keys::AGENT_CONFIG_MAP)?;
            let uri = format!("{path}?fieldManager={NOTE_MANAGER}&force=true");
            patch(client, &uri, write::APPLY, note(*noted), deadline).await.map(|_| Reply::Remembered)
        }
        Step::Patch { namespace, name, body } => {
            let uri = uri_of(rules, namespace, name)?;
            let Metadata { uid, rv, .. } = patch(client, &uri, write::JSON_PATCH, body.clone(), deadline).await?;
            Ok(Reply::Patched { uid, rv })
        }
    }
}

/// The same as a dry run: the server does all but store it. What is read is read; the note, which is only for the next
/// start, is not sent.
///
/// # Errors
/// What the write would have failed with.
pub async fn try_out(client: &kube::Client, rules: &Rules, step: &Step, deadline: Duration) -> Result<Reply, Fault> {
    match step {
        Step::Recall => execute(client, rules, step, deadline).await,
        Step::Remember(_) => Ok(Reply::Remembered),
        Step::Patch { namespace, name, body } => {
            let uri = format!("{}&dryRun=All", uri_of(rules, namespace, name)?);
            patch(client, &uri, write::JSON_PATCH, body.clone(), deadline).await.map(|_| Reply::Tried)
        }
    }
}

fn uri_of(rules: &Rules, namespace: &str, name: &str) -> Result<String, Fault> {
    let manager = path::encode(rules.role.field_manager());
    Ok(format!("{}?fieldManager={manager}", path::of_service_account(namespace, name)?))
}

/// All ServiceAccounts, and the version that the list is of; one that cannot be understood is left out.
///
/// # Errors
/// Any answer but a list.
pub async fn all(client: &kube::Client) -> Result<(Vec<Account>, Rv), Fault> {
    read::list(client, &Query::service_accounts(), wire::service_account).await
}

fn note(noted: bool) -> Bytes {
    let data = if noted { json!({ keys::PULL_SECRETS_LISTED: "ServiceAccounts list our Secrets" }) } else { json!({}) };
    let metadata = json!({ "name": keys::AGENT_CONFIG_MAP });
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data }).to_string().into()
}

async fn patch(
    client: &kube::Client,
    uri: &str,
    content: &str,
    body: Bytes,
    deadline: Duration,
) -> Result<Metadata, Fault> {
    let request = write::request(Method::PATCH, uri, content, &body)?;
    let answer = request::send(client, request, Limits { deadline, ..Limits::METADATA }).await?;
    Item::read(&answer).and_then(Item::into_metadata).ok_or(Fault::Odd(200))
}

#[cfg(test)]
mod tests {
    use http::{Request, header};
    use kube::client::Body;

    use super::*;
    use crate::cluster::tests_support::{client, json_response};
    use crate::contract::object::Uid;
    use crate::contract::rules::Role;
    use crate::contract::strip::StripList;
    use std::sync::{Arc, Mutex};

    const S: Duration = Duration::from_secs(1);
    const UID: &str = "11111111-0000-4000-8000-000000000001";

    fn rules() -> Rules {
        Rules::new(Role::Agent, "operator", None, StripList::with::<&str>(&[]).unwrap())
    }

    #[tokio::test]
    async fn one_request_per_order() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let client = client(move |request: Request<Body>| {
            let content = request.headers().get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap());
            log.lock().unwrap().push(format!("{} {} {content}", request.method(), request.uri()));
            let metadata = json!({ "name": "a", "namespace": "b", "uid": UID, "resourceVersion": "7" });
            std::future::ready(json_response(200, &json!({ "metadata": metadata, "data": { "pull-secrets": "x" } })))
        });
        let rules = rules();
        assert!(matches!(execute(&client, &rules, &Step::Recall, S).await, Ok(Reply::Recalled(true))));
        assert!(matches!(execute(&client, &rules, &Step::Remember(true), S).await, Ok(Reply::Remembered)));
        let patch = |name: &str| Step::Patch { namespace: "app".into(), name: name.into(), body: Bytes::new() };
        let Ok(Reply::Patched { uid, rv }) = execute(&client, &rules, &patch("default"), S).await else { panic!() };
        assert_eq!((uid, rv), (Uid::parse(UID).unwrap(), Rv(7)));
        assert!(matches!(execute(&client, &rules, &patch("../x"), S).await, Err(Fault::Rejected(_))), "not sent");
        // In a dry run nothing is kept.
        assert!(matches!(try_out(&client, &rules, &patch("a"), S).await, Ok(Reply::Tried)));
        assert!(matches!(try_out(&client, &rules, &Step::Remember(true), S).await, Ok(Reply::Remembered)));
        assert!(matches!(try_out(&client, &rules, &Step::Recall, S).await, Ok(Reply::Recalled(true))));
        assert_eq!(
            *seen.lock().unwrap(),
            [
                "GET /api/v1/namespaces/operator/configmaps/mw-sync-agent ",
                "PATCH /api/v1/namespaces/operator/configmaps/mw-sync-agent\
                 ?fieldManager=mw-sync-agent-pull-secrets&force=true application/apply-patch+yaml",
                "PATCH /api/v1/namespaces/app/serviceaccounts/default\
                 ?fieldManager=mw-sync-agent application/json-patch+json",
                "PATCH /api/v1/namespaces/app/serviceaccounts/a?fieldManager=mw-sync-agent&dryRun=All \
                 application/json-patch+json",
                "GET /api/v1/namespaces/operator/configmaps/mw-sync-agent ",
            ]
        );
    }

    #[tokio::test]
    async fn no_config_map_is_no_note() {
        let status = json!({ "kind": "Status", "code": 404, "reason": "NotFound",
                             "details": { "kind": "configmaps", "name": "mw-sync-agent" } });
        let client = client(move |_| std::future::ready(json_response(404, &status)));
        assert!(matches!(execute(&client, &rules(), &Step::Recall, S).await, Ok(Reply::Recalled(false))));
        assert!(execute(&client, &rules(), &Step::Remember(true), S).await.is_err());
    }
}
