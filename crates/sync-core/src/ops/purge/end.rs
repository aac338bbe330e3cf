//! The end of each copy: the requests.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::{Copy, How};
use crate::cluster::{connection::Connection, write};
use crate::contract::body;
use crate::contract::rules::{Role, Rules};
use crate::fault::Fault;
use crate::order::{Order, Reply, Step};
use crate::plan::Guard;

/// A copy that is still there.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The copy.
    pub copy: Copy,
    /// Why.
    pub fault: Fault,
}

/// Ends copies, so many at once; returns those that are left. Each request is for exactly the version that was listed: what
/// somebody has changed meanwhile is left alone. A master's copy is switched off before it is deleted, for the agent there.
pub async fn end(connection: &Connection, rules: &Rules, copies: Vec<Copy>, at_once: usize) -> Vec<Failure> {
    let ends = copies.into_iter().map(|copy| async move {
        match end_one(connection, rules, &copy).await {
            Ok(()) => None,
            Err(fault) => Some(Failure { copy, fault }),
        }
    });
    stream::iter(ends).buffer_unordered(at_once).filter_map(std::future::ready).collect().await
}

async fn end_one(connection: &Connection, rules: &Rules, copy: &Copy) -> Result<(), Fault> {
    let send = async |step: Step| {
        let (kind, name) = (copy.source.kind, Arc::clone(&copy.source.name));
        let order = Order { id: 0, kind, namespace: copy.namespace.as_str().into(), name, step };
        write::execute(&connection.write, rules.role.field_manager(), &order).await
    };
    let guard = match copy.how {
        How::Released(guard, how) => {
            let body = body::release(rules.role, &rules.origin(&copy.source), guard, how);
            return send(Step::Release(Bytes::from(body))).await.map(drop);
        }
        How::Deleted(guard) if rules.role == Role::Master => {
            match send(Step::SwitchOff(Bytes::from(body::switch_off(guard)))).await? {
                Reply::Written { uid, rv } => Guard { uid, rv },
                Reply::Deleted | Reply::Tried | Reply::Looked(_) => return Ok(()),
            }
        }
        How::Deleted(guard) => guard,
    };
    send(Step::Delete(Bytes::from(body::delete(guard)))).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::cluster::tests_support::{client, json_response};
    use crate::contract::object::{Kind, Rv, SourceKey, Uid};
    use crate::contract::strip::StripList;
    use serde_json::json;

    const UID: &str = "11111111-0000-4000-8000-000000000001";

    #[tokio::test]
    async fn a_masters_copy_is_switched_off_first_and_deleted_in_that_version() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let client = client(move |request: http::Request<kube::client::Body>| {
            let log = Arc::clone(&log);
            async move {
                use http_body_util::BodyExt as _;
                let method = request.method().clone();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                log.lock().unwrap().push(format!("{method} {}", String::from_utf8_lossy(&body)));
                json_response(200, &json!({ "metadata": { "name": "a", "uid": UID, "resourceVersion": "8" } }))
            }
        });
        let connection = Connection { watch: client.clone(), write: client };
        let guard = Guard { uid: Uid::parse(UID).unwrap(), rv: Rv(7) };
        let source = SourceKey { kind: Kind::Secret, name: "a".into() };
        let copy = Copy { namespace: "operator".to_owned(), source, how: How::Deleted(guard) };
        for (role, requests) in [(Role::Master, 2), (Role::Agent, 1)] {
            let name = (role == Role::Master).then_some("eu");
            let rules = Rules::new(role, "operator", name, StripList::with::<&str>(&[]).unwrap());
            assert!(end(&connection, &rules, vec![copy.clone()], 4).await.is_empty());
            let seen = std::mem::take(&mut *seen.lock().unwrap());
            assert_eq!(seen.len(), requests, "{seen:?}");
            let last = seen.last().unwrap();
            let version = if role == Role::Master { "\"8\"" } else { "\"7\"" };
            assert!(last.starts_with("DELETE ") && last.contains(version) && last.contains(UID), "{last}");
        }
    }
}
