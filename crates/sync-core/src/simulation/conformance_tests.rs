//! The simulated server answers as a real one does: its cases run against that too, in `tests/scenarios`.

#[path = "../../../../tests/conformance/cases.rs"]
mod cases;

use std::convert::Infallible;
use std::time::Duration;

use futures::TryStreamExt as _;
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use kube::client::Body;
use tokio::time::Instant;

use super::api::{Answer, Request};
use super::faults::{Slot, Watched};
use super::stage::Stage;
use super::streams::Stream;
use crate::cluster::tests_support::text_response;
use crate::simulation::schedule::Schedule;

#[tokio::test(start_paused = true)]
async fn the_simulated_server_answers_as_a_real_one() {
    let mut scene = Schedule::new(0).scene;
    (scene.clusters, scene.lag) = (1, Duration::ZERO);
    let stage = Stage::new(scene, false);
    let server = stage.clone();
    let forget = async || server.lock().servers[0].store.compact();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let stage = stage.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let mut state = stage.lock();
            let answer = state.servers[0].handle(Instant::now(), &Request::from_http(&head, body));
            Ok::<_, Infallible>(match answer {
                Answer::Whole(code, body) => text_response(code, body.to_string()),
                Answer::Watch(opened) => {
                    let slot = Slot { cluster: 0, what: Watched::Namespaces };
                    let stream = Stream::new(&stage, &mut state, 0, slot, opened);
                    let frames = futures::stream::unfold(stream, Stream::next);
                    Response::new(StreamBody::new(frames.map_ok(hyper::body::Frame::data)).boxed_unsync())
                }
            })
        }
    });
    let client = kube::Client::new(service, "default");
    cases::run(&client, "conformance", forget).await.unwrap_or_else(|why| panic!("{why}"));
}
