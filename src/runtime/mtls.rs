//! Who may call the webhook: clients with a certificate of the configured CA, for one of the configured names.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime, pem::PemObject as _},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::tls;

/// What clients have to present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file with the CAs in PEM.
    pub authority: PathBuf,
    /// The names of which the client's certificate must have one, as its common name or among its DNS names; without any,
    /// every certificate of the CA will do.
    pub names: Vec<String>,
}

/// Verifies clients; it follows the file of the CA.
pub struct Clients {
    config: Config,
    algorithms: WebPkiSupportedAlgorithms,
    ca: RwLock<ClientCa>,
}

#[derive(Default)]
struct ClientCa {
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    refused: Option<String>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A certificate of the right CA for another name.
#[derive(Debug, thiserror::Error)]
#[error("it is for {}, and --tls-client-name admits {}", list(.found), list(.wanted))]
struct WrongName {
    found: Vec<String>,
    wanted: Vec<String>,
}

/// The CA is not known, so no client can be admitted.
#[derive(Debug, thiserror::Error)]
#[error("the CA of --tls-client-ca is not known: {0}")]
struct NoAuthority(String);

fn list(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        names => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" or "),
    }
}

impl Clients {
    /// Verifies by the CA in the file, which is followed until `shutdown` is cancelled: it is read every `poll`. A bad one
    /// leaves the old one in force; before there was a good one, no client is admitted.
    pub async fn follow(config: Config, poll: Duration, shutdown: CancellationToken) -> Arc<Self> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        let clients = Arc::new(Self { config, algorithms, ca: RwLock::default() });
        let mut last_read = Vec::new();
        clients.look(&mut last_read).await;
        let follower = Arc::clone(&clients);
        tokio::spawn(async move {
            let follow = async {
                loop {
                    sleep(poll).await;
                    follower.look(&mut last_read).await;
                }
            };
            shutdown.run_until_cancelled(follow).await;
        });
        clients
    }

    /// Whether clients can be verified, as text.
    ///
    /// # Errors
    ///
    /// Why they cannot, so that none is admitted.
    pub fn check(&self) -> Result<String, String> {
        let ca = self.ca.read().unwrap_or_else(PoisonError::into_inner);
        let refused = ca.refused.clone();
        if ca.verifier.is_none() {
            return Err(format!("no client can be admitted: {}", refused.unwrap_or_default()));
        }
        let names = match self.config.names.as_slice() {
            [] => "every client with a certificate of the CA".to_owned(),
            names => format!("clients with a certificate for {}", list(names)),
        };
        let refused = refused.map(|reason| format!("; a newer CA could not be loaded: {reason}")).unwrap_or_default();
        Ok(format!("{names}{refused}"))
    }

    async fn look(&self, last_read: &mut Vec<u8>) {
        let outcome = match tls::read(&self.config.authority).await {
            Ok(pem) if pem == *last_read => return self.note(None),
            Ok(pem) => self.verifier(&pem).map(|verifier| (pem, verifier)),
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok((pem, verifier)) => {
                tracing::info!(file = %self.config.authority.display(), "clients are verified with the CA in this file");
                *last_read = pem;
                *self.ca.write().unwrap_or_else(PoisonError::into_inner) =
                    ClientCa { verifier: Some(verifier), refused: None };
            }
            Err(reason) => self.note(Some(reason)),
        }
    }

    fn verifier(&self, pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let path = self.config.authority.display();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|_| format!("{path} is truncated or damaged; write the CA in PEM"))?;
            roots.add(certificate).map_err(|error| format!("{path} has a certificate that is not a CA: {error}"))?;
        }
        if roots.is_empty() {
            return Err(format!("{path} has no certificate; write the CA in PEM"));
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
            .build()
            .map_err(|error| format!("{path}: {error}"))
    }

    fn note(&self, refused: Option<String>) {
        let mut ca = self.ca.write().unwrap_or_else(PoisonError::into_inner);
        if ca.refused == refused {
            return;
        }
        if let Some(reason) = &refused {
            let stays = if ca.verifier.is_some() { "the old one stays" } else { "no client is admitted" };
            tracing::error!(reason, "the CA of clients could not be loaded; {stays}");
        }
        ca.refused = refused;
    }

    fn check_name(&self, certificate: &CertificateDer<'_>) -> Result<(), WrongName> {
        let wanted = &self.config.names;
        if wanted.is_empty() {
            return Ok(());
        }
        let found = names(certificate);
        if found.iter().any(|name| wanted.contains(name)) {
            return Ok(());
        }
        Err(WrongName { found, wanted: wanted.clone() })
    }
}

/// The common name and the DNS names of a certificate.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut all: Vec<String> = common.map(str::to_owned).collect();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        all.extend(alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        }));
    }
    all
}

impl ClientCertVerifier for Clients {
    /// None: the CA can change, and clients that have one certificate send it all the same.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let (verifier, refused) = {
            let ca = self.ca.read().unwrap_or_else(PoisonError::into_inner);
            (ca.verifier.clone(), ca.refused.clone())
        };
        let other = |error| rustls::Error::from(CertificateError::Other(OtherError(error)));
        let Some(verifier) = verifier else {
            return Err(other(Arc::new(NoAuthority(refused.unwrap_or_default()))));
        };
        let proof = verifier.verify_client_cert(end_entity, intermediates, now)?;
        self.check_name(end_entity).map_err(|error| other(Arc::new(error)))?;
        Ok(proof)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
