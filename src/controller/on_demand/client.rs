//! Asking a Prometheus: one connection for each query, one time limit for all of them, bodies of bounded size.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::http::{Request, StatusCode, Uri, header, uri::Scheme};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    body::Bytes,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

use crate::defrag::{
    ondemand::{AnswerError, Metric, Readings, Sample, read},
    policy::{Credentials, Source},
};

/// The largest answer, in bytes: a fleet of 10,000 etcds takes about 10 MiB.
const LARGEST: usize = 64 << 20;

/// Why a Prometheus could not be queried, as text that follows "Prometheus" or stands alone. The same failure has the
/// same text each time, so that a condition with it does not change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("cannot be queried: the URL {0} has no host")]
    Url(String),
    #[error("cannot be reached: {0}")]
    Connect(std::io::ErrorKind),
    #[error("cannot be queried: the file {0} cannot be read ({1}). Mount it in the folder of --prometheus-files")]
    File(String, std::io::ErrorKind),
    #[error("cannot be queried: the file {0} contains no certificate in PEM")]
    NoCertificate(String),
    #[error("cannot be trusted: {0}")]
    Tls(String),
    #[error("closed the connection early")]
    Broken,
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("{0}")]
    Answer(#[from] AnswerError),
    #[error("answered with more than {} MiB", LARGEST >> 20)]
    TooLarge,
    #[error("did not answer within {}", crate::defrag::duration::in_words(*.0))]
    TimedOut(Duration),
}

impl AskError {
    /// In one word, for a condition.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Url(_) | Self::File(..) | Self::NoCertificate(_) => "Misconfigured",
            Self::Connect(_) | Self::Broken => "Unreachable",
            Self::Tls(_) => "Untrusted",
            Self::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => "Unauthorized",
            Self::Status(_) | Self::Answer(_) | Self::TooLarge => "AnswersWithErrors",
            Self::TimedOut(_) => "TooSlow",
        }
    }
}

/// Asks for everything. `files` is the folder of the files that a policy names.
pub(crate) async fn ask(source: &Source, files: &Path) -> Result<Readings, AskError> {
    let all = async {
        let client = Client::new(source, files).await?;
        let mut readings = Readings::default();
        for metric in Metric::ALL {
            readings.take(metric, client.query(&source.queries.of(metric)).await?, &source.queries);
        }
        Ok(readings)
    };
    tokio::time::timeout(source.timeout, all).await.unwrap_or(Err(AskError::TimedOut(source.timeout)))
}

/// Asks one query.
pub(crate) async fn ask_one(source: &Source, files: &Path, query: &str) -> Result<Vec<Sample>, AskError> {
    let one = async { Client::new(source, files).await?.query(query).await };
    tokio::time::timeout(source.timeout, one).await.unwrap_or(Err(AskError::TimedOut(source.timeout)))
}

struct Client {
    host: String,
    port: u16,
    authority: String,
    path: String,
    tls: Option<TlsConnector>,
    authorization: Option<String>,
}

impl Client {
    /// Reads the files afresh, since tokens and certificates rotate.
    async fn new(source: &Source, files: &Path) -> Result<Self, AskError> {
        let bad = || AskError::Url(source.url.clone());
        let uri: Uri = source.url.parse().map_err(|_| bad())?;
        let authority = uri.authority().ok_or_else(bad)?;
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let tls = match &source.ca_file {
            Some(file) if https => Some(connector(file, &contents(files, file).await?)?),
            _ if https => return Err(AskError::Tls("no certificate authority is named for its https URL".to_owned())),
            _ => None,
        };
        let secret = async |file: &str| {
            let bytes = contents(files, file).await?;
            Ok::<_, AskError>(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned())
        };
        let authorization = match &source.credentials {
            None => None,
            Some(Credentials::Bearer(file)) => Some(format!("Bearer {}", secret(file).await?)),
            Some(Credentials::Basic { username, password_file }) => {
                let pair = format!("{username}:{}", secret(password_file).await?);
                Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
            }
        };
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if https { 443 } else { 80 }),
            authority: authority.to_string(),
            path: format!("{}/api/v1/query", uri.path().trim_end_matches('/')),
            tls,
            authorization,
        })
    }

    async fn query(&self, query: &str) -> Result<Vec<Sample>, AskError> {
        let body = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
        let mut request = Request::post(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .header(header::CONNECTION, "close")
            .header(header::USER_AGENT, concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|_| AskError::Broken)?;

        let connected = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = connected.map_err(|error| AskError::Connect(error.kind()))?;
        let (mut sender, connection) = match &self.tls {
            None => shake_hands(stream).await?,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|error| AskError::Tls(error.to_string()))?;
                let stream = tls.connect(name, stream).await.map_err(|error| AskError::Tls(error.to_string()))?;
                shake_hands(stream).await?
            }
        };
        // Dropped with this future when time is up, and the connection with it.
        let _connection = AbortOnDrop(connection);
        let response = sender.send_request(request).await.map_err(|_| AskError::Broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body =
            body.map_err(|error| if error.is::<LengthLimitError>() { AskError::TooLarge } else { AskError::Broken })?;
        let answer = read(&body.to_bytes());
        if !status.is_success() {
            // Prometheus explains errors of a query with 400 and 422, in JSON.
            return Err(match answer {
                Err(error @ AnswerError::Failed { .. }) => error.into(),
                _ => AskError::Status(status),
            });
        }
        Ok(answer?)
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn shake_hands<S>(stream: S) -> Result<(SendRequest<Full<Bytes>>, JoinHandle<()>), AskError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| AskError::Broken)?;
    let connection = tokio::spawn(async move {
        // What went wrong is seen by the one who waits for the answer.
        let _ = connection.await;
    });
    Ok((sender, connection))
}

async fn contents(files: &Path, file: &str) -> Result<Vec<u8>, AskError> {
    let path: PathBuf = files.join(file);
    tokio::fs::read(path).await.map_err(|error| AskError::File(file.to_owned(), error.kind()))
}

fn connector(file: &str, pem: &[u8]) -> Result<TlsConnector, AskError> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(AskError::NoCertificate(file.to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| AskError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::{defrag::ondemand::Queries, runtime::selfsigned};

    fn source(url: String, credentials: Option<Credentials>) -> Source {
        // Nothing here is to time out, however busy the machine is.
        let patience = Duration::from_mins(2);
        let ca_file = url.starts_with("https").then(|| "ca.crt".to_owned());
        Source {
            url,
            ca_file,
            credentials,
            interval: patience,
            timeout: patience,
            fresh: patience,
            queries: Queries::default(),
        }
    }

    /// Answers one request by TLS; what it read.
    async fn tls_server(listener: TcpListener, pair: selfsigned::Pair) -> String {
        use rustls::pki_types::PrivateKeyDer;
        let chain = CertificateDer::pem_slice_iter(pair.cert_pem.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return String::new() };
        let mut read = vec![0; 4096];
        let length = stream.read(&mut read).await.unwrap();
        let body =
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[0,"7"]}]}}"#;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8_lossy(&read[..length]).into_owned()
    }

    #[tokio::test]
    async fn a_prometheus_is_trusted_by_its_authority_and_gets_the_password_of_a_mounted_file() {
        let dir = tempfile::tempdir().unwrap();
        let pair = selfsigned::issue(&["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("ca.crt"), &pair.ca_pem).unwrap();
        std::fs::write(dir.path().join("password"), "open sesame\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/prefix", listener.local_addr().unwrap().port());
        let server = tokio::spawn(tls_server(listener, pair));
        let basic = Credentials::Basic { username: "u".to_owned(), password_file: "password".to_owned() };
        let samples = ask_one(&source(url, Some(basic)), dir.path(), "max(x) > 1").await.unwrap();
        assert!((samples[0].value - 7.0).abs() < f64::EPSILON);
        let request = server.await.unwrap();
        assert!(request.starts_with("POST /prefix/api/v1/query HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: Basic dTpvcGVuIHNlc2FtZQ==\r\n"), "{request}");
        assert!(request.ends_with("query=max%28x%29+%3E+1"), "{request}");
    }

    #[tokio::test]
    async fn another_authority_and_missing_files_are_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let pair = selfsigned::issue(&["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let ask = async || ask_one(&source(url.clone(), None), dir.path(), "x").await.unwrap_err();
        let mut said = vec![ask().await.to_string()];
        std::fs::write(dir.path().join("ca.crt"), "no certificate").unwrap();
        said.push(ask().await.to_string());
        let other = selfsigned::issue(&["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("ca.crt"), &other.ca_pem).unwrap();
        let server = tokio::spawn(tls_server(listener, pair));
        let error = ask().await;
        assert_eq!(error.reason(), "Untrusted");
        said.push(error.to_string());
        server.abort();
        insta::assert_snapshot!(said.join("\n"));
    }
}
