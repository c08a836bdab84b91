//! Somebody who can merely reach the ports of a `serve`: connections, half-sent bodies, silence.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{interval, sleep},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const MIB: usize = 1 << 20;

/// The largest body that is read, in bytes.
pub const BODY: usize = 7 * MIB;

/// The ports of a running `serve`, the name in its certificate and the CA of that.
#[derive(Clone)]
pub struct Ports {
    pub host: Ipv4Addr,
    pub webhook: u16,
    pub probes: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Ports {
    pub fn new(host: Ipv4Addr, webhook: u16, probes: u16, name: &str, ca: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Self { host, webhook, probes, name, tls: TlsConnector::from(Arc::new(config)) }
    }

    pub async fn connect(&self, from: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
        socket.connect(SocketAddr::new(IpAddr::V4(self.host), port)).await
    }

    pub async fn tls(&self, from: Ipv4Addr) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = self.connect(from, self.webhook).await?;
        self.tls.connect(self.name.clone(), stream).await
    }
}

/// Announces a body, sends a part of it and waits for what comes; again and again.
pub async fn half_a_body(ports: Ports, from: Ipv4Addr, sent: usize) {
    let block = vec![b' '; MIB];
    let head = format!("POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n");
    loop {
        let Ok(mut stream) = ports.tls(from).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.write_all(head.as_bytes()).await;
        let mut left = sent;
        while let Some(part) = block.get(..left.min(MIB)).filter(|part| !part.is_empty()) {
            if stream.write_all(part).await.is_err() {
                break;
            }
            left -= part.len();
        }
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

/// So many connections a second that say nothing and stay.
pub async fn silence(ports: Ports, from: Ipv4Addr, per_second: u64) {
    let mut pace = interval(Duration::from_micros(1_000_000 / per_second));
    let mut open = Vec::new();
    loop {
        pace.tick().await;
        open.push(ports.connect(from, ports.webhook).await);
    }
}

/// A connection to the probe port that says nothing, and is opened again when it is closed.
pub async fn idle_at_the_probes(ports: Ports, from: Ipv4Addr) {
    loop {
        if let Ok(mut stream) = ports.connect(from, ports.probes).await {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a whole request again and again, each time on a connection of its own.
pub async fn requests(ports: Ports, from: Ipv4Addr, body: String) {
    let request = request(&body);
    loop {
        if let Ok(mut stream) = ports.tls(from).await
            && stream.write_all(request.as_bytes()).await.is_ok()
        {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        } else {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A whole request, after which the connection ends.
pub fn request(body: &str) -> String {
    let length = body.len();
    format!("POST /validate HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// A review of the example, made anew.
pub fn review() -> String {
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "apps", "version": "v1", "kind": "StatefulSet"},
        "resource": {"group": "apps", "version": "v1", "resource": "statefulsets"},
        "name": "attacked", "namespace": "default", "operation": "CREATE",
        "object": harness::example_etcd("default", "attacked", &[]), "oldObject": null,
    }})
    .to_string()
}

/// The peak of the resident memory of a process, in MiB.
pub fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// `resources.limits.memory` of the chart, in MiB.
pub fn limit() -> u64 {
    let values: Value =
        serde_saphyr::from_str(include_str!("../../deploy/chart/etcd-defrag-webhook/values.yaml")).unwrap();
    let limit = values["resources"]["limits"]["memory"].as_str().unwrap();
    limit.strip_suffix("Mi").unwrap().parse().unwrap()
}
