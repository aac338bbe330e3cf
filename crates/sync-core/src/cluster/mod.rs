//! The client side of one cluster: everything that talks to an API server, and nothing that decides.
//!
//! | module | what |
//! |---|---|
//! | [`access`], [`kubeconfig`], [`addresses`], [`header`], [`renew`], [`proxy`] | how to reach a cluster and log in |
//! | [`connection`], [`pulse`] | the HTTP/2 clients, and whether a server lives |
//! | [`request`], [`answer`], [`path`] | one request, its answer, and what a failed one means |
//! | [`wire`], [`lines`] | objects as they are on the wire |
//! | [`query`], [`watch`], [`pace`] | list and watch |
//! | [`mod@write`], [`read`], [`events`] | one order, one object, one Event |
//! | [`service_accounts`], [`summary`], [`lease`] | one ServiceAccount, the agent's summary, the Lease |

pub mod access;
pub mod addresses;
pub mod answer;
pub mod connection;
pub mod events;
pub mod header;
pub mod kubeconfig;
pub mod lease;
pub mod lines;
pub mod pace;
pub mod path;
pub mod proxy;
pub mod pulse;
pub mod query;
pub mod read;
pub mod renew;
pub mod request;
pub mod service_accounts;
pub mod summary;
pub mod watch;
pub mod wire;
pub mod write;

/// API servers for the tests of this module: a function from request to response.
#[cfg(test)]
pub(crate) mod tests_support {
    use http::{Request, Response};
    use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
    use kube::client::Body;
    use serde_json::Value;

    pub(crate) type FakeBody = UnsyncBoxBody<bytes::Bytes, kube::Error>;

    /// A client of a server that answers with this function.
    pub(crate) fn client<F>(answer: impl Fn(Request<Body>) -> F + Send + 'static) -> kube::Client
    where
        F: Future<Output = Response<FakeBody>> + Send + 'static,
    {
        let service = tower::service_fn(move |request| {
            let answer = answer(request);
            async move { Ok::<_, kube::Error>(answer.await) }
        });
        kube::Client::new(service, "default")
    }

    /// A whole answer.
    pub(crate) fn json_response(code: u16, json: &Value) -> Response<FakeBody> {
        text_response(code, json.to_string())
    }

    /// A whole answer in plain text.
    pub(crate) fn text_response(code: u16, text: impl Into<bytes::Bytes>) -> Response<FakeBody> {
        let body = Full::new(text.into()).map_err(|never| match never {}).boxed_unsync();
        Response::builder().status(code).body(body).unwrap()
    }

    /// An answer whose frames come one by one.
    pub(crate) fn stream_response(
        frames: impl futures::Stream<Item = Result<bytes::Bytes, kube::Error>> + Send + 'static,
    ) -> Response<FakeBody> {
        use futures::TryStreamExt as _;
        Response::new(http_body_util::StreamBody::new(frames.map_ok(hyper::body::Frame::data)).boxed_unsync())
    }
}
