//! Paths of API requests. Names may come from a server that is not to be trusted: none can lead elsewhere.

use std::fmt::Write as _;

use crate::contract::object::Kind;
use crate::fault::Fault;

/// `/api/v1/namespaces/{namespace}/{plural}`
///
/// # Errors
/// If the namespace cannot be one.
pub fn of_kind(kind: Kind, namespace: &str) -> Result<String, Fault> {
    Ok(format!("/api/v1/namespaces/{}/{}", segment(namespace)?, kind.plural()))
}

/// The same, and `/{name}`.
///
/// # Errors
/// If the namespace or the name cannot be one.
pub fn of_object(kind: Kind, namespace: &str, name: &str) -> Result<String, Fault> {
    Ok(format!("{}/{}", of_kind(kind, namespace)?, segment(name)?))
}

/// `/api/v1/namespaces/{namespace}/serviceaccounts/{name}`
///
/// # Errors
/// If the namespace or the name cannot be one.
pub fn of_service_account(namespace: &str, name: &str) -> Result<String, Fault> {
    Ok(format!("/api/v1/namespaces/{}/serviceaccounts/{}", segment(namespace)?, segment(name)?))
}

/// `/api/v1/namespaces/{name}`
///
/// # Errors
/// If the name cannot be one.
pub fn of_namespace(name: &str) -> Result<String, Fault> {
    Ok(format!("/api/v1/namespaces/{}", segment(name)?))
}

/// A name as one segment of a path, unchanged: DNS names, and what some older kinds allow besides.
///
/// # Errors
/// If it holds anything that could end the segment or mean another one.
pub fn segment(name: &str) -> Result<&str, Fault> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if name.is_empty() || name.len() > 253 || name == "." || name == ".." || !name.chars().all(plain) {
        return Err(Fault::Rejected("a name that Kubernetes does not allow".to_owned()));
    }
    Ok(name)
}

/// A value of a query parameter.
pub fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_elsewhere() {
        assert_eq!(
            of_object(Kind::Secret, "app", "kube-root-ca.crt").unwrap(),
            "/api/v1/namespaces/app/secrets/kube-root-ca.crt"
        );
        for bad in ["", ".", "..", "a/b", "a%2fb", "a?b", "a#b", "a b", "a\nb", "ä", "a\\b", &"a".repeat(254)] {
            assert!(of_object(Kind::Secret, "app", bad).is_err(), "{bad:?}");
            assert!(of_kind(Kind::ConfigMap, bad).is_err(), "{bad:?}");
            assert!(of_namespace(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn query_values() {
        assert_eq!(encode("mw-sync.io/managed-by=agent"), "mw-sync.io%2Fmanaged-by%3Dagent");
        assert_eq!(encode("a&b=ä"), "a%26b%3D%C3%A4");
    }
}
