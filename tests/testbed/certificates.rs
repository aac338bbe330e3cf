//! The keys of a cluster.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Names and addresses that the API server answers under: a proxy before it is on the loopback address too.
const SERVER_NAMES: [&str; 5] =
    ["127.0.0.1", "localhost", "kubernetes", "kubernetes.default.svc", crate::cluster::SERVICE_ADDRESS];

/// The authority, which everybody who connects has to trust.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) pem: String,
    pub(crate) der: Vec<u8>,
}

/// Makes `ca.crt`, `server.crt`, `server.key`, and for ServiceAccount tokens `tokens.key` and `tokens.pub`, in `dir`.
pub(crate) fn make(dir: &Path) -> Result<Authority> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "testbed");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

    let mut params = CertificateParams::new(SERVER_NAMES.map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate()?;
    let server = params.signed_by(&server_key, &authority)?;
    let tokens = KeyPair::generate()?;

    for (name, text) in [
        ("ca.crt", authority.pem()),
        ("server.crt", server.pem()),
        ("server.key", server_key.serialize_pem()),
        ("tokens.key", tokens.serialize_pem()),
        ("tokens.pub", tokens.public_key_pem()),
    ] {
        fs::write(dir.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(Authority { pem: authority.pem(), der: authority.der().to_vec() })
}

/// A bearer token that nobody guesses: other users of the machine can reach the port.
pub(crate) fn random_token() -> Result<String> {
    // The one source of good randomness here that needs no further dependency: a fresh key's public half.
    let key = KeyPair::generate()?;
    Ok(key.public_key_raw().iter().skip(1).take(24).map(|byte| format!("{byte:02x}")).collect())
}
