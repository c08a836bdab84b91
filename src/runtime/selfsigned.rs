//! A CA and a serving certificate that it signed, made in memory: for development, and for the webhook that keeps its own
//! certificate in a Secret ([`rotation`]).

pub mod bundle;
pub mod bundle_status;
pub mod plan;
pub mod rotation;
pub mod secret_store;

use std::time::Duration;

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// How long a development certificate is valid, in days.
pub const VALID_DAYS: i32 = 365;

/// A serving certificate with its key, and the CA to trust it by. All PEM.
#[derive(Clone)]
pub struct Pair {
    /// The CA's certificate.
    pub ca_pem: String,
    /// The serving certificate.
    pub cert_pem: String,
    /// Its private key (PKCS #8).
    pub key_pem: String,
}

/// No certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name or the key material was refused.
    #[error("no certificate can be created for these names: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The calendar has no such day.
    #[error("no certificate can be created for this date: {0}")]
    Date(#[from] jiff::Error),
}

/// A fresh CA and a serving certificate (ECDSA P-256) for `localhost`, the loopback addresses and `names`, which are
/// DNS names or IP addresses. The CA's key is dropped, so nothing else can ever be signed with it.
///
/// # Errors
/// [`Error::Certificate`] for a name that is neither a DNS name nor an address.
pub fn issue(names: &[String]) -> Result<Pair, Error> {
    // A day's margin on each side for clocks that disagree.
    let today = TimeZone::UTC.to_datetime(Timestamp::now()).date();
    issue_for(names, today.checked_sub(1.day())?, today.checked_add(VALID_DAYS.days())?)
}

/// The same, valid from the start of one day to the start of another, in UTC.
///
/// # Errors
/// As [`issue`].
pub fn issue_for(names: &[String], from: Date, until: Date) -> Result<Pair, Error> {
    let at = |date: Date| date.to_zoned(TimeZone::UTC).map(|day| day.timestamp());
    issue_between(names, "etcd-defrag-webhook development CA", at(from)?, at(until)?)
}

/// A fresh CA of the given name and a serving certificate (ECDSA P-256) for the same names, both valid in one span of time.
/// The CA's key is dropped.
///
/// # Errors
/// [`Error::Certificate`] for a name that is neither a DNS name nor an address.
pub fn issue_between(names: &[String], authority: &str, from: Timestamp, until: Timestamp) -> Result<Pair, Error> {
    let at = |time: Timestamp| {
        let since_epoch = Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default());
        date_time_ymd(1970, 1, 1) + since_epoch
    };
    let params = |names: Vec<String>, common_name: &str| -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(names)?;
        params.not_before = at(from);
        params.not_after = at(until);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    };

    let mut ca = params(Vec::new(), authority)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    all.extend(names.iter().filter(|name| !all.contains(name)).cloned().collect::<Vec<_>>());
    let mut leaf = params(all, "etcd-defrag-webhook")?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &ca)?;
    Ok(Pair { ca_pem: ca.pem(), cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

#[cfg(test)]
#[allow(clippy::format_push_string, reason = "tests are read, not tuned")]
mod tests;
