//! The serving certificate, reloaded together with its key and without a dropped connection.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};
use tokio::{io::AsyncReadExt, time::sleep};
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{clock::Clock, listen::ALPN};

/// How often the files are read. Reading them finds every kind of change, including the kubelet's swap of a `..data`
/// link.
pub const POLL: Duration = Duration::from_secs(1);

/// The pause before a bad pair is read again: a writer may be half-way.
const SETTLE: Duration = Duration::from_millis(50);

/// The most that is read of a file, in bytes; chains are a few KiB.
const FILE_LIMIT: u64 = 1 << 20;

/// A pair that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is not there.
    #[error(
        "{path} does not exist: it has not been created yet, for example by cert-manager, or it is mounted elsewhere",
        path = path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file is no certificate.
    #[error("{path} is larger than 1 MiB; a certificate chain in PEM was expected", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The certificate file has none.
    #[error("the certificate file {0}; write the whole chain in PEM, the leaf first")]
    NoCertificate(&'static str),
    /// The key file has none.
    #[error("the key file {0}; write the certificate's private key in PEM, unencrypted (PKCS #8, PKCS #1 or SEC1)")]
    NoKey(&'static str),
    /// The leaf cannot be parsed.
    #[error("the first certificate of the file is damaged ({0}); write the whole chain in PEM, the leaf first")]
    Leaf(String),
    /// Certificate and key belong to different pairs.
    #[error("the private key does not belong to the certificate; write both of one pair")]
    Mismatch,
    /// The leaf's time is still to come.
    #[error("the certificate is not valid before {0}")]
    NotYetValid(Timestamp),
    /// The leaf's time is over.
    #[error("the certificate expired at {0}")]
    Expired(Timestamp),
    /// rustls refuses the configuration.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// A certificate chain and its key as files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// A pair as read, not yet verified.
#[derive(Clone, PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// A pair that can be served.
#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Files {
    async fn read(&self) -> Result<Pem, Error> {
        Ok(Pem { certificate: read(&self.certificate).await?, key: read(&self.key).await? })
    }
}

pub(super) async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Read { path: path.to_owned(), source },
    };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    let length = file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if length as u64 > FILE_LIMIT {
        return Err(Error::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Verifies a pair: parsed, belonging together, valid now.
fn load(pair: &Pem, now: Timestamp) -> Result<Loaded, Error> {
    let chain = CertificateDer::pem_slice_iter(&pair.certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Error::NoCertificate("is truncated or damaged"))?;
    let leaf = chain.first().ok_or_else(|| Error::NoCertificate("has no certificate"))?;
    let (not_before, not_after) = validity(leaf)?;
    let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|error| match error {
        pem::Error::NoItemsFound => Error::NoKey("has no private key"),
        _ => Error::NoKey("is truncated or damaged"),
    })?;
    let signing =
        ring::sign::any_supported_type(&key).map_err(|_| Error::NoKey("has a key of a kind that is not supported"))?;
    let key = CertifiedKey::new(chain, signing);
    key.keys_match().map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => Error::Mismatch,
        other => Error::Leaf(other.to_string()),
    })?;
    if now < not_before {
        return Err(Error::NotYetValid(not_before));
    }
    if now >= not_after {
        return Err(Error::Expired(not_after));
    }
    Ok(Loaded { key: Arc::new(key), not_before, not_after })
}

/// From when until when a pair is valid; now is within.
///
/// # Errors
/// Any of [`Error`]'s but those of reading.
pub fn verify(certificate: &[u8], key: &[u8], now: Timestamp) -> Result<(Timestamp, Timestamp), Error> {
    let loaded = load(&Pem { certificate: certificate.to_vec(), key: key.to_vec() }, now)?;
    Ok((loaded.not_before, loaded.not_after))
}

fn validity(leaf: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), Error> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| Error::Leaf(error.to_string()))?;
    let at = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_second(time.timestamp()).map_err(|error| Error::Leaf(error.to_string()))
    };
    Ok((at(leaf.validity().not_before)?, at(leaf.validity().not_after)?))
}

/// The pair that is served now, if there was a good one yet, and what is wrong with the newest one, if anything is.
#[derive(Debug)]
struct Serving {
    loaded: Option<Loaded>,
    refused: Option<String>,
}

/// The serving certificate; it follows its source.
pub struct Certificates {
    serving: RwLock<Serving>,
    metrics: TlsMetrics,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.read_serving().loaded.as_ref().map(|loaded| Arc::clone(&loaded.key))
    }
}

impl Certificates {
    /// A pair that is in memory.
    ///
    /// # Errors
    /// Any of [`Error`]'s but those of reading.
    pub fn from_pem(certificate: &str, key: &str, metrics: TlsMetrics, now: Timestamp) -> Result<Arc<Self>, Error> {
        let certificates = Self::empty(metrics);
        certificates.install(certificate.as_bytes(), key.as_bytes(), now)?;
        Ok(certificates)
    }

    /// Without a pair so far: handshakes fail and readiness says so, until [`Self::install`] brings one.
    #[must_use]
    pub fn empty(metrics: TlsMetrics) -> Arc<Self> {
        Arc::new(Self { serving: RwLock::new(Serving { loaded: None, refused: None }), metrics })
    }

    /// A pair in files, which is served and followed until `shutdown` is cancelled: every `poll` the files are compared
    /// with what was read last. A new pair that cannot be served leaves the old one in place; where there is no good one
    /// from the start, it is waited for.
    pub async fn follow(
        files: Files,
        metrics: TlsMetrics,
        clock: Clock,
        poll: Duration,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let certificates = Self::empty(metrics);
        let last_read = match certificates.take(files.read().await, &clock) {
            Ok(pem) => Some(pem),
            Err(error) => {
                certificates.note(Some(error.to_string()));
                None
            }
        };
        let follower = Arc::clone(&certificates);
        tokio::spawn(async move {
            let follow = follower.keep_up(&files, last_read, &clock, poll);
            shutdown.run_until_cancelled(follow).await;
        });
        certificates
    }

    /// Serves a pair from now on; what was served before stays where it is no good.
    ///
    /// # Errors
    /// Any of [`Error`]'s but those of reading.
    pub fn install(&self, certificate: &[u8], key: &[u8], now: Timestamp) -> Result<(), Error> {
        let loaded = load(&Pem { certificate: certificate.to_vec(), key: key.to_vec() }, now)?;
        tracing::info!(not_after = %loaded.not_after, "serving a new certificate");
        self.metrics.not_after.set(loaded.not_after.as_second());
        let mut serving = self.serving.write().unwrap_or_else(PoisonError::into_inner);
        if serving.loaded.is_some() {
            self.metrics.reloaded("accepted");
        }
        *serving = Serving { loaded: Some(loaded), refused: None };
        Ok(())
    }

    /// TLS 1.2 and 1.3 with the certificate that is in force at each handshake, for everybody.
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, Error> {
        self.server_config_for(WebPkiClientVerifier::no_client_auth())
    }

    /// The same for those that `clients` admits.
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub fn server_config_for(
        self: &Arc<Self>,
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Result<Arc<ServerConfig>, Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::<Self>::clone(self));
        // A session that is taken up again would pass by a CA that has changed; the API server takes none up.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// Whether the certificate is valid, as text.
    ///
    /// # Errors
    ///
    /// The reason why it is not.
    pub fn check(&self, now: Timestamp) -> Result<String, String> {
        let serving = self.read_serving();
        let Some(Loaded { not_after, .. }) = serving.loaded else {
            let reason = serving.refused.as_deref().unwrap_or("none was found yet");
            return Err(format!("there is no serving certificate: {reason}"));
        };
        let refused = serving
            .refused
            .as_ref()
            .map(|reason| format!("; a newer one could not be loaded: {reason}"))
            .unwrap_or_default();
        if now >= not_after {
            return Err(format!("the serving certificate expired at {not_after}{refused}"));
        }
        Ok(format!("certificate valid until {not_after}{refused}"))
    }

    async fn keep_up(&self, files: &Files, mut last_read: Option<Pem>, clock: &Clock, poll: Duration) {
        loop {
            sleep(poll).await;
            let read = files.read().await;
            if read.as_ref().is_ok_and(|pem| last_read.as_ref() == Some(pem)) {
                self.note(None);
                continue;
            }
            if let Ok(pem) = self.take(read, clock) {
                last_read = Some(pem);
                continue;
            }
            sleep(SETTLE).await;
            match self.take(files.read().await, clock) {
                Ok(pem) => last_read = Some(pem),
                Err(error) => self.note(Some(error.to_string())),
            }
        }
    }

    fn take(&self, read: Result<Pem, Error>, clock: &Clock) -> Result<Pem, Error> {
        let pem = read?;
        self.install(&pem.certificate, &pem.key, clock())?;
        Ok(pem)
    }

    /// Keeps what is wrong with the newest pair; each new reason is logged and counted once.
    pub fn note(&self, refused: Option<String>) {
        let mut serving = self.serving.write().unwrap_or_else(PoisonError::into_inner);
        if serving.refused == refused {
            return;
        }
        if let Some(reason) = &refused {
            let stays = if serving.loaded.is_some() { "the old one stays" } else { "there is none to serve" };
            tracing::error!(reason, "a new certificate could not be loaded; {stays}");
            self.metrics.reloaded("refused");
        }
        serving.refused = refused;
    }

    fn read_serving(&self) -> std::sync::RwLockReadGuard<'_, Serving> {
        self.serving.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reload {
    result: &'static str,
}

/// What is exported about the serving certificate; clones share it.
#[derive(Clone, Debug, Default)]
pub struct TlsMetrics {
    not_after: Gauge,
    reloads: Family<Reload, Counter>,
}

impl TlsMetrics {
    /// Metrics that `registry` exports.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("certificate");
        registry.register_with_unit(
            "expiry_timestamp",
            "When the serving certificate expires, since the epoch; 0 while there is none",
            Unit::Seconds,
            metrics.not_after.clone(),
        );
        registry.register("reloads", "New certificates after the first one by result", metrics.reloads.clone());
        metrics
    }

    fn reloaded(&self, result: &'static str) {
        self.reloads.get_or_create(&Reload { result }).inc();
    }
}
