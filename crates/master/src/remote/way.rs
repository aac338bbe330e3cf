//! How a context of a kubeconfig leads to its cluster.

use sync_core::cluster::access::Access;
use sync_core::cluster::addresses::AddressRules;
use sync_core::cluster::kubeconfig::Kubeconfig;

use crate::eks::command;
use crate::eks::target::Target;

/// The way to a cluster.
#[derive(Debug)]
pub(super) enum Way {
    /// The kubeconfig has all that is needed.
    Straight(Box<Access>),
    /// Its login command means an EKS cluster.
    Eks(Box<Target>),
}

impl Way {
    /// Reads the kubeconfig; `None` is its current context.
    ///
    /// # Errors
    /// Why it cannot be used and what to do, in words that quote nothing of it but names.
    pub(super) fn read(kubeconfig: &[u8], context: Option<&str>, allow: &AddressRules) -> Result<Self, String> {
        let kubeconfig = Kubeconfig::parse(kubeconfig).map_err(|error| error.to_string())?;
        match kubeconfig.login_command(context).map_err(|error| error.to_string())? {
            Some(login) => match command::target(&login) {
                Ok(target) => Ok(Self::Eks(Box::new(target))),
                Err(error) => Err(error.to_string()),
            },
            None => {
                let access = kubeconfig.access(context, allow).map_err(|error| error.to_string())?;
                Ok(Self::Straight(Box::new(access)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/prod";

    #[test]
    fn a_login_command_leads_to_aws_or_nowhere() {
        let read = |command: &str| {
            let kubeconfig = format!(
                "current-context: a\ncontexts: [{{name: a, context: {{cluster: '{ARN}', user: u}}}}]\n\
                 clusters: [{{name: '{ARN}', cluster: {{}}}}]\n\
                 users: [{{name: u, user: {{exec: {{command: {command}, args: [eks, get-token]}}}}}}]\n"
            );
            Way::read(kubeconfig.as_bytes(), None, &AddressRules::default())
        };
        assert!(matches!(read("aws"), Ok(Way::Eks(target)) if target.arn.name() == "prod"));
        assert!(read("gcloud").unwrap_err().contains("exec runs gcloud"));
        assert!(Way::read(b"{}", None, &AddressRules::default()).unwrap_err().contains("no current-context"));
    }
}
