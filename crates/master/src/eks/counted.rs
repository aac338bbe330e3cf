//! Calls of AWS, counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt as _};
use sync_core::ops::metrics::text::Page;
use sync_core::ops::metrics::{Tells, families};

use super::arn::ClusterArn;
use super::aws::{Aws, Grant, SessionKey};
use super::error::EksError;
use super::facts::Facts;
use super::token::Audience;

/// An AWS whose calls are counted. Repetitions by the SDK are part of one call.
#[derive(Debug)]
pub struct Counted {
    aws: Arc<dyn Aws>,
    calls: Mutex<BTreeMap<(&'static str, &'static str, &'static str), u64>>,
}

impl Counted {
    /// Counts the calls of this one.
    pub fn new(aws: Arc<dyn Aws>) -> Self {
        Self { aws, calls: Mutex::default() }
    }

    fn count<T>(&self, service: &'static str, action: &'static str, result: &Result<T, EksError>) {
        let outcome = result.as_ref().map_or_else(EksError::reason, |_| "done");
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry((service, action, outcome)).or_default() += 1;
    }
}

impl Aws for Counted {
    fn session<'a>(&'a self, key: &'a SessionKey, name: &'a str) -> BoxFuture<'a, Result<Grant, EksError>> {
        async move {
            let result = self.aws.session(key, name).await;
            let action = if key.role.is_some() { "AssumeRole" } else { "GetCallerIdentity" };
            self.count("sts", action, &result);
            result
        }
        .boxed()
    }

    fn describe<'a>(&'a self, grant: &'a Grant, arn: &'a ClusterArn) -> BoxFuture<'a, Result<Facts, EksError>> {
        async move {
            let result = self.aws.describe(grant, arn).await;
            self.count("eks", "DescribeCluster", &result);
            result
        }
        .boxed()
    }

    fn clusters<'a>(&'a self, grant: &'a Grant, region: &'a str) -> BoxFuture<'a, Result<Vec<String>, EksError>> {
        async move {
            let result = self.aws.clusters(grant, region).await;
            self.count("eks", "ListClusters", &result);
            result
        }
        .boxed()
    }

    // Made without a call.
    fn audience<'a>(&'a self, region: &'a str, cluster: &'a str) -> BoxFuture<'a, Result<Audience, EksError>> {
        self.aws.audience(region, cluster)
    }
}

impl Tells for Counted {
    fn tell(&self, page: &mut Page) {
        for ((service, action, outcome), count) in self.calls.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = [("action", *action), ("outcome", *outcome), ("service", *service)];
            page.set(&families::AWS_CALLS, &labels, *count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eks::tests_support::{FakeAws, key};

    #[tokio::test(start_paused = true)]
    async fn each_call_counts_by_what_came_of_it() {
        let counted = Counted::new(FakeAws::new());
        counted.session(&key(), "mw-sync").await.unwrap();
        counted.session(&key(), "mw-sync").await.unwrap();
        let mut page = Page::default();
        counted.tell(&mut page);
        let line = "mw_sync_aws_calls_total{action=\"AssumeRole\",outcome=\"done\",service=\"sts\"} 2\n";
        assert!(page.render().contains(line), "{}", page.render());
    }
}
