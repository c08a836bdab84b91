//! Everything about the Job and the pod that defragment, as people write it.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::{
    api::core::v1::{Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::schema;

/// The Job and the pod that defragment. The pod always meets the Pod Security Standard "restricted".
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new("self.mesh == 'Join' || !has(self.podLabels) || !self.podLabels.exists(key, key == 'sidecar.istio.io/inject')")
        .field_path(".podLabels")
        .message("sidecar.istio.io/inject is set by etcd-defrag-webhook, since a sidecar may keep the Job from ending: remove it, or write mesh: Join"),
    Rule::new("self.mesh == 'Join' || !has(self.podAnnotations) || !self.podAnnotations.exists(key, key in ['linkerd.io/inject', 'sidecar.istio.io/inject'])")
        .field_path(".podAnnotations")
        .message("linkerd.io/inject and sidecar.istio.io/inject are set by etcd-defrag-webhook, since a sidecar may keep the Job from ending: remove them, or write mesh: Join"),
]))]
pub struct Job {
    /// What defragments: EtcdDefrag runs the image of etcd-defrag, BuiltIn our own image with the same arguments, which looks
    /// at the health of all members before each one. Defaults to EtcdDefrag.
    pub engine: Engine,
    /// The image of etcd-defrag. It is run with arguments only, so its entry point has to be etcd-defrag. Default: the newest
    /// version that the installed release of etcd-defrag-webhook knows, which status.engineImage shows; an upgrade may change it.
    /// ghcr.io/ahrtr/etcd-defrag:v0.42.0, a default of earlier releases, counts as not set: to keep that version write its digest
    /// too. With the engine BuiltIn an image of etcd-defrag counts as not given, and the image of etcd-defrag-webhook itself is
    /// run; any other one has to be a copy of that.
    #[schemars(schema_with = "schema::image")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When the image is pulled: Always, IfNotPresent or Never. Defaults to IfNotPresent.
    pub image_pull_policy: ImagePullPolicy,
    /// Secrets to pull the image with, in the namespace of each StatefulSet.
    #[schemars(schema_with = "schema::pull_secrets")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The ServiceAccount of the pod, in the namespace of each StatefulSet; its token is not mounted. Default: the
    /// ServiceAccount default.
    #[schemars(schema_with = "schema::object_name")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// What the container asks for and may use at most. Defaults to requests of 10m CPU and 32Mi memory and a limit of
    /// 128Mi memory.
    #[schemars(schema_with = "schema::resources")]
    pub resources: ResourceRequirements,
    /// Labels of the nodes that the pod may run on.
    #[schemars(schema_with = "schema::labels")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pod tolerates.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = [
        Rule::new("self.all(one, !has(one.operator) || one.operator in ['', 'Equal', 'Exists', 'Lt', 'Gt'])")
            .message("the operator of a toleration is not known: write Exists or Equal"),
        Rule::new("self.all(one, !has(one.effect) || one.effect in ['', 'NoSchedule', 'PreferNoSchedule', 'NoExecute'])")
            .message("the effect of a toleration is not known: write NoSchedule, PreferNoSchedule or NoExecute, or nothing for all of them"),
        Rule::new("self.all(one, !has(one.operator) || one.operator != 'Exists' || !has(one.value) || one.value == '')")
            .message("operator Exists takes no value: remove the value, or write operator: Equal"),
        Rule::new("self.all(one, has(one.key) && one.key != '' || has(one.operator) && one.operator == 'Exists')")
            .message("a toleration without a key tolerates every taint: write operator: Exists, or add the key of a taint"),
        Rule::new("self.all(one, !has(one.tolerationSeconds) || has(one.effect) && one.effect == 'NoExecute')")
            .message("tolerationSeconds needs effect NoExecute: remove it, or write effect: NoExecute"),
    ]))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// The scheduling preferences and requirements of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How pods are spread over the topology of the cluster.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = [
        Rule::new("self.all(one, one.maxSkew >= 1)").message("maxSkew is below 1: write at least 1"),
        Rule::new("self.all(one, one.topologyKey != '')")
            .message("topologyKey is empty: write the label of nodes, such as topology.kubernetes.io/zone"),
        Rule::new("self.all(one, one.whenUnsatisfiable in ['DoNotSchedule', 'ScheduleAnyway'])")
            .message("whenUnsatisfiable is not known: write DoNotSchedule or ScheduleAnyway"),
        Rule::new("self.all(one, !has(one.minDomains) || one.minDomains >= 1 && one.whenUnsatisfiable == 'DoNotSchedule')")
            .message("minDomains is at least 1 and needs whenUnsatisfiable DoNotSchedule: write that, or remove minDomains"),
    ]))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The PriorityClass of the pod.
    #[schemars(schema_with = "schema::object_name")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// The RuntimeClass of the pod.
    #[schemars(schema_with = "schema::object_name")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// The user of the pod: Fixed (user, group and fsGroup are 65532) or Platform (none of them is set, for a platform that
    /// assigns them, such as OpenShift). Defaults to Fixed.
    pub security_context: PodUser,
    /// Whether the pod may join a service mesh: Exclude (its label and annotations keep Istio and Linkerd from adding a
    /// sidecar) or Join (they are left out, and podLabels and podAnnotations may have them; the sidecar has to be a native one,
    /// any other keeps the Job from ending). Defaults to Exclude.
    pub mesh: Mesh,
    /// Further labels of the pod.
    #[schemars(
        schema_with = "schema::labels",
        extend("x-kubernetes-validations" = [json!(schema::keys()), json!(Rule::new(
            "!self.exists(key, key.startsWith('etcd-defrag.io/') || key in ['app.kubernetes.io/managed-by', 'app.kubernetes.io/name', 'app.kubernetes.io/instance'])"
        ).message("labels under etcd-defrag.io/ and app.kubernetes.io/name, /instance and /managed-by are set by etcd-defrag-webhook: remove them"))])
    )]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// Further annotations of the pod.
    #[schemars(
        extend("maxProperties" = 32, "x-kubernetes-validations" = [json!(schema::annotation_keys()), json!(Rule::new(
            "!self.exists(key, key.startsWith('etcd-defrag.io/'))"
        ).message("annotations under etcd-defrag.io/ are set by etcd-defrag-webhook: remove them")), json!(Rule::new(
            "!self.exists(key, key.startsWith('container.apparmor.security.beta.kubernetes.io/') || key.startsWith('container.seccomp.security.alpha.kubernetes.io/') || key == 'seccomp.security.alpha.kubernetes.io/pod')"
        ).message("annotations of AppArmor and seccomp would take the pod out of the Pod Security Standard restricted: remove them"))])
    )]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,
    /// How many successful Jobs are kept. Defaults to 3.
    #[schemars(range(min = 0, max = 100))]
    pub successful_jobs_history_limit: i32,
    /// How many failed Jobs are kept. Defaults to 3.
    #[schemars(range(min = 0, max = 100))]
    pub failed_jobs_history_limit: i32,
    /// How long a finished Job is kept, in seconds. Defaults to 604800, a week.
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: i32,
    /// How late a run may start, in seconds; a later one is skipped. With less than 10 seconds the
    /// CronJob controller may miss every run. Defaults to 600.
    #[schemars(range(min = 10, max = 86_400))]
    pub starting_deadline_seconds: i32,
    /// How long the start of the pod, pulling its image and the health check may take, in seconds. A Job is ended after
    /// this and what the members may take. Defaults to 300.
    #[schemars(range(min = 60, max = 86_400))]
    pub deadline_slack_seconds: i32,
    /// How many runs in a row may fail before the CronJob is suspended. Default: no limit; failed runs are reported.
    #[schemars(range(min = 1, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_budget: Option<i32>,
    /// Whether a Job checks once, before the first run and after a change of endpoints, certificates, login, quota or image, that
    /// it can connect to every member and log in. It changes nothing. Defaults to true.
    pub preflight: bool,
}

/// The user of the pod; never root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PodUser {
    /// User, group and fsGroup 65532.
    #[default]
    Fixed,
    /// The user that the platform assigns. If it assigns none, the kubelet does not start an image that runs as root, as that of
    /// etcd-defrag does; without an fsGroup the pod cannot read the files of Secrets.
    Platform,
}

/// Whether the pod may join a service mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Mesh {
    /// Neither Istio nor Linkerd adds a sidecar.
    #[default]
    Exclude,
    /// The mesh decides, by the namespace and by the labels and annotations of the policy.
    Join,
}

/// What defragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Engine {
    /// etcd-defrag, in its own image.
    #[default]
    EtcdDefrag,
    /// `etcd-defrag-webhook defrag`, in our own image.
    BuiltIn,
}

/// When the image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "Kubernetes' own words")]
pub enum ImagePullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

impl fmt::Display for ImagePullPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        })
    }
}

impl Default for Job {
    fn default() -> Self {
        let quantities = |list: &[(&str, &str)]| {
            list.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect()
        };
        Self {
            engine: Engine::default(),
            image: None,
            image_pull_policy: ImagePullPolicy::default(),
            image_pull_secrets: Vec::new(),
            service_account_name: None,
            resources: ResourceRequirements {
                requests: Some(quantities(&[("cpu", "10m"), ("memory", "32Mi")])),
                limits: Some(quantities(&[("memory", "128Mi")])),
                claims: None,
            },
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: Vec::new(),
            priority_class_name: None,
            runtime_class_name: None,
            security_context: PodUser::default(),
            mesh: Mesh::default(),
            pod_labels: BTreeMap::new(),
            pod_annotations: BTreeMap::new(),
            successful_jobs_history_limit: 3,
            failed_jobs_history_limit: 3,
            ttl_seconds_after_finished: 7 * 24 * 60 * 60,
            starting_deadline_seconds: 600,
            deadline_slack_seconds: 300,
            failure_budget: None,
            preflight: true,
        }
    }
}
