//! The matrix of admission on the real API server: each action × each finding × create, update and ratcheted update, every
//! one a request of its own, answered by the webhooks as they are registered.

use std::collections::BTreeMap;

use axum::http::{Method, Request, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::{
    breaches::{Case, actions_for, broken, cases, moved, tame, touched},
    policies::define,
    support::{SOON, World, namespace},
};
use harness::{SLOWER, client};

/// Behind the name of the entry, which is another for a create.
const AUDITED: &str = ".etcd-defrag-webhook.etcd-defrag.io/validation_failure";

/// What the API server answered.
struct Answer {
    status: u16,
    body: Value,
    warnings: Vec<String>,
    /// The request in the audit log.
    id: String,
}

struct Matrix {
    client: Client,
    namespace: String,
}

impl Matrix {
    async fn ask(&self, method: Method, path: &str, object: &Value) -> Answer {
        let body = if object.is_null() { Vec::new() } else { object.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        let response = self.client.send(request.body(body.into()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let warnings = head.headers.get_all("warning").iter().map(|value| text(value.as_bytes())).collect();
        let id = head.headers["audit-id"].to_str().unwrap().to_owned();
        Answer { status: head.status.as_u16(), body: serde_json::from_slice(&bytes).unwrap(), warnings, id }
    }

    fn path(&self, name: &str, dry: bool) -> String {
        let dry = if dry { "?dryRun=All" } else { "" };
        let path = format!("/apis/apps/v1/namespaces/{}/statefulsets/{name}", self.namespace);
        format!("{}{dry}", path.trim_end_matches('/'))
    }

    fn named(&self, name: &str, object: Value) -> Value {
        moved(object, &self.namespace, name)
    }

    /// Creates an object in a dry run.
    async fn create(&self, object: &Value) -> Answer {
        self.ask(Method::POST, &self.path("", true), &self.named("new", object.clone())).await
    }

    /// Replaces an object in a dry run.
    async fn update(&self, name: &str, object: &Value) -> Answer {
        self.ask(Method::PUT, &self.path(name, true), &self.named(name, object.clone())).await
    }

    /// Stores an object in truth.
    async fn store(&self, name: &str, object: &Value) {
        let answer = self.ask(Method::POST, &self.path("", false), &self.named(name, object.clone())).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.body);
    }

    async fn delete(&self, name: &str) {
        let answer = self.ask(Method::DELETE, &self.path(name, false), &Value::Null).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    }

    /// Lets a policy of this priority govern the namespace, and waits until the webhook judges by it.
    async fn policy(&self, case: &Case, priority: usize, actions: &[&str]) -> String {
        let name = format!("{}-{priority}", self.namespace);
        let mut spec = case.spec.clone();
        spec["priority"] = json!(priority);
        spec["validationActions"] = json!(actions);
        spec["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": self.namespace}});
        let object = json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": name},
            "spec": spec});
        let answer = self.ask(Method::POST, POLICIES, &object).await;
        assert_eq!(answer.status, 201, "{}: {}", case.code, answer.body);
        let begun = Instant::now();
        let governs = governed(&name, priority);
        while !self.create(&tame()).await.warnings.contains(&governs) {
            assert!(begun.elapsed() < SLOWER * SOON, "{name} does not govern");
            sleep(Duration::from_millis(10)).await;
        }
        name
    }

    async fn no_policy(&self, name: &str) {
        let answer = self.ask(Method::DELETE, &format!("{POLICIES}/{name}"), &Value::Null).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    }
}

const POLICIES: &str = "/apis/etcd-defrag.io/v1alpha1/defragpolicies";

fn governed(policy: &str, priority: usize) -> String {
    format!("etcd-defrag: governed by DefragPolicy {policy} (priority {priority}, the highest that selects it)")
}

/// The text of a warning's header: `299 - "text"`.
fn text(header: &[u8]) -> String {
    serde_json::from_slice(header.strip_prefix(b"299 - ").unwrap()).unwrap()
}

/// What an answer has to be, looked up in the audit log at the end.
struct Expected {
    place: String,
    policy: String,
    code: &'static str,
    actions: &'static [&'static str],
    audited: bool,
}

#[tokio::test]
async fn each_action_does_its_own_with_each_finding_on_the_real_server() {
    let world = World::start();
    define(&world);
    let namespace = namespace(&world.plane, "matrix");
    let matrix = Matrix { client: client(world.plane.kubeconfig()).await, namespace: namespace.name.clone() };
    let mark = world.plane.audit_mark();
    let mut expected: BTreeMap<String, Expected> = BTreeMap::new();
    let mut priority = 0;
    matrix.store("good", &tame()).await;
    let rows = cases();
    for case in &rows {
        let (code, bad) = (case.code, broken(&case.breach));
        // Written while the policy only audits.
        priority += 1;
        let mut before = matrix.policy(case, priority, &["Audit"]).await;
        matrix.store("bad", &bad).await;
        for actions in actions_for(code) {
            priority += 1;
            let policy = matrix.policy(case, priority, actions).await;
            matrix.no_policy(&before).await;
            let (deny, warn, audit) =
                (actions.contains(&"Deny"), actions.contains(&"Warn"), actions.contains(&"Audit"));
            let (worse, better) = (touched(bad.clone()), touched(tame()));
            for (what, answer, refused, warned, audited) in [
                ("create", matrix.create(&bad).await, deny, warn, audit),
                ("update", matrix.update("good", &worse).await, deny, warn, audit),
                ("ratcheted update", matrix.update("bad", &worse).await, false, deny || warn, audit),
                ("repair", matrix.update("bad", &better).await, false, false, false),
            ] {
                let Answer { status, body, warnings, id } = answer;
                let place = format!("{what}, {actions:?}, {code}");
                if refused {
                    assert_eq!((status, &body["reason"]), (422, &json!("Invalid")), "{place}: {body}");
                } else {
                    assert!(status < 300, "{place}: {status} {body}");
                }
                let causes = body["details"]["causes"].as_array().cloned().unwrap_or_default();
                let named = |cause: &Value| cause["message"].as_str().unwrap().ends_with(&format!("[{code}]"));
                assert_eq!(causes.iter().any(named), refused, "{place}: {body}");
                let warns = warnings.iter().any(|line| line.starts_with(&format!("{code}: ")));
                assert_eq!(warns, warned, "{place}: {warnings:?}");
                assert!(warnings.contains(&governed(&policy, priority)), "{place}: {warnings:?}");
                let policy = policy.clone();
                expected.insert(id, Expected { place, policy, code: code.as_str(), actions, audited });
            }
            before = policy;
        }
        matrix.no_policy(&before).await;
        matrix.delete("bad").await;
    }
    let total = expected.len();
    for event in world.plane.audit_since(mark) {
        let Some(Expected { place, policy, code, actions, audited }) = expected.remove(&event.id) else { continue };
        let value = event.annotations.iter().find(|(key, _)| key.ends_with(AUDITED)).map(|(_, value)| value);
        let list: Vec<Value> = value.map(|value| serde_json::from_str(value).unwrap()).unwrap_or_default();
        let found = list.iter().find(|one| one["code"] == code);
        assert_eq!(found.is_some(), audited, "{place}: {value:?}");
        if let Some(found) = found {
            assert_eq!((&found["policy"], &found["validationActions"]), (&json!(policy), &json!(actions)), "{place}");
        }
    }
    assert!(expected.is_empty(), "{} requests are not in the audit log", expected.len());
    println!("{} findings, {total} requests: each was refused, warned of and audited as its action says", rows.len());
}
