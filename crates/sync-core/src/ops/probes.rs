//! The port that kubelets and Prometheus ask: `/livez`, `/readyz`, `/metrics`.

use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;

use super::health::Health;
use super::http::{Answer, Answers, TEXT, page};
use super::metrics::Metrics;

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What is told.
#[derive(Clone, Debug)]
pub(super) struct Probes {
    /// For `/readyz`.
    pub(super) health: Health,
    /// For `/metrics`.
    pub(super) metrics: Metrics,
}

impl Answers for Probes {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        match request.uri().path() {
            // It says nothing of clusters: a restart would mend none.
            "/livez" => page(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => match self.health.missing() {
                missing if missing.is_empty() => page(StatusCode::OK, TEXT, "ok\n"),
                missing => {
                    let text = format!("still to come: {}\n", missing.join(", "));
                    page(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
                }
            },
            "/metrics" => page(StatusCode::OK, OPEN_METRICS, self.metrics.render().await),
            _ => page(StatusCode::NOT_FOUND, TEXT, "there are /livez, /readyz and /metrics\n"),
        }
    }
}
