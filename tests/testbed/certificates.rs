//! The keys of a cluster.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Names and addresses that the API server answers under: a proxy before it is on the loopback address too.
const SERVER_NAMES: [&str; 5] =
    ["127.0.0.1", "localhost", "kubernetes", "kubernetes.default.svc", crate::cluster::SERVICE_ADDRESS];

/// Names of certificate and key that an API server shows to whoever asks for `localhost`.
pub(crate) const NAMED: (&str, &str) = ("localhost.crt", "localhost.key");

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one. All have the same name, so that none can be told by it.
    ///
    /// # Errors
    /// None in practice: keys can be made.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let pem = issuer.pem();
        Ok(Self { issuer, pem })
    }

    /// Its certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    /// Certificate and key, in PEM, of a server with these names and addresses.
    ///
    /// # Errors
    /// If a name cannot be one.
    pub fn server(&self, names: &[&str]) -> Result<(String, String)> {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The same of a person of this name, in this group.
    ///
    /// # Errors
    /// None in practice: keys can be made.
    pub fn person(&self, name: &str, group: &str) -> Result<(String, String)> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Result<(String, String)> {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }

    /// A server of these names and addresses in this process, that speaks these protocols; HTTP/1.1 if it names none.
    pub(crate) fn acceptor(&self, names: &[&str], protocols: &[&str]) -> Result<TlsAcceptor> {
        let (certificate, key) = self.server(names)?;
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let mut tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        tls.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(tls)))
    }
}

/// Makes `ca.crt`, `server.crt`, `server.key`, those for `localhost`, and for ServiceAccount tokens `tokens.key` and
/// `tokens.pub`, in `dir`.
pub(crate) fn make(dir: &Path) -> Result<Authority> {
    let authority = Authority::new()?;
    let (server, server_key) = authority.server(&SERVER_NAMES)?;
    let tokens = KeyPair::generate()?;
    for (name, text) in [
        ("ca.crt", authority.pem.clone()),
        ("server.crt", server),
        ("server.key", server_key),
        ("tokens.key", tokens.serialize_pem()),
        ("tokens.pub", tokens.public_key_pem()),
    ] {
        fs::write(dir.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    write_named(dir, &authority)?;
    Ok(authority)
}

/// Makes the certificate for `localhost`, or makes it anew: an API server that runs notices.
pub(crate) fn write_named(dir: &Path, authority: &Authority) -> Result<()> {
    let (certificate, key) = authority.server(&["localhost"])?;
    let (certificate_file, key_file) = NAMED;
    for (name, text) in [(key_file, key), (certificate_file, certificate)] {
        // Whole at once: a half file would be read.
        let new = dir.join(format!("{name}.new"));
        fs::write(&new, text)?;
        fs::rename(&new, dir.join(name)).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// A bearer token that nobody guesses: other users of the machine can reach the port.
pub(crate) fn random_token() -> Result<String> {
    // The one source of good randomness here that needs no further dependency: a fresh key's public half.
    let key = KeyPair::generate()?;
    Ok(key.public_key_raw().iter().skip(1).take(24).map(|byte| format!("{byte:02x}")).collect())
}
