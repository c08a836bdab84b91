//! From an empty cluster to a first CronJob, through an upgrade, and away again.

use serde_json::{Value, json};

use super::support::{NAMESPACE, RELEASE, Release, SOON, cronjob, world};
use harness::{ControlPlane, EtcdPods, PodsOptions, eventually};

const POLICY: &str = "defragpolicy";
const EVERY_MINUTE: &str = "etcd-defrag.io/schedule=* * * * *";

/// Certificates by cert-manager.
#[test]
fn with_cert_manager_from_an_empty_cluster_and_away_again() {
    let Some(turn) = world("with_cert_manager_from_an_empty_cluster_and_away_again") else { return };
    let plane = turn.plane();
    let release = Release::install(plane, "");
    judges(&release, "first");
    assert_eq!(plane.get(&[POLICY, "default"]).unwrap()["spec"]["defaults"]["schedule"], "H 0 * * *");
    // As it was rendered, the policy is still a hook.
    assert_eq!(release.drift("", false), "");
    // Other values would show.
    let drift = release.drift("{replicas: 3, defaultPolicy: {spec: {priority: 7}}}", false);
    assert!(drift.contains("replicas: 3") && drift.contains("priority: 7"), "{drift}");

    let key = plane.get(&["-n", NAMESPACE, "certificate", RELEASE]).unwrap();
    assert_eq!(key["spec"]["privateKey"]["algorithm"], "ECDSA");
    assert_eq!(key["status"]["conditions"][0]["status"], "True", "{key}");

    let changed = "
logLevel: info,etcd_defrag_webhook=debug
podDisruptionBudget: {maxUnavailable: 50%}
defaultPolicy: {spec: {defaults: {schedule: H 1 * * *}}}
";
    release.upgrade(changed);
    follows(&release, "first", "1");
    assert_eq!(release.drift(changed, true), "");
    // The policy is an object of the release now.
    let manifest = plane.helm_ok(&["get", "manifest", RELEASE, "--namespace", NAMESPACE], "");
    assert!(manifest.contains("kind: DefragPolicy"), "{manifest}");
    println!("{}", release.test());

    release.uninstall();
    nothing_intercepts(plane, "first");
    assert!(plane.get(&[POLICY, "default"]).is_some(), "the policy went with the chart");

    // Again, onto what was left: the policy is taken over, with the values of now.
    let release = Release::install(plane, "");
    follows(&release, "first", "0");
    assert_eq!(release.drift("", true), "");
    release.uninstall();
    clean(plane, "first");
}

/// Certificates by the process itself: nothing else is needed on the cluster.
#[test]
fn self_signed_without_cert_manager() {
    let Some(turn) = world("self_signed_without_cert_manager") else { return };
    let plane = turn.plane();
    let values = "tls: {mode: self-signed}";
    let release = Release::install(plane, values);
    judges(&release, "alone");
    // An upgrade leaves the certificate alone, and the bundle in the registrations; it moves the image of the engine.
    let secret = |field: &str| {
        plane.get(&["-n", NAMESPACE, "secret", &format!("{RELEASE}-tls")]).unwrap()["data"][field].clone()
    };
    let before = secret("tls.crt");
    assert!(before.is_string());
    let engine = |wanted: &str| {
        cronjob(plane, "alone", "kamaji-etcd", |cronjob| {
            let image = &cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"];
            image.as_str().is_some_and(|image| image.starts_with(wanted))
        });
    };
    engine("ghcr.io/ahrtr/etcd-defrag:");
    let changed = "{tls: {mode: self-signed}, replicas: 1, engineImage: {registry: mirror.example}}";
    release.upgrade(changed);
    engine("mirror.example/ahrtr/etcd-defrag:");
    assert_eq!(secret("tls.crt"), before);
    refuses(plane, "alone");
    assert_eq!(release.drift(changed, true), "");
    release.uninstall();
    nothing_intercepts(plane, "alone");
    clean(plane, "alone");
}

/// All replicas are ready, `helm test` is content, an etcd gets its CronJob, and a harmful one is refused.
pub(super) fn judges(release: &Release<'_>, namespace: &str) {
    let plane = release.plane;
    let pods = release.pods();
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        let ready = json!({"type": "Ready", "status": "True"});
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        let is_ready = |found: &Value| ["type", "status"].iter().all(|field| found[field] == ready[field]);
        assert!(conditions.iter().any(is_ready), "{pod}");
    }
    let said = release.test();
    println!("{said}");
    assert!(said.contains("ok: a schedule that fires every minute is refused"), "{said}");
    assert!(said.contains("ok: an etcd without a schedule is accepted and given \"H 0 * * *\""), "{said}");
    etcd(plane, namespace);
    follows(release, namespace, "0");
    refuses(plane, namespace);
}

/// A labelled etcd in a namespace of its own.
pub(super) fn etcd(plane: &ControlPlane, namespace: &str) {
    plane.kubectl_ok(&["create", "namespace", namespace]);
    plane.kubectl_ok(&["label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"]);
    EtcdPods::new(plane, namespace, PodsOptions { members: 3, ..PodsOptions::default() }).apply();
}

/// The CronJob has the policy's hour, and a minute of its own.
#[track_caller]
fn follows(release: &Release<'_>, namespace: &str, hour: &str) {
    let of_hour = |schedule: &str| {
        let fields: Vec<&str> = schedule.split(' ').collect();
        fields.len() == 5 && fields[0].parse::<u8>().is_ok() && fields[1] == hour
    };
    let found = cronjob(release.plane, namespace, "kamaji-etcd", |cronjob| {
        cronjob["spec"]["schedule"].as_str().is_some_and(of_hour)
    });
    println!("the CronJob of {namespace}/kamaji-etcd: {}", found["spec"]["schedule"]);
}

#[track_caller]
pub(super) fn refuses(plane: &ControlPlane, namespace: &str) {
    let (refused, said) = is_refused(plane, namespace);
    assert!(refused, "{said}");
}

/// The same where nothing waits for the certificate's CA to be in the registrations.
#[track_caller]
pub(super) fn refuses_soon(plane: &ControlPlane, namespace: &str) {
    eventually("a refusal", SOON, || is_refused(plane, namespace).0.then_some(()));
}

fn is_refused(plane: &ControlPlane, namespace: &str) -> (bool, String) {
    let output =
        plane.kubectl(["-n", namespace, "annotate", "statefulset", "kamaji-etcd", "--overwrite", EVERY_MINUTE]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success() && said.contains("[schedule-too-often]"), said)
}

/// What was installed is gone, the CronJobs and the definition stay, and a write that was refused before goes through.
pub(super) fn nothing_intercepts(plane: &ControlPlane, namespace: &str) {
    let selector = format!("app.kubernetes.io/instance={RELEASE}");
    let kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies,clusterroles,\
        clusterrolebindings";
    eventually("everything of ours that is cluster-wide to be gone", SOON, || {
        let left = plane.get(&[kinds, "-l", &selector])?;
        left["items"].as_array()?.is_empty().then_some(())
    });
    let all = plane.get(&["mutatingwebhookconfigurations,validatingwebhookconfigurations"]).unwrap();
    assert_eq!(all["items"], json!([]));
    assert!(plane.get(&["-n", namespace, "cronjob", "kamaji-etcd-defrag-job"]).is_some(), "the CronJob went too");
    assert!(plane.get(&["crd", "defragpolicies.etcd-defrag.io"]).is_some(), "the definition went too");
    eventually("a write of our keys to go through", SOON, || {
        let args = ["-n", namespace, "annotate", "statefulset", "kamaji-etcd", "--overwrite", EVERY_MINUTE];
        plane.kubectl(args).status.success().then_some(())
    });
    plane.kubectl_ok(&["-n", namespace, "scale", "statefulset", "kamaji-etcd", "--replicas=1"]);
}

/// Takes away what a test left, by the one command of the documentation and then the rest.
pub(super) fn clean(plane: &ControlPlane, namespace: &str) {
    plane.kubectl_ok(&["delete", "cronjob", "-A", "-l", "app.kubernetes.io/managed-by=etcd-defrag-webhook"]);
    assert!(plane.get(&["-n", namespace, "cronjob", "kamaji-etcd-defrag-job"]).is_none());
    plane.kubectl_ok(&["delete", "crd", "defragpolicies.etcd-defrag.io"]);
    remove(plane, namespace);
}

/// Removes a namespace with its pods; one that still waits for its volumes or its image would take minutes to end.
pub(super) fn remove(plane: &ControlPlane, namespace: &str) {
    plane.kubectl_ok(&["-n", namespace, "delete", "statefulset,job,pod", "--all", "--force", "--grace-period=0"]);
    plane.kubectl_ok(&["delete", "namespace", namespace, "--wait=false"]);
}
