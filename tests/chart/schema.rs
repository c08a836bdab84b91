//! Wrong values, each refused with words that name it.

use std::fmt::Write as _;

use super::support::{NAMESPACE, RELEASE};
use harness::{chart, helm};

/// Values, and the word that the refusal has to name.
const WRONG: [(&str, &str); 29] = [
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
    ("metrics: {rules: {runbooks: 'a page'}}", "/metrics/rules/runbooks"),
    ("rbac: {namespaces: tenants}", "/rbac/namespaces"),
    ("rbac: {namespaces: ['team-*']}", "/rbac/namespaces/0"),
    ("rbac: {reports: openreports}", "/rbac/reports"),
    ("defaultPolicy: {spec: []}", "/defaultPolicy/spec"),
    ("selfTest: {namespace: Default}", "/selfTest/namespace"),
];

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
