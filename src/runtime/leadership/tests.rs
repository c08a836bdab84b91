//! The decisions on their own, and the races that no real API server can be brought to lose on demand: between reading
//! and writing a Lease another replica writes it (409), and an API server that accepts requests and never answers.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

fn config(identity: &str) -> Config {
    Config::new("system", "leader", identity)
}

/// The same election with a tenth of the patience: a Lease's duration is whole seconds, so not less.
fn hasty() -> Config {
    Config {
        duration: Duration::from_secs(1),
        deadline: Duration::from_millis(600),
        retry: Duration::from_millis(100),
        ..config("me")
    }
}

fn observed(holder: &str, age: Duration) -> Observed {
    let lease = serde_json::from_value(json!({
        "metadata": {"name": "leader", "namespace": "system", "resourceVersion": "5"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 2},
    }))
    .unwrap();
    Observed { lease, since: Instant::now().checked_sub(age).unwrap() }
}

#[test]
fn a_lease_is_taken_over_only_when_free_or_unchanged_for_its_duration() {
    let (now, me) = (Instant::now(), config("me"));
    let seconds = Duration::from_secs;
    assert_eq!(decide(None, &me, now), Decision::Create);
    assert_eq!(decide(Some(&observed("me", seconds(100))), &me, now), Decision::Renew);
    assert_eq!(decide(Some(&observed("", seconds(0))), &me, now), Decision::TakeOver);
    assert_eq!(decide(Some(&observed("other", seconds(14))), &me, now), Decision::Wait);
    assert_eq!(decide(Some(&observed("other", seconds(16))), &me, now), Decision::TakeOver);
}

#[test]
fn every_update_carries_the_version_that_was_read() {
    let lease =
        claim(Some(&observed("other", Duration::ZERO)), &config("me"), Decision::TakeOver, Timestamp::UNIX_EPOCH);
    assert_eq!(lease.metadata.resource_version.as_deref(), Some("5"));
    let spec = lease.spec.unwrap();
    assert_eq!(spec.lease_transitions, Some(3));
    assert_eq!(spec.holder_identity.as_deref(), Some("me"));
    let renewed = claim(Some(&observed("me", Duration::ZERO)), &config("me"), Decision::Renew, Timestamp::UNIX_EPOCH);
    assert_eq!(renewed.spec.unwrap().lease_transitions, Some(2));
}

/// An API server of one Lease, with resourceVersions. `hook` may change the Lease before a write arrives.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    writes: Arc<Mutex<Vec<String>>>,
    interfere: Arc<Mutex<Option<Value>>>,
    hang: Arc<Mutex<bool>>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: axum::http::Request<Body>| {
            let server = server.clone();
            async move {
                if *server.hang.lock().unwrap() {
                    std::future::pending::<()>().await;
                }
                let method = request.method().as_str().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let (code, value) = server.answer(&method, serde_json::from_slice(&body).ok());
                let response = axum::http::Response::builder().status(code);
                Ok::<_, Infallible>(response.body(Body::from(serde_json::to_vec(&value).unwrap())).unwrap())
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, method: &str, body: Option<Value>) -> (u16, Value) {
        let failure = |code: u16, reason: &str| {
            (
                code,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason}),
            )
        };
        if method != "GET" {
            self.writes.lock().unwrap().push(method.to_owned());
            if let Some(other) = self.interfere.lock().unwrap().take() {
                *self.lease.lock().unwrap() = Some(other);
            }
        }
        let mut lease = self.lease.lock().unwrap();
        let version = lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        match (method, version, body) {
            ("GET", None, _) => failure(404, "NotFound"),
            ("GET", Some(_), _) => (200, lease.clone().unwrap()),
            ("POST", Some(_), _) => failure(409, "AlreadyExists"),
            ("PUT", Some(version), Some(body)) if body["metadata"]["resourceVersion"] != version => {
                failure(409, "Conflict")
            }
            (_, version, Some(mut body)) => {
                let next = version.and_then(|version| version.as_str()?.parse::<u64>().ok()).unwrap_or(0) + 1;
                body["metadata"]["resourceVersion"] = json!(next.to_string());
                *lease = Some(body.clone());
                (200, body)
            }
            _ => failure(400, "BadRequest"),
        }
    }

    fn holder(&self) -> Option<String> {
        self.lease.lock().unwrap().as_ref()?["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }
}

fn held_by(holder: &str, version: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "leader", "namespace": "system", "resourceVersion": version},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 1},
    })
}

#[tokio::test]
async fn of_two_that_create_at_once_one_leads() {
    let server = Server::default();
    *server.interfere.lock().unwrap() = Some(held_by("other", "1"));
    let (leadership, mut election) = election(server.client(), config("me"));
    election.attempt().await;
    assert!(!leadership.is_leader(), "the create lost the race");
    election.attempt().await;
    assert!(!leadership.is_leader());
    assert_eq!(server.holder().as_deref(), Some("other"));
    assert_eq!(*server.writes.lock().unwrap(), ["POST"], "a Lease that is held is not written to");
}

#[tokio::test]
async fn of_two_that_take_over_at_once_one_leads() {
    let server = Server::default();
    *server.lease.lock().unwrap() = Some(held_by("", "1"));
    *server.interfere.lock().unwrap() = Some(held_by("other", "2"));
    let (leadership, mut election) = election(server.client(), config("me"));
    election.attempt().await;
    assert!(!leadership.is_leader());
    assert_eq!(server.holder().as_deref(), Some("other"));
}

#[tokio::test]
async fn a_leader_that_loses_its_lease_to_another_stops_at_the_next_look() {
    let server = Server::default();
    let (mut leadership, mut election) = election(server.client(), config("me"));
    election.attempt().await;
    assert!(leadership.is_leader());
    *server.interfere.lock().unwrap() = Some(held_by("other", "9"));
    election.attempt().await;
    election.attempt().await;
    assert!(!leadership.is_leader());
    leadership.lost().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_answers_stops_writing_before_anyone_may_take_over() {
    let server = Server::default();
    let (mut leadership, mut election) = election(server.client(), hasty());
    let start = Instant::now();
    election.attempt().await;
    *server.hang.lock().unwrap() = true;
    let running = tokio::spawn(election.run(std::future::pending()));
    leadership.lost().await;
    assert!(!leadership.is_leader());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    *server.hang.lock().unwrap() = false;
    leadership.gained().await;
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_dead_leader_is_taken_over_after_its_duration_and_given_back_at_the_end() {
    let server = Server::default();
    *server.lease.lock().unwrap() = Some(held_by("dead", "1"));
    let (mut leadership, election) = election(server.client(), hasty());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let start = Instant::now();
    let running = tokio::spawn(election.run(async { stopped.await.unwrap_or_default() }));
    leadership.gained().await;
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(leadership.is_leader(), "renewals keep it");
    stop.send(()).unwrap();
    running.await.unwrap();
    assert!(!leadership.is_leader());
    assert_eq!(server.holder(), None, "the next replica need not wait");
}
