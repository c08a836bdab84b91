//! What the Secret holds: the pair that is served, the pair that follows it, and the CAs to trust meanwhile.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::ObjectMeta;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::Pair;
use crate::runtime::tls;

/// The keys of the Secret; the first three are those of every `kubernetes.io/tls` Secret.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITIES: &str = "ca.crt";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";

/// Since when the pair of `tls.crt` is the one to serve. A Secret with this annotation is ours.
const SINCE: &str = "etcd-defrag.io/serving-since";

/// The type of the Secret.
const TYPE: &str = "kubernetes.io/tls";

/// More CAs than a rotation needs are only there when somebody forced several within an hour.
const MOST_AUTHORITIES: usize = 5;

/// A certificate with its key, in PEM, that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// When it expires.
    pub not_after: Timestamp,
}

/// The content of a sound Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What every replica serves.
    pub current: Leaf,
    /// What is served once the API server trusts its CA.
    pub next: Option<Leaf>,
    /// The CAs that the API server is to trust, each in PEM, the newest one first.
    pub authorities: Vec<String>,
    /// Since when `current` is served; `None` if it was not recorded.
    pub since: Option<Timestamp>,
}

/// What was found under the name of the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No Secret.
    Absent,
    /// A Secret without any content, made for us to fill.
    Empty,
    /// A Secret that was created and filled by something else.
    Foreign,
    /// Ours, and its certificate's time is still to come.
    Early(Timestamp),
    /// Ours, and it cannot be served, for a reason that is a part of a sentence.
    Broken(String),
    /// Ours and sound.
    Sound(Box<Stored>),
}

/// Reads the Secret: whether it is ours, and whether what it holds would convince the API server that it talks to `host`.
#[must_use]
pub fn read(secret: Option<&Secret>, host: &str, now: Timestamp) -> Found {
    let Some(secret) = secret else { return Found::Absent };
    let none = BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&none);
    if data.values().all(|value| value.0.is_empty()) {
        return Found::Empty;
    }
    let Some(since) = secret.metadata.annotations.as_ref().and_then(|all| all.get(SINCE)) else {
        return Found::Foreign;
    };
    let text = |key: &str| {
        let bytes = &data.get(key).ok_or_else(|| format!("it has no {key}"))?.0;
        String::from_utf8(bytes.clone()).map_err(|_| format!("{key} is not text"))
    };
    let authorities = match text(AUTHORITIES).and_then(|text| split(&text)) {
        Ok(authorities) => authorities,
        Err(reason) => return Found::Broken(reason),
    };
    let leaf = |certificate: &str, key: &str| {
        let (certificate, key) = (text(certificate).map_err(Fault::Broken)?, text(key).map_err(Fault::Broken)?);
        verify(certificate, key, &authorities, host, now)
    };
    let current = match leaf(CERTIFICATE, KEY) {
        Ok(current) => current,
        Err(Fault::Early(from)) => return Found::Early(from),
        Err(Fault::Broken(reason)) => return Found::Broken(reason),
    };
    // One that is no good is made again when its time comes.
    let next = data.contains_key(NEXT_CERTIFICATE).then(|| leaf(NEXT_CERTIFICATE, NEXT_KEY).ok()).flatten();
    Found::Sound(Box::new(Stored { current, next, authorities, since: since.parse().ok() }))
}

enum Fault {
    Early(Timestamp),
    Broken(String),
}

/// Verifies a pair as the API server would, and that its key is its own.
fn verify(certificate: String, key: String, authorities: &[String], host: &str, now: Timestamp) -> Result<Leaf, Fault> {
    let broken = |reason: String| Fault::Broken(reason);
    let (not_before, not_after) =
        tls::verify(certificate.as_bytes(), key.as_bytes(), now).map_err(|error| match error {
            tls::Error::NotYetValid(from) => Fault::Early(from),
            other => Fault::Broken(other.to_string()),
        })?;
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(error.to_string()))?;
    let (leaf, rest) = chain.split_first().ok_or_else(|| broken("there is no certificate".to_owned()))?;
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let der = CertificateDer::from_pem_slice(authority.as_bytes()).map_err(|error| broken(error.to_string()))?;
        roots
            .add(der)
            .map_err(|error| broken(format!("{AUTHORITIES} has a certificate that is not a CA ({error})")))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .build()
        .map_err(|error| broken(error.to_string()))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| broken(error.to_string()))?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default()));
    verifier
        .verify_server_cert(leaf, rest, &name, &[], at)
        .map_err(|error| broken(format!("its certificate is not valid for {host} ({error})")))?;
    Ok(Leaf { certificate, key, not_before, not_after })
}

/// The certificates of a bundle, each as PEM.
fn split(bundle: &str) -> Result<Vec<String>, String> {
    const END: &str = "-----END CERTIFICATE-----";
    let each: Vec<String> = bundle
        .split_inclusive(END)
        .filter(|part| part.contains(END))
        .map(|part| format!("{}\n", part.trim()))
        .collect();
    let sound = |pem: &String| CertificateDer::from_pem_slice(pem.as_bytes()).is_ok();
    if each.is_empty() || !each.iter().all(sound) {
        return Err(format!("its {AUTHORITIES} is not a list of certificates in PEM"));
    }
    Ok(each)
}

impl Stored {
    /// The first content: a pair that is served from now on.
    #[must_use]
    pub fn begun(pair: &Pair, leaf: Leaf, now: Timestamp) -> Self {
        Self { current: leaf, next: None, authorities: vec![pair.ca_pem.clone()], since: Some(now) }
    }

    /// The same with a pair that follows.
    #[must_use]
    pub fn prepared(&self, pair: &Pair, leaf: Leaf) -> Self {
        let mut authorities = vec![pair.ca_pem.clone()];
        authorities.extend(self.authorities.iter().cloned());
        authorities.truncate(MOST_AUTHORITIES);
        Self { next: Some(leaf), authorities, ..self.clone() }
    }

    /// The same after the change to the pair that follows.
    #[must_use]
    pub fn promoted(&self, now: Timestamp) -> Self {
        let Some(next) = self.next.clone() else { return self.clone() };
        Self { current: next, next: None, authorities: self.authorities.clone(), since: Some(now) }
    }

    /// The same with the newest CA only.
    #[must_use]
    pub fn pruned(&self) -> Self {
        Self { authorities: self.authorities.iter().take(1).cloned().collect(), ..self.clone() }
    }

    /// What the API server is to trust, in PEM.
    #[must_use]
    pub fn bundle(&self) -> String {
        self.authorities.concat()
    }

    /// The Secret with this content; what else `before` carries stays. One that is new is labelled as
    /// made by `manager`.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str, manager: &str, before: Option<&Secret>) -> Secret {
        let mut secret = before.cloned().unwrap_or_else(|| Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some(
                    ["app.kubernetes.io/managed-by", "app.kubernetes.io/name"]
                        .map(|key| (key.to_owned(), manager.to_owned()))
                        .into(),
                ),
                ..ObjectMeta::default()
            },
            type_: Some(TYPE.to_owned()),
            ..Secret::default()
        });
        let since = self.since.map_or_else(|| "unknown".to_owned(), |since| since.to_string());
        secret.metadata.annotations.get_or_insert_default().insert(SINCE.to_owned(), since);
        let mut data: BTreeMap<String, ByteString> = BTreeMap::new();
        let mut put = |key: &str, text: &str| data.insert(key.to_owned(), ByteString(text.as_bytes().to_vec()));
        put(CERTIFICATE, &self.current.certificate);
        put(KEY, &self.current.key);
        put(AUTHORITIES, &self.bundle());
        if let Some(next) = &self.next {
            put(NEXT_CERTIFICATE, &next.certificate);
            put(NEXT_KEY, &next.key);
        }
        secret.data = Some(data);
        secret
    }
}
