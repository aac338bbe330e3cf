use serde_json::{Value, json};
use sync_core::cluster::kubeconfig::Kubeconfig;

use super::*;

const ARN: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/prod";
const ROLE: &str = "arn:aws:iam::111122223333:role/team/mw-sync";

/// As the AWS CLI wrote it.
const WRITTEN: &[u8] = include_bytes!("command/update-kubeconfig.yaml");

fn read(kubeconfig: &[u8], context: Option<&str>) -> Result<Target, CommandError> {
    let Ok(kubeconfig) = Kubeconfig::parse(kubeconfig) else { panic!("it cannot be read") };
    let Ok(Some(login)) = kubeconfig.login_command(context) else { panic!("there is no command") };
    target(&login)
}

/// A context of this name with this `exec`; cluster and user are called `c` and `u`.
fn with(context: &str, exec: &Value) -> Result<Target, CommandError> {
    let kubeconfig = json!({
        "current-context": context,
        "contexts": [{ "name": context, "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": { "server": "https://a" } }],
        "users": [{ "name": "u", "user": { "exec": exec } }],
    });
    read(kubeconfig.to_string().as_bytes(), None)
}

fn exec(line: &str, env: &[(&str, &str)]) -> Value {
    let mut words = line.split_whitespace();
    let env: Vec<_> = env.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    json!({ "command": words.next(), "args": words.collect::<Vec<_>>(), "env": env })
}

fn refused(context: &str, line: &str, env: &[(&str, &str)]) -> String {
    let error = with(context, &exec(line, env)).expect_err(line);
    assert_eq!(error.reason(), "KubeconfigInvalid");
    let shown = format!("{error}");
    assert!(!format!("{shown}{error:?}").contains("hunter2"), "{shown}");
    shown
}

#[test]
fn what_update_kubeconfig_writes_just_works() {
    let prod = read(WRITTEN, Some(ARN)).unwrap();
    assert_eq!((prod.arn.to_string(), prod.role.unwrap().to_string()), (ARN.to_owned(), ROLE.to_owned()));
    assert_eq!((prod.external_id, prod.session_name, prod.proxy), (None, None, None));
    let dev = read(WRITTEN, Some("dev")).unwrap();
    assert_eq!(dev.arn.to_string(), "arn:aws:eks:us-east-1:111122223333:cluster/Dev_2");
    assert_eq!((dev.role, dev.proxy.as_deref()), (None, Some("http://proxy.example:3128")));
    // Its current one was written with --profile.
    let error = read(WRITTEN, None).unwrap_err().to_string();
    assert!(error.contains("AWS_PROFILE names a profile of another machine: take it out"), "{error}");
    let names: Vec<_> = Kubeconfig::parse(WRITTEN).unwrap().contexts().map(str::to_owned).collect();
    assert_eq!(names, [ARN, "dev", "arn:aws:eks:eu-west-1:111122223333:cluster/edge"]);
}

#[test]
fn every_way_to_say_it() {
    let from_names = |line: &str| with(ARN, &exec(line, &[])).unwrap_or_else(|error| panic!("{line}: {error}"));
    for line in [
        "aws eks get-token --cluster-name prod",
        "/usr/local/bin/aws eks get-token --cluster-name=prod --role-arn=arn:aws:iam::111122223333:role/team/mw-sync",
        r"C:\aws\aws.exe --reg eu-west-1 eks --debug get-token --cluster-n prod --role arn:aws:iam::111122223333:role/team/mw-sync --output json --no-cli-pager",
        "aws eks get-token --cluster-id 0a1b2c3d-0000-4abc-8def-00000000000f --region eu-west-1 --color off",
        "aws eks get-token",
        "aws-iam-authenticator token -i prod",
        "aws-iam-authenticator -iprod token -r arn:aws:iam::111122223333:role/team/mw-sync --cache --token-only=false",
        "aws-iam-authenticator token -i=prod --region us-east-1 -v debug --forward-session-name=false --feature-gates a=b",
    ] {
        let target = from_names(line);
        assert_eq!(target.arn.to_string(), ARN, "{line}");
        assert_eq!(target.role.is_some(), line.contains("role/"), "{line}");
    }
    let all = "aws-iam-authenticator token --cluster-id old --cluster-id prod --role arn:aws:iam::111122223333:role/team/mw-sync -e a/b -s me@x";
    let all = from_names(all);
    assert_eq!((all.external_id.as_deref(), all.session_name.as_deref()), (Some("a/b"), Some("me@x")));
    let key = all.session_key();
    assert_eq!((key.session_name.as_deref(), key.external_id.as_deref()), (Some("me@x"), Some("a/b")));
    // Without a role there is no session to call by a name.
    assert_eq!(from_names("aws-iam-authenticator token -i prod -s me").session_name, None);
}

#[test]
fn without_an_arn_among_the_names_flags_and_environment_say_it() {
    let regional = [("AWS_STS_REGIONAL_ENDPOINTS", "regional")];
    for (line, env) in [
        // As eksctl writes it.
        (
            "aws eks get-token --output json --cluster-name prod --region eu-west-1 --role arn:aws:iam::111122223333:role/team/mw-sync",
            &regional[..],
        ),
        (
            "aws eks get-token --cluster-name prod --role-arn arn:aws:iam::111122223333:role/team/mw-sync",
            &[("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_REGION", "eu-west-1"), ("AWS_PROFILE", "")],
        ),
        (
            "aws-iam-authenticator token",
            &[
                ("KUBERNETES_AWS_AUTHENTICATOR_CLUSTER_ID", "prod"),
                ("DEFAULT_ROLE", ROLE),
                ("AWS_REGION", "eu-west-1"),
                ("AWS_USE_FIPS_ENDPOINT", "false"),
                ("HTTPS_PROXY", "http://hunter2"),
            ],
        ),
    ] {
        let target = with("prod", &exec(line, env)).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!((target.arn.to_string(), target.role.unwrap().to_string()), (ARN.to_owned(), ROLE.to_owned()));
    }
    for (line, text) in [
        ("aws eks get-token --cluster-name prod --region eu-west-1", "does not say in which account"),
        ("aws eks get-token --region eu-west-1", "does not say which cluster is meant"),
        ("aws eks get-token --cluster-id 0a1b --region eu-west-1", "does not say how the cluster is called"),
        ("aws eks get-token --cluster-name prod --role arn:aws:iam::111122223333:role/r", "in which region"),
        (
            "aws eks get-token --cluster-name prod/x --region eu-west-1 --role arn:aws:iam::111122223333:role/r",
            "the cluster's name or region cannot be one",
        ),
        (
            "aws eks get-token --cluster-name prod --region hunter2.example/ --role arn:aws:iam::111122223333:role/r",
            "the cluster's name or region cannot be one",
        ),
    ] {
        let error = refused("prod", line, &[]);
        assert!(error.starts_with("user \"u\": exec") && error.contains(text), "{line}: {error}");
    }
}

#[test]
fn everything_else_is_refused_by_name() {
    for (line, text) in [
        ("gke-gcloud-auth-plugin", "exec runs gke-gcloud-auth-plugin, and commands are not run here"),
        ("/opt/hunter2/aws-vault exec team -- aws eks get-token", "exec runs aws-vault,"),
        ("sh -c hunter2", "exec runs sh,"),
        ("aws eks list-clusters hunter2", "exec runs aws with other words"),
        ("aws eks get-token extra", "aws with other words"),
        ("aws-iam-authenticator server", "with other words"),
        ("aws eks get-token --profile hunter2", "--profile names a profile of another machine"),
        ("aws eks get-token --endpoint-url https://hunter2", "--endpoint-url is refused"),
        ("aws eks get-token --ca-bundle /hunter2", "--ca-bundle names a file"),
        ("aws eks get-token --no-verify-ssl", "--no-verify-ssl is refused"),
        ("aws eks get-token --cluster prod", "--cluster is not known here"),
        ("aws eks get-token --hunt", "--hunt is not known here"),
        ("aws eks get-token --hunt=hunter2", "--hunt is not known here"),
        ("aws eks get-token -i hunter2", "-i is not known here"),
        ("aws eks get-token --cluster-name", "--cluster-name has no value"),
        ("aws eks get-token --cluster-name prod --cluster-id a", "--cluster-id stands beside --cluster-name"),
        ("aws eks get-token --role-arn hunter2", "the role is no ARN like arn:aws:iam"),
        ("aws eks get-token --role-arn arn:aws:iam::999900001111:role/r", "a role of account 111122223333"),
        (
            "aws eks get-token --cluster-name other",
            "names \"arn:aws:eks:eu-west-1:111122223333:cluster/prod\" and \"other\"",
        ),
        ("aws-iam-authenticator token --rol x", "--rol is not known here"),
        ("aws-iam-authenticator token -c /hunter2", "-c names a file"),
        ("aws-iam-authenticator token --forward-session-name", "--forward-session-name is refused"),
        ("aws-iam-authenticator token -r arn:aws:iam::111122223333:role/r -s x", "--session-name is none"),
        ("aws-iam-authenticator token -e hunter2", "externalId: it needs a roleArn"),
    ] {
        let error = refused(ARN, line, &[]);
        assert!(error.contains(text), "{line}: {error}");
    }
    for (name, text) in [
        ("AWS_PROFILE", "profile of another machine"),
        ("AWS_DEFAULT_PROFILE", "profile of another machine"),
        ("AWS_CONFIG_FILE", "file of another machine"),
        ("AWS_ACCESS_KEY_ID", "is a credential of AWS"),
        ("AWS_SESSION_TOKEN", "is a credential of AWS"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "is a login of another machine"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "is a login of another machine"),
        ("AWS_ENDPOINT_URL_STS", "is refused"),
        ("AWS_USE_FIPS_ENDPOINT", "set it for the master"),
        ("AWS_SOMETHING_NEW", "is not known here"),
    ] {
        let error = refused(ARN, "aws eks get-token --cluster-name prod", &[(name, "hunter2")]);
        assert!(error.contains(&format!("exec: {name} ")) && error.contains(text), "{name}: {error}");
    }
    let one = "arn:aws:eks:eu-west-1:111122223333:cluster/one";
    let login = json!({
        "current-context": ARN,
        "contexts": [{ "name": ARN, "context": { "cluster": one, "user": "u" } }],
        "clusters": [{ "name": one, "cluster": {} }],
        "users": [{ "name": "u", "user": { "exec": exec("aws eks get-token", &[]) } }],
    });
    let error = read(login.to_string().as_bytes(), None).unwrap_err().to_string();
    assert!(error.contains("cluster/one\" and \"arn:aws:eks:eu-west-1:111122223333:cluster/prod\""), "{error}");
}
