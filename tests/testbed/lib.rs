//! Real control planes, and what a scenario needs around them.
//!
//! A [`Cluster`] is an etcd, a kube-apiserver and a kube-controller-manager of its own, as processes on this machine.
//! The binaries are built once per version from Go modules (about 8 minutes, see [`control_plane`]), or taken from
//! `KUBEBUILDER_ASSETS`. A cluster starts in a few seconds; `kubectl`, RBAC, ServiceAccount tokens, namespace
//! termination, garbage collection, admission policies and priority and fairness behave as in any cluster, because
//! they are the real ones. There are no nodes and no pods: our binaries run as [`Process`]es under the kubeconfig of
//! the ServiceAccount that `deploy/` gives them. [`Aws`] makes EKS clusters of them, in as many accounts as a test likes.
//!
//! # A scenario
//!
//! ```no_run
//! # async fn scenario() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use testbed::{Binaries, Cluster, ClusterOptions, Process, eventually, shared};
//!
//! // One cluster for all tests of this process; or `Cluster::start(ClusterOptions::default())` for one of its own.
//! let cluster = shared("agent").await?;
//! cluster.kubectl(&["apply", "-f", "deploy/namespace.yaml", "-f", "deploy/agent.yaml"]).await?;
//!
//! let kubeconfig = cluster.kubeconfig_for_service_account("operator", "mw-sync-agent").await?;
//! let agent = Process::spawn(
//!     Binaries::build().await?.agent(),
//!     ["--leader-elect=false"],
//!     [("KUBECONFIG", kubeconfig.as_os_str())],
//! )?;
//!
//! let mark = cluster.audit().mark().await?;
//! cluster.kubectl(&["-n", "operator", "create", "secret", "generic", "regcred", "--from-literal=a=b"]).await?;
//! cluster.kubectl(&["-n", "operator", "annotate", "secret", "regcred", "mw-sync=yes"]).await?;
//! eventually(Duration::from_secs(20), "regcred is in default", async || {
//!     cluster.kubectl(&["-n", "default", "get", "secret", "regcred"]).await.map(drop)
//! })
//! .await;
//!
//! let requests = cluster.audit().since(mark).await?.user("system:serviceaccount:operator:mw-sync-agent");
//! let writes = requests.writes().resource("secrets");
//! assert_eq!(writes.count(), 4, "{:#?}", writes.counts());
//! agent.terminate();
//! assert!(agent.wait_exit(Duration::from_secs(10)).await?.success());
//! # Ok(()) }
//! ```
//!
//! # Rules
//!
//! - Never sleep and hope: [`eventually`] polls with a deadline, says what it waited for and shows the last error.
//! - Tests that share a cluster keep to namespaces of their own names, and filter the audit log by user or user agent.
//!   A test that stops or kills a component, or counts what happens in *all* namespaces, starts a cluster of its own.
//! - Nothing is left behind, whatever ends the test process: SIGKILL and Ctrl-C included (see [`Process`]).
//! - The end of each log is printed when a test fails, and nothing when it passes.
//! - A [`kube::Client`] belongs to the tokio runtime that made it, and each `#[tokio::test]` has a runtime of its own:
//!   call [`Cluster::client`] in each test, and never keep one in a static. A [`Cluster`] itself may be shared.
//!
//! # Environment
//!
//! | variable | meaning |
//! |---|---|
//! | `KUBEBUILDER_ASSETS` | folder with `etcd`, `kube-apiserver`, `kubectl` and `kube-controller-manager`; what lacks is built |
//! | `MW_SYNC_TESTBED_CACHE` | where builds are kept, instead of `secret-replicator-eks` in the user's cache folder |
//! | `MW_SYNC_TESTBED_PROFILE` | `release`: [`Binaries`] are optimised builds |
//! | `MW_SYNC_TESTBED_STARTS` | how often the self test starts and stops a cluster (3) |
//! | `TMPDIR` | where the data of running clusters is |

// A harness: what goes wrong in it must end the test, loudly, and logs go where the test runner keeps them until a test
// fails.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod audit;
mod aws;
mod binaries;
mod browser;
mod cache;
mod certificates;
mod cluster;
mod connect_proxy;
pub mod control_plane;
mod etcd;
mod eventually;
mod fleet;
mod hostile;
mod kubeconfig;
mod local_http;
mod ports;
mod process;
mod proxy;
mod reaper;
mod scratch;
mod shared;
mod terminal;
mod webhook;

pub use audit::{AuditLog, Entry, Mark, Requests, Stage};
pub use aws::{AccessEntry, Aws, AwsCall, AwsFault, CallMark, EksCluster, FaultId, Review, Role};
pub use binaries::Binaries;
pub use browser::Browser;
pub use certificates::Authority;
pub use cluster::{Cluster, ClusterOptions};
pub use connect_proxy::ConnectProxy;
pub use eventually::eventually;
pub use fleet::{Fleet, Health};
pub use hostile::{Attack, HostileServer};
pub use kubeconfig::Kubeconfig;
pub use process::Process;
pub use proxy::{FaultProxy, Mode};
pub use shared::{SharedCluster, shared, shared_with};
pub use terminal::Terminal;
pub use webhook::{Rejection, TalkativeWebhook};
