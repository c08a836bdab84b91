//! The objects of an etcd of pods. `examples/kamaji-etcd.yaml` is the model; what
//! differs is what Pod Security "restricted" asks for and what makes tests fast.

use std::{fs, os::unix::fs::chown, path::PathBuf};

use serde_json::{Value, json};

use super::{
    super::{etcd_cluster::PATIENT, etcd_image},
    EtcdPods,
    certificates::{ADMIN_CERT, ADMIN_KEY},
};

/// Where the pods have their certificates.
pub(super) const PKI: &str = "/etc/etcd/pki";
pub(super) const DATA: &str = "/var/run/etcd";
/// The ConfigMap with a quota that is not in the pod template.
const HIDDEN: &str = "quota";
/// The user of the image.
const USER: u32 = 65532;

impl EtcdPods<'_> {
    /// Everything that [`EtcdPods::apply`] applies: Secrets, volumes, the Service
    /// and the StatefulSet.
    pub fn manifests(&self) -> Vec<Value> {
        let mut all = self.secrets();
        all.extend(self.volumes());
        all.push(self.service());
        if self.options.hidden_quota {
            let data = json!({"bytes": self.options.quota.to_string()});
            all.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata(HIDDEN), "data": data}));
        }
        all.push(self.statefulset());
        all
    }

    fn metadata(&self, name: &str) -> Value {
        json!({"name": name, "namespace": self.namespace})
    }

    fn secret(&self, name: &str, data: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": self.metadata(name), "stringData": data})
    }

    fn certs_secret(&self) -> String {
        self.options.secrets.certs.clone().unwrap_or_else(|| format!("{}-certs", self.name()))
    }

    fn secrets(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let names = &self.options.secrets;
        if let Some(made) = &self.certificates {
            all.push(self.secret(
                &self.certs_secret(),
                &json!({
                    &names.ca_key: made.ca,
                    "server.pem": made.server.cert, "server-key.pem": made.server.key,
                    "peer.pem": made.peer.cert, "peer-key.pem": made.peer.key,
                    ADMIN_CERT: made.admin.cert, ADMIN_KEY: made.admin.key,
                }),
            ));
            let client = names.client.clone().unwrap_or_else(|| format!("{}-root-client-certs", self.name()));
            all.push(self.secret(
                &client,
                &json!({&names.client_cert_key: made.client.cert, &names.client_key_key: made.client.key}),
            ));
        }
        if let Some(password) = &self.options.password {
            let name = format!("{}-root-user", self.name());
            all.push(self.secret(&name, &json!({"username": "root", "password": password})));
        }
        all
    }

    fn service(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": self.metadata(self.name()),
            "spec": {
                "clusterIP": "None", "publishNotReadyAddresses": true, "selector": self.labels(),
                "ports": [{"name": "client", "port": 2379}, {"name": "peer", "port": 2380}],
            },
        })
    }

    fn labels(&self) -> Value {
        json!({"app.kubernetes.io/name": "kamaji-etcd", "app.kubernetes.io/instance": self.name()})
    }

    /// The StatefulSet.
    pub fn statefulset(&self) -> Value {
        let options = &self.options;
        let mut mounts = vec![json!({"name": "data", "mountPath": DATA})];
        let mut volumes = Vec::new();
        if options.tls {
            mounts.push(json!({"name": "certs", "mountPath": PKI}));
            volumes.push(json!({"name": "certs", "secret": {"secretName": self.certs_secret()}}));
        }
        let mut claims = Vec::new();
        match &options.claim {
            None => volumes.push(json!({"name": "data", "emptyDir": {}})),
            Some(size) => claims.push(json!({"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                "resources": {"requests": {"storage": size}},
            }})),
        }
        let variable = |name: &str, field: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}});
        let mut container = json!({
            "name": "etcd", "image": etcd_image(), "imagePullPolicy": "IfNotPresent",
            "command": self.command(), "resources": options.resources, "volumeMounts": mounts,
            "env": [variable("POD_NAME", "metadata.name"), variable("POD_NAMESPACE", "metadata.namespace")],
            "ports": [
                {"name": "client", "containerPort": 2379}, {"name": "peer", "containerPort": 2380},
                {"name": "metrics", "containerPort": 2381},
            ],
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        });
        if options.hidden_quota
            && let Some(env) = container["env"].as_array_mut()
        {
            let from = json!({"configMapKeyRef": {"name": HIDDEN, "key": "bytes"}});
            env.push(json!({"name": "ETCD_QUOTA_BACKEND_BYTES", "valueFrom": from}));
        }
        if let Some(probe) = &options.liveness {
            container["livenessProbe"] = probe.clone();
        }
        if let Some(probe) = &options.readiness {
            container["readinessProbe"] = probe.clone();
        }
        let mut metadata = self.metadata(self.name());
        metadata["labels"] = self.labels();
        if options.enrolled {
            metadata["labels"]["etcd-defrag.io/enabled"] = json!("true");
        }
        for (key, value) in &options.annotations {
            metadata["annotations"][format!("etcd-defrag.io/{key}")] = json!(value);
        }
        let mut spec = json!({
            "serviceName": self.name(), "replicas": options.members, "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": self.labels()},
            "template": {"metadata": {"labels": self.labels()}, "spec": {
                "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 5,
                "securityContext": {
                    "runAsNonRoot": true, "fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container], "volumes": volumes,
            }},
            "volumeClaimTemplates": claims,
        });
        if options.first_ordinal > 0 {
            spec["ordinals"] = json!({"start": options.first_ordinal});
        }
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec})
    }

    fn command(&self) -> Vec<String> {
        let options = &self.options;
        let scheme = if options.tls { "https" } else { "http" };
        let name = self.name();
        let members: Vec<String> =
            self.pods().iter().map(|pod| format!("{pod}={scheme}://{}:2380", self.host(pod))).collect();
        let own = format!("{scheme}://$(POD_NAME).{name}.$(POD_NAMESPACE).svc.cluster.local");
        let mut command = vec![
            "etcd".to_owned(),
            format!("--data-dir={DATA}"),
            "--name=$(POD_NAME)".to_owned(),
            "--initial-cluster-state=new".to_owned(),
            format!("--initial-cluster={}", members.join(",")),
            format!("--initial-advertise-peer-urls={own}:2380"),
            format!("--advertise-client-urls={own}:2379"),
            "--initial-cluster-token=kamaji".to_owned(),
            format!("--listen-client-urls={scheme}://0.0.0.0:2379"),
            "--listen-metrics-urls=http://0.0.0.0:2381".to_owned(),
            format!("--listen-peer-urls={scheme}://0.0.0.0:2380"),
        ];
        if options.tls {
            let ca = &options.secrets.ca_key;
            command.extend([
                "--client-cert-auth=true".to_owned(),
                "--peer-client-cert-auth=true".to_owned(),
                format!("--trusted-ca-file={PKI}/{ca}"),
                format!("--cert-file={PKI}/server.pem"),
                format!("--key-file={PKI}/server-key.pem"),
                format!("--peer-trusted-ca-file={PKI}/{ca}"),
                format!("--peer-cert-file={PKI}/peer.pem"),
                format!("--peer-key-file={PKI}/peer-key.pem"),
            ]);
        }
        if options.auto_compaction {
            command
                .extend(["--auto-compaction-mode=periodic", "--auto-compaction-retention=5m"].map(ToOwned::to_owned));
        }
        command.push("--snapshot-count=10000".to_owned());
        if !options.hidden_quota {
            command.push(format!("--quota-backend-bytes={}", options.quota));
        }
        // A test's data need not outlive a power cut.
        command.push("--unsafe-no-fsync".to_owned());
        command.extend(PATIENT.map(ToOwned::to_owned));
        command.extend_from_slice(&options.extra);
        command
    }

    fn volume_dir(&self, pod: &str) -> PathBuf {
        self.plane.dir().join("volumes").join(&self.namespace).join(pod)
    }

    /// The folders of the volumes. No provisioner runs here, and Pod Security
    /// "restricted" keeps pods from naming a folder themselves, but not claims.
    pub(super) fn make_volumes(&self) {
        if self.options.claim.is_none() {
            return;
        }
        for pod in self.pods() {
            let dir = self.volume_dir(&pod);
            let made = fs::create_dir_all(&dir).and_then(|()| chown(&dir, Some(USER), Some(USER)));
            made.unwrap_or_else(|error| panic!("make {}: {error}", dir.display()));
        }
    }

    fn volumes(&self) -> Vec<Value> {
        let Some(size) = &self.options.claim else { return Vec::new() };
        let volume = |pod: String| {
            json!({
                "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": format!("{}-{pod}", self.namespace)},
                "spec": {
                    "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": self.volume_dir(&pod), "type": "Directory"},
                    "claimRef": {"namespace": self.namespace, "name": format!("data-{pod}")},
                },
            })
        };
        self.pods().into_iter().map(volume).collect()
    }
}
