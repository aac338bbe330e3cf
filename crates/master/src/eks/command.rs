//! Login commands in kubeconfigs that mean an EKS cluster: `aws eks get-token` and `aws-iam-authenticator token`. They
//! are read and never run. What they say of cluster and role is done here; what they would do that we do not is refused
//! by name. The address and the certificate authority are asked of AWS: whoever wrote the file shall not say to whom a
//! token goes.

use std::collections::BTreeSet;

use sync_core::cluster::kubeconfig::{Exec, LoginCommand};
use sync_core::fault::message;

use super::arn::{ClusterArn, RoleArn};
use super::target::Target;

mod environment;
mod flags;

const PROFILE: &str = "names a profile of another machine: take it out, and say with --role-arn or --role which role is \
                       to be assumed";
const FILE: &str = "names a file of another machine: take it out";

/// Why a login command is not answered. The texts say what to do, and show nothing of the kubeconfig but names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Another command.
    #[error(
        "{user}: exec runs {command}, and commands are not run here: use a token, a client certificate, \
         `aws eks get-token` or `aws-iam-authenticator token`"
    )]
    NotOurs {
        /// `user "NAME"`
        user: String,
        /// The program, without its directory.
        command: String,
    },
    /// A flag or a variable that is not done, or cannot be read.
    #[error("{user}: exec: {setting} {problem}")]
    Setting {
        /// `user "NAME"`
        user: String,
        /// The flag or variable.
        setting: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// Nothing says where the cluster is.
    #[error(
        "{user}: exec does not say {what}: name its entry under clusters by the cluster's ARN, as \
         `aws eks update-kubeconfig` does"
    )]
    Nowhere {
        /// `user "NAME"`
        user: String,
        /// `in which region the cluster is`, ...
        what: &'static str,
    },
    /// Two clusters are named.
    #[error("context {context} names {one} and {other}: let all of it name one cluster")]
    TwoClusters {
        /// The context.
        context: String,
        /// One cluster.
        one: String,
        /// And another one.
        other: String,
    },
}

impl CommandError {
    /// The word for the condition, logs and metric labels.
    pub const fn reason(&self) -> &'static str {
        "KubeconfigInvalid"
    }
}

/// What a command does, as far as we do it too.
#[derive(Default)]
struct Asked {
    cluster: Option<String>,
    /// Id of a cluster on an Outpost.
    cluster_id: Option<String>,
    role: Option<String>,
    external_id: Option<String>,
    session_name: Option<String>,
    region: Option<String>,
}

/// Which cluster a login command is for, and as whom it logs in there.
///
/// # Errors
/// If it is another command, does something that we do not do, or does not say where the cluster is.
pub fn target(login: &LoginCommand<'_>) -> Result<Target, CommandError> {
    let user = message(&format!("user {:?}", login.user));
    let asked = asked(login.exec).map_err(|problem| match problem {
        Problem::NotOurs(command) => CommandError::NotOurs { user: user.clone(), command: message(&command) },
        Problem::Setting(setting, problem) => {
            CommandError::Setting { user: user.clone(), setting: message(&setting), problem }
        }
    })?;
    let bad = |setting: &str, problem: String| {
        let (user, setting) = (user.clone(), setting.to_owned());
        CommandError::Setting { user, setting, problem }
    };
    let role: Option<RoleArn> = asked
        .role
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|why| bad("the role", format!("is {why}: write its ARN")))?;
    let arn = locate(login, &user, &asked, role.as_ref())?;
    let (role, external_id) = (role.map(|role| role.to_string()), asked.external_id.as_deref());
    let target = Target::parse(&arn.to_string(), role.as_deref(), external_id);
    let mut target = target.map_err(|error| bad("the login", format!("cannot be done: {error}; correct it")))?;
    if let Some(name) = asked.session_name.filter(|_| target.role.is_some()) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
        if !(2..=64).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(bad("--session-name", "is none: write 2 to 64 letters, digits and _+=,.@-".to_owned()));
        }
        target.session_name = Some(name);
    }
    target.proxy = login.proxy_url.map(str::to_owned);
    Ok(target)
}

/// The cluster's ARN: the names in the kubeconfig say it, or region, role and name are its parts.
fn locate(
    login: &LoginCommand<'_>,
    user: &str,
    asked: &Asked,
    role: Option<&RoleArn>,
) -> Result<ClusterArn, CommandError> {
    let two = |one: &str, other: &str| {
        let [context, one, other] = [login.context, one, other].map(|name| message(&format!("{name:?}")));
        CommandError::TwoClusters { context, one, other }
    };
    let named: BTreeSet<ClusterArn> =
        [login.cluster, login.context, login.user].iter().filter_map(|name| name.parse().ok()).collect();
    let mut named = named.into_iter();
    if let Some(arn) = named.next() {
        if let Some(other) = named.next() {
            return Err(two(&arn.to_string(), &other.to_string()));
        }
        // The id of a cluster on an Outpost is not in its ARN; what AWS says of it goes into the token.
        return match &asked.cluster {
            Some(name) if name != arn.name() => Err(two(&arn.to_string(), name)),
            _ => Ok(arn),
        };
    }
    let nowhere = |what| CommandError::Nowhere { user: user.to_owned(), what };
    let name = asked.cluster.as_deref().ok_or_else(|| {
        nowhere(if asked.cluster_id.is_some() { "how the cluster is called" } else { "which cluster is meant" })
    })?;
    let region = asked.region.as_deref().ok_or_else(|| nowhere("in which region the cluster is"))?;
    // A role that describes a cluster is in its account.
    let role = role.ok_or_else(|| nowhere("in which account the cluster is"))?;
    let arn = format!("arn:{}:eks:{region}:{}:cluster/{name}", role.partition(), role.account());
    arn.parse().map_err(|_| CommandError::Setting {
        user: user.to_owned(),
        setting: "the cluster's name or region".to_owned(),
        problem: "cannot be one: correct it".to_owned(),
    })
}

/// What is wrong with a command.
enum Problem {
    NotOurs(String),
    Setting(String, String),
}

impl Problem {
    fn setting(setting: &str, problem: &str) -> Self {
        Self::Setting(setting.to_owned(), problem.to_owned())
    }
}

fn asked(exec: &Exec) -> Result<Asked, Problem> {
    let program = exec.command.rsplit(['/', '\\']).next().unwrap_or_default();
    let program = program.strip_suffix(".exe").unwrap_or(program);
    let args: Vec<&str> = exec.args.iter().flatten().map(String::as_str).collect();
    let tool = match program {
        "aws" => &flags::AWS,
        "aws-iam-authenticator" => &flags::AUTHENTICATOR,
        _ => return Err(Problem::NotOurs(program.to_owned())),
    };
    let mut asked = Asked::default();
    let words = flags::read(tool, &args, &mut asked)?;
    if words != tool.words {
        // Not what it does instead: words may be anything.
        return Err(Problem::NotOurs(format!("{program} with other words")));
    }
    environment::read(tool, exec.env.iter().flatten(), &mut asked)?;
    if asked.cluster.is_some() && asked.cluster_id.is_some() {
        return Err(Problem::setting("--cluster-id", "stands beside --cluster-name: take one of them out"));
    }
    Ok(asked)
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
