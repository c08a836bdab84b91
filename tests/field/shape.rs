//! A row of the table, and the StatefulSet that it stands for.

use std::collections::BTreeMap;

use etcd_defrag_webhook::defrag::{Service, statefulset::StatefulSet};
use serde::Deserialize;
use serde_json::{Value, json};

/// A row.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Row {
    /// Which chart or operator writes this, and which version was read.
    pub source: String,
    /// What is special about it.
    pub kind: String,
    /// What holds of the etcd, in a sentence.
    pub truth: String,
    /// What is said of it; each finding has to be named.
    pub says: Vec<String>,
    /// Parts of messages, or of the effective settings.
    #[serde(default)]
    pub tells: Vec<String>,
    /// Whether a policy that enrols all enrols it.
    #[serde(default)]
    pub enrolled_by_all: Option<bool>,
    /// The StatefulSet, in a file of its own.
    #[serde(default)]
    file: Option<String>,
    #[serde(default = "name")]
    name: String,
    #[serde(default = "namespace")]
    namespace: String,
    #[serde(default)]
    service: Option<String>,
    #[serde(default = "three")]
    replicas: i32,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// The etcd container, but for what each has.
    #[serde(default)]
    etcd: Value,
    /// `NAME: value`, or `NAME: ^field` for a field of the pod.
    #[serde(default)]
    env: Vec<BTreeMap<String, String>>,
    /// `volume: path`.
    #[serde(default)]
    mounts: Vec<BTreeMap<String, String>>,
    /// `volume: secret`.
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    volumes: Vec<Value>,
    /// The size of the volume with the database.
    #[serde(default = "ample")]
    storage: String,
    /// The headless Service beside it: whether it publishes addresses that are not ready.
    #[serde(default)]
    publishes_not_ready: Option<bool>,
    /// Services that select the pods, by name; headless where they say so.
    #[serde(default)]
    services: BTreeMap<String, Kind>,
    /// The containers beside it.
    #[serde(default)]
    beside: Vec<Value>,
    #[serde(default)]
    init_containers: Vec<Value>,
}

/// What kind of Service it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Headless,
    Address,
    /// Headless, and its selector takes in other pods.
    Stranger,
}

fn name() -> String {
    "etcd".to_owned()
}

fn namespace() -> String {
    "db".to_owned()
}

fn ample() -> String {
    "20Gi".to_owned()
}

const fn three() -> i32 {
    3
}

impl Row {
    /// The StatefulSet, with the label.
    pub fn object(&self) -> StatefulSet {
        let mut object: Value = match &self.file {
            Some(file) => {
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/charts/");
                serde_saphyr::from_str(&std::fs::read_to_string(format!("{folder}{file}.yaml")).unwrap()).unwrap()
            }
            None => self.written(),
        };
        object["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("true");
        for (key, value) in &self.annotations {
            object["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = json!(value);
        }
        serde_json::from_value(object).unwrap()
    }

    /// The Services beside it.
    pub fn services(&self) -> Vec<Service> {
        let governing = |publishes_not_ready| Service {
            name: self.service.clone().unwrap_or_else(|| self.name.clone()),
            is_headless: true,
            publishes_not_ready,
            selects_members: Some(true),
        };
        let named = |(name, kind): (&String, &Kind)| Service {
            name: name.clone(),
            is_headless: *kind != Kind::Address,
            publishes_not_ready: true,
            selects_members: Some(*kind != Kind::Stranger),
        };
        self.publishes_not_ready.map(governing).into_iter().chain(self.services.iter().map(named)).collect()
    }

    fn written(&self) -> Value {
        let mut etcd = json!({
            "name": "etcd", "image": "quay.io/coreos/etcd:v3.6.5",
            "ports": [{"name": "client", "containerPort": 2379}],
        });
        for (key, value) in self.etcd.as_object().into_iter().flatten() {
            etcd[key] = value.clone();
        }
        let pod = [BTreeMap::from([("POD".to_owned(), "^metadata.name".to_owned())])];
        let variables = pod.iter().chain(&self.env).flatten().map(|(name, value)| match value.strip_prefix('^') {
            Some(field) => json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}}),
            None => json!({"name": name, "value": value}),
        });
        etcd["env"] = variables.collect();
        let data = [BTreeMap::from([("data".to_owned(), "/data".to_owned())])];
        let mounts = data.iter().chain(&self.mounts).flatten().map(|(volume, path)| match path.split_once('#') {
            Some((path, sub_path)) => json!({"name": volume, "mountPath": path, "subPath": sub_path}),
            None => json!({"name": volume, "mountPath": path}),
        });
        etcd["volumeMounts"] = mounts.collect();
        let secrets = self.secrets.iter().map(|(volume, name)| json!({"name": volume, "secret": {"secretName": name}}));
        let volumes: Vec<Value> = secrets.chain(self.volumes.iter().cloned()).collect();
        let mut containers = vec![etcd];
        containers.extend(self.beside.iter().cloned());
        json!({
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": {}, "annotations": {}},
            "spec": {
                "replicas": self.replicas,
                "serviceName": self.service.clone().unwrap_or_else(|| self.name.clone()),
                "template": {"spec": {
                    "containers": containers, "initContainers": self.init_containers, "volumes": volumes,
                }},
                "volumeClaimTemplates": [{
                    "metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": self.storage}}},
                }],
            },
        })
    }
}
