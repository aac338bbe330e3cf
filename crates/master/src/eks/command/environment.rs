//! The environment of the two commands.

use sync_core::cluster::kubeconfig::ExecEnv;

use super::flags::Tool;
use super::{Asked, FILE, PROFILE, Problem};

const KEYS: &str = "is a credential of AWS: take it out, and let the master's own role assume the one in --role-arn or \
                    --role";
const LOGIN: &str = "is a login of another machine: take it out, and let the master's own role assume the one in \
                     --role-arn or --role";
const MASTERS: &str = "is not done for one cluster: set it for the master, and take it out here";
const ENDPOINT: &str = "is refused: tokens are for AWS's own STS; take it out";
const UNKNOWN: &str = "is not known here: take it out";

/// Variables that change what is asked and printed how, and nothing of the login. STS is always asked in the region of
/// the cluster, whatever `AWS_STS_REGIONAL_ENDPOINTS` says.
const NOTHING: [&str; 19] = [
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_SDK_LOAD_CONFIG",
    "AWS_PAGER",
    "AWS_CLI_AUTO_PROMPT",
    "AWS_CLI_FILE_ENCODING",
    "AWS_CLI_OUTPUT_ENCODING",
    "AWS_CLI_HISTORY_FILE",
    "AWS_DEFAULT_OUTPUT",
    "AWS_DEFAULTS_MODE",
    "AWS_EXECUTION_ENV",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_MAX_ATTEMPTS",
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
    "AWS_METADATA_SERVICE_TIMEOUT",
    "AWS_RETRY_MODE",
    "AWS_SDK_UA_APP_ID",
    "AWS_IAM_AUTHENTICATOR_LOG_VERBOSITY",
    "AWS_IAM_AUTHENTICATOR_CACHE_FILE",
];

/// Takes in what the flags have left open; flags come first for both commands.
pub(super) fn read<'a>(
    tool: &Tool,
    variables: impl Iterator<Item = &'a ExecEnv>,
    asked: &mut Asked,
) -> Result<(), Problem> {
    let mut default_region = None;
    // The last one of a name counts.
    let mut region = None;
    let mut cluster = None;
    let mut role = None;
    // An empty one counts as unset.
    for ExecEnv { name, value } in variables.filter(|variable| !variable.value.is_empty()) {
        match name.as_str() {
            "AWS_REGION" => region = Some(value.clone()),
            "AWS_DEFAULT_REGION" => default_region = Some(value.clone()),
            "KUBERNETES_AWS_AUTHENTICATOR_CLUSTER_ID" if !tool.is_aws() => cluster = Some(value.clone()),
            "DEFAULT_ROLE" if !tool.is_aws() => role = Some(value.clone()),
            "AWS_USE_FIPS_ENDPOINT" | "AWS_USE_DUALSTACK_ENDPOINT" if value.eq_ignore_ascii_case("false") => {}
            other => refuse(other)?,
        }
    }
    let fill = |place: &mut Option<String>, with: Option<String>| *place = place.take().or(with);
    fill(&mut asked.region, region.or(default_region));
    fill(&mut asked.cluster, cluster);
    fill(&mut asked.role, role);
    Ok(())
}

fn refuse(name: &str) -> Result<(), Problem> {
    let problem = match name {
        _ if NOTHING.contains(&name) => return Ok(()),
        "AWS_PROFILE" | "AWS_DEFAULT_PROFILE" => PROFILE,
        "AWS_CONFIG_FILE" | "AWS_SHARED_CREDENTIALS_FILE" | "AWS_CA_BUNDLE" => FILE,
        "AWS_ACCESS_KEY_ID"
        | "AWS_SECRET_ACCESS_KEY"
        | "AWS_SESSION_TOKEN"
        | "AWS_SECURITY_TOKEN"
        | "AWS_CREDENTIAL_EXPIRATION"
        | "AWS_BEARER_TOKEN" => KEYS,
        "AWS_ROLE_ARN" | "AWS_ROLE_SESSION_NAME" | "AWS_WEB_IDENTITY_TOKEN_FILE" => LOGIN,
        "AWS_USE_FIPS_ENDPOINT" | "AWS_USE_DUALSTACK_ENDPOINT" => MASTERS,
        _ if name.starts_with("AWS_CONTAINER_") => LOGIN,
        _ if name.starts_with("AWS_ENDPOINT_URL") => ENDPOINT,
        _ if name.starts_with("AWS_") => UNKNOWN,
        // Neither command reads it; proxies and authorities of the way to AWS are the master's own.
        _ => return Ok(()),
    };
    Err(Problem::setting(name, problem))
}
