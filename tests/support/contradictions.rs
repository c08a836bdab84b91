//! Policies that the definition refuses, each with words of the refusal. The API server and `check --policy` are asked.

use serde_json::{Value, json};

/// Specifications.
pub(crate) fn contradictions() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"validationActions": []}), "at least 1 items"),
        (json!({"validationActions": ["Deny", "Warn"]}), "write [Deny] or [Warn]"),
        (json!({"validationActions": ["Deny", "Deny"]}), "Duplicate value"),
        (json!({"allowOptOut": true}), "or write enrollment: All"),
        (
            json!({"defaults": {"rule": "dbSizeFree > 1", "freeAbove": "1Gi"}}),
            "write either rule, or quotaUsageAbove, freeAbove and freeShareAbove",
        ),
        (
            json!({"defaults": {"rule": "dbSizeFree > 1", "freeShareAbove": "50%"}}),
            "write either rule, or quotaUsageAbove, freeAbove and freeShareAbove",
        ),
        (json!({"defaults": {"freeShareAbove": "100%"}}), "a share is above 0% and below 100%"),
        (json!({"defaults": {"freeAbove": "0"}}), "write a value such as 200Mi"),
        (json!({"defaults": {"freeAbove": "200MB"}}), "such as 200Mi"),
        (json!({"defaults": {"quotaUsageAbove": "0%"}}), "such as 80% or 0.8"),
        (json!({"defaults": {"quotaUsageAbove": "80"}}), "such as 80% or 0.8"),
        (json!({"defaults": {"quotaUsageAbove": "95%"}}), "spec.limits.quotaUsage excludes this default"),
        (
            json!({"defaults": {"freeAbove": "64Mi"}, "limits": {"minFree": "100Mi"}}),
            "spec.limits.minFree excludes this default",
        ),
        (
            json!({"defaults": {"waitBetweenMembers": "10s"}, "limits": {"minWaitBetweenMembers": "30s"}}),
            "minWaitBetweenMembers excludes this default",
        ),
        (json!({"defaults": {"waitBetweenMembers": "30"}}), "such as 30s or 1h30m"),
        (json!({"defaults": {"commandTimeout": "30s"}}), "minCommandTimeout excludes this default"),
        (json!({"limits": {"minInterval": "0s"}}), "longer than 0s"),
        (json!({"limits": {"minInterval": "2h", "minIntervalWithoutFloor": "1h"}}), "write at least the same"),
        (json!({"limits": {"maxInterval": "5m"}}), "write a longer maxInterval or a shorter minInterval"),
        (json!({"limits": {"quotaUsage": {"min": "0.9", "max": "80%"}}}), "write a min below max"),
        (json!({"limits": {"windows": [{"from": "04:00", "to": "04:00"}]}}), "for all day write from 00:00 to 24:00"),
        (json!({"limits": {"windows": [{"from": "24:00", "to": "04:00"}]}}), "a window begins between 00:00 and 23:59"),
        (json!({"limits": {"windows": [{"from": "22:00", "to": "4:00"}]}}), "a window ends between 00:00 and 24:00"),
        (json!({"limits": {"lockedKeys": ["time-zone"]}}), "write it in spec.defaults"),
        (json!({"limits": {"lockedKeys": ["free-above"]}}), "write it in spec.defaults"),
        (
            json!({"limits": {"volume": {"refuseBelowPercent": 300, "warnBelowPercent": 200}}}),
            "write a warnBelowPercent of at least refuseBelowPercent",
        ),
        (json!({"limits": {"suggestedQuota": "0"}}), "write a size such as 8Gi"),
        (json!({"limits": {"minCommandTimeout": "0s"}}), "from 1s to 24h"),
        (json!({"limits": {"minWaitBetweenMembers": "48h"}}), "at most 24h"),
        (
            json!({"limits": {"minWaitBetweenMembers": "2m", "maxWaitBetweenMembers": "1m"}}),
            "from minWaitBetweenMembers to 24h",
        ),
        (json!({"limits": {"maxCommandTimeout": "30s"}}), "from minCommandTimeout to 24h"),
        (json!({"limits": {"maxDeadline": "1m"}}), "from 5m to 720h"),
        (
            json!({"defaults": {"commandTimeout": "2h"}, "limits": {"maxCommandTimeout": "1h"}}),
            "maxCommandTimeout excludes this default",
        ),
        (
            json!({"defaults": {"waitBetweenMembers": "2m"}, "limits": {"maxWaitBetweenMembers": "1m"}}),
            "maxWaitBetweenMembers excludes this default",
        ),
        (json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}), "add values or remove them"),
        (
            json!({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}}),
            "add values or remove them",
        ),
        (json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}), "supported values"),
    ]
    .into_iter()
    .chain(of_jobs())
    .collect()
}

/// The same of `job`, and of selectors of labels that there cannot be.
fn of_jobs() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"job": {"podLabels": {"app.kubernetes.io/managed-by": "x"}}}), "remove them"),
        (json!({"job": {"podAnnotations": {"linkerd.io/inject": "enabled"}}}), "remove them, or write mesh: Join"),
        (json!({"job": {"podAnnotations": {"etcd-defrag.io/x": "y"}}}), "remove them"),
        (json!({"job": {"podLabels": {"sidecar.istio.io/inject": "true"}}}), "remove it, or write mesh: Join"),
        (
            json!({"job": {"podAnnotations": {"container.apparmor.security.beta.kubernetes.io/etcd-defrag": "unconfined"}}}),
            "out of the Pod Security Standard restricted",
        ),
        (json!({"job": {"failureBudget": 0}}), "greater than or equal to 1"),
        (json!({"job": {"image": "ghcr.io/ahrtr/etcd-defrag:v0.42.0 "}}), "a path in lower case and no blanks"),
        (json!({"job": {"image": "Ghcr.io/X/Y:1"}}), "a path in lower case and no blanks"),
        (json!({"job": {"serviceAccountName": "Bad_Name"}}), "the name of an object has lower-case letters"),
        (json!({"job": {"priorityClassName": "Bad_Name"}}), "the name of an object has lower-case letters"),
        (json!({"job": {"runtimeClassName": "Gvisor!"}}), "the name of an object has lower-case letters"),
        (json!({"job": {"imagePullSecrets": [{"name": "Bad_Name"}]}}), "the name of an object has lower-case letters"),
        (json!({"job": {"nodeSelector": {"a": "x y"}}}), "the value of a label has letters"),
        (json!({"job": {"nodeSelector": {"bad key!": "x"}}}), "the key of a label has letters"),
        (json!({"job": {"podLabels": {"a b": "c"}}}), "the key of a label has letters"),
        (json!({"job": {"podAnnotations": {"a b": "c"}}}), "the key of an annotation has letters"),
        (json!({"namespaceSelector": {"matchLabels": {"a b": "c"}}}), "the key of a label has letters"),
        (json!({"job": {"resources": {"limits": {"foo": 1}}}}), "a container has no such resource"),
        (json!({"job": {"podLabels": {"a": "x y"}}}), "the value of a label has letters"),
        (json!({"selector": {"matchLabels": {"a": "x y"}}}), "the value of a label has letters"),
        (
            json!({"selector": {"matchExpressions": [{"key": "a b", "operator": "Exists"}]}}),
            "the key of a label has letters",
        ),
        (json!({"job": {"tolerations": [{"key": "a", "operator": "exists"}]}}), "write Exists or Equal"),
        (
            json!({"job": {"tolerations": [{"operator": "Exists", "effect": "NoSchedul"}]}}),
            "write NoSchedule, PreferNoSchedule or NoExecute",
        ),
        (
            json!({"job": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}}),
            "operator Exists takes no value",
        ),
        (json!({"job": {"tolerations": [{"operator": "Equal"}]}}), "or add the key of a taint"),
        (json!({"job": {"tolerations": [{"key": "a", "tolerationSeconds": 5}]}}), "needs effect NoExecute"),
        (
            json!({"job": {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}}),
            "maxSkew is below 1",
        ),
        (
            json!({"job": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "", "whenUnsatisfiable": "DoNotSchedule"}]}}),
            "topologyKey is empty",
        ),
        (
            json!({"job": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "Never"}]}}),
            "write DoNotSchedule or ScheduleAnyway",
        ),
        (
            json!({"job": {"topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2},
            ]}}),
            "minDomains is at least 1",
        ),
        (
            json!({"job": {"resources": {"requests": {"memory": "256Mi"}, "limits": {"memory": "128Mi"}}}}),
            "a request is above the limit of the same resource",
        ),
        (
            json!({"job": {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}}}),
            "a request is above the limit of the same resource",
        ),
    ]
}

/// Values of `metrics.prometheus`.
pub(crate) fn unsafe_prometheus() -> Vec<(Value, &'static str)> {
    vec![
        (json!({}), "url: Required value"),
        (json!({"url": "prometheus:9090"}), "such as http://prometheus.monitoring.svc:9090"),
        (json!({"url": "http://me:secret@prometheus:9090"}), "without user and query"),
        (json!({"url": "https://p"}), "name its file, such as ca.crt"),
        (json!({"url": "http://p", "caFile": "ca.crt"}), "write an https URL, or remove caFile"),
        (json!({"url": "http://p", "bearerTokenFile": "token"}), "everybody on the network path could read the token"),
        (json!({"url": "https://p", "caFile": "../../token"}), "without its path"),
        (json!({"url": "https://p", "caFile": "/var/run/secrets/token"}), "without its path"),
        (
            json!({"url": "https://p", "caFile": "ca.crt", "bearerTokenFile": "token",
                "basicAuth": {"username": "u", "passwordFile": "p"}}),
            "exclude each other: remove one",
        ),
        (json!({"url": "http://p", "interval": "1s"}), "interval is from 5s to 1h"),
        (json!({"url": "http://p", "interval": "10s", "timeout": "20s"}), "timeout is from 1s to the interval"),
        (json!({"url": "http://p", "staleAfter": "2h"}), "staleAfter is from 15s to 1h"),
        (json!({"url": "http://p", "cooldown": "10s"}), "cooldown is from 1m to 720h"),
        (json!({"url": "http://p", "emergencyAbove": "100%"}), "below 100%"),
        (json!({"url": "http://p", "maxConcurrent": 0}), "greater than or equal to 1"),
        (json!({"url": "http://p", "labels": {"pod": "my-pod"}}), "letters, digits and underscores"),
    ]
}
