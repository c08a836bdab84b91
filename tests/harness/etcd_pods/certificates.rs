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

pub(super) struct Pair {
    pub(super) cert: String,
    pub(super) key: String,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

impl Certificates {
    /// For members with these host names. A foreign client's certificate is of an
    /// authority that they do not know.
    pub(super) fn make(hosts: &[String], foreign_client: bool) -> Self {
        let authority = authority("etcd");
        let mut server_names = hosts.to_vec();
        server_names.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
        // Nameless: etcd takes a client that shows a name only from where that
        // name leads to.
        let nobody: &[String] = &[];
        let stranger = foreign_client.then(|| self::authority("another etcd"));
        Self {
            ca: authority.pem(),
            server: pair(&authority, "etcd-server", &server_names),
            peer: pair(&authority, "etcd-peer", hosts),
            admin: pair(&authority, "root", nobody),
            // Not "root": where etcd has RBAC on, the password has to do.
            client: pair(stranger.as_ref().unwrap_or(&authority), "defrag", nobody),
        }
    }
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap_or_else(|error| panic!("make a key: {error}"));
    CertifiedIssuer::self_signed(params, key).unwrap_or_else(|error| panic!("make an authority: {error}"))
}

fn pair(authority: &Authority, name: &str, hosts: &[String]) -> Pair {
    let make = || -> Result<Pair, rcgen::Error> {
        let mut params = CertificateParams::new(hosts.to_vec())?;
        params.distinguished_name = named(name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, authority)?;
        Ok(Pair { cert: cert.pem(), key: key.serialize_pem() })
    };
    make().unwrap_or_else(|error| panic!("make the certificate of {name}: {error}"))
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
