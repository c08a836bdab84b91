//! Wrong values, each refused with words that name it.

use std::fmt::Write as _;

use super::support::{NAMESPACE, RELEASE};
use harness::{chart, helm};

/// Values, and the word that the refusal has to name.
const WRONG: [(&str, &str); 42] = [
    ("replica: 3", "replica"),
    ("replicas: 0", "/replicas"),
    ("replicas: two", "/replicas"),
    ("image: {tags: v1}", "tags"),
    ("image: {repository: 'Registry Example/x'}", "/image/repository"),
    ("image: {digest: sha256:abc}", "/image/digest"),
    ("image: {pullPolicy: Sometimes}", "/image/pullPolicy"),
    ("imagePullSecrets: [registry]", "/imagePullSecrets/0"),
    ("tls: {mode: certmanager}", "/tls/mode"),
    ("tls: {caBundle: LS0tLS1CRUdJTg==}", "/tls/caBundle"),
    ("tls: {certManager: {duration: 90d}}", "/tls/certManager/duration"),
    ("tls: {certManager: {issuerRef: {kind: ClusterIssuer}}}", "/tls/certManager/issuerRef"),
    ("tls: {clientCA: {names: kube-apiserver}}", "/tls/clientCA/names"),
    ("ports: {webhook: 443}", "/ports/webhook"),
    ("logFormat: yaml", "/logFormat"),
    ("extraArgs: [concurrency=8]", "/extraArgs/0"),
    ("extraEnv: [{TZ: UTC}]", "/extraEnv/0"),
    ("podAnnotations: {example.com/number: 1}", "/podAnnotations/example.com~1number"),
    ("resources: {limit: {memory: 64Mi}}", "limit"),
    ("terminationGracePeriodSeconds: 5", "/terminationGracePeriodSeconds"),
    ("podDisruptionBudget: {maxUnavailable: 0}", "/podDisruptionBudget/maxUnavailable"),
    ("metrics: {monitor: {kind: servicemonitor}}", "/metrics/monitor/kind"),
    ("metrics: {rules: {enabled: 'yes'}}", "/metrics/rules/enabled"),
    ("metrics: {rules: {runbookUrl: docs/runbooks}}", "/metrics/rules/runbookUrl"),
    ("metrics: {monitor: {namespace: Monitoring}}", "/metrics/monitor/namespace"),
    ("global: {imageRegistry: 'https://registry.example'}", "/global/imageRegistry"),
    ("global: {imagePullSecrets: {name: a}}", "/global/imagePullSecrets"),
    ("engineImage: {repository: x}", "repository"),
    ("service: {ipFamilyPolicy: DualStack}", "/service/ipFamilyPolicy"),
    ("service: {ipFamilies: [ipv6]}", "/service/ipFamilies/0"),
    ("webhook: {timeoutSeconds: 1}", "/webhook/timeoutSeconds"),
    ("podSecurityContext: {runAsUser: 0}", "/podSecurityContext/runAsUser"),
    ("extraVolumes: [{emptyDir: {}}]", "/extraVolumes/0"),
    ("extraObjects: [{kind: ConfigMap}]", "/extraObjects/0"),
    ("dnsPolicy: Cluster", "/dnsPolicy"),
    ("strategy: {rolling: {}}", "rolling"),
    ("crds: {install: false}", "install"),
    ("rbac: {namespaces: tenants}", "/rbac/namespaces"),
    ("rbac: {namespaces: ['team-*']}", "/rbac/namespaces/0"),
    ("rbac: {reports: openreports}", "/rbac/reports"),
    ("defaultPolicy: {spec: []}", "/defaultPolicy/spec"),
    ("selfTest: {namespace: Default}", "/selfTest/namespace"),
];

/// Values that are well formed and do not go together.
const CONTRADICTIONS: [&str; 3] =
    ["image: {repository: ''}", "hostNetwork: true", "podDisruptionBudget: {minAvailable: 2}"];

/// The message says what to do.
#[test]
fn values_that_contradict_each_other_are_refused() {
    let mut page = String::new();
    let chart = chart();
    for values in CONTRADICTIONS {
        let output = helm(["template", RELEASE, chart.to_str().unwrap(), "-n", NAMESPACE, "-f", "-"], values);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{values} goes through");
        let reason = said.lines().find_map(|line| Some(line.split_once("execution error at ")?.1)).unwrap();
        let (_, reason) = reason.split_once("): ").unwrap();
        let _ = writeln!(page, "{values}\n  {reason}\n");
    }
    insta::assert_snapshot!(page);
}

#[test]
fn wrong_values_are_refused_by_name() {
    let chart = chart();
    let mut page = String::new();
    for (values, named) in WRONG {
        let args = ["template", RELEASE, chart.to_str().unwrap(), "-n", NAMESPACE, "-f", "-"];
        let output = helm(args, values);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{values} goes through");
        // The first line says only that something is wrong.
        let reasons: Vec<&str> = said.lines().map(str::trim).filter(|line| line.starts_with("- ")).collect();
        assert!(reasons.iter().any(|reason| reason.contains(named)), "{values}: {named} is not named:\n{said}");
        let _ = writeln!(page, "{values}\n  {}", reasons.join("\n  "));
    }
    insta::assert_snapshot!(page);
}
