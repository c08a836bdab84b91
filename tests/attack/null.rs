//! A webhook that allows everything at once: what it costs others is what the API server spends on any webhook.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::body::Bytes;
use etcd_defrag_webhook::runtime::selfsigned;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use tokio_rustls::TlsAcceptor;

/// The API server writes the uid into the first bytes of a review; nothing else of it is read.
const HEAD: usize = 512;

/// A running one; it ends when dropped.
pub(crate) struct Null {
    /// Its address, without a path.
    pub(crate) url: String,
    pub(crate) ca_pem: String,
    calls: Arc<AtomicUsize>,
    /// Its own, so that no answer waits for this program's writes.
    _runtime: Runtime,
}

impl Null {
    pub(crate) fn start() -> Self {
        let pair = selfsigned::issue(&[]).unwrap();
        let tls = TlsAcceptor::from(Arc::new(config(&pair)));
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, tls.clone(), Arc::clone(&counted)));
            }
        });
        Self { url, ca_pem: pair.ca_pem, calls, _runtime: runtime }
    }

    /// How often it was called so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

/// Without ALPN, so that the API server takes HTTP/1.1, as it does for a Service.
fn config(pair: &selfsigned::Pair) -> ServerConfig {
    let certificate = CertificateDer::from_pem_slice(pair.cert_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

/// A connection that fails is a call that fails, which whoever wrote is told.
async fn serve(stream: TcpStream, tls: TlsAcceptor, calls: Arc<AtomicUsize>) {
    drop(stream.set_nodelay(true));
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(|request| answer(request, &calls));
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, calls: &AtomicUsize) -> Result<Response<Full<Bytes>>, Infallible> {
    let review = request.into_body().collect().await.expect("a whole review").to_bytes();
    calls.fetch_add(1, Ordering::Relaxed);
    let answer = allowed(&review).expect("a review has a uid");
    Ok(Response::new(Full::from(answer)))
}

/// The answer to a review.
fn allowed(review: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(review.get(..HEAD.min(review.len()))?);
    let (uid, _) = head.split_once(r#""uid":""#)?.1.split_once('"')?;
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": uid, "allowed": true},
    });
    Some(answer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_is_allowed_by_its_uid_and_nothing_else_is() {
        // As the API server writes one: the uid of the object comes later.
        let review = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"a-1","object":{"metadata":{"uid":"b-2"}}}}"#;
        let answer: serde_json::Value = serde_json::from_str(&allowed(review.as_bytes()).unwrap()).unwrap();
        assert_eq!(answer["response"], json!({"uid": "a-1", "allowed": true}));
        assert_eq!(allowed(b"{}"), None);
    }
}
