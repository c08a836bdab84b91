//! What the API server tells of a webhook that is gone.

use std::{path::PathBuf, time::Duration};

use serde_json::json;

use harness::{ControlPlane, Prometheus, PrometheusOptions, Serve, Target, eventually, prometheus};

#[test]
fn a_webhook_that_is_gone_is_seen_by_its_callers_and_by_its_absence() {
    let Some(programs) = prometheus::found("a_webhook_that_is_gone_is_seen_by_its_callers_and_by_its_absence") else {
        return;
    };
    let plane = ControlPlane::start();
    let serve = Serve::start(&plane);
    let admin = [plane.ca_file(), plane.client_cert_file(), plane.client_key_file()].map(PathBuf::from);
    let own = format!("http://127.0.0.1:{}", serve.probes);
    let targets = [
        Target { url: own, labels: json!({"pod": "webhook-0"}), tls: None },
        Target { url: plane.server().to_owned(), labels: json!({}), tls: Some(admin) },
    ];
    let jobs = prometheus::jobs_of(&targets);
    let prometheus = Prometheus::start(programs, &PrometheusOptions { jobs, ..PrometheusOptions::default() });
    let object = harness::example_etcd("default", "kamaji-etcd", &[]);
    plane.apply(&object.to_string());
    prometheus.wait_for("sum(etcd_defrag_webhook_leader) == 1");
    let firing = |alert: &str| format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
    for alert in ["EtcdDefragWebhookDown", "EtcdDefragWebhookFailing", "EtcdDefragNoLeader"] {
        // Before the first scrape there was none.
        let what = format!("{alert} to be silent");
        eventually(&what, Duration::from_secs(30), || prometheus.query(&firing(alert)).is_empty().then_some(()));
    }

    assert!(serve.stop());
    let annotated =
        plane.kubectl(["annotate", "--overwrite", "statefulset", "kamaji-etcd", "etcd-defrag.io/schedule=@weekly"]);
    let said = String::from_utf8_lossy(&annotated.stderr);
    assert!(said.contains("failed calling webhook"), "a change of our keys is not let through unjudged: {said}");
    plane.kubectl_ok(&["scale", "statefulset", "kamaji-etcd", "--replicas=1"]);
    plane.kubectl_ok(&["set", "image", "statefulset/kamaji-etcd", "etcd=quay.io/coreos/etcd:v3.6.14"]);
    prometheus.wait_for(
        "etcd_defrag_webhook:failed_calls:increase10m{name=\"validate.etcd-defrag-webhook.etcd-defrag.io\"} > 0",
    );
    prometheus.wait_for(
        "etcd_defrag_webhook:failed_open_calls:increase10m{name=\"mutate.etcd-defrag-webhook.etcd-defrag.io\"} > 0",
    );
    prometheus.wait_for(&firing("EtcdDefragWebhookFailing"));
    prometheus.wait_for(&firing("EtcdDefragWebhookDown"));
}
