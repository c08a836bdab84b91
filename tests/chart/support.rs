//! Rendering, and sets of values.

use serde_json::Value;

use harness::{chart, helm_ok};

/// The release of every test.
pub(crate) const RELEASE: &str = "etcd-defrag-webhook";
pub(crate) const NAMESPACE: &str = "etcd-defrag-system";

/// Installations that differ as much as they can.
pub(crate) const SETS: [(&str, &str); 6] = [
    ("default", ""),
    ("self-signed", "tls: {mode: self-signed}"),
    ("secret", SECRET),
    ("issuer", ISSUER),
    ("everything", EVERYTHING),
    ("little", LITTLE),
];

/// A certificate by hand, and an image by digest.
const SECRET: &str = "
global: {imageRegistry: mirror.example, imagePullSecrets: [mirror]}
image:
  repository: registry.example/etcd-defrag-webhook
  digest: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
tls:
  mode: secret
  secretName: by-hand
  caBundle: |
    -----BEGIN CERTIFICATE-----
    MIIB
    -----END CERTIFICATE-----
";

/// An issuer that is there already, and clients that have to show a certificate.
const ISSUER: &str = "
tls:
  certManager:
    issuerRef: {kind: ClusterIssuer, name: company}
    duration: 720h
  clientCA:
    secretName: api-server-ca
    names: [kube-apiserver, front-proxy]
";

const EVERYTHING: &str = "
nameOverride: defrag
fullnameOverride: keeper
commonLabels: {example.com/team: platform}
replicas: 3
image: {registry: mirror.example, tag: v1.2.3, pullPolicy: Always}
imagePullSecrets: [{name: registry}]
service: {annotations: {example.com/note: service}, ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv4]}
ports: {webhook: 9443, probes: 9080}
logFormat: text
logLevel: debug
extraArgs: [--concurrency=8]
extraEnv: [{name: TZ, value: UTC}]
extraVolumes: [{name: scratch, emptyDir: {}}]
extraVolumeMounts: [{name: scratch, mountPath: /scratch}]
extraObjects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: more, namespace: '{{ .Release.Namespace }}'}, data: {a: b}}]
commonAnnotations: {example.com/owner: platform}
deploymentAnnotations: {example.com/note: deployment}
revisionHistoryLimit: 3
webhook: {timeoutSeconds: 10, annotations: {admissions.enforcer/disabled: 'true'}}
dnsPolicy: Default
dnsConfig: {options: [{name: ndots, value: '2'}]}
hostAliases: [{ip: 192.0.2.1, hostnames: [registry.example]}]
podAnnotations: {example.com/note: pod}
podLabels: {example.com/tier: control}
resources: {limits: {memory: 64Mi}}
priorityClassName: system-cluster-critical
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]
affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {a: b}}}]}}
terminationGracePeriodSeconds: 30
podDisruptionBudget: {maxUnavailable: 50%}
networkPolicy:
  metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
  egress: [{ports: [{port: 6443}]}]
metrics:
  prometheusSecret: thanos
  monitor: {kind: PodMonitor, namespace: sandbox, interval: 15s, scrapeTimeout: 10s, labels: {release: prometheus}, metricRelabelings: [{action: drop, sourceLabels: [a]}]}
  rules: {enabled: true, namespace: sandbox, labels: {release: prometheus}, runbookUrl: 'https://wiki.example.com/etcd/'}
  dashboards: {enabled: true, labels: {grafana_dashboard: null, dashboards: etcd}, annotations: {folder: etcd}}
rbac: {namespaces: [sandbox], reports: false}
serviceAccount: {name: guard, annotations: {example.com/note: account}}
admissionPolicy: {enabled: true}
defaultPolicy: {spec: {enrollment: All, priority: 5}}
selfTest: {namespace: sandbox, timeoutSeconds: 30}
";

const LITTLE: &str = "
replicas: 1
topologySpreadConstraints: []
resources: {limits: null, requests: null}
podDisruptionBudget: {enabled: false}
networkPolicy: {enabled: false}
metrics: {monitor: {kind: ServiceMonitor}}
serviceAccount: {create: false}
podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: null}
rbac: {create: false, aggregate: false}
crds: {enabled: false}
defaultPolicy: {create: false}
";

/// The objects of a set of values, as `helm install` makes them once the kinds of the chart are known.
pub(crate) fn render(values: &str) -> Vec<Value> {
    objects(&template(values, &["--api-versions=etcd-defrag.io/v1alpha1/DefragPolicy"]))
}

/// What `helm template` prints.
pub(crate) fn template(values: &str, more: &[&str]) -> String {
    let chart = chart();
    let mut args = vec!["template", RELEASE, chart.to_str().unwrap(), "--namespace", NAMESPACE, "-f", "-"];
    args.extend_from_slice(more);
    helm_ok(&args, values)
}

pub(crate) fn objects(manifest: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// `Kind name`, unlike that of any other object of the chart.
pub(crate) fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

pub(crate) fn find<'a>(objects: &'a [Value], wanted: &str) -> &'a Value {
    let titles: Vec<String> = objects.iter().map(title).collect();
    objects.iter().find(|object| title(object) == wanted).unwrap_or_else(|| panic!("no {wanted} among {titles:?}"))
}
