//! An API server that traces requests, and the log of `serve` that names the trace.

use std::fs;

use axum::http::{Method, Request, header::CONTENT_TYPE};
use serde_json::{Value, json};

use crate::support::SOON;
use harness::{API_SERVER, ControlPlane, Serve, client, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn the_log_of_a_refusal_names_the_trace_of_its_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tracing.yaml");
    // Nobody collects the spans; the webhook is told of the trace all the same.
    let config = json!({"apiVersion": "apiserver.config.k8s.io/v1beta1", "kind": "TracingConfiguration",
        "endpoint": "127.0.0.1:9", "samplingRatePerMillion": 1_000_000});
    fs::write(&file, config.to_string()).unwrap();
    let plane = ControlPlane::start_with(&[(API_SERVER, &format!("--tracing-config-file={}", file.display()))]);
    let serve = Serve::start(&plane);

    let object = super::support::etcd("default", "kamaji-etcd", &[("schedule", "* * * * *")]);
    let request = Request::builder()
        .method(Method::POST)
        .uri("/apis/apps/v1/namespaces/default/statefulsets")
        .header(CONTENT_TYPE, "application/json")
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .body(object.to_string().into_bytes().into())
        .unwrap();
    let response = client(plane.kubeconfig()).await.send(request).await.unwrap();
    assert_eq!(response.status(), 422);

    let line: Value = eventually("the refusal to be logged", SOON, || {
        let log = serve.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["message"] == "refused" && line["trace_id"] == TRACE)
    });
    assert_eq!((&line["namespace"], &line["name"]), (&json!("default"), &json!("kamaji-etcd")));
    assert!(line["reason"].as_str().is_some_and(|reason| reason.contains("[schedule-too-often]")), "{line}");
    assert!(line["uid"].as_str().is_some_and(|uid| uid.len() == 36), "{line}");
}
