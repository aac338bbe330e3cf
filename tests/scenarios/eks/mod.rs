//! EKS clusters in several accounts: the master logs in to them as it would in AWS.
//!
//! One stand-in for AWS and two API servers are shared; each scenario has EKS clusters, roles and a namespace of its own
//! name. The login itself is judged by aws-iam-authenticator's verifier and by real signatures.

mod discovery;
mod kubeconfigs;
mod login;
mod namesakes;
mod patient;
mod places;
mod refusals;
mod removal;
mod safety;
pub(crate) mod stage;
mod tokens;
mod ways_in;
