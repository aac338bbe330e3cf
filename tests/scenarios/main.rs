//! The real binaries against a real API server: one test binary, so that tests share clusters.

// All of this is test code, helper functions included; clippy's exceptions for tests reach only `#[test]` functions.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod agent;
mod chaos;
mod check;
mod cluster_client;
mod cluster_discovery_rules;
mod commands;
mod conformance;
mod eks;
mod empty_root;
mod flags;
mod fleet;
mod hardening;
mod iam;
mod leaders;
mod manifests;
mod master;
mod monitoring;
mod one_tls_stack;
mod packaging;
mod page;
mod readme;
mod remote_cluster_rules;
mod rights;
mod supply_chain;
mod support;
mod testbed_self;
mod upgrade;
