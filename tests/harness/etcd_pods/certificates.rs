//! The certificates of an etcd of pods.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// A client certificate of the test's own, beside those of the members.
pub(super) const ADMIN_CERT: &str = "admin.pem";
/// Its private key.
pub(super) const ADMIN_KEY: &str = "admin-key.pem";

/// All PEM.
pub(super) struct Certificates {
    pub(super) ca: String,
    /// Of the members, towards clients and towards each other.
    pub(super) server: Pair,
    pub(super) peer: Pair,
    /// What the test itself shows.
    pub(super) admin: Pair,
    /// What the Job is given.
    pub(super) client: Pair,
}

/// A certificate and its private key, as PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

/// What signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// One of this name, with a key of its own.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap_or_else(|error| panic!("make a key: {error}"));
        let issuer = CertifiedIssuer::self_signed(params, key);
        Self(issuer.unwrap_or_else(|error| panic!("make an authority: {error}")))
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }
}

impl Certificates {
    /// For members with these host names. A foreign client's certificate is of an
    /// authority that they do not know.
    pub(super) fn make(hosts: &[String], foreign_client: bool) -> Self {
        let authority = Authority::new("etcd");
        let mut server_names = hosts.to_vec();
        server_names.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
        // Nameless: etcd takes a client that shows a name only from where that
        // name leads to.
        let nobody: &[String] = &[];
        let stranger = foreign_client.then(|| Authority::new("another etcd"));
        Self {
            ca: authority.pem(),
            server: certificate(&authority, "etcd-server", &server_names),
            peer: certificate(&authority, "etcd-peer", hosts),
            admin: certificate(&authority, "root", nobody),
            // Not "root": where etcd has RBAC on, the password has to do.
            client: certificate(stranger.as_ref().unwrap_or(&authority), "defrag", nobody),
        }
    }
}

/// A certificate of this name, good for servers with these hosts and for clients.
pub fn certificate(authority: &Authority, name: &str, hosts: &[String]) -> Pair {
    let make = || -> Result<Pair, rcgen::Error> {
        let mut params = CertificateParams::new(hosts.to_vec())?;
        params.distinguished_name = named(name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &authority.0)?;
        Ok(Pair { cert: cert.pem(), key: key.serialize_pem() })
    };
    make().unwrap_or_else(|error| panic!("make the certificate of {name}: {error}"))
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
