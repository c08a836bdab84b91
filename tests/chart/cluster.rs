//! Every rendered object on a real API server.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use super::{
    kustomize::{ELSEWHERE, OVERLAY, RENAMED},
    support::{NAMESPACE, RELEASE, SETS, find, render, template, title},
};
use harness::{CertManager, ControlPlane, Serve, ServeOptions, chart, eventually};

/// As dry-runs, in the namespace that it is for, which enforces Pod Security "restricted". What the API server would prune
/// or leave out is an error, and what it would warn about too.
#[test]
fn every_object_is_accepted_as_it_is() {
    let plane = ControlPlane::start();
    let _cert_manager = CertManager::start(&plane);
    prometheus_operators_definitions(&plane);
    let namespaces = include_str!("../../deploy/manifests/00-namespace.yaml");
    plane.apply(namespaces);
    plane.kubectl_ok(&["create", "namespace", "sandbox"]);
    let default = render("");
    let definition = find(&default, "CustomResourceDefinition defragpolicies.etcd-defrag.io").to_string();
    assert!(plane.kubectl_stdin(["apply", "--server-side", "-f", "-"], &definition).status.success());
    plane.wait_established("defragpolicies.etcd-defrag.io");

    let mut tried = 0;
    let mut kinds = BTreeSet::new();
    for (name, values) in SETS {
        for object in render(values) {
            // Its Secret is a placeholder.
            let placeholder = name == "secret" && object["webhooks"].is_array();
            let object = if placeholder { without_bundle(object) } else { object };
            // A pod is only accepted where its account is.
            let really = object["kind"] == "ServiceAccount";
            let dry_run = if really { "none" } else { "server" };
            let args = ["apply", "--server-side", &format!("--dry-run={dry_run}"), "--validate=strict", "-f", "-"];
            let output = plane.kubectl_stdin(args, &object.to_string());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && said.is_empty(), "{name}: {}: {said}", title(&object));
            tried += 1;
            kinds.insert(object["kind"].as_str().unwrap().to_owned());
        }
    }
    println!("{tried} objects of {} sets of values, of {} kinds: {kinds:?}", SETS.len(), kinds.len());
    assert!(tried > 100, "{tried}");
    assert!(MONITORING.iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
    plain_manifests_apply(&plane);
}

/// The kinds of the Prometheus operator that the chart makes.
const MONITORING: [&str; 3] = ["PodMonitor", "PrometheusRule", "ServiceMonitor"];

/// Installs their real definitions, out of the operator's Go module.
fn prometheus_operators_definitions(plane: &ControlPlane) {
    const MODULE: &str = "github.com/prometheus-operator/prometheus-operator";
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/prometheus-operator");
    let output = Command::new("go").args(["mod", "download", "-json", MODULE]).current_dir(here).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "go mod download {MODULE}: {said}{}", String::from_utf8_lossy(&output.stderr));
    let module: Value = serde_json::from_str(&said).unwrap();
    let folder = Path::new(module["Dir"].as_str().unwrap()).join("example/prometheus-operator-crd");
    for kind in MONITORING {
        let plural = format!("{}s", kind.to_lowercase());
        let definition = fs::read_to_string(folder.join(format!("monitoring.coreos.com_{plural}.yaml"))).unwrap();
        plane.apply(&definition);
        plane.wait_established(&format!("{plural}.monitoring.coreos.com"));
    }
    println!("with the definitions of {MODULE} {}", module["Version"]);
}

fn without_bundle(mut object: Value) -> Value {
    for webhook in object["webhooks"].as_array_mut().unwrap() {
        webhook["clientConfig"].as_object_mut().unwrap().remove("caBundle").unwrap();
    }
    object
}

/// The second way to install: `kubectl apply -k`, then the policy.
fn plain_manifests_apply(plane: &ControlPlane) {
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests");
    plane.kubectl_ok(&["delete", "crd", "defragpolicies.etcd-defrag.io"]);
    plane.kubectl_ok(&["apply", "-k", manifests]);
    plane.wait_established("defragpolicies.etcd-defrag.io");
    plane.kubectl_ok(&["apply", "-f", &format!("{manifests}/50-default-policy.yaml")]);
    plane.kubectl_ok(&["-n", NAMESPACE, "get", "deployment", "etcd-defrag-webhook"]);
    an_overlay_applies(plane);
    the_process_of_an_overlay_keeps_its_certificate(plane);
    // Nothing in them is for Helm.
    let text = template(include_str!("../../deploy/manifests/values.yaml"), &["--show-only=templates/rbac.yaml"]);
    assert!(!text.contains("helm.sh") && !text.contains("Helm"), "{text}");
}

/// The same in another namespace and under other names, beside the first.
fn an_overlay_applies(plane: &ControlPlane) {
    plane.kubectl_ok(&["apply", "-k", OVERLAY]);
    for kind in ["deployment", "service", "role", "rolebinding", "serviceaccount"] {
        plane.kubectl_ok(&["-n", ELSEWHERE, "get", kind, RENAMED]);
    }
    let account = format!("--as=system:serviceaccount:{ELSEWHERE}:{RENAMED}");
    let may = |what: &[&str]| {
        let args = ["auth", "can-i", "-q", &account].into_iter().chain(what.iter().copied());
        plane.kubectl(args).status.success()
    };
    for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        assert!(
            may(&["patch", &format!("{kind}/{RENAMED}")]) && !may(&["patch", &format!("{kind}/{RELEASE}")]),
            "{kind}"
        );
    }
}

/// The process with the arguments of the overlay's Deployment and the rights of its account: the CA that it makes reaches both
/// webhook configurations under their new name.
fn the_process_of_an_overlay_keeps_its_certificate(plane: &ControlPlane) {
    let deployment = plane.get(&["-n", ELSEWHERE, "deployment", RENAMED]).unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let variables = container["env"].as_array().unwrap();
    let service =
        variables.iter().find(|variable| variable["name"] == "SERVICE_NAME").unwrap()["value"].as_str().unwrap();
    // As the kubelet expands them; the addresses are the harness's.
    let expanded =
        container["args"].as_array().unwrap().iter().skip(1).map(|arg| {
            arg.as_str().unwrap().replace("$(SERVICE_NAME)", service).replace("$(POD_NAMESPACE)", ELSEWHERE)
        });
    let options = ServeOptions {
        kubeconfig: Some(plane.service_account_kubeconfig(ELSEWHERE, RENAMED)),
        args: expanded.filter(|arg| !arg.contains("listen=")).collect(),
        own_certificate: true,
        ..ServeOptions::default()
    };
    let _serve = Serve::start_with(plane, &options);
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        eventually(&format!("the CA in the {kind}"), Duration::from_mins(1), || {
            let found = plane.get(&[kind, RENAMED])?;
            let entries = found["webhooks"].as_array()?;
            entries.iter().all(|entry| entry["clientConfig"]["caBundle"].is_string()).then_some(())
        });
    }
    assert!(plane.get(&["-n", ELSEWHERE, "secret", "etcd-defrag-webhook-tls"]).is_some());
}

/// The authority of a company, as cert-manager has it: a `ClusterIssuer` with a CA.
const COMPANY: &str = "
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: self-signed}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: company, namespace: cert-manager}
spec:
  secretName: company
  commonName: company
  isCA: true
  privateKey: {algorithm: ECDSA, size: 256}
  issuerRef: {name: self-signed, kind: ClusterIssuer, group: cert-manager.io}
---
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: company}
spec: {ca: {secretName: company}}
";

/// The certificate is signed by it, for the Service; its CA is what the API server is told to trust, in every entry. The
/// chart brings no issuer of its own then.
#[test]
fn an_issuer_of_ones_own_signs_and_is_trusted() {
    let plane = ControlPlane::start();
    let _cert_manager = CertManager::start(&plane);
    plane.kubectl_ok(&["create", "namespace", "cert-manager"]);
    plane.apply(COMPANY);
    let values = "tls: {certManager: {issuerRef: {name: company, kind: ClusterIssuer}}}";
    let chart = chart();
    let args = ["install", "guard", chart.to_str().unwrap(), "--namespace", "guard", "--create-namespace", "-f", "-"];
    plane.helm_ok(&args, values);

    let limit = Duration::from_mins(1);
    let secret = |namespace: &str, name: &str| Some(plane.get(&["-n", namespace, "secret", name])?["data"].clone());
    let ca = eventually("the company's CA", limit, || secret("cert-manager", "company"))["tls.crt"].clone();
    let serving = eventually("the serving certificate", limit, || secret("guard", "guard-etcd-defrag-webhook-tls"));
    assert_eq!(serving["ca.crt"], ca);
    assert_ne!(serving["tls.crt"], ca);
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        eventually(&format!("the CA in the {kind}"), limit, || {
            let found = plane.get(&[kind, "guard-etcd-defrag-webhook"])?;
            let entries = found["webhooks"].as_array()?;
            let trusted = entries.iter().filter(|entry| entry["clientConfig"]["caBundle"] == ca).count();
            (trusted > 0 && trusted == entries.len()).then_some(())
        });
    }
    assert_eq!(plane.get(&["-n", "guard", "issuers.cert-manager.io"]).unwrap()["items"], json!([]));
}

/// An upgrade to other values changes what they say, and the CA that was injected stays. Another release cannot take the
/// definition and the policy of the first away.
#[test]
fn an_upgrade_keeps_the_ca_and_a_second_release_is_refused() {
    let plane = ControlPlane::start();
    let _cert_manager = CertManager::start(&plane);
    let chart = chart();
    let run = |what: &str, release: &str, values: &str| {
        let mut args = vec![what, release, chart.to_str().unwrap(), "--namespace", release, "-f", "-"];
        args.extend((what == "install").then_some("--create-namespace"));
        let output = plane.helm(args, values);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (installed, said) = run("install", "guard", "");
    assert!(installed, "{said}");
    let bundle = || {
        let found = plane.get(&["validatingwebhookconfiguration", "guard-etcd-defrag-webhook"])?;
        found["webhooks"][0]["clientConfig"]["caBundle"].as_str().map(str::to_owned)
    };
    let before = eventually("the CA to be injected", Duration::from_mins(1), bundle);
    let (upgraded, said) = run("upgrade", "guard", "commonLabels: {example.com/team: platform}");
    assert!(upgraded, "{said}");
    assert_eq!(bundle(), Some(before));

    let (installed, said) = run("install", "other", "");
    assert!(!installed && said.contains("defragpolicies.etcd-defrag.io") && said.contains("guard"), "{said}");
}
