//! What a failed request to AWS means.

use std::error::Error;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::config::http::HttpResponse;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId as _;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use sync_core::fault::message;
use tracing::debug;

use super::error::{EksError, Service};

/// Codes whose words explain something and quote nothing of the request but names.
const SPEAKING: [&str; 6] = [
    "AccessDenied",
    "AccessDeniedException",
    "ValidationError",
    "RegionDisabledException",
    "ResourceNotFoundException",
    "InvalidIdentityToken",
];

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// AWS said no to what was asked.
    Denied(String),
    /// AWS does not know of the cluster.
    NotFound,
    /// Whatever was asked, it would fare no better.
    Other(EksError),
}

impl Answer {
    /// If neither a right nor an object can be missing.
    pub(super) fn into_error(self, service: Service) -> EksError {
        match self {
            Self::Other(error) => error,
            Self::Denied(words) => EksError::AwsRefused { service, code: words },
            Self::NotFound => EksError::AwsRefused { service, code: "ResourceNotFoundException".to_owned() },
        }
    }
}

/// Reads a failure.
pub(super) fn answer<E>(service: Service, error: &SdkError<E, HttpResponse>) -> Answer
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let SdkError::ServiceError(refusal) = error else {
        return Answer::Other(transport(service, error, matches!(error, SdkError::TimeoutError(_))));
    };
    let code = refusal.err().code().unwrap_or_default();
    let status = refusal.raw().status().as_u16();
    debug!(%service, code, status, request = error.request_id(), "AWS refuses a request");
    by_code(service, code, status, refusal.err().message().unwrap_or_default())
}

fn by_code(service: Service, code: &str, status: u16, words: &str) -> Answer {
    match code {
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => Answer::Denied(said(code, words)),
        "ResourceNotFoundException" => Answer::NotFound,
        // Their words quote the request that should have been signed.
        "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" => Answer::Other(EksError::ClockSkew(service)),
        "SignatureDoesNotMatch" | "InvalidSignatureException" if of_time(words) => {
            Answer::Other(EksError::ClockSkew(service))
        }
        "ExpiredToken" | "ExpiredTokenException" | "InvalidClientTokenId" | "UnrecognizedClientException" => {
            Answer::Other(EksError::NoCredentials(format!("{service} does not take those that we have ({code})")))
        }
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown" => Answer::Other(EksError::Throttled(service)),
        _ if status == 429 => Answer::Other(EksError::Throttled(service)),
        "" => {
            let words = format!("HTTP {status} without a code of AWS's, as a proxy would say it");
            Answer::Other(EksError::AwsUnreachable { service, words })
        }
        _ => Answer::Other(EksError::AwsRefused { service, code: said(code, words) }),
    }
}

/// "Signature expired: ... is now earlier than ...", "Signature not yet current: ... is still later than ...".
fn of_time(words: &str) -> bool {
    words.contains("Signature expired") || words.contains("Signature not yet current")
}

/// The code, and the words if they explain something.
fn said(code: &str, words: &str) -> String {
    let speaking = SPEAKING.contains(&code) && !words.is_empty();
    message(&if speaking { format!("{words} ({code})") } else { code.to_owned() })
}

fn transport(service: Service, error: &(dyn Error + 'static), late: bool) -> EksError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // The SDK asks for credentials in the midst of a request.
        if let Some(credentials) = error.downcast_ref::<CredentialsError>() {
            return no_credentials(credentials);
        }
        cause = error.source();
    }
    let words = if late { "not within the deadline".to_owned() } else { innermost(error) };
    EksError::AwsUnreachable { service, words }
}

/// Why our own credentials cannot be had. Only words of the system and of STS are shown: what else a source says may
/// quote what it was given.
pub(super) fn no_credentials(error: &CredentialsError) -> EksError {
    if let CredentialsError::CredentialsNotLoaded(_) = error {
        return EksError::NoCredentials(
            "neither in the environment nor by a profile, web identity (IRSA) or container (Pod Identity)".to_owned(),
        );
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(refusal) = error.downcast_ref::<AssumeRoleWithWebIdentityError>() {
            let code = refusal.code().unwrap_or("no code");
            let words = said(code, refusal.message().unwrap_or_default());
            return EksError::NoCredentials(format!("AWS STS refuses our ServiceAccount: {words}"));
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return EksError::NoCredentials(message(&innermost(io)));
        }
        cause = error.source();
    }
    let kind = match error {
        CredentialsError::ProviderTimedOut(_) => "their source does not answer",
        CredentialsError::InvalidConfiguration(_) => "their configuration is invalid (environment, ~/.aws)",
        _ => "their source failed",
    };
    EksError::NoCredentials(kind.to_owned())
}

/// The words of the innermost error; the outer ones only say that there was an error.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    message(&inner.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        let skewed = "Signature expired: 20261125T043000Z is now earlier than 20261125T044500Z";
        let quoting = "The Canonical String for this request should have been 'POST x-amz-security-token:HUNTER2'";
        for (code, status, words, expected) in [
            ("AccessDenied", 403, "not authorized", "AssumeRoleDenied"),
            ("ResourceNotFoundException", 404, "No cluster found for name: prod.", "ClusterNotFound"),
            ("SignatureDoesNotMatch", 403, skewed, "ClockSkew"),
            ("SignatureDoesNotMatch", 403, quoting, "AwsRefused"),
            ("RequestExpired", 400, "", "ClockSkew"),
            ("ExpiredTokenException", 403, "HUNTER2", "NoCredentials"),
            ("TooManyRequestsException", 429, "HUNTER2", "Throttled"),
            ("", 429, "", "Throttled"),
            ("", 503, "", "AwsUnreachable"),
            ("Internal\u{1b}Failure", 500, "HUNTER2", "AwsRefused"),
        ] {
            let found = by_code(Service::Sts, code, status, words);
            let reason = match &found {
                Answer::Denied(_) => "AssumeRoleDenied",
                Answer::NotFound => "ClusterNotFound",
                Answer::Other(error) => error.reason(),
            };
            assert_eq!(reason, expected, "{code}");
            let shown = format!("{found:?} {}", found.clone().into_error(Service::Sts));
            assert!(!shown.contains("HUNTER2") && !shown.contains('\u{1b}'), "{shown}");
        }
    }

    #[test]
    fn words_of_denials_are_shown() {
        let words = "User: arn:aws:sts::1:assumed-role/a/b is not authorized to perform: sts:TagSession";
        assert_eq!(
            by_code(Service::Sts, "AccessDenied", 403, words),
            Answer::Denied(format!("{words} (AccessDenied)"))
        );
    }

    #[test]
    fn missing_credentials() {
        let missing_file = io::Error::new(io::ErrorKind::NotFound, "No such file or directory");
        for (error, text) in [
            (CredentialsError::not_loaded("HUNTER2"), "web identity (IRSA)"),
            (CredentialsError::provider_error(missing_file), "No such file"),
            (CredentialsError::provider_error("HUNTER2"), "their source failed"),
            (CredentialsError::invalid_configuration("HUNTER2"), "configuration is invalid"),
        ] {
            let error = no_credentials(&error);
            let shown = error.to_string();
            assert!(shown.contains(text) && !shown.contains("HUNTER2"), "{shown}");
        }
    }
}
