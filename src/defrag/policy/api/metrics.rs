//! Defragmentation when measured sizes require it, as people write it.

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema;
use crate::defrag::ondemand::Queries as BuiltIn;

/// Where the sizes of databases are measured.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsSource {
    /// A Prometheus that scrapes the etcds, or a system with its query API, such as Thanos or Mimir. One query in each
    /// interval reads all etcds. Without it runs start by schedule only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Prometheus>,
}

/// A Prometheus, how often it is asked, and when a run starts because of its answers: when the rule of an etcd holds for
/// what was measured of all its members.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new("!self.url.startsWith('https:') || has(self.caFile)").field_path(".caFile").message(
        "an https URL needs the certificate authority to trust: name its file, such as ca.crt",
    ),
    Rule::new("!has(self.caFile) || self.url.startsWith('https:')").field_path(".caFile").message(
        "caFile is for https: write an https URL, or remove caFile",
    ),
    Rule::new("!(has(self.bearerTokenFile) || has(self.basicAuth)) || self.url.startsWith('https:')").field_path(".url").message(
        "over plain http everybody on the network path could read the token or password: write an https URL, or remove the credentials",
    ),
    Rule::new("!(has(self.bearerTokenFile) && has(self.basicAuth))").field_path(".basicAuth").message(
        "bearerTokenFile and basicAuth exclude each other: remove one",
    ),
    Rule::new("duration(self.interval) >= duration('5s') && duration(self.interval) <= duration('1h')").field_path(".interval").message(
        "interval is from 5s to 1h, such as 1m",
    ),
    Rule::new("duration(self.timeout) >= duration('1s') && duration(self.timeout) <= duration(self.interval)").field_path(".timeout").message(
        "timeout is from 1s to the interval, such as 10s: a slower answer would overlap the next query",
    ),
    Rule::new("duration(self.staleAfter) >= duration('15s') && duration(self.staleAfter) <= duration('1h')").field_path(".staleAfter").message(
        "staleAfter is from 15s to 1h, such as 5m, and has to be longer than the time between two scrapes",
    ),
    Rule::new("duration(self.cooldown) >= duration('1m') && duration(self.cooldown) <= duration('720h')").field_path(".cooldown").message(
        "cooldown is from 1m to 720h, such as 24h",
    ),
]))]
pub struct Prometheus {
    /// The URL of its API up to, but without, /api/v1: `http://prometheus.monitoring.svc:9090`. No user, no query.
    #[schemars(schema_with = "schema::prometheus_url")]
    pub url: String,
    /// The file with the certificate authority of an https URL, in PEM: the name of a file in the folder that
    /// etcd-defrag-webhook serve --prometheus-files names. Required for https.
    #[schemars(schema_with = "schema::file_name")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The file with a bearer token, in the same folder. It is read for each query, so that it may rotate.
    #[schemars(schema_with = "schema::file_name")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<String>,
    /// A user name and the file with its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// How often it is queried, a Go duration. Etcds under policies with the same URL, credentials, interval and queries
    /// share a query. Defaults to 1m.
    #[schemars(schema_with = "schema::duration")]
    #[serde(default = "interval")]
    pub interval: String,
    /// How long all its answers together may take, a Go duration. Defaults to 10s.
    #[schemars(schema_with = "schema::duration")]
    #[serde(default = "timeout")]
    pub timeout: String,
    /// How old a scrape may be, a Go duration; older values start no run. Defaults to 5m.
    #[schemars(schema_with = "schema::duration")]
    #[serde(default = "stale_after")]
    pub stale_after: String,
    /// Other queries, each an instant vector with one series for each member.
    #[serde(default)]
    pub queries: Queries,
    /// The labels that say which pod a series is of.
    #[serde(default)]
    pub labels: PodLabels,
    /// How long after any run the next one may start on demand, a Go duration. Defaults
    /// to 24h.
    #[schemars(schema_with = "schema::duration")]
    #[serde(default = "cooldown")]
    pub cooldown: String,
    /// How many etcds under this policy are defragmented on demand at a time; the one nearest to its quota is
    /// first. Defaults to 1.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default = "max_concurrent")]
    pub max_concurrent: i32,
    /// From this share of the quota on, a run waits for no window of the limits, and only for limits.minInterval if
    /// that is shorter than the cooldown: 95% or 0.95. Defaults to 95%.
    #[schemars(schema_with = "schema::share")]
    #[serde(default = "emergency_above")]
    pub emergency_above: String,
}

/// A user name and the file with its password.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// The user name; it has no colon.
    #[schemars(length(min = 1, max = 128), extend("x-kubernetes-validations" = [
        Rule::new("!self.contains(':')").message("a user name of basic authentication has no colon: remove it"),
    ]))]
    pub username: String,
    /// The file with the password, in the folder that etcd-defrag-webhook serve --prometheus-files names.
    #[schemars(schema_with = "schema::file_name")]
    pub password_file: String,
}

/// The queries of Prometheus.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Queries {
    /// The quota in bytes. Defaults to etcd_server_quota_backend_bytes.
    #[schemars(length(min = 1, max = 1024))]
    pub quota: String,
    /// The bytes in use. Defaults to etcd_mvcc_db_total_size_in_use_in_bytes.
    #[schemars(length(min = 1, max = 1024))]
    pub in_use: String,
    /// The bytes of the database file. Defaults to etcd_mvcc_db_total_size_in_bytes. With timestamp() around it, it has to
    /// return the time of the scrape, which only a selector does; a recording rule returns the time of its evaluation.
    #[schemars(length(min = 1, max = 1024))]
    pub size: String,
    /// The members that report the alarm CORRUPT. Defaults to etcd_debugging_server_alarms{alarm_type="CORRUPT"} > 0.
    #[schemars(length(min = 1, max = 1024))]
    pub corrupt: String,
}

/// The labels that say which pod a series is of.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodLabels {
    /// The label with the namespace of the pod. Defaults to namespace.
    #[schemars(schema_with = "schema::label_name")]
    pub namespace: String,
    /// The label with the name of the pod. Defaults to pod.
    #[schemars(schema_with = "schema::label_name")]
    pub pod: String,
}

fn interval() -> String {
    "1m".to_owned()
}

fn timeout() -> String {
    "10s".to_owned()
}

fn stale_after() -> String {
    "5m".to_owned()
}

fn cooldown() -> String {
    "24h".to_owned()
}

const fn max_concurrent() -> i32 {
    1
}

fn emergency_above() -> String {
    "95%".to_owned()
}

impl Default for Queries {
    fn default() -> Self {
        let BuiltIn { quota, in_use, size, corrupt, .. } = BuiltIn::default();
        Self { quota, in_use, size, corrupt }
    }
}

impl Default for PodLabels {
    fn default() -> Self {
        let BuiltIn { namespace, pod, .. } = BuiltIn::default();
        Self { namespace, pod }
    }
}
