//! The floor: plain writes by a bare client.

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::BodyExt as _;
use kube::client::Body;
use testbed::Requests;

use crate::copies::{Copies, cpu_of_server};
use crate::report::{Span, Spans};
use crate::world::{NAME, World, docker_config, secrets, send_all};

/// What the floor has in common with the agent, to tell what that costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floor {
    /// Nothing: the floor of the budget.
    Plain,
    /// A watch on what it writes.
    Watched,
    /// The watch, and updates by JSON Patches that test our marks.
    Patched,
}

/// Creates the copies, updates them, and deletes them again; the latter does not count.
pub(crate) async fn run(world: &World, copies: &Copies, floor: Floor) -> Result<Spans> {
    let watch = if floor == Floor::Plain { None } else { Some(tokio::spawn(watch(world).await?)) };
    let connection = &world.connection;
    let objects = || world.namespaces.iter().map(|namespace| format!("{}/{NAME}", secrets(namespace)));

    let mark = world.cluster.audit().mark().await?;
    let cpu = cpu_of_server(world)?;
    let body = copies.body(docker_config("floor"))?;
    let paths = world.namespaces.iter().map(|namespace| secrets(namespace));
    send_all(connection, &Method::POST, paths.map(|path| (path, body.clone()))).await?;
    let server_cpu = cpu_of_server(world)? - cpu;
    let create = Span { server_cpu, ..span(world.cluster.audit().since(mark).await?)? };

    let mark = world.cluster.audit().mark().await?;
    let cpu = cpu_of_server(world)?;
    let (method, body) = if floor == Floor::Patched {
        (Method::PATCH, copies.patch(&docker_config("other"))?)
    } else {
        (Method::PUT, copies.body(docker_config("other"))?)
    };
    send_all(connection, &method, objects().map(|path| (path, body.clone()))).await?;
    let server_cpu = cpu_of_server(world)? - cpu;
    let update = Span { server_cpu, ..span(world.cluster.audit().since(mark).await?)? };
    Copies::check(world, &docker_config("other")).await?;

    send_all(connection, &Method::DELETE, objects().map(|path| (path, Bytes::new()))).await?;
    if let Some(watch) = watch {
        watch.abort();
    }
    Ok(Spans { create, update })
}

fn span(requests: Requests) -> Result<Span> {
    Span::of(&requests.user_agent("bench-floor").writes())
}

/// Reads a watch like the agent's, on the other connection, and does nothing with it.
async fn watch(world: &World) -> Result<impl Future<Output = ()> + use<>> {
    let path = "/api/v1/secrets?watch=1&resourceVersion=0&labelSelector=mw-sync.io/managed-by%3Dagent";
    let request = Request::get(path).header(header::ACCEPT, "application/json").body(Body::empty())?;
    let mut body = world.connection.watch.send(request).await?.into_body();
    Ok(async move { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} })
}
