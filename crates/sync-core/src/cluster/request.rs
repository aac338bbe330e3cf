//! The one place where a request is sent and an answer read: with a deadline, with caps, once.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::answer::{self, Refusal};
use crate::fault::Fault;

/// Most of an error's body that is read. A `Status` has about 300 bytes.
const ERROR_LIMIT: usize = 64 << 10;

/// Of bodies beyond this size one is read at a time, whichever cluster it comes from: pages of lists aim at half of it, and
/// a hundred servers with a list that does not end must not cost a hundred times as much as one.
const LARGE: usize = 8 << 20;
static LARGE_ONES: Semaphore = Semaphore::const_new(1);

/// What an answer may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From sending the request to the last byte of the body.
    pub deadline: Duration,
    /// Bytes of a body that says success.
    pub body: usize,
}

impl Limits {
    /// Metadata of one object: up to 256 KiB of annotations, and the field managers that anybody may add; with all
    /// of it etcd's 1.5 MiB is the end, some characters written as `\u003c`.
    pub const METADATA: Self = Self { deadline: Duration::from_secs(10), body: 4 << 20 };
    /// One whole object: the same 1.5 MiB, in base64 or escaped.
    pub const OBJECT: Self = Self { deadline: Duration::from_secs(10), body: 16 << 20 };
    /// One page of a list: the first one has up to 20 objects, the later ones aim at 4 MiB.
    pub const PAGE: Self = Self { deadline: Duration::from_secs(60), body: 64 << 20 };
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// Any answer but a success, an answer over the limits, and no answer.
pub async fn send(client: &kube::Client, request: Request<Body>, limits: Limits) -> Result<Bytes, Fault> {
    Ok(ask(client, request, limits).await?)
}

/// [`send`] for callers that need to know more of a failure.
///
/// # Errors
/// As [`send`].
pub async fn ask(client: &kube::Client, request: Request<Body>, limits: Limits) -> Result<Bytes, Refusal> {
    let end = Instant::now() + limits.deadline;
    let response = start_until(client, request, end).await?;
    let code = response.status().as_u16();
    let mut body = response.into_body();
    match timeout_at(end, collect(&mut body, limits.body)).await {
        Ok((bytes, None)) => Ok(bytes),
        Ok((_, Some(Stop::TooLarge))) => Err(Fault::Odd(code).into()),
        Ok((_, Some(Stop::Broken(error)))) => Err(answer::transport(&error).into()),
        Err(_) => Err(late().into()),
    }
}

/// Sends a request and returns when a success begins to arrive; for answers that are read as they come.
///
/// # Errors
/// As [`send`]; the deadline is for the answer's beginning.
pub async fn start(
    client: &kube::Client,
    request: Request<Body>,
    deadline: Duration,
) -> Result<Response<Body>, Refusal> {
    start_until(client, request, Instant::now() + deadline).await
}

async fn start_until(client: &kube::Client, request: Request<Body>, end: Instant) -> Result<Response<Body>, Refusal> {
    let response = match timeout_at(end, client.send(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(answer::transport(&error).into()),
        Err(_) => return Err(late().into()),
    };
    if response.status().is_success() {
        return Ok(response);
    }
    let (head, mut body) = response.into_parts();
    // The code alone says most of it, so an error's body that breaks off is no error of its own.
    let bytes = timeout_at(end, collect(&mut body, ERROR_LIMIT)).await.map_or_else(|_| Bytes::new(), |(read, _)| read);
    Err(answer::refusal(head.status, &head.headers, &bytes))
}

fn late() -> Fault {
    Fault::NoAnswer("not within the deadline".to_owned())
}

enum Stop {
    TooLarge,
    Broken(kube::Error),
}

/// The body up to its end or to what stopped the reading.
async fn collect(body: &mut Body, limit: usize) -> (Bytes, Option<Stop>) {
    let mut read = BytesMut::new();
    let mut large = None;
    loop {
        let frame = match body.frame().await {
            None => return (read.freeze(), None),
            Some(Err(error)) => return (read.freeze(), Some(Stop::Broken(error))),
            Some(Ok(frame)) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limit {
            return (read.freeze(), Some(Stop::TooLarge));
        }
        if large.is_none() && read.len() + data.len() > LARGE {
            // Nobody closes it; whoever waits does so within the deadline, and nothing more is sent to us meanwhile.
            large = LARGE_ONES.acquire().await.ok();
            // Once for all: grown step by step it would leave holes of all sizes behind. What is not used costs nothing.
            read.reserve(limit.saturating_sub(read.len()));
        }
        read.extend_from_slice(&data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests_support::{client, json_response, stream_response};
    use serde_json::json;

    const LIMITS: Limits = Limits { deadline: Duration::from_secs(5), body: 100 };

    fn get() -> Request<Body> {
        Request::get("/x").body(Body::empty()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn sizes_and_deadlines() {
        let ok = client(async |_| json_response(200, &json!("x".repeat(90))));
        assert_eq!(send(&ok, get(), LIMITS).await.unwrap().len(), 92);
        let large = client(async |_| json_response(200, &json!("x".repeat(100))));
        assert_eq!(send(&large, get(), LIMITS).await, Err(Fault::Odd(200)));
        let slow = client(async |_| {
            tokio::time::sleep(Duration::from_secs(6)).await;
            json_response(200, &json!(1))
        });
        assert!(matches!(send(&slow, get(), LIMITS).await, Err(Fault::NoAnswer(_))));
        let endless = client(async |_| stream_response(futures::stream::pending()));
        assert!(matches!(send(&endless, get(), LIMITS).await, Err(Fault::NoAnswer(_))));
        let several = client(|_| async {
            let frames = [Bytes::from(vec![b' '; LARGE]), Bytes::from_static(b"1")].map(Ok);
            stream_response(futures::stream::iter(frames))
        });
        let asks = (0..5).map(|_| send(&several, get(), Limits::OBJECT));
        let answers = futures::future::join_all(asks).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|body| body.len() > LARGE)), "each has its turn");
        let large_error = client(async |_| json_response(503, &json!("x".repeat(1 << 20))));
        assert!(matches!(send(&large_error, get(), LIMITS).await, Err(Fault::Unavailable { code: 503, .. })));
    }
}
