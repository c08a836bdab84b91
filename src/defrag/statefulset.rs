//! The part of a StatefulSet that the assessment reads. Everything else is never decoded, so it can neither be lost nor
//! be refused here.

mod decode;

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use k8s_openapi::{
    api::{apps::v1 as apps, core::v1::VolumeResourceRequirements},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use serde::{Deserialize, Deserializer, Serialize};

pub use self::decode::Ours;
use self::decode::Part;
use super::measure::{Measure, Tally};

/// A StatefulSet, reduced to what the assessment reads.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct StatefulSet {
    /// Name, namespace, labels, our annotations, and what distinguishes versions.
    #[serde(default, deserialize_with = "decode::metadata")]
    pub metadata: ObjectMeta,
    /// The desired state.
    #[serde(default, deserialize_with = "Part::part", skip_serializing_if = "decode::is_default")]
    pub spec: Spec,
}

macro_rules! part {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* #[serde(default, deserialize_with = "Part::part", skip_serializing_if = "decode::is_default")] pub $field: $type,)+
        }

        impl Part for $name {
            fn part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                decode::nullable(deserializer)
            }
        }

        // Whatever is decoded counts.
        impl Measure for $name {
            fn measure(&self, tally: &mut Tally) {
                $(self.$field.measure(tally);)+
            }
        }
    };
}

part!(/// `spec`.
Spec {
    /// Desired number of pods; unset means 1.
    replicas: Option<i32>,
    /// Where the pods' numbers start.
    ordinals: Ordinals,
    /// The governing headless Service.
    service_name: String,
    /// Which pods are its own; it never changes.
    selector: Selector,
    /// The pod template.
    template: PodTemplate,
    /// Templates of the volumes that each pod gets.
    volume_claim_templates: Vec<VolumeClaim>,
});
part!(/// `spec.selector`.
Selector {
    /// The labels that its pods have.
    match_labels: BTreeMap<String, String>,
});
part!(/// `spec.ordinals`.
Ordinals {
    /// The number of the first pod.
    start: i32,
});
part!(/// `spec.template`.
PodTemplate {
    /// Labels and annotations of the pods, those of ours.
    metadata: TemplateMetadata,
    /// The pod's own specification.
    spec: PodSpec,
});
part!(/// `spec.template.metadata`. Nobody reads settings there, so what stands there is reported.
TemplateMetadata {
    /// The labels under our prefix.
    labels: Ours,
    /// The annotations under our prefix.
    annotations: Ours,
});
part!(/// `spec.template.spec`.
PodSpec {
    /// The containers.
    containers: Vec<Container>,
    /// Containers that run before the others, or beside them where they restart always.
    init_containers: Vec<Container>,
    /// The volumes.
    volumes: Vec<Volume>,
    /// Whether a pod calls itself by its full name, with its Service and the domain of the cluster.
    #[serde(rename = "setHostnameAsFQDN")]
    set_hostname_as_fqdn: Option<bool>,
});
part!(/// A container.
Container {
    /// Its name.
    name: String,
    /// Its image.
    image: String,
    /// The entry point.
    command: Vec<String>,
    /// Its arguments.
    args: Vec<String>,
    /// Its environment.
    env: Vec<EnvVar>,
    /// Sources of further environment that cannot be read here.
    env_from: Vec<EnvFrom>,
    /// Its named ports.
    ports: Vec<Port>,
    /// Where volumes are mounted.
    volume_mounts: Vec<VolumeMount>,
    /// The probe that restarts it.
    liveness_probe: Option<Probe>,
    /// The probe that takes it out of Services.
    readiness_probe: Option<Probe>,
    /// The probe that the others wait for.
    startup_probe: Option<Probe>,
    /// `Always` makes an init container run beside the others.
    restart_policy: String,
    /// What is run behind its start.
    lifecycle: Option<Lifecycle>,
});
part!(/// `lifecycle`.
Lifecycle {
    /// What is run once the container has started.
    post_start: Option<Handler>,
});
part!(/// What a hook does.
Handler {
    /// A command in the container.
    exec: Option<Exec>,
});
part!(/// An environment variable.
EnvVar {
    /// Its name.
    name: String,
    /// Its literal value, in which `$(VAR)` is expanded.
    value: Option<String>,
    /// A value from elsewhere.
    value_from: Option<EnvSource>,
});
part!(/// `valueFrom`.
EnvSource {
    /// A field of the pod, such as `metadata.name`.
    field_ref: Option<FieldRef>,
    /// A number: what the container asks for.
    resource_field_ref: Option<ResourceFieldRef>,
    /// A key of a Secret.
    secret_key_ref: Option<KeyRef>,
});
part!(/// `resourceFieldRef`.
ResourceFieldRef {
    /// Such as `limits.memory`.
    resource: String,
});
part!(/// A key of an object.
KeyRef {
    /// The object.
    name: String,
    /// The key.
    key: String,
});
part!(/// `fieldRef`.
FieldRef {
    /// The path in the pod.
    field_path: String,
});
part!(/// `envFrom`.
EnvFrom {
    /// A prefix for each name.
    prefix: String,
    /// A ConfigMap.
    config_map_ref: Option<NameRef>,
    /// A Secret.
    secret_ref: Option<NameRef>,
});
part!(/// A reference by name.
NameRef {
    /// The name.
    name: String,
});
part!(/// A named port.
Port {
    /// Its name.
    name: String,
    /// Its number.
    container_port: i32,
});
part!(/// A mount.
VolumeMount {
    /// The volume.
    name: String,
    /// Where it appears in the container.
    mount_path: String,
    /// A path inside the volume.
    sub_path: String,
});
part!(/// A probe; the numbers are seconds and counts, unset means Kubernetes' default.
Probe {
    /// Seconds between attempts (default 10).
    period_seconds: Option<i32>,
    /// Failures in a row that restart the container (default 3).
    failure_threshold: Option<i32>,
    /// Seconds until an attempt counts as failed (default 1).
    timeout_seconds: Option<i32>,
    /// A command in the container.
    exec: Option<Exec>,
    /// A request by HTTP.
    http_get: Option<HttpGet>,
    /// A connection that is opened and closed.
    tcp_socket: Option<TcpSocket>,
    /// A call of the health service of gRPC.
    grpc: Option<Grpc>,
});
part!(/// The command of a probe or a hook.
Exec {
    /// Its words.
    command: Vec<String>,
});
part!(/// The request of a probe.
HttpGet {
    /// Its path, with the query.
    path: String,
});
part!(/// The connection of a probe.
TcpSocket {
    /// The host; the pod where none is named.
    host: String,
});
part!(/// The gRPC call of a probe.
Grpc {
    /// The service that is asked about.
    service: String,
});
part!(/// A volume.
Volume {
    /// Its name.
    name: String,
    /// A Secret.
    secret: Option<SecretVolume>,
    /// A ConfigMap.
    config_map: Option<ConfigMapVolume>,
    /// Several sources in one.
    projected: Option<Projected>,
    /// A directory that lives as long as the pod.
    empty_dir: Option<EmptyDir>,
    /// A claim that is made for each pod and goes with it.
    ephemeral: Option<Ephemeral>,
    /// A claim that is there.
    persistent_volume_claim: Option<ClaimRef>,
});
part!(/// A Secret as a volume.
SecretVolume {
    /// The Secret.
    secret_name: String,
    /// Its keys and the paths at which they appear; empty means each key under its own name.
    items: Vec<KeyToPath>,
});
part!(/// A ConfigMap as a volume, or as a source of a projected volume.
ConfigMapVolume {
    /// The ConfigMap.
    name: String,
    /// Its keys and the paths at which they appear.
    items: Vec<KeyToPath>,
});
part!(/// A key and the path at which it appears.
KeyToPath {
    /// The key.
    key: String,
    /// The path, relative to the mount.
    path: String,
});
part!(/// A projected volume.
Projected {
    /// What it is made of.
    sources: Vec<Source>,
});
part!(/// A source of a projected volume.
Source {
    /// A Secret.
    secret: Option<ProjectedSecret>,
    /// A ConfigMap.
    config_map: Option<ConfigMapVolume>,
});
part!(/// A Secret in a projected volume.
ProjectedSecret {
    /// The Secret.
    name: String,
    /// Its keys and the paths at which they appear.
    items: Vec<KeyToPath>,
});
part!(/// `emptyDir`.
EmptyDir {
    /// Its limit.
    size_limit: Option<Quantity>,
});
part!(/// `ephemeral`.
Ephemeral {
    /// What its claims are made from.
    volume_claim_template: VolumeClaim,
});
part!(/// `persistentVolumeClaim`.
ClaimRef {
    /// The claim.
    claim_name: String,
});
part!(/// A volume claim template.
VolumeClaim {
    /// Its metadata; the name is the volume's.
    metadata: ClaimMetadata,
    /// Its specification.
    spec: VolumeClaimSpec,
});
part!(/// `metadata` of a volume claim template. Nobody reads settings there, so what stands there is reported.
ClaimMetadata {
    /// The name of the volume.
    name: String,
    /// The labels under our prefix.
    labels: Ours,
    /// The annotations under our prefix.
    annotations: Ours,
});
part!(/// `spec` of a volume claim.
VolumeClaimSpec {
    /// The storage that is asked for.
    resources: VolumeResourceRequirements,
});

impl StatefulSet {
    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// The labels; empty where there are none.
    #[must_use]
    pub fn labels(&self) -> Cow<'_, BTreeMap<String, String>> {
        self.metadata.labels.as_ref().map_or_else(|| Cow::Owned(BTreeMap::new()), Cow::Borrowed)
    }

    /// The value of one of our annotations.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Our annotations; empty where there are none.
    #[must_use]
    pub fn annotations(&self) -> Cow<'_, BTreeMap<String, String>> {
        self.metadata.annotations.as_ref().map_or_else(|| Cow::Owned(BTreeMap::new()), Cow::Borrowed)
    }

    /// The name, or `generateName` for an object that has none yet.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().or(self.metadata.generate_name.as_deref()).unwrap_or_default()
    }

    /// The namespace; `default` where an offline manifest names none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// The number of the first pod (`spec.ordinals.start`).
    #[must_use]
    pub fn first_ordinal(&self) -> u32 {
        u32::try_from(self.spec.ordinals.start).unwrap_or(0)
    }

    /// The numbers of its first `count` pods, whether it has so many or not.
    #[must_use]
    pub fn ordinals(&self, count: u32) -> Range<u64> {
        let first = u64::from(self.first_ordinal());
        first..first + u64::from(count)
    }

    /// Desired pods; Kubernetes' default is 1.
    #[must_use]
    pub fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }
}

impl kube::Resource for StatefulSet {
    type DynamicType = ();
    type Scope = k8s_openapi::NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        <apps::StatefulSet as k8s_openapi::Resource>::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        <apps::StatefulSet as k8s_openapi::Resource>::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        <apps::StatefulSet as k8s_openapi::Resource>::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "statefulsets".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
