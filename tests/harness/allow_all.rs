//! A webhook that allows everything at once: what it costs others is what the API server spends on any webhook.

use std::{fs, path::Path, sync::Arc};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The API server writes the uid into the first bytes of a review; nothing else of it is read.
const HEAD: usize = 512;

/// The webhook, before it listens.
pub struct AllowsAll {
    tls: TlsAcceptor,
}

impl AllowsAll {
    /// With the certificate and the key of a folder: `tls.crt` and `tls.key`.
    pub fn of(folder: &Path) -> Self {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        Self { tls: TlsAcceptor::from(Arc::new(config(&read("tls.crt"), &read("tls.key")))) }
    }

    /// Answers until the listener fails, and tells of each call.
    pub async fn serve(self, listener: TcpListener, called: impl Fn() + Send + Sync + 'static) {
        let called = Arc::new(called);
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, self.tls.clone(), Arc::clone(&called)));
        }
    }
}

/// Without ALPN, so that the API server takes HTTP/1.1, as it does for a Service.
fn config(certificate: &str, key: &str) -> ServerConfig {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a private key");
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions that ring has")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate for this key")
}

/// A connection that fails is a call that fails, which whoever wrote is told.
async fn serve(stream: TcpStream, tls: TlsAcceptor, called: Arc<impl Fn() + Send + Sync + 'static>) {
    drop(stream.set_nodelay(true));
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(|request| answer(request, &*called));
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, called: &impl Fn()) -> hyper::Result<Response<Full<Bytes>>> {
    let review = request.into_body().collect().await?.to_bytes();
    called();
    let answer = allowed(&review).expect("a review has a uid");
    let response = Response::builder().header(CONTENT_TYPE, "application/json").body(Full::from(answer));
    Ok(response.expect("a response"))
}

/// The answer to a review; `None` where its first bytes have no uid.
pub fn allowed(review: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(review.get(..HEAD.min(review.len()))?);
    let (uid, _) = head.split_once(r#""uid":""#)?.1.split_once('"')?;
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": uid, "allowed": true},
    });
    Some(answer.to_string())
}
