//! What is checked of any cluster: who answers, how old it is, its clock, the rights, the source namespace, the
//! annotation policy, and who leads. Nothing is written: questions (`SelfSubjectAccessReview`) and one dry run.

use http::Uri;
use serde_json::{Value, json};

use super::flags::Common;
use super::report::Notes;
use super::rights::{self, Name, Place, Right, Whose};
use crate::cluster::connection::{Connection, Patience};
use crate::cluster::lease::leader;
use crate::cluster::{path, read};
use crate::contract::keys;
use crate::contract::object::{Kind, Uid};
use crate::contract::rules::Rules;
use crate::fault::{Fault, message};

/// What an agent is installed by.
pub const AGENT_MANIFEST: &str = "deploy/agent.yaml";
/// What a master is installed by.
pub const MASTER_MANIFEST: &str = "deploy/master.yaml";

/// Name of the policy in `deploy/annotation-policy.yaml`, and of its binding.
pub const POLICY: &str = "mw-sync-annotation";
/// The oldest server that we work with, and the oldest that has MutatingAdmissionPolicies (DESIGN section 1 and 3).
const OLDEST: (u32, u32) = (1, 31);
const OLDEST_WITH_POLICY: (u32, u32) = (1, 36);
/// A difference that somebody should see to: AWS refuses what is dated five minutes off, and certificates and tokens
/// that are new are not valid yet to a clock that is behind.
const SKEW: i64 = 60;
/// The annotation that no API server takes without the policy.
const SPELLING: &str = "mw_sec/sync";
/// Creating ConfigMaps, which the dry run needs.
const MAY_CREATE: &[Right] =
    &[Right { place: Place::Namespace, group: "", resource: "configmaps", name: Name::Any, verbs: &["create"] }];

/// A cluster that has answered.
#[derive(Debug)]
pub struct Home {
    /// The way to it.
    pub connection: Connection,
    /// As whom we come, if the server says so.
    pub user: Option<String>,
    /// Incarnation of the source namespace, if it is there.
    pub namespace: Option<Uid>,
}

/// What a failed request means to somebody who waits for the answer.
pub fn mend(fault: &Fault) -> &'static str {
    match fault {
        Fault::Connect(_) => "check the server's address, and the network and proxies between",
        Fault::NoAnswer(_) | Fault::Throttled(_) | Fault::Unavailable { .. } => "try again",
        _ => fault.what_to_do(),
    }
}

/// Our own cluster, for a command that asks once: its server has answered, and need not be waited for again.
///
/// # Errors
/// If there is no way to reach it, or no answer; in words, with what to do.
pub async fn reach(common: &Common) -> Result<(Uri, Connection), String> {
    let way = Connection::local(common.context.as_deref(), common.rules.role.user_agent(), Patience::PERSON);
    let (server, connection) = way.await.map_err(|error| error.to_string())?;
    connection.warm().await.map_err(|fault| format!("{server}: {fault}; {}", mend(&fault)))?;
    Ok((server, connection))
}

/// Checks our own cluster; `None` if it does not answer, and nothing can be asked. `manifest` grants the rights.
pub async fn home(notes: &mut Notes, common: &Common, rights: &[Right], manifest: &str) -> Option<Home> {
    let rules = &common.rules;
    let way = Connection::local(common.context.as_deref(), rules.role.user_agent(), Patience::PERSON);
    let (server, connection) = match way.await {
        Ok(way) => way,
        Err(error) => {
            let todo =
                "name another kubeconfig (KUBECONFIG=FILE) or context (--context NAME): kubectl config get-contexts";
            notes.failed("kubeconfig", error.to_string(), todo);
            return None;
        }
    };
    let version = match connection.warm().await {
        Ok(version) => version.git,
        Err(fault) => {
            let todo = match &fault {
                Fault::Unauthorised => "log in anew, or name another context: kubectl config get-contexts",
                other => mend(other),
            };
            notes.failed("API server", format!("{server}: {fault}"), todo);
            return None;
        }
    };
    let user = whoami(&connection.write).await;
    let as_whom = user.as_ref().map_or_else(String::new, |user| format!(", as {user}"));
    notes.ok("API server", format!("{server}{as_whom}"));
    let number = self::version(notes, &version);
    clock(notes, &connection.write).await;
    let namespace = source_namespace(notes, &connection.write, &rules.source_namespace).await;
    own_rights(notes, &connection.write, rules, user.as_deref(), rights, manifest).await;
    if namespace.is_some() {
        policy(notes, &connection.write, &rules.source_namespace, number).await;
    }
    controller(notes, &connection.write, rules).await;
    Some(Home { connection, user, namespace })
}

/// The server's version, old or not; returns its numbers.
pub fn version(notes: &mut Notes, git: &str) -> Option<(u32, u32)> {
    let number = numbers(git);
    match number {
        Some(number) if number < OLDEST => {
            let (major, minor) = OLDEST;
            let why = format!("{git} is too old: {major}.{minor} or newer is needed");
            notes.failed("Kubernetes version", why, "upgrade the cluster");
        }
        Some(_) => notes.ok("Kubernetes version", git),
        None => {
            let why = format!("{git} says nothing that is understood");
            notes.warning("Kubernetes version", why, "check that the address is an API server's");
        }
    }
    number
}

/// `v1.36.3-eks-1234567` is 1.36.
fn numbers(git: &str) -> Option<(u32, u32)> {
    let mut parts = git.trim_start_matches('v').split('.');
    let minor = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    Some((parts.next()?.parse().ok()?, minor(parts.next()?)?))
}

/// Whether the server's clock and ours agree.
pub async fn clock(notes: &mut Notes, client: &kube::Client) {
    // A proxy may take the date away; then nobody knows.
    let Ok(Some(theirs)) = read::date(client).await else { return };
    differ(notes, theirs.as_second() - jiff::Timestamp::now().as_second(), "the API server's");
}

/// By how many seconds another clock is ahead of ours.
pub fn differ(notes: &mut Notes, ahead: i64, whose: &str) {
    if ahead.abs() < SKEW {
        return notes.ok("clock", "");
    }
    let how = if ahead > 0 { "behind" } else { "ahead of" };
    let why = format!("this machine's clock is {} s {how} {whose}", ahead.abs());
    notes.warning("clock", why, "set the clock, and keep it: timedatectl set-ntp true");
}

/// As whom we come; cut and escaped.
pub async fn whoami(client: &kube::Client) -> Option<String> {
    let question = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let answer = read::ask::<Value>(client, "/apis/authentication.k8s.io/v1/selfsubjectreviews", &question).await;
    answer.ok()?.pointer("/status/userInfo/username")?.as_str().map(message)
}

async fn source_namespace(notes: &mut Notes, client: &kube::Client, name: &str) -> Option<Uid> {
    const NAME: &str = "source namespace";
    match read::get_namespace(client, name).await {
        Ok(Some(namespace)) if namespace.terminating => {
            let todo = format!("wait until it is gone, then: kubectl create namespace {name}");
            notes.failed(NAME, format!("namespace {name} is being deleted"), todo);
        }
        Ok(Some(namespace)) => {
            notes.ok(NAME, name);
            return Some(namespace.uid);
        }
        Ok(None) => {
            let todo = match name {
                "operator" => "kubectl apply -f deploy/namespace.yaml".to_owned(),
                other => format!("kubectl create namespace {other}, or name another: --source-namespace"),
            };
            notes.failed(NAME, format!("namespace {name} does not exist"), todo);
        }
        Err(fault) => notes.failed(NAME, fault.to_string(), mend(&fault)),
    }
    None
}

/// Those of the controller: ours if we are one, else, where we may ask about others, those of its ServiceAccount.
async fn own_rights(
    notes: &mut Notes,
    client: &kube::Client,
    rules: &Rules,
    user: Option<&str>,
    rights: &[Right],
    manifest: &str,
) {
    let namespace = &rules.source_namespace;
    let is_account = user.is_some_and(|user| user.starts_with("system:serviceaccount:"));
    if !is_account {
        let account = rules.role.field_manager().to_owned();
        let whose = Whose::Account(account.clone());
        match rights::missing(client, &whose, namespace, rights).await {
            Ok(missing) => {
                return told_rights(notes, &missing, namespace, &format!("ServiceAccount {account}"), &apply(manifest));
            }
            Err(Fault::Forbidden(_)) => {
                let todo = format!(
                    "ask in the pod: kubectl -n {namespace} exec deploy/{account} -- {} check",
                    rules.role.as_str()
                );
                let why = format!("you may not ask what ServiceAccount {account} may do; your own rights follow");
                notes.warning("whose rights", why, todo);
            }
            Err(fault) => return notes.failed("rights", fault.to_string(), mend(&fault)),
        }
    }
    match rights::missing(client, &Whose::Ours, namespace, rights).await {
        Ok(missing) => told_rights(notes, &missing, namespace, user.unwrap_or("us"), &apply(manifest)),
        Err(fault) => notes.failed("rights", fault.to_string(), mend(&fault)),
    }
}

/// How a manifest is applied. That of a controller needs the registry of its image in it, as at first: as it is it would
/// take the place of one that runs.
pub fn apply(manifest: &str) -> String {
    match manifest {
        AGENT_MANIFEST | MASTER_MANIFEST => {
            format!("sed \"s#image: #&${{registry:?}}/#\" {manifest} | kubectl apply -f -")
        }
        _ => format!("kubectl apply -f {manifest}"),
    }
}

/// A line for each right that is missing, and what to do.
pub fn told_rights(
    notes: &mut Notes,
    missing: &[(&Right, Vec<&'static str>)],
    namespace: &str,
    whose: &str,
    todo: &str,
) {
    if missing.is_empty() {
        return notes.ok("rights", format!("{whose} has them all"));
    }
    for (right, verbs) in missing {
        let why = format!("{whose} may not {}", right.words(verbs, namespace));
        notes.failed("rights", why, todo.to_owned());
    }
}

/// Whether `mw_sec/sync` can be typed.
async fn policy(notes: &mut Notes, client: &kube::Client, namespace: &str, number: Option<(u32, u32)>) {
    const NAME: &str = "annotation policy";
    const APPLY: &str = "kubectl apply -f deploy/annotation-policy.yaml; needed only where people annotate";
    if number.is_some_and(|number| number < OLDEST_WITH_POLICY) {
        let (major, minor) = OLDEST_WITH_POLICY;
        let why = format!("this server is too old for it ({major}.{minor} and newer): {SPELLING} is refused");
        return notes.warning(NAME, why, "write mw-sync=yes instead: kubectl annotate secret NAME mw-sync=yes");
    }
    let answer = match rights::may(client, namespace, MAY_CREATE).await {
        Ok(true) => spelling_is_taken(client, namespace).await,
        Ok(false) => policy_is_there(client, namespace).await,
        Err(fault) => Err(fault),
    };
    match answer {
        Ok(true) => notes.ok(NAME, format!("{SPELLING} is taken")),
        Ok(false) => notes.warning(NAME, format!("it is missing: {SPELLING} is refused"), APPLY),
        Err(fault) => notes.warning(NAME, format!("cannot be told: {fault}"), mend(&fault)),
    }
}

/// Tries it: a dry run, of which nothing is left.
async fn spelling_is_taken(client: &kube::Client, namespace: &str) -> Result<bool, Fault> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "generateName": "mw-sync-check-", "annotations": { SPELLING: "no" } },
    });
    let path = format!("{}?dryRun=All", path::of_kind(Kind::ConfigMap, namespace)?);
    match read::ask::<Value>(client, &path, &object).await {
        Ok(made) => Ok(made.pointer("/metadata/annotations").and_then(|on| on.get(keys::SYNC)).is_some()),
        Err(Fault::Rejected(words)) if words.contains("annotations") => Ok(false),
        // What is refused for another reason got past the check of the key.
        Err(Fault::Rejected(_)) => Ok(true),
        Err(fault) => Err(fault),
    }
}

/// Looks for the policy and its binding: all that whoever may not create anything here can do.
async fn policy_is_there(client: &kube::Client, namespace: &str) -> Result<bool, Fault> {
    let group = "/apis/admissionregistration.k8s.io/v1";
    let get = async |kind: &str| match read::get_json::<Value>(client, &format!("{group}/{kind}/{POLICY}")).await {
        Ok(found) => Ok(Some(found)),
        Err(Fault::NotFound) => Ok(None),
        Err(fault) => Err(fault),
    };
    let (policy, binding) =
        futures::try_join!(get("mutatingadmissionpolicies"), get("mutatingadmissionpolicybindings"))?;
    let of = policy.as_ref().and_then(|policy| {
        policy.pointer("/spec/matchConstraints/namespaceSelector/matchLabels/kubernetes.io~1metadata.name")
    });
    Ok(of.is_some_and(|of| of == namespace) && binding.is_some())
}

/// Who leads.
async fn controller(notes: &mut Notes, client: &kube::Client, rules: &Rules) {
    const NAME: &str = "controller";
    let deployment = rules.role.field_manager();
    match leader(client, rules).await.map(|leader| leader.alive(jiff::Timestamp::now())) {
        Ok(Some(holder)) => notes.ok(NAME, format!("{} leads", holder.identity)),
        Ok(None) => {
            let why = format!("no process leads by Lease {deployment} (one without --leader-elect does not show here)");
            notes.warning(NAME, why, rules.role.look(&rules.source_namespace));
        }
        Err(fault) => notes.warning(NAME, format!("cannot be told: {fault}"), mend(&fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::report::{Format, Report};

    fn text(notes: Notes) -> String {
        let mut out = Vec::new();
        Report::new(&mut out, Format::Text, false).tell(notes).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn versions() {
        for (git, number, mark) in [
            ("v1.36.3", Some((1, 36)), "√"),
            ("v1.31.0-eks-1234567", Some((1, 31)), "√"),
            ("v1.30.9", Some((1, 30)), "× Kubernetes version: v1.30.9 is too old: 1.31 or newer"),
            ("v1.30+", Some((1, 30)), "×"),
            ("nonsense", None, "‼"),
        ] {
            let mut notes = Notes::of("g");
            assert_eq!(version(&mut notes, git), number, "{git}");
            assert!(text(notes).contains(mark), "{git}");
        }
    }

    #[test]
    fn clocks() {
        for (ahead, words) in [(3, "√ clock\n"), (3600, "3600 s behind AWS's"), (-90, "90 s ahead of AWS's")] {
            let mut notes = Notes::of("g");
            differ(&mut notes, ahead, "AWS's");
            assert!(text(notes).contains(words), "{ahead}");
        }
    }
}
