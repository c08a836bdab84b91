//! A connection to one endpoint: its address, TLS, HTTP/2.

use std::{io, path::Path, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{
    error::{Error, Kind},
    options::{Options, Tls},
};
use crate::defrag::duration;

/// A channel to `endpoint`, which is connected at the first request and again whenever the connection is gone.
pub(super) fn channel(endpoint: &str, options: &Options, tls: Option<&Arc<ClientConfig>>) -> Result<Channel, Error> {
    let bad = |text: String| Error::new(Kind::Access, format!("the endpoint {endpoint} {text}"));
    let url = match endpoint.split_once("://") {
        Some(("http" | "https", _)) => endpoint.to_owned(),
        Some((scheme, _)) => return Err(bad(format!("has the scheme {scheme}: write http:// or https://"))),
        None if options.tls.is_given() => format!("https://{endpoint}"),
        None => format!("http://{endpoint}"),
    };
    let uri: Uri = url.parse().map_err(|error| bad(format!("is not a URL ({error}): write https://HOST:PORT")))?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let encrypted = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let secure = match tls.filter(|_| encrypted) {
        None => None,
        Some(config) => {
            let name = ServerName::try_from(host.clone())
                .map_err(|_| bad("has a host that no certificate can be for: write its DNS name".to_owned()))?;
            Some((TlsConnector::from(Arc::clone(config)), name))
        }
    };
    let limit = options.dial_timeout;
    let connector = tower::service_fn(move |_: Uri| {
        let (host, secure) = (host.clone(), secure.clone());
        async move {
            let end = Instant::now() + limit;
            let stream = timeout_at(end, TcpStream::connect((host.as_str(), port)))
                .await
                .map_err(|_| late("no connection", limit, "the name server or the address does not answer"))??;
            stream.set_nodelay(true)?;
            let stream = match secure {
                None => Either::Left(stream),
                Some((connector, name)) => {
                    Either::Right(timeout_at(end, connector.connect(name, stream)).await.map_err(|_| {
                        late(
                            "no TLS handshake",
                            limit,
                            "the address accepts connections, but the process there does not answer",
                        )
                    })??)
                }
            };
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    Ok(Endpoint::from(uri)
        .http2_keep_alive_interval(options.keepalive_time)
        .keep_alive_timeout(options.keepalive_timeout)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector))
}

/// What was not there in time, and what that means.
fn late(what: &str, limit: Duration, why: &str) -> io::Error {
    let limit = duration::format_go(limit);
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {limit} (--dial-timeout): {why}"))
}

/// The configuration of TLS, where an endpoint needs one.
pub(super) fn tls(options: &Options) -> Result<Option<Arc<ClientConfig>>, Error> {
    let needed = options.tls.is_given() || options.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
    if needed { client_config(&options.tls).map(|config| Some(Arc::new(config))) } else { Ok(None) }
}

fn client_config(tls: &Tls) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let failed = |error: rustls::Error| Error::new(Kind::Access, format!("TLS cannot be set up: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let verifier: Arc<dyn ServerCertVerifier> = if tls.skip_verify {
        Arc::new(Anybody(provider))
    } else {
        let roots = Arc::new(roots(tls.authority.as_deref())?);
        WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| Error::new(Kind::Access, format!("no member can be verified: {error}")))?
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate, "--cert")?;
            let key = PrivateKeyDer::from_pem_slice(&read(key, "--key")?).map_err(|error| {
                Error::new(Kind::Access, format!("--key: {} has no private key in PEM: {error}", key.display()))
            })?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                Error::new(Kind::Access, format!("--cert and --key do not belong together: {error}"))
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn roots(authority: Option<&Path>) -> Result<RootCertStore, Error> {
    let (found, origin) = match authority {
        Some(path) => (certificates(path, "--cacert")?, "--cacert"),
        None => (rustls_native_certs::load_native_certs().certs, "the system"),
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found);
    if added == 0 {
        let text = format!("{origin} has no certificate of an authority: write --cacert with the one of the etcd");
        return Err(Error::new(Kind::Access, text));
    }
    Ok(roots)
}

fn certificates(path: &Path, flag: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = read(path, flag)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read).collect();
    match found {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(Error::new(Kind::Access, format!("{flag}: {} has no certificate in PEM", path.display()))),
        Err(error) => {
            Err(Error::new(Kind::Access, format!("{flag}: {} has no certificate in PEM: {error}", path.display())))
        }
    }
}

fn read(path: &Path, flag: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path)
        .map_err(|error| Error::new(Kind::Access, format!("{flag}: {} cannot be read: {error}", path.display())))
}

/// Accepts any certificate, for `--insecure-skip-tls-verify`; that the server has the key of its certificate is still
/// checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
