//! The webhooks without an API server: reviews of a changed schedule, as many as each can answer.

use std::time::{Duration, Instant};

use axum::http::Request;
use harness::{example_etcd, median, percentile, processor_seconds};
use kube::{Client, Config};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::time::interval;

use crate::{
    Result,
    load::PACE,
    peers::{Peer, Peers},
    report::Results,
};

/// Connections, each with a review under way.
const CONNECTIONS: usize = 8;
/// How long each is measured in a round.
const TURN: Duration = Duration::from_secs(3);
/// Reviews at a steady rate in a round.
const STEADY: usize = 200;

pub(crate) async fn measure(peers: &Peers<'_>, rounds: usize, results: &mut Results) -> Result {
    let review = review();
    let authority = CertificateDer::from_pem_slice(peers.authority.as_bytes())?.to_vec();
    for _ in 0..rounds {
        for peer in Peer::ALL {
            let Some((port, pid)) = peers.process(peer) else { continue };
            let mut config = Config::new(format!("https://127.0.0.1:{port}").parse()?);
            config.root_cert = Some(vec![authority.clone()]);
            let clients: Vec<Client> =
                (0..CONNECTIONS).map(|_| Client::try_from(config.clone())).collect::<kube::Result<_>>()?;
            // Connections are made.
            for client in &clients {
                ask(client, &review).await?;
            }
            let mut times = Vec::new();
            let mut ticks = interval(PACE);
            let busy = processor_seconds(pid);
            for call in 0..STEADY {
                ticks.tick().await;
                times.push(ask(&clients[call % CONNECTIONS], &review).await?);
            }
            results.add(peer, "directly, one at a time, median", median(&times).ok_or("nothing was answered")?);
            let busy = processor_seconds(pid) - busy;
            results.add(
                peer,
                "directly, one at a time, ms of processor",
                busy / f64::from(u32::try_from(STEADY)?) * 1e3,
            );
            let (begun, busy) = (Instant::now(), processor_seconds(pid));
            let callers = clients.iter().map(async |client| {
                let mut times = Vec::new();
                while begun.elapsed() < TURN {
                    times.push(ask(client, &review).await?);
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(times)
            });
            let times: Vec<f64> = futures::future::try_join_all(callers).await?.into_iter().flatten().collect();
            let (took, busy) = (begun.elapsed().as_secs_f64(), processor_seconds(pid) - busy);
            let count = f64::from(u32::try_from(times.len())?);
            results.add(peer, "directly, reviews/s", count / took);
            results.add(peer, "directly, p99", percentile(&times, 99).ok_or("nothing was answered")?);
            results.add(peer, "directly, ms of processor", busy / count * 1e3);
        }
    }
    Ok(())
}

/// Asks whether a StatefulSet may have another schedule; it may. How long the answer took, in milliseconds.
async fn ask(client: &Client, review: &str) -> Result<f64> {
    let asked = Instant::now();
    let request =
        Request::post("/validate").header("content-type", "application/json").body(review.as_bytes().to_vec())?;
    let answer: Value = serde_json::from_str(&client.request_text(request).await?)?;
    let took = asked.elapsed().as_secs_f64() * 1e3;
    if answer["response"]["allowed"] == true { Ok(took) } else { Err(format!("not allowed: {answer}").into()) }
}

/// As the API server writes it, the uid first.
fn review() -> String {
    let object = |schedule: &str| example_etcd("default", "etcd", &[("schedule", schedule)]);
    let resource = json!({"group": "apps", "version": "v1", "resource": "statefulsets"});
    let kind = json!({"group": "apps", "version": "v1", "kind": "StatefulSet"});
    let request = json!({"kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
        "name": "etcd", "namespace": "default", "operation": "UPDATE", "dryRun": false,
        "userInfo": {"username": "admin", "groups": ["system:masters"]},
        "object": object("0 3 * * *"), "oldObject": object("0 2 * * *"),
        "options": {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"}})
    .to_string();
    let begin = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"705ab4f5-6393-11e8""#;
    format!("{begin},{}}}", request.trim_start_matches('{'))
}
